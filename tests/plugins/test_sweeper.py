"""Sweepers of others: they ask for batches, our launcher trains them and returns numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra.core.utils import JobStatus

from runner.foundation.errors import Diverged
from runner.foundation.files import read_json
from runner.recording import directory

COMMAND = ["-m", "hydra/sweeper=climbing", "trainer=quick", "name=climb", "compile=false"]

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@pytest.mark.parametrize("launcher", ["runner", "basic"])
def test_it_goes_by_the_numbers(runner, climbing, sweeps: Path, launcher: str) -> None:
    done = runner(*COMMAND, f"hydra/launcher={launcher}")
    assert done.code == 0, done.err
    assert [len(batch) for batch in climbing.batches] == [4, 4]
    first = [each.return_value for each in climbing.batches[0]]
    assert first == sorted(first)
    assert first[0] > 0  # the larger the rate the better, so far: it climbs
    rates = [each.cfg.optimizer.lr for batch in climbing.batches for each in batch]
    assert rates[4:8] == [0.02, 0.04, 0.08, 0.16]
    for each in climbing.batches[0]:
        folder = Path(each.working_dir)
        assert each.return_value == read_json(folder / directory.SUMMARY)["best"]["value"]
        assert folder.parent == Path("outputs/default/climb")
        assert each.overrides[0] == "trainer=quick"
    content = read_json(sweeps / "climb" / directory.SWEEP)
    assert (content["swept"], content["objective"]) == (["optimizer.lr"], "valid/accuracy")
    assert len(content["jobs"]) == len(set(rates))  # what was asked for twice was trained once
    assert f"jobs    {len(set(rates))}: {len(set(rates))} finished" in done.out


def test_batches_train_as_lanes(runner, climbing, sweeps: Path, monkeypatch) -> None:
    from runner.assemble import ways

    monkeypatch.setattr(ways, "SHORT", 0.0)
    monkeypatch.setattr(ways.calibrate, "MARGIN", 0.0)
    monkeypatch.setattr(ways, "can_compile", lambda run: "")
    command = [*COMMAND[:-1], "hydra.sweeper.rounds=1", "sweep.processes=1"]
    done = runner(*command)
    assert done.code == 0, done.err
    (batch,) = read_json(sweeps / "climb" / directory.SWEEP)["batches"].values()
    assert (len(batch["jobs"]), batch["way"]["lanes"]) == (4, 4)
    assert all(each.return_value > 0 for each in climbing.batches[0])


def test_the_same_command_asks_again_and_trains_nothing(runner, climbing) -> None:
    assert runner(*COMMAND, "hydra.sweeper.rounds=1").code == 0
    before = [each.return_value for batch in climbing.batches for each in batch]
    climbing.batches.clear()
    again = runner("resume", "climb")
    assert again.code == 0, again.err
    assert [each.return_value for batch in climbing.batches for each in batch] == before
    assert "finished  lr" not in again.out


def test_a_job_that_failed_has_its_error(runner, climbing, sweeps: Path) -> None:
    done = runner(*COMMAND, "initializer.gain=1e30")
    assert done.code == 6, done.err
    assert (
        "warning: hydra/sweeper=climbing ended with ValueError: max() arg is an empty" in done.out
    )
    assert "def sweep(self, arguments)" not in done.err
    assert "ValueError" in (sweeps / "climb" / directory.ERROR).read_text()
    for each in climbing.batches[0]:
        assert each.status is JobStatus.FAILED
        with pytest.raises(Diverged, match=r"became (nan|infinite)"):
            _ = each.return_value


def test_one_that_raises_at_a_failure_ends_in_the_table(runner, climbing) -> None:
    done = runner(*COMMAND, "hydra.sweeper.strict=true", "initializer.gain=1e30")
    assert done.code == 6, done.err
    assert "warning: hydra/sweeper=climbing ended at a job that did not finish" in done.out
    assert "jobs    4: 4 diverged" in done.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("seeds=3", "seeds: an axis of the runner's own sweeper; hydra/sweeper=climbing has none"),
        ("sweep.zip=[seed]", "sweep.zip: means nothing to hydra/sweeper=climbing"),
        ("sweep.max_jobs=3", "more jobs than sweep.max_jobs=3"),
        ("sweep.max_job=3", "sweep.max_job: unknown key"),
        ("trainer.batch_size=0", "trainer.batch_size: expected a whole number"),
        ("optimizer.foo=1", "optimizer.foo: unknown key"),
        ("optimizer=nope", "optimizer=nope: no such option"),
        ("hydra.sweeper.round=3", "did you mean 'hydra.sweeper.rounds'?"),
        ("--dry-run", "--dry-run: hydra/sweeper=climbing chooses its jobs while they run"),
    ],
)
def test_mistakes(runner, climbing, sweeps: Path, words: str, message: str) -> None:
    done = runner(*COMMAND, *words.split())
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert not list(sweeps.glob("*"))

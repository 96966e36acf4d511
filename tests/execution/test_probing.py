"""Looks into a run: when, that they change nothing, that they resume, in lanes too."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from resuming import begin, cut, flat, record, resume, started
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from test_batch import member, trained

from runner.execution import batch as batches
from runner.recording import directory
from runner.training import checkpoints

TABLE = ("dataset=wine", "architecture.hidden=[8,6]", "trainer.epochs=6", "trainer.batch_size=32",
         "threads=1", "compile=trace", "output_root=outputs")  # fmt: skip
IMAGES = ("trainer.epochs=2", "threads=1", "compile=trace", "trainer.batch_size=20",
          "dataset.subset=60")  # fmt: skip
CONFIGURATIONS = {
    "dropout and batch norm": (*TABLE, "dropout=inverted", "normalization=batch", "averaging=ema"),
    "monte carlo": (*TABLE, "dropout=monte_carlo", "dropout.average=3"),
    "full data": (*TABLE, "normalization=full_data"),
    "convolutions": (*IMAGES, "architecture=cnn", "augmentation=flip_crop"),
    "parts of a batch": (*TABLE, "optimizer=adam", "trainer.accumulate=2", "clipping=norm"),
    "parts of blocks": (*IMAGES, "architecture=vit", "dropout=inverted"),
}


def looks(folder: Path) -> list[dict]:
    return list(directory.read_rows(folder / directory.PROBES))


def weights(folder: Path) -> dict:
    return flat(checkpoints.read(checkpoints.listed(folder / directory.CHECKPOINTS)[0])["state"])


@pytest.mark.parametrize("words", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_a_run_is_the_same_with_and_without(tmp_path, words):
    found = {}
    for level in ("none", "light", "full"):
        more = () if level == "none" else ("probes.every=3steps", "probes.rows=20")
        folder = begin((*words, f"probes={level}", *more), tmp_path / level)
        metrics = (folder / directory.METRICS).read_bytes()
        found[level] = weights(folder), metrics, bool(looks(folder))
    assert found["light"] == found["full"] == (*found["none"][:2], True)
    assert not found["none"][2]


@pytest.mark.parametrize(
    ("every", "steps"),
    [(None, [0, 3, 6, 12, 18]), ("5steps", [0, 3, 5, 10, 15, 18]), ("50%", [0, 3, 9, 18])],
)
def test_when_a_run_is_looked_at(tmp_path, every, steps):
    words = ("probes.rows=10",) if every is None else (f"probes.every={every}",)
    folder = begin((*TABLE, *words), tmp_path)
    assert [row["step"] for row in looks(folder)] == steps


@pytest.mark.parametrize("after", [1, 3, 5, 7])
def test_a_resumed_run_has_the_same_looks(tmp_path, after):
    """Also where the step before one that is looked at was the last before the cut."""
    words = (*TABLE, "probes=full", "probes.every=4steps", "trainer.save_every=1steps")
    whole = record(begin(words, tmp_path / "whole"))
    with cut(after):
        begin(words, tmp_path / "cut")
    assert record(resume(words, started(tmp_path / "cut"))) == whole


def test_numbers_of_the_weights(tmp_path):
    """Against checkpoints: how much the sixth step changed them, and how large they were."""
    words = (*TABLE, "probes.every=6steps", "trainer.save_every=1steps")
    kept = {}
    for step in (5, 6):
        with cut(step):
            begin(words, tmp_path / str(step))
        folder = started(tmp_path / str(step))
        (newest, *_) = checkpoints.listed(folder / directory.CHECKPOINTS)
        kept[step] = checkpoints.read(newest)["state"]["model"]
    folder = started(tmp_path / "6")
    row = next(row for row in looks(folder) if row["step"] == 6)
    assert row["layers"]
    for name, numbers in row["layers"].items():
        (key,) = [
            each for each in kept[5] if each.endswith("weight") and each.startswith(f"{name}.")
        ]
        old, new = (kept[step][key].double() for step in (5, 6))
        assert numbers["update"] == pytest.approx(float((new - old).norm() / old.norm()), rel=1e-4)
        assert numbers["weight"] == pytest.approx(float(new.square().mean().sqrt()), rel=1e-5)


def test_lanes_are_looked_at_as_runs_alone(tmp_path):
    """Also one that its stopping rule ends, and one that diverges beside sound ones."""
    looked = ("probes.jobs=true", "probes.every=4steps", "probes=full")
    given = {
        "sound": ("seed=1",),
        "stopped": ("seed=2", "stopping=target", "stopping.value=0.2"),
        "diverged": ("seed=3", "optimizer.lr=1.0e+30"),
    }
    found = {}
    for count in (3, 1):
        batches._lender.cache_clear()
        root = tmp_path / str(count)
        jobs = [
            member(name, root, "probes=full", *looked[:2], *words) for name, words in given.items()
        ]
        told = trained(jobs, root, count).final()
        found[count] = {
            job.id: (told[job.id]["state"], looks(job.folder), verdicts(job.folder)) for job in jobs
        }
    lanes, alone = found[3], found[1]
    assert [lanes[name][0] for name in given] == ["finished", "finished", "diverged"]
    for name in given:
        assert lanes[name][0] == alone[name][0]
        steps = [[row["step"] for row in each[name][1]] for each in (lanes, alone)]
        assert steps[0] == steps[1]
        assert len(steps[0]) == len(set(steps[0]))
        assert lanes[name][2] == alone[name][2]
    assert [row["step"] for row in lanes["sound"][1]] == [0, 4, 6, 8, 12, 16, 20, 24]
    for a, b in zip(lanes["sound"][1], alone["sound"][1], strict=True):
        assert flat(a["layers"]) == pytest.approx(flat(b["layers"]), rel=1e-3, abs=1e-5)


def verdicts(folder: Path) -> list[str]:
    content = json.loads((folder / directory.DIAGNOSIS).read_text())
    return [each["name"] for each in content["verdicts"]]


def test_jobs_are_not_looked_at_unless_asked(runner):
    assert runner("-m", "seeds=2", *TABLE, "name=many").code == 0
    assert not list(Path("outputs").rglob(directory.PROBES))
    assert not list(Path("outputs").rglob(directory.DIAGNOSIS))


def test_what_tensorboard_shows(tmp_path):
    folder = begin((*TABLE, "probes=full"), tmp_path)
    events = EventAccumulator(str(folder))
    events.Reload()
    rows = looks(folder)
    layer = next(iter(rows[0]["layers"]))
    shown = {each.step: each.value for each in events.Scalars(f"layers std/{layer}")}
    assert shown == pytest.approx({row["step"]: row["layers"][layer]["std"] for row in rows})
    assert len(events.Scalars("network/sharpness")) == len(rows)
    tensors = events.Tags()["tensors"]
    for part in ("activations", "gradients", "weights"):
        assert f"{part}/{layer}" in tensors
        assert len(events.Tensors(f"{part}/{layer}")) == len(rows)


def test_a_fault_is_said_before_the_first_step_and_at_the_end(runner):
    done = runner(*TABLE, "initializer=zeros", "name=same")
    assert done.code == 0
    warning, ending = (
        done.out.index(each) for each in ("warning: symmetric", "diagnosis: symmetric")
    )
    assert warning < done.out.index("step 3 ") < ending
    assert "try initializer=kaiming_normal" in done.out[ending:]
    (folder,) = Path("outputs/default").glob("*-same-*")
    verdicts = json.loads((folder / directory.DIAGNOSIS).read_text())["verdicts"]
    assert verdicts[0]["name"] == "symmetric weights"
    assert verdicts[0]["severity"] == "fault"


def test_a_full_disk_costs_looks_and_not_the_run(tmp_path, monkeypatch, runner):
    from runner.execution import probing
    from runner.foundation.errors import Unwritable

    def full(path, content, sync=True):
        raise Unwritable(f"{path}: cannot write: no space left on device")

    monkeypatch.setattr(probing, "write_json", full)
    done = runner(*TABLE)
    assert done.code == 0
    assert done.out.count("no space left") == 1


@pytest.mark.parametrize("level", ["light", "full"])
def test_what_cannot_be_looked_at_goes_on(runner, monkeypatch, level):
    from runner.execution import probing

    def fails(*given):
        raise MemoryError("no room for a copy")

    monkeypatch.setattr(probing, "look", fails)
    done = runner(*TABLE, f"probes={level}")
    assert done.code == 0
    assert done.out.count("the network is looked at no more: MemoryError") == 1


def test_a_run_that_diverges_says_so_and_not_that_it_cannot_be_looked_at(runner):
    words = ("optimizer=sgd", "optimizer.lr=1e30", "probes=full", "probes.every=1steps")
    done = runner(*TABLE, *words)
    assert done.code == 4, done.err
    assert "no more" not in done.out


def test_rows_that_no_checkpoint_knows_of_go(tmp_path):
    """A run that is looked at only from where it goes on, killed and resumed once more."""
    words = (*TABLE, "trainer.save_every=5steps")
    with cut(7):
        begin((*words, "probes=none"), tmp_path)
    again = (*words, "probes=light", "probes.every=1steps")
    with cut(2, kill=True):
        resume(again, started(tmp_path))
    folder = resume(again, started(tmp_path))
    steps = [row["step"] for row in looks(folder)]
    assert steps == sorted(set(steps))


def test_looks_have_only_numbers(tmp_path):
    for row in looks(begin((*TABLE, "probes=full", "optimizer.lr=10"), tmp_path)):
        numbers = flat({"layers": row["layers"], "network": row["network"]})
        assert all(value is None or math.isfinite(value) for value in numbers.values())
        assert not torch.is_tensor(row["step"])

"""A run that met nan or infinity goes back to where it was sound, with half the learning rate."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from poison import batches, changed
from resuming import (
    Killed,
    begin,
    cut,
    differences,
    points,
    quickened,
    recorded_once,
    resume,
    rewrite,
    started,
)
from test_batch import member, read, trained

from runner.assemble.lanes import groups
from runner.execution import execute
from runner.foundation.errors import Diverged, Interrupted
from runner.foundation.files import read_json
from runner.recording import directory
from runner.training import checkpoints
from runner.training.signals import Waiting

# 265 training rows of a regression that a large rate blows up; 4 steps in an epoch, 40 in the run.
PLAIN = ("dataset=diabetes", "loss=mse", "architecture=linear", "optimizer=sgd", "optimizer.lr=2",
         "schedule=constant", "trainer.batch_size=64", "trainer.epochs=10",
         "trainer.log_every=3steps", "threads=1", "device=cpu", "trainer.save_every=7steps",
         "trainer.on_nonfinite=rollback")  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def _quick() -> Iterator[None]:
    with quickened():
        yield


@pytest.fixture(scope="module")
def uncut(tmp_path_factory):
    return recorded_once(tmp_path_factory)


def rows(folder: Path) -> list[dict[str, Any]]:
    return list(directory.read_rows(folder / directory.METRICS))


def test_a_run_goes_back_and_comes_through(tmp_path):
    """F21, F23: to step 14, three times, with half the learning rate each time."""
    folder = begin(PLAIN, tmp_path)
    rates = {row["step"]: row["lr"] for row in rows(folder)}
    assert [rates[12], rates[15], rates[40]] == [2.0, 0.25, 0.25]
    steps = [row["step"] for row in rows(folder)]
    assert steps == sorted(set(steps))
    seen = [step for step, tag, _ in points(folder) if tag == "train/loss"]
    assert seen == steps
    assert read_json(folder / directory.SUMMARY)["rollbacks"] == 3
    assert directory.status(folder)["state"] == "finished"
    log = (folder / directory.LOG).read_text()
    for count in (1, 2, 3):
        assert f"back to step 14 with half the learning rate (rollback {count} of 3)" in log


TORCH = (*PLAIN, "+optimizer.momentum=0.1", "optimizer._target_=torch.optim.SGD")


@pytest.mark.parametrize("kill", [False, True], ids=["signal", "kill"])
@pytest.mark.parametrize("after", [3, 14, 16, 17, 18, 19, 21, 22, 25, 27, 31, 45])
def test_a_cut_run_goes_back_as_the_uncut_one(tmp_path, uncut, after, kill):
    """F02, F11, F21: before, in, and after what is taken back; a kill leaves what was saved."""
    with cut(after, kill):
        begin(PLAIN, tmp_path)
    assert uncut(PLAIN)["summary"]["rollbacks"] == 3
    assert differences(resume(PLAIN, started(tmp_path)), uncut(PLAIN)) == []


def test_what_torch_keeps_goes_back_too(tmp_path, uncut):
    """F21: twice to the same bits; after a cut they come from the disk."""
    assert uncut(TORCH)["summary"]["rollbacks"] > 1
    with cut(20):
        begin(TORCH, tmp_path)
    assert differences(resume(TORCH, started(tmp_path)), uncut(TORCH)) == []


def test_a_death_on_the_way_back_loses_nothing(tmp_path, uncut):
    """F21, F39: the checkpoint knows of it, the logs are not cut yet."""
    original, opened = execute.Recorder, []

    def recorder(*given: Any) -> Any:
        opened.append(given)
        if len(opened) == 2:
            raise Killed
        return original(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(execute, "Recorder", recorder)
        with pytest.raises(Killed):
            begin(PLAIN, tmp_path)
    folder = started(tmp_path)
    newest = checkpoints.read(checkpoints.listed(folder / directory.CHECKPOINTS)[0])
    assert [newest["step"], newest["state"]["rollbacks"]] == [14, 1]
    assert rows(folder)[-1]["step"] > 14
    assert directory.status(folder)["step"] == 14
    assert differences(resume(PLAIN, folder), uncut(PLAIN)) == []


def test_a_signal_that_waits_is_heard_on_the_way_back(tmp_path, uncut):
    """F11: one that comes in the very step that went wrong."""
    waiting = Waiting()

    def change(run):
        original = run.batches

        def batches():
            batch = original()

            def at(step):
                waiting.number = signal.SIGTERM if step == 17 else waiting.number
                return batch(step)

            return at

        run.batches = batches

    with pytest.MonkeyPatch.context() as patch, changed(change):
        patch.setattr(execute, "deferred", lambda: contextlib.nullcontext(waiting))
        with pytest.raises(Interrupted, match=r"saved step 1[47]") as caught:
            begin(PLAIN, tmp_path)
    assert caught.value.exit_code == 143
    assert differences(resume(PLAIN, started(tmp_path)), uncut(PLAIN)) == []


@pytest.mark.parametrize(("change", "after"), [("anchor", 23), ("rollbacks", 52)])
def test_no_part_of_it_can_be_lost(tmp_path, uncut, change, after):
    """F18: without it the resumed run is another one."""
    with cut(after):
        begin(PLAIN, tmp_path)
    folder = started(tmp_path)
    content = checkpoints.read(checkpoints.listed(folder / directory.CHECKPOINTS)[0])
    assert content["anchor"]["step"] < content["step"]
    assert content["state"]["rollbacks"] > 0
    if change == "anchor":
        del content["anchor"]
    else:
        content["state"]["rollbacks"] = 0
    rewrite(folder / directory.CHECKPOINTS, content)
    assert differences(resume(PLAIN, folder), uncut(PLAIN))


def test_what_is_wrong_again_and_again_ends_the_run(tmp_path):
    """F21: no learning rate helps against a nan in the data."""
    with changed(batches(18)), pytest.raises(Diverged) as caught:
        begin((*PLAIN[:4], "optimizer.lr=0.01", *PLAIN[5:]), tmp_path)
    assert caught.value.exit_code == 4
    assert str(caught.value) == (
        "the training loss became nan between steps 17 and 18: first at step 18, where the batch "
        "itself held the first number that is not finite, after 3 rollbacks; look at the data; "
        "trainer.on_nonfinite=skip_step leaves out such steps"
    )
    folder = started(tmp_path)
    assert directory.status(folder)["state"] == "diverged"
    assert max(row["step"] for row in rows(folder)) < 18
    newest = checkpoints.read(checkpoints.listed(folder / directory.CHECKPOINTS)[0])
    assert [newest["step"], newest["state"]["rollbacks"]] == [14, 3]


def test_jobs_that_roll_back_train_alone(tmp_path):
    """F24: one goes back three times in vain; the other never has to."""
    rates = {"job0": "0.1", "job1": "1.0e+30"}
    jobs = [member(name, tmp_path, "trainer.on_nonfinite=rollback", f"optimizer.lr={rate}")
            for name, rate in rates.items()]  # fmt: skip
    (group,) = groups([job.settings for job in jobs])
    assert group.refusal == "trainer.on_nonfinite=rollback takes each run back by itself"
    final = trained(jobs, tmp_path, 1).final()
    assert [final[name]["state"] for name in rates] == ["finished", "diverged"]
    assert read(jobs[0].folder, "summary.json")["rollbacks"] == 0
    assert ", after 3 rollbacks; try optimizer.lr=0.01 or clipping=norm" in final["job1"]["message"]

"""Every key of a checkpoint matters: without it, or with its first value, the run is another one.

The keys are those that the checkpoints of these runs hold, whatever they may be.
"""

from __future__ import annotations

import contextlib
import functools
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from mutations import Fate, Place, fates, kind, places
from resuming import (
    begin,
    composed,
    cut,
    launching,
    quickened,
    record,
    rewrite,
    started,
    terminal,
)

from runner.execution import execute
from runner.foundation.files import read_json
from runner.recording import directory, recorder
from runner.training import checkpoints

SHORT = ("trainer.log_every=6steps", "trainer.save_every=5steps",
         "threads=1", "device=cpu", "compile=false")  # fmt: skip
# 1079 training rows: 8 steps in an epoch. The best weights are those of step 16; the learning rate
# falls after step 24; the run stops at step 40 of 48. It dies at 38 and goes on from 35: in the
# middle of a logging window and of an epoch, waiting for both rules, with a row of step 36 that
# the checkpoint does not know of.
RICH = (*SHORT, "architecture.hidden=[8]", "trainer.batch_size=128", "trainer.epochs=6",
        "trainer.accumulate=2", "normalization=batch", "dropout=inverted", "dropout.keep=0.8",
        "stopping=early", "stopping.patience=4", "stopping.min_delta=1", "schedule=plateau",
        "schedule.patience=2", "schedule.min_delta=100", "regularizer=[l2,max_norm]",
        "clipping=norm", "clipping.norm.limit=0.5", "augmentation=[flip_crop,noise]",
        "augmentation.flip_crop.padding=1", "hooks=weight_norm", "hooks.weight_norm.every=5steps",
        "averaging=ema", "averaging.decay=0.5", "optimizer=adam", "optimizer.lr=1",
        "metrics=[standard,calibration]", "probes.every=6steps")  # fmt: skip
# Slots in an object of torch's, in two precisions; a stopping rule with another memory, by which
# the run stops at its second evaluation.
TORCH = (*SHORT, "architecture.hidden=[8]", "dataset=wine", "trainer.batch_size=16",
         "trainer.evaluate_every=7steps", "precision=float64", "optimizer=sgd",
         "optimizer._target_=torch.optim.NAdam",
         "optimizer.lr=0.01", "schedule=constant", "stopping=loss_change",
         "stopping.tolerance=1000", "metrics=[standard,calibration]")  # fmt: skip


# A rate that blows up the weights: after step 16 the run goes back to step 15, three times.
ROLLBACK = (*SHORT, "dataset=diabetes", "loss=mse", "architecture=linear", "optimizer=sgd",
            "optimizer.lr=2", "schedule=constant", "trainer.batch_size=64",
            "trainer.on_nonfinite=rollback")  # fmt: skip


class Case(NamedTuple):
    """A run, after how many steps it ends, and from which of them it goes on."""

    overrides: tuple[str, ...]
    ended: int
    saved: int
    killed: bool = True


CASES = {"rich": Case(RICH, 38, 35), "torch": Case(TORCH, 12, 10),
         "rollback": Case(ROLLBACK, 16, 16, killed=False)}  # fmt: skip
PARTS = ["format", "step", "state", "state.step", "state.seen", "state.ended", "state.model",
         "state.slots", "state.averages", "state.schedule", "state.stopping", "state.best",
         "state.window", "state.skipped", "state.unmoved", "state.rollbacks", "logs", "seconds",
         "config", "fingerprint", "started"]  # fmt: skip
SLOW = [("rich", "config"), ("torch", "config"), ("torch", "state.slots"), ("rollback", "anchor")]
PROVEN = [*(("rich", part) for part in PARTS), ("torch", "state.slots"),
          ("torch", "state.stopping"), ("torch", "config"), ("rollback", "anchor")]  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def _quick() -> Iterator[None]:
    with quickened(), by_steps():
        yield


@contextlib.contextmanager
def by_steps() -> Iterator[None]:
    """Let every step take a second, and nothing else any time."""
    seconds, original = [1.0], execute.advancing

    def advancing(*given: Any) -> Any:
        advance = original(*given)

        def timed(state: Any) -> Any:
            seconds[0] += 1
            return advance(state)

        return timed

    class Time:
        def __getattr__(self, name: str) -> Any:
            return (lambda: seconds[0]) if name == "perf_counter" else getattr(time, name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(execute, "advancing", advancing)
        patch.setattr(recorder, "time", Time())
        yield


def ended(case: Case, root: Path, after: int, kill: bool) -> tuple[Path, dict[str, Any]]:
    """Return the directory of a run that ended after so many steps, and what it left."""
    with cut(after, kill):
        begin(case.overrides, root)
    folder = started(root)
    return folder, loaded(folder)


def loaded(folder: Path) -> dict[str, Any]:
    return checkpoints.load(folder / directory.CHECKPOINTS, pytest.fail)


def timed(folder: Path) -> dict[str, Any]:
    """Return the record of a run with all its seconds of training."""
    seconds = read_json(folder / directory.SUMMARY)["seconds"]
    return {**record(folder), "seconds": [seconds, loaded(folder)["seconds"]]}


def resumed(case: Case, folder: Path) -> tuple[dict[str, Any], str]:
    """Resume a run; return its record, with all seconds of training, and what is said before."""
    shown = terminal()
    launching.resume(composed(case.overrides)[0], folder, shown)
    said = re.split(r"^(?=step +\d|$)", shown.console.file.getvalue(), maxsplit=1, flags=re.M)[0]
    return timed(folder), said


class Dead(NamedTuple):
    """A run that died, its newest checkpoint and its first one, and the record of the uncut run."""

    folder: Path
    content: dict[str, Any]
    fresh: dict[str, Any]
    expected: dict[str, Any]
    said: str  # before it goes on


@pytest.fixture(scope="module")
def dead(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Dead]:
    """Return what gives a run that died, by the name of its case; it died once."""

    @functools.cache
    def run(name: str) -> Dead:
        case, root = CASES[name], tmp_path_factory.mktemp("dead")
        whole = begin(case.overrides, root / "uncut")
        expected = timed(whole)
        folder, content = ended(case, root / "ended", case.ended, case.killed)
        _, fresh = ended(case, root / "fresh", 1, kill=True)
        assert [fresh["step"], content["step"]] == [0, case.saved]
        found, said = changed(case, folder, content)
        assert found == expected, "a rewritten checkpoint that says the same changes nothing"
        return Dead(folder, content, fresh, expected, said)

    return run


def changed(case: Case, folder: Path, content: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Resume a copy of a run from this checkpoint in place of its own."""
    copy = folder.parent / "copy"
    shutil.copytree(folder, copy)
    try:
        rewrite(copy / directory.CHECKPOINTS, content)
        return resumed(case, copy)
    finally:
        shutil.rmtree(copy)


def part_of(place: Place) -> str:
    """Return what is proven together: everything below one key, of the state one below it."""
    return ".".join(map(str, place[: 2 if place[0] == "state" else 1]))


def proven(dead: Dead, case: Case, part: str) -> list[Fate]:
    """Return what became of every change to a part."""

    def noticed(mutated: dict[str, Any]) -> list[str]:
        found, said = changed(case, dead.folder, mutated)
        seen = [part for part in found if found[part] != dead.expected[part]]
        return seen + ([] if said == dead.said else ["said"])

    return list(fates(dead.content, dead.fresh, noticed, lambda place: part_of(place) == part))


def excused(fate: Fate) -> bool:
    """Tell whether it is not ours to notice.

    Without a key an optimizer of torch's raises, or takes a default, which only it knows; its
    learning rate is written anew before each step. Without an anchor nobody can go back to it.
    """
    torchs = "param_groups" in fate.place or fate.place[:3] == ("state", "slots", "state")
    if fate.place[0] == "anchor":
        return fate.change == "dropped" and bool(fate.crash)
    return torchs and (fate.change == "dropped" or bool(fate.crash) or fate.place[-1] == "lr")


@pytest.mark.parametrize(
    ("name", "part"),
    [pytest.param(*each, marks=[pytest.mark.slow] if each in SLOW else []) for each in PROVEN],
)
def test_no_key_can_be_lost(dead: Callable[[str], Dead], name: str, part: str) -> None:
    """F18: whatever is dropped, or has another value, the run differs or is refused."""
    found = proven(dead(name), CASES[name], part)
    assert [str(fate) for fate in found if not (fate.noticed or excused(fate))] == []
    assert {fate.change for fate in found} > {"dropped"}


def test_every_key_has_its_proof(dead: Callable[[str], Dead]) -> None:
    """F18: a key that is new in a checkpoint belongs to a part that is proven above."""
    held = {(name, part_of(place), kind(place))
            for name in CASES for place in places(dead(name).content)}  # fmt: skip
    proofs = {kind for name, part, kind in held if (name, part) in PROVEN}
    assert {kind for _, _, kind in held} - proofs == set()

"""Every key of a batch's checkpoint matters: without it, or with another value, a job differs.

The keys are those that the checkpoints of these batches hold, whatever they may be.
"""

from __future__ import annotations

import contextlib
import functools
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from mutations import fates
from resuming import flat, points, quickened, rewrite
from test_batch import Killed, member, trained
from test_batch import record as recorded

from runner.execution import batch, jobs, lanes
from runner.execution.jobs import Member
from runner.foundation.files import read_json
from runner.recording import recorder
from runner.training import checkpoints

# Rows at each third and at each fourth of 24 steps; evaluations at each third, of which one of the
# first two is the best of all. The learning rate falls after steps 9, 15 and 21.
COMMON = ("averaging=ema", "averaging.decay=0.5", "trainer.evaluate_every=3steps",
          "optimizer.lr=3.0")  # fmt: skip
FALLING = ("schedule=plateau", "schedule.patience=2", "schedule.min_delta=100.0")
EARLY = ("stopping=early", "stopping.min_delta=9.0")
LANES = {
    "long": ("seed=2", "dropout.keep=0.5", *FALLING, *EARLY, "stopping.patience=5"),  # to step 18
    "stopped": ("seed=2", "stopping=target", "stopping.value=0.2"),  # at step 3
    "diverged": ("seed=3", "optimizer.lr=1.0e+38"),
    "stopped later": ("seed=3", "schedule=constant", *EARLY, "stopping.patience=2"),  # at step 9
    "also long": ("seed=5", *FALLING),
}


class Case(NamedTuple):
    """After which step a batch is saved, after which it dies, who is still in it, who was told."""

    saved: int
    died: int
    members: list[str | None]
    told: bool  # that others have ended


CASES = {
    "stopped": Case(7, 8, ["long", None, None, "stopped later", "also long"], told=False),
    "compacted": Case(14, 17, ["long", "also long"], told=True),
}
PARTS = ["format", "step", "seen", "members", "lanes", "best", "window", "jobs", "results"]
QUICK = ("format", "step", "seen", "members")


@pytest.fixture(autouse=True, scope="module")
def _quick() -> Iterator[None]:
    with quickened(), by_steps():
        yield
    batch._lender.cache_clear()


@contextlib.contextmanager
def by_steps() -> Iterator[None]:
    """Let every step take a second, and nothing else any time."""
    seconds, original = [1.0], lanes.Batch._factors

    def factors(self: lanes.Batch) -> Any:
        seconds[0] += 1
        return original(self)

    class Time:
        def __getattr__(self, name: str) -> Any:
            return (lambda: seconds[0]) if name == "perf_counter" else getattr(time, name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lanes.Batch, "_factors", factors)
        patch.setattr(recorder, "time", Time())
        patch.setattr(recorder, "WAIT", 0.0)
        yield


@functools.cache
def members() -> list[Member]:
    return [member(name, Path(), *COMMON, *overrides) for name, overrides in LANES.items()]


def made(root: Path) -> list[Member]:
    return [replace(each, folder=root / each.id) for each in members()]


def loaded(root: Path) -> dict[str, Any]:
    return checkpoints.load(root / "batches" / "b000", pytest.fail)


def died(case: Case, root: Path) -> dict[str, Any]:
    """Let a batch die; return the newest checkpoint it left."""

    def keep(self: lanes.Batch, waiting: Any, ended: Any) -> None:
        if self.stack.step == case.saved:
            self.save()
        if self.stack.step == case.died:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lanes.Batch, "_keep", keep)
        if not case.told:
            patch.setattr(jobs.Record, "ended", lambda *given: None)
        with pytest.raises(Killed):
            trained(made(root), root, way="false")
    return loaded(root)


def fresh(root: Path) -> dict[str, Any]:
    """Return the checkpoint of a batch before its first step."""

    def save(self: lanes.Batch, *given: Any) -> None:
        with self.saving:
            self.save()
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lanes.Batch, "train", save)
        with pytest.raises(Killed):
            trained(made(root), root, way="false")
    return loaded(root)


def record(root: Path) -> dict[str, Any]:
    """Return what equal batches have in common: the records of all jobs, and what is kept."""
    jobs = {
        job.id: {
            **recorded(root, job),
            "points": points(job.folder),
            "times": [read_json(job.folder / "summary.json").get(name)
                      for name in ("seconds", "samples_per_second")],
        }
        for job in made(root)
    }  # fmt: skip
    return {**jobs, "kept": flat(loaded(root))}


class Dead(NamedTuple):
    """A batch that died, its newest checkpoint and its first one, and the record of the uncut."""

    root: Path
    content: dict[str, Any]
    fresh: dict[str, Any]
    expected: dict[str, Any]


@pytest.fixture(scope="module")
def dead(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Dead]:
    """Return what gives a batch that died, by the name of its case; it died once."""

    @functools.cache
    def run(name: str) -> Dead:
        root, case = tmp_path_factory.mktemp("dead"), CASES[name]
        trained(made(root / "uncut"), root / "uncut", way="false")
        expected = record(root / "uncut")
        content = died(case, root / "died")
        assert [content["step"], content["members"]] == [case.saved, case.members]
        found = resumed(root / "died", content)
        assert found == expected, "a rewritten checkpoint that says the same changes nothing"
        return Dead(root / "died", content, fresh(root / "fresh"), expected)

    return run


def resumed(root: Path, content: dict[str, Any]) -> dict[str, Any]:
    """Return the record of a batch that goes on from this checkpoint in place of its own."""
    copy = root.parent / "copy"
    shutil.copytree(root, copy)
    try:
        rewrite(copy / "batches" / "b000", content)
        trained(made(copy), copy, way="false")
        return record(copy)
    finally:
        shutil.rmtree(copy)


def parts() -> Iterator[Any]:
    """Yield every part where lanes went, and where jobs have ended what differs then."""
    for name, several in (("compacted", PARTS), ("stopped", ["members", "results"])):
        for part in several:
            quick = name == "compacted" and part in QUICK
            yield pytest.param(name, part, marks=[] if quick else [pytest.mark.slow])


@pytest.mark.parametrize(("name", "part"), list(parts()))
def test_no_key_can_be_lost(dead: Callable[[str], Dead], name: str, part: str) -> None:
    """F18: whatever is dropped, or has another value, a job differs or the batch is refused."""
    batch = dead(name)

    def noticed(content: dict[str, Any]) -> list[str]:
        found = resumed(batch.root, content)
        return [each for each in batch.expected if found.get(each) != batch.expected[each]]

    found = list(fates(batch.content, batch.fresh, noticed, lambda place: place[0] == part))
    assert [str(fate) for fate in found if not fate.noticed] == []
    assert {fate.change for fate in found} > {"dropped"}


def test_every_key_has_its_proof(dead: Callable[[str], Dead]) -> None:
    """F18: a key that is new in a checkpoint is proven above."""
    assert {key for name in CASES for key in dead(name).content} == set(PARTS)

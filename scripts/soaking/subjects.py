"""What is killed again and again: a run, and a sweep of a few jobs as lanes."""

from __future__ import annotations

import contextlib
import shutil
from abc import ABC, abstractmethod
from pathlib import Path

from runner.foundation.files import read_json
from runner.recording import directory
from soaking import record
from soaking.record import Record

LANES, PROCESSES = 4, 2
RUN_DIR = "run"
# What a run can have that must survive: statistics, masks, counters, slots, averages, warm-up.
RICH = (
    "dataset=digits", "architecture.hidden=[32]", "normalization=batch", "dropout=inverted",
    "dropout.keep=0.8", "stopping=early", "schedule=cosine",
    "schedule.warmup=500steps", "averaging=ema", "clipping=norm", "clipping.norm.limit=0.5",
    "regularizer=l2", "augmentation=flip_crop", "augmentation.flip_crop.padding=1",
    "optimizer=adam", "threads=1", "device=cpu", "compile=trace",
)  # fmt: skip
RUN = (
    *RICH, "optimizer.lr=0.003", "stopping.patience=1000", "hooks=weight_norm",
    "hooks.weight_norm.every=20steps", "trainer.log_every=7steps", "trainer.evaluate_every=50steps",
    "trainer.save_every=10steps",
)  # fmt: skip
SWEEP = (
    *RICH, "stopping.patience=3", "optimizer.lr=0.1,0.01,0.003,1e30", "seeds=2", "name=soak",
    f"sweep.lanes={LANES}", f"sweep.processes={PROCESSES}", "sweep.figures=false",
    "sweep.save_minutes=0.0005", "trainer.log_every=20steps", "trainer.evaluate_every=100steps",
)  # fmt: skip


class Subject(ABC):
    """A command that is begun, cut, gone on with, and compared in the end."""

    name: str
    done: int  # its exit code in the end
    room: int  # steps from one kill to the next, or so
    orphaning = 0.0  # share of kills that spare its workers, which then save and leave

    def __init__(self, folder: Path, steps: int):
        """Run in `folder`, which is made anew."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.folder, self.steps, self.begun = folder, steps, 0

    @classmethod
    def steps_for(cls, kills: int) -> int:
        """Return how many steps leave room for so many kills, or for many of them."""
        return min(max(cls.room * kills, 600), 6000)

    @abstractmethod
    def words(self) -> list[str]:
        """Return the command that begins, or goes on with what is there."""

    @abstractmethod
    def saves(self) -> dict[Path, int]:
        """Return the step of the newest checkpoint of each folder of checkpoints."""

    @abstractmethod
    def record(self) -> Record:
        """Return what the finished command left."""

    @abstractmethod
    def wrong(self, reference: Record, heard: bool) -> list[str]:
        """Return what is not as promised right after a kill, or a signal that was `heard`."""

    def in_mid_save(self) -> bool:
        """Tell whether a kill has left a checkpoint half written."""
        return any(self.folder.rglob(".step-*.tmp"))


class Run(Subject):
    """One run, gone on with by `runner resume DIR`, or by the same command again."""

    name, done, room = "run", 0, 40

    def __init__(self, folder: Path, steps: int):
        """Begin in a directory that the command names."""
        super().__init__(folder, steps)
        self.run = folder / RUN_DIR

    def words(self) -> list[str]:
        """Return the one or the other, in turns; the same command where nothing is saved yet."""
        self.begun += 1
        if self.begun % 2 == 0 and self.saves():
            return ["resume", RUN_DIR]
        return [*RUN, f"trainer.steps={self.steps}", f"run_dir={RUN_DIR}", "resume=auto"]

    def saves(self) -> dict[Path, int]:
        """Return the step of the newest checkpoint that stands under its final name."""
        return newest({self.run / directory.CHECKPOINTS})

    def record(self) -> Record:
        """Return the record of the run."""
        return record.of_run(self.run)

    def wrong(self, reference: Record, heard: bool) -> list[str]:
        """Look at the metrics so far, the status, and the newest checkpoint's bytes."""
        if not (saves := self.saves()):
            return []
        problems = foreign(self.run, reference["metrics"])
        (saved,) = saves.values()
        status = read_json(self.run / directory.STATUS)
        if status.get("step", -1) > saved:
            problems.append(f"status.json says step {status['step']}, saved is step {saved}")
        if heard and (status.get("state"), status.get("step")) != ("interrupted", saved):
            problems.append(f"step {saved} was saved, but status.json says {status}")
        return [*problems, *damaged(self.run / directory.CHECKPOINTS)]


class Sweep(Subject):
    """A sweep of jobs as lanes, two of which diverge, gone on with by the same command."""

    name, done, room = "sweep", 6, 100  # some diverge
    orphaning = 0.5

    def __init__(self, folder: Path, steps: int):
        """Let lanes be what was found best, however little there is to train."""
        super().__init__(folder, steps)
        from runner.assemble.ways import Way, key_of
        from runner.compose import Composer
        from runner.foundation import remembered
        from runner.sweeps.plan import plan

        settings = [job.settings for job in plan(self.words()[1:], Composer()).jobs]
        way = Way(LANES, "trace", 1, "as lanes in any case")
        remembered.remember(
            key_of(settings, PROCESSES, LANES),
            {"what": "way", "value": way._asdict(), "reason": way.reason, "for": "a soak"},
        )

    @property
    def _home(self) -> Path:
        return self.folder / "outputs/default/soak"

    def words(self) -> list[str]:
        """Return the command, which finds its own sweep."""
        return ["-m", *SWEEP, f"trainer.steps={self.steps}"]

    def saves(self) -> dict[Path, int]:
        """Return the step of the newest checkpoint of each batch."""
        batches = self._home / directory.BATCHES
        return newest({path.parent for path in batches.rglob("step-*.pt")})

    def record(self) -> Record:
        """Return the record of the sweep and all its jobs."""
        return record.of_sweep(self._home)

    def wrong(self, reference: Record, heard: bool) -> list[str]:
        """Look at the metrics of every job so far, and at the newest checkpoints' bytes."""
        problems = []
        for key, job in read_json(self._home / directory.SWEEP).get("jobs", {}).items():
            name = job["directory"]
            known = reference.get(f"{name}: metrics")
            if known is None:
                problems.append(f"there is a job {key} in {name}, which the uncut sweep has not")
            else:
                problems += foreign(self._home / name, known)
        return [*problems, *(line for saves in self.saves() for line in damaged(saves))]


SUBJECTS: dict[str, type[Subject]] = {each.name: each for each in (Run, Sweep)}


def newest(folders: set[Path]) -> dict[Path, int]:
    """Return the step of the newest checkpoint of each of these folders that has one."""
    from runner.training import checkpoints

    found = {}
    for folder in sorted(folders):
        with contextlib.suppress(OSError):  # one is removed meanwhile
            if listed := checkpoints.listed(folder):
                found[folder] = int(listed[0].name.split("-")[1])
    return found


def foreign(folder: Path, known: bytes) -> list[str]:
    """Return a complaint unless the metrics so far are the first of those of the uncut run."""
    path = folder / directory.METRICS
    written = path.read_bytes() if path.exists() else b""
    if known.startswith(written):
        return []
    return [f"{path}: other lines than those of the uncut run"]


def damaged(saves: Path) -> list[str]:
    """Return a complaint if the newest checkpoint of a folder cannot be read."""
    from runner.foundation.errors import UnusableCheckpoint
    from runner.training import checkpoints

    try:
        checkpoints.read(record.whole(saves))
    except UnusableCheckpoint as error:
        return [f"{saves}: {error}"]
    return []

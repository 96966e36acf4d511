"""Kill a command at random moments, go on with it, compare what it comes to with the uncut one."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from soaking.process import Process
from soaking.record import Record, differing
from soaking.subjects import Subject

POLITE = {signal.SIGTERM: 143, signal.SIGINT: 130}
EARLY, ASKED = 0.15, 0.2  # shares of kills before a checkpoint, and of signals that may be heard
JITTER = 0.05  # seconds at most from a new checkpoint to the kill
KILL, MID_SAVE = "SIGKILL", "in the middle of a save"


@dataclass
class Tally:
    """What happened, and what should not have."""

    ended: Counter[str] = field(default_factory=Counter)  # by kind
    kills: int = 0  # by SIGKILL, after a new checkpoint
    resumes: int = 0
    compared: int = 0
    slowest: float = 0.0  # seconds to leave after a signal that is heard
    problems: list[str] = field(default_factory=list)


class Soak:
    """Cut a subject until it was killed often enough, and let it come to its end."""

    def __init__(
        self, make: Callable[[Path], Subject], home: Path, dice: random.Random, fresh: bool
    ):
        """Run in `home`; `dice` decides when and how to cut."""
        self.make, self.home, self.dice, self.fresh = make, home, dice, fresh
        self.tally, self.uncut = Tally(), Record()
        self.starting = 1.0  # seconds until the first new checkpoint, as it was last

    def reference(self) -> float:
        """Run once without a cut; return the seconds."""
        subject = self.make(self.home / "uncut")
        process = self._process(subject)
        for _ in process.looking():
            if not subject.saves():
                self.starting = time.monotonic() - process.started
        if (code := process.wait()) != subject.done:
            raise RuntimeError(f"the uncut {subject.name} ended with {code}\n{process.said()}")
        self.uncut = subject.record()
        return time.monotonic() - process.started

    def expected(self, kills: int) -> float:
        """Return how many seconds so many kills may take, of which others are a share."""
        processes = kills / (1 - EARLY) / (1 - ASKED)
        return processes * (self.starting + JITTER)

    def cuts(self, kills: int) -> Iterator[Tally]:
        """Cut and go on, the whole again if it ends before it was killed often enough.

        Yields after each end of a process, until something is wrong or all is done.
        """
        while self.tally.kills < kills and not self.tally.problems:
            subject, before = self.make(self.home / "cut"), self.tally.kills
            while not self._over(subject, kills):
                yield self.tally
            if self.tally.kills == before:
                self.tally.problems.append(f"the {subject.name} ends before it can be killed")
            yield self.tally

    def _over(self, subject: Subject, kills: int) -> bool:
        """Start the subject, cut it unless that was done often enough; tell whether all is over."""
        resuming = bool(subject.saves())
        self.tally.resumes += resuming
        process = self._process(subject)
        code: int | None
        if self.tally.kills >= kills:
            code = process.wait()
        elif self.dice.random() < (EARLY if resuming else 0.5):
            code = self._early(subject, process)
        else:
            code = self._later(subject, process)
        if code is None:
            return bool(self.tally.problems)
        if code != subject.done:
            self._complain(f"{subject.name}: exit code {code}", process)
        elif wrong := differing(subject.record(), self.uncut):
            self._complain("\n".join(wrong), process)
        else:
            self.tally.compared += 1
        return True

    def _early(self, subject: Subject, process: Process) -> int | None:
        """Cut at a moment before the first new checkpoint is to be expected."""
        before = subject.saves()
        due = time.monotonic() + self.dice.uniform(0, self.starting)
        for _ in process.looking():
            if time.monotonic() >= due:
                break
        return self._cut(subject, process, signal.SIGKILL, "SIGKILL before a checkpoint", before)

    def _later(self, subject: Subject, process: Process) -> int | None:
        """Cut some time after a new checkpoint or two."""
        before = seen = subject.saves()
        wanted = self.dice.randint(1, 3)
        for _ in process.looking():
            now = subject.saves()
            if now != seen:
                if seen == before:
                    self.starting = time.monotonic() - process.started
                seen, wanted = now, wanted - 1
            if wanted <= 0:
                break
        time.sleep(self.dice.uniform(0, JITTER))
        if self.dice.random() < ASKED:
            number = self.dice.choice(list(POLITE))
            return self._cut(subject, process, number, number.name, subject.saves())
        return self._cut(subject, process, signal.SIGKILL, KILL, subject.saves())

    def _cut(
        self, subject: Subject, process: Process, number: int, kind: str, saved: dict[Path, int]
    ) -> int | None:
        """Send a signal, and look at what is left; return the code of a process that was done."""
        sent = time.monotonic()
        orphaning = number == signal.SIGKILL and self.dice.random() < subject.orphaning
        if number == signal.SIGKILL and not orphaning:
            process.kill()
        else:
            process.send(number)
        code = process.wait()
        if code != POLITE.get(signal.Signals(number), -number):
            return code
        self.tally.ended[f"{kind}, workers spared" if orphaning else kind] += 1
        self.tally.kills += kind == KILL
        if number in POLITE:
            self.tally.slowest = max(self.tally.slowest, time.monotonic() - sent)
        now = subject.saves()
        problems = [f"{path}: step {step} was saved, the newest is {now.get(path)}"
                    for path, step in saved.items() if now.get(path, -1) < step]  # fmt: skip
        if not orphaning:
            self.tally.ended[MID_SAVE] += subject.in_mid_save()
            problems += subject.wrong(self.uncut, number in POLITE)
        for line in problems:
            self._complain(f"after {kind}: {line}", process)
        return None

    def _process(self, subject: Subject) -> Process:
        return Process(subject.words(), subject.folder, self.fresh)

    def _complain(self, text: str, process: Process) -> None:
        self.tally.problems.append(f"{text}\nit printed last:\n{process.said()}")

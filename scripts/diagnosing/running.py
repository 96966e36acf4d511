"""Run commands in this process, and read what their directories say."""

from __future__ import annotations

import contextlib
import io
import itertools
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from runner import cli
from runner.diagnosis.verdicts import CONSEQUENCES, judge
from runner.diagnosis.verdicts.kind import Verdict
from runner.diagnosis.verdicts.remedy import corrected
from runner.foundation.files import read_json
from runner.recording import directory
from runner.reports.diagnosis import evidence

PLAIN = ("threads=1", "device=cpu", "compile=trace", "tensorboard=false")
WORST = {"accuracy": 0.0, "r2": -math.inf, "loss": math.inf}


class Ended(NamedTuple):
    """How a run ended: its verdicts, and its numbers by split and metric."""

    verdicts: list[Verdict]
    numbers: dict[str, float]

    def named(self, name: str) -> Verdict | None:
        """Return the verdict of a name, else of what silences it: it is named as the cause."""
        causes = [cause.name for cause, others in CONSEQUENCES.items()
                  if name in [each.name for each in others]]  # fmt: skip
        named = {each.name: each for each in self.verdicts}
        return next((named[each] for each in (name, *causes) if each in named), None)

    def number(self, key: str) -> float:
        """Return a number; of a run that diverged the worst there is."""
        return self.numbers.get(key, WORST[key.rpartition("/")[2]])


class Runs:
    """Runs in a folder, none of which is made twice."""

    def __init__(self, folder: Path):
        self.folder, self._known = folder, dict[tuple[str, ...], Ended]()
        self._shown: dict[tuple[str, ...], bool] = {}
        self._numbers = itertools.count()

    def words(self, text: str) -> list[str]:
        """Return the words of a command."""
        return text.replace("{folder}", str(self.folder)).split()

    def __call__(self, words: Sequence[str], seed: int) -> Ended:
        """Train; raises an AssertionError with what was said where that is refused."""
        key = (*words, f"seed={seed}")
        if key not in self._known:
            run = self.folder / f"run{next(self._numbers)}"
            code, said = _called([*key, *PLAIN, f"run_dir={run}"])
            assert code in (0, 4), f"runner {' '.join(key)}: exit code {code}\n{said}"
            self._known[key] = _ended(run)
            shutil.rmtree(run)
        return self._known[key]

    def accepted(self, words: Sequence[str], override: str) -> bool:
        """Tell whether the runner takes the words that a verdict offers for a run."""
        new = tuple(corrected(words, override))
        if new not in self._shown:
            self._shown[new] = _called(["show", *new])[0] == 0
        return self._shown[new]


def _called(words: Sequence[str]) -> tuple[int, str]:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        return cli.run(list(words)), said.getvalue()


def _ended(run: Path) -> Ended:
    summary, seen = read_json(run / directory.SUMMARY), evidence(run)
    numbers = {
        f"{split}/{metric}": value
        for split in ("train", "valid", "test")
        for metric, value in summary.get(split, {}).items()
    }
    if curve := seen.curve("valid/loss"):
        numbers["last valid/loss"] = curve[-1][1]
    return Ended(judge(seen), numbers)

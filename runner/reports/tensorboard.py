"""Mean curves over seeds for TensorBoard, as runs of their own below a sweep.

mean/<configuration>/events...         the mean of each tag, test/... at the last step
mean/<configuration>+std, ...-std      one standard deviation above and below it
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from runner.foundation.files import unwritable
from runner.reports import curves, naming
from runner.reports.curves import Curves, Found
from runner.reports.folding import folded
from runner.reports.results import Results

FOLDER = "mean"


def write_means(results: Results, known: Found | None = None) -> Path | None:
    """Write the mean curves of configurations of several seeds in place of older ones.

    `known` curves need not be read again.

    Return their folder; None, and no folder is left, where no configuration has two seeds with
    curves: a mean of one would only be drawn over it. Raises `Unwritable`.
    """
    known = curves.of(results, folded(results)) if known is None else known
    found = {each: curve for each, curve in known.items() if len(each.members) > 1}
    target = results.folder / FOLDER
    fresh = results.folder / f".{FOLDER}.{os.getpid()}.tmp"
    try:
        shutil.rmtree(fresh, ignore_errors=True)
        names = naming.folders([each.swept for each in found])
        for name, each in zip(names, found.values(), strict=True):
            for suffix, sign in (("", 0), ("+std", 1), ("-std", -1)):
                _write(fresh / f"{name}{suffix}", each, sign)
        _replace(target, fresh if found else None)
    except OSError as error:
        raise unwritable(target, error) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return target if found else None


def _write(folder: Path, found: Curves, sign: int) -> None:
    """Write a run of the means plus `sign` standard deviations."""
    from runner.recording.tensorboard import Events

    steps: dict[int, dict[str, float]] = {}
    for tag, points in found.items():
        for point in points:
            steps.setdefault(point.step, {})[tag] = point.mean + sign * (point.std or 0.0)
    folder.mkdir(parents=True)
    events = Events(folder)
    with contextlib.closing(events.log):
        for step in sorted(steps):
            events.scalars(steps[step], step)


def _replace(target: Path, fresh: Path | None) -> None:
    """Put a fresh folder in the place of another, or nothing.

    Of two processes that do so at once, one has the last word.
    """
    old = target.with_name(f".{FOLDER}.{os.getpid()}.old")
    shutil.rmtree(old, ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        target.rename(old)
    if fresh is not None:
        try:
            fresh.rename(target)
        except OSError:
            if not target.is_dir():  # it is there if another process was faster: as good
                raise
    shutil.rmtree(old, ignore_errors=True)

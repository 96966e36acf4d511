"""Training that met nan or infinity: where, why as far as the record shows, and what to do."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from runner.assemble.run import Run
from runner.foundation.errors import Diverged
from runner.recording import directory
from runner.recording.recorder import Stopwatch
from runner.training.signals import Waiting
from runner.training.state import Outcome, State, broken, nonfinite

UNMOVED = 10  # steps left out, one after the other, are more than a bad batch
ROLLBACKS = 3  # at most
SHOWN = 4  # logged rows in a hint
GREW = 3.0  # times, over them, that is more than noise
MUCH = 1.0  # a learning rate from which on a tenth is too little to try
BATCH, LOSS = "the batch itself", "the loss itself, of sound outputs,"


class Cause(NamedTuple):
    """What was not finite before anything else; `late`: the loss shows it one step later."""

    step: int
    subject: str
    late: bool

    def __str__(self) -> str:
        after = f"after step {self.step}, " if self.late else ""
        verb = "held" if self.subject == BATCH else "gave"
        return f"{after}where {self.subject} {verb} the first number that is not finite"


class NotFinite(Exception):
    """A run cannot go on: what became what, at which step of those looked at together.

    `first` to `last` are the steps since the last logged row. `noting` adds the seconds spent in
    training, and the number of a signal that waited.
    """

    seconds, signal = 0.0, 0

    def __init__(self, what: str, value: str, step: int, first: int, last: int):
        within = f"between steps {first} and {last}: first " if first < last else ""
        super().__init__(f"{what} became {value} {within}at step {step}")
        self.step = step


@contextlib.contextmanager
def noting(stopwatch: Stopwatch, waiting: Waiting) -> Iterator[None]:
    """Let `NotFinite` know what else was going on."""
    try:
        yield
    except NotFinite as found:
        found.seconds, found.signal = stopwatch.total(), waiting.number
        raise


def refuse_nonfinite(state: State, skips: bool) -> None:
    """Raise `NotFinite` if a weight is nan or infinite, or a loss since the last row.

    With `skips` the losses of steps that were left out are.
    """
    if not skips:
        refuse_losses(state.window, state.step)
    refuse_weights(state.model.named_parameters(), state.step)


def refuse_losses(window: list[Outcome], done: int) -> None:
    """Raise `NotFinite` if a loss of the newest steps is nan or infinite."""
    if (bad := nonfinite(window)) is not None:
        value, first = _called(float(window[bad].loss)), done - len(window) + 1
        raise NotFinite("the training loss", value, first + bad, first, done)


def refuse_weights(named: Iterable[tuple[str, Tensor]], step: int) -> None:
    """Raise `NotFinite` if weights are, after this step."""
    if (name := broken(named)) is not None:
        raise NotFinite(f"the weights '{name}'", "nan or infinite", step, step, step)


def refuse_gradient(norm: float, named: Iterable[tuple[str, Tensor]], step: int) -> None:
    """Raise `NotFinite` if the gradient's norm is nan or infinite and went into the weights.

    It need not: clipped by value, or taken for its sign, an infinite gradient does no harm.
    """
    if not math.isfinite(norm) and broken(named) is not None:
        raise NotFinite("the gradient", _called(norm), step, step, step)


def refuse_standstill(unmoved: float, step: int) -> None:
    """Raise `NotFinite` if every step of a window was left out, and so many as none is chance."""
    if unmoved >= UNMOVED:
        first = step - int(unmoved) + 1
        what = "the loss or the gradient of each step, all skipped,"
        raise NotFinite(what, "nan or infinite", first, first, step)


def _called(value: float) -> str:
    return "nan" if math.isnan(value) else "infinite"


def diverged(
    found: NotFinite, run: Run, folder: Path, cause: Cause | None, rollbacks: int = 0
) -> Diverged:
    """Return what is told the user: what happened, where it began, what to try."""
    where = f", {cause}" if cause else ""
    again = f", after {rollbacks} rollbacks" if rollbacks else ""
    return Diverged(f"{found}{where}{again}; {_hint(run, found.step, folder, cause)}")


def _hint(run: Run, step: int, folder: Path, cause: Cause | None) -> str:
    """Return what the history shows and which overrides fit, in one sentence."""
    rows = list(directory.read_rows(folder / directory.METRICS))
    if cause is not None and cause.subject in (BATCH, LOSS):
        what = "data" if cause.subject == BATCH else "loss"
        skips = "; trainer.on_nonfinite=skip_step leaves out such steps"
        return f"look at the {what}{'' if run.settings.trainer.skips else skips}"
    precise = ["precision=float32"] if run.autocast else []
    if step == 1:
        fresh = {"initializer": "kaiming_normal", "preprocessing": "standardize"}
        tried = [f"{group}={option}" for group, option in fresh.items()
                 if getattr(run.settings, group).factory.__name__ != option]  # fmt: skip
        advice = _either([*tried, *precise])
        why = "no update was made yet, so the data or the first weights are too large"
        return f"{why}; try {advice}" if advice else why
    lr = run.optimizer.hyper["lr"]
    slower = f"optimizer.lr={lr / 10 if lr <= MUCH else MUCH / 100:g}"
    clipping = [] if run.clips or run.optimizer.needs != "gradient" else ["clipping=norm"]
    return f"{_growth(rows)}try {_either([slower, *clipping, *precise])}"


def _growth(rows: Sequence[dict[str, Any]]) -> str:
    """Say what grew over the last rows, the gradient or the loss, or nothing."""
    for name, key in (("the norm of the gradient", "gradient/norm"), ("the loss", "train/loss")):
        values = [row[key] for row in rows if row.get(key) is not None][-SHOWN:]
        if len(values) > 1 and values[-1] > GREW * min(values[:-1]):
            return f"{name} grew over the last rows: {', '.join(f'{v:.3g}' for v in values)}; "
    return ""


def _either(words: Sequence[str]) -> str:
    *others, last = words or [""]
    return f"{', '.join(others)} or {last}" if others else last

"""A run that is to be longer: whether it can go on as if it had been so from the start."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from runner.assemble.budget import budget
from runner.components.schedule import Schedule
from runner.config import build
from runner.execution.changes import LENGTH, Asked, free, is_allowed
from runner.foundation.durations import Clock, parse
from runner.foundation.errors import Misconfigured

LOOKED_AT = 10_000  # steps of a schedule
FOREVER = float("inf")


class Longer:
    """Both lengths of a run, and what hangs on them.

    Raises `Misconfigured` where the new one is behind the run already. Data are read, since only
    they tell how many steps an epoch has.
    """

    def __init__(self, asked: Asked):
        self.asked, settings = asked, asked.settings
        former = {key.partition(".")[2]: _number(asked.changes[key][0]) for key in LENGTH
                  if key in asked.changes}  # fmt: skip
        before = replace(settings, trainer=replace(settings.trainer, **former))
        data = build(settings.dataset)
        self.old, self.new = (budget(each, data)[0] for each in (before, settings))
        self.minutes = [each.trainer.minutes or FOREVER for each in (before, settings)]
        self.step: int = asked.packed["step"]
        if self.new.total <= self.step and self.new.total != self.old.total:
            raise Misconfigured(
                f"{', '.join(f'trainer.{name}' for name in former)}: {self.new.total:,} steps are "
                f"asked for, and the run is at step {self.step:,} already"
            )

    def obstacle(self) -> str:
        """Say why a run of the new length would have come to another step, or nothing."""
        if self.new.total < self.old.total or self.minutes[1] < self.minutes[0]:
            return "the run would be shorter"
        if self.new.total == self.old.total:
            return ""
        shares = [f"{key}={value}" for key, value in self.asked.config.items()
                  if not is_allowed(key, free(self.asked.config)) and _is_share(value)]  # fmt: skip
        return f"{', '.join(shares)}: a share of the length" if shares else self._other_rate()

    def _other_rate(self) -> str:
        """Compare the factors of the steps that were made, under both lengths."""
        old, new = self._schedule(self.old), self._schedule(self.new)
        for step in range(0, self.step, max(self.step // LOOKED_AT, 1)):
            was, would_be = old.at(step, old.init()), new.at(step, new.init())
            if was != would_be:
                name = self.asked.settings.schedule.factory.__name__
                return (
                    f"schedule {name} goes by the length of training: at step {step} its factor "
                    f"was {was:.4g}, and would have been {would_be:.4g}"
                )
        return ""

    def _schedule(self, clock: Clock) -> Schedule:
        made: Schedule = build(self.asked.settings.schedule, clock.total, clock=clock)
        return made

    def leftovers(self) -> list[str]:
        """Return what the end that is no longer the end has left in the record."""
        trainer = self.asked.settings.trainer
        periods = [self.old.steps(each) for each in (trainer.log_every, trainer.evaluate_every)]
        ended = self.step == self.old.total or ended_by_clock(self.asked)
        if ended and any(self.step % each for each in periods):
            return [f"a row and an evaluation at step {self.step}, the end until now"]
        return []


def ended_by_clock(asked: Asked) -> bool:
    """Tell whether a run has ended because its minutes were over."""
    now = asked.config.get("trainer.minutes")
    minutes = _number(asked.changes.get("trainer.minutes", (now, now))[0]) or FOREVER
    return bool(asked.packed["state"].get("ended") and asked.packed["seconds"] >= 60 * minutes)


def revived(asked: Asked) -> dict[str, Any]:
    """Return the checkpoint, its end taken back where that which ended it has changed.

    Raises `Misconfigured` where a run is to be longer that did not end by its length.
    """
    packed, state = dict(asked.packed), asked.packed["state"]
    if not state.get("ended"):
        return packed
    by_clock = ended_by_clock(asked)
    more = 60 * (asked.config.get("trainer.minutes") or FOREVER) > packed["seconds"]
    if (by_clock and more) or any(is_allowed(key, ["stopping"]) for key in asked.changes):
        return {**packed, "state": {**state, "ended": False}}
    if lengths := [key for key in LENGTH if key in asked.changes]:
        rule = "the clock; change trainer.minutes too"
        if not by_clock:
            rule = "its stopping rule; change that too: stopping=none resume.allow=[stopping]"
        where = f"the run was ended at step {packed['step']} by"
        raise Misconfigured(f"{', '.join(lengths)}: {where} {rule}")
    return packed


def _number(value: Any) -> Any:
    """Return a number, None for whatever else a checkpoint calls the length of its run."""
    return value if isinstance(value, int | float) else None


def _is_share(value: Any) -> bool:
    """Tell whether a value is a share of the run's length, such as 5%, or a list with one."""
    if isinstance(value, list):
        return any(map(_is_share, value))
    try:
        return parse(value)[1] == "%"
    except ValueError:
        return False

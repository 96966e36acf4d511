"""What a run is asked to be now, beside what its checkpoint is of: which changes it can take."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.assemble.settings import Settings
from runner.foundation.errors import Misconfigured, did_you_mean
from runner.foundation.files import flat

# What no result depends on: names, places, what is written beside, and when.
FREE = {"name", "output_root", "tensorboard", "summary", "trainer.save_every", "trainer.log_every",
        "dataset.root", "dataset.download", "probes"}  # fmt: skip
MACHINE = {"threads", "device", "compile"}  # bits alone depend on them; the fingerprint tells
LENGTH = ("trainer.epochs", "trainer.steps", "trainer.samples", "trainer.minutes")
# What runs did before there was a choice, and have not recorded.
ONCE: dict[str, Any] = {"compile": False, "trainer.on_nonfinite": "stop",
                        "probes": {"_target_": "runner.components.probes.none"}}  # fmt: skip
_LONGEST = 60  # characters of a value that is shown


class _Absent:
    """Stand for the value of a key that a configuration has not."""


ABSENT = _Absent()
Changes = dict[str, tuple[Any, Any]]  # key -> what it was, what it is to be


def plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration as full keys and values that any reader of checkpoints takes."""
    values: dict[str, Any] = json.loads(json.dumps(flat(config), default=str, skipkeys=True))
    return {key: value for key, value in values.items() if value != {}}  # sections without keys


def between(then: Mapping[str, Any], now: Mapping[str, Any]) -> Changes:
    """Return the keys whose values differ."""
    pairs = {key: (then.get(key, ABSENT), now.get(key, ABSENT)) for key in {**then, **now}}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def free(config: Mapping[str, Any]) -> set[str]:
    """Return the keys that no result depends on; a run that rolls back goes to where it saved."""
    rolls_back = config.get("trainer.on_nonfinite") == "rollback"
    return FREE - {"trainer.save_every"} if rolls_back else FREE


def of_results(changes: Changes, config: Mapping[str, Any]) -> Changes:
    """Return the changes that results of this configuration depend on, beyond the last bits."""
    ours = free(config) | MACHINE
    return {key: pair for key, pair in changes.items() if not is_allowed(key, ours)}


def is_allowed(key: str, allow: Iterable[str]) -> bool:
    """Tell whether a key, or a section it is in, is among those that may change."""
    return any(key == each or key.startswith(f"{each}.") for each in allow)


@dataclass(frozen=True)
class Asked:
    """What a run is asked to be: its settings, the same as plain values, what the user allows.

    `packed` is its newest checkpoint, `changes` what differs from that.
    """

    settings: Settings
    config: Mapping[str, Any]
    allow: Sequence[str]
    packed: Mapping[str, Any]
    changes: Changes

    @property
    def of_results(self) -> Changes:
        """Return the changes that results depend on."""
        return of_results(self.changes, self.config)

    def refuse(self, name: str, why_not_longer: str) -> None:
        """Raise `Misconfigured` with every change that changes the result and is not allowed.

        Another length may be no such change; else this is why.
        """
        refused = {
            key: pair
            for key, pair in self.of_results.items()
            if not is_allowed(key, self.allow) and (key not in LENGTH or why_not_longer)
        }
        if not refused:
            return
        lines = told(refused)
        if why_not_longer and set(LENGTH) & set(refused):
            lines.append(why_not_longer)
        listing = "".join(f"\n    {line}" for line in lines)
        raise Misconfigured(
            f"{name}: step {self.packed['step']} was reached with other values:{listing}\n"
            "  take these changes back, begin a new run, or go on with them all the same: "
            f"resume.allow=[{','.join(refused)}]"
        )

    def refuse_unknown(self) -> None:
        """Raise `Misconfigured` for a key in `resume.allow` that no configuration has."""
        keys = [*self.config, *self.changes]
        known = {".".join(key.split(".")[:n]) for key in keys for n in range(1, key.count(".") + 2)}
        if unknown := [key for key in self.allow if key not in known]:
            raise Misconfigured(
                [f"resume.allow: unknown key '{key}'{did_you_mean(key, known)}" for key in unknown]
            )


def told(changes: Changes) -> list[str]:
    """Return a line for each change: `optimizer.lr: 0.1 -> 0.01`."""
    return [f"{key}: {_shown(old)} -> {_shown(new)}" for key, (old, new) in changes.items()]


def compared(changes: Changes, most: int = 5) -> str:
    """Say in a line what a checkpoint is for, and what the configuration has instead."""
    few = list(changes.items())[:most]
    before = ", ".join(f"{key}={_shown(old)}" for key, (old, _) in few)
    after = ", ".join(_shown(new) for _, (_, new) in few)
    return f"the checkpoint is for {before}, the configuration has {after}"


def recordable(changes: Changes) -> dict[str, list[Any]]:
    """Return changes as lists of old and new, for a file."""
    return {
        key: [None if each is ABSENT else each for each in pair] for key, pair in changes.items()
    }


def _shown(value: Any) -> str:
    if value is ABSENT:
        return "absent"
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."

"""Look at a run that is to go on: its newest checkpoint, and what it is asked to be now."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from runner.assemble.settings import Settings
from runner.execution.changes import (
    LENGTH,
    ONCE,
    Asked,
    between,
    is_allowed,
    of_results,
    plain,
    told,
)
from runner.execution.execute import CHECKPOINT_PARTS
from runner.execution.lengthening import Longer
from runner.foundation.errors import Misconfigured, UnusableCheckpoint
from runner.foundation.files import read_yaml
from runner.recording import directory
from runner.training import checkpoints

Warn = Callable[[str], None]
_KINDS = {"step": int, "state": dict, "logs": dict, "seconds": int | float, "config": dict,
          "fingerprint": dict}  # fmt: skip
_FEW = 5


def examined(
    folder: Path, settings: Settings, config: Mapping[str, Any], allow: Sequence[str], warn: Warn
) -> Asked:
    """Return a run as it is asked for, beside its newest usable checkpoint.

    What an earlier format does not know of the configuration, config.yaml tells. Raises
    `UnusableCheckpoint`.
    """
    recorded, status = plain(read_yaml(folder / directory.CONFIG)), directory.status(folder)

    def unfit(content: dict[str, Any]) -> str:
        if wrong := _of_no_kind(content):
            return f"not a checkpoint: what is under {', '.join(wrong)}"
        began, own = content.get("started"), status.get("started")
        if None in (began, own) or began == own:
            return ""
        differs = of_results(between(plain(content.get("config", {})), recorded), recorded)
        return _of_another(began, told(differs))

    packed = checkpoints.load(
        folder / directory.CHECKPOINTS, warn, CHECKPOINT_PARTS, status.get("sizes"), unfit
    )
    then, now = plain(packed.get("config", {**ONCE, **recorded})), plain(config)
    return Asked(settings, now, allow, packed, between(then, now))


def _of_no_kind(content: Mapping[str, Any]) -> list[str]:
    """Return the parts that are not what a checkpoint has under their names."""
    there = [name for name in _KINDS if name in content]
    wrong = [name for name in there if not isinstance(content[name], _KINDS[name])]
    wrong += [name for name in ("config", "fingerprint") if not _is_plain(content.get(name))]
    lengths = content["logs"].values() if "logs" in there and "logs" not in wrong else ()
    if not all(isinstance(each, int) and each >= 0 for each in lengths):
        wrong.append("logs")
    seconds = content.get("seconds")
    if isinstance(seconds, float) and not 0 <= seconds < math.inf:
        wrong.append("seconds")
    return wrong


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict | list):
        return all(map(_is_plain, value.values() if isinstance(value, dict) else value))
    return value is None or isinstance(value, str | int | float)


def _of_another(began: Any, lines: Sequence[str]) -> str:
    """Say that a checkpoint is of another run, and what that has other than this one."""
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(began)) if _is_time(began) else began
    more = f" and {len(lines) - _FEW} more" if len(lines) > _FEW else ""
    differs = f"; it differs in {', '.join(lines[:_FEW])}{more}" if lines else ""
    return f"of another run, begun {when}{differs}"


def _is_time(value: Any) -> bool:
    return isinstance(value, float) and 0 <= value < 2**33


def is_over(
    folder: Path, settings: Settings, config: Mapping[str, Any], allow: Sequence[str]
) -> bool:
    """Tell whether a run is finished and asked for nothing more.

    Raises `Misconfigured` where it is to be another than it was.
    """
    if directory.status(folder).get("state") != "finished":
        return False
    try:
        asked = examined(folder, settings, config, allow, lambda text: None)
    except UnusableCheckpoint:
        recorded, now = plain(read_yaml(folder / directory.CONFIG)), plain(config)
        return not of_results(between(recorded, now), now)
    if not (changes := asked.of_results):
        return True
    refuse(asked, str(folder))
    if not any(key in LENGTH or is_allowed(key, ["stopping"]) for key in changes):
        raise Misconfigured(
            f"{', '.join(changes)}: the run is finished (step {asked.packed['step']}), and nothing "
            "is left to train with that; let it be longer too, such as by trainer.epochs"
        )
    return False


def refuse(asked: Asked, name: str) -> list[str]:
    """Raise `Misconfigured` with every change that a run cannot go on with.

    Return what makes one that is to be longer another than if it had been so from the start.
    """
    asked.refuse_unknown()
    longer = Longer(asked) if set(LENGTH) & set(asked.changes) else None
    asked.refuse(name, longer.obstacle() if longer else "")
    return longer.leftovers() if longer else []

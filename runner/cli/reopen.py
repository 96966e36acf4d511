"""Open a recorded run again: what the user's own code may do in it is asked anew."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from runner.cli.configure import LISTS, here, machine, output_root, several, trusted
from runner.foundation import memory
from runner.foundation.errors import Misconfigured
from runner.recording import directory


def reopened(options: argparse.Namespace) -> tuple[Path, Any]:
    """Return the directory of the run that is meant, and its checked settings.

    A run that used packages of the user's own names them and needs `--trust`, or the defaults
    file, to allow them again.
    """
    given = here(options.overrides)
    folder = directory.find(options.run, output_root(given.pop("output_root", None)))
    return folder, settings_of(folder, trusted(options, machine()), given)


@memory.loading()
def settings_of(folder: Path, trust: list[str], given: Mapping[str, str]) -> Any:
    """Check a run's recorded configuration with these packages trusted, here and now.

    `given` machine keys go before the recorded ones.
    """
    from runner import config
    from runner.assemble.settings import Settings

    _refuse_untrusted(folder, trust)
    composition = _recorded(folder)
    for key, value in given.items():
        section, _, name = key.rpartition(".")
        (composition.config[section] if section else composition.config)[name] = value
    return config.check(composition.config, Settings, trust=trust)


@memory.loading()
def asked_again(folder: Path, words: Sequence[str], options: argparse.Namespace) -> tuple[Any, Any]:
    """Check a run's recorded configuration with these words on top; return (settings, request)."""
    from runner import config
    from runner.assemble.settings import Settings
    from runner.execution.launch import Request

    trust = trusted(options, machine())
    _refuse_untrusted(folder, trust)
    composition, asked = _recorded(folder), directory.asked(folder)
    choices = dict(asked.get("choices", {}))
    if words:
        composition, changed = _changed(composition, words, asked.get("config_dirs", []))
        choices |= changed
    settings = config.check(composition.config, Settings, trust=trust)
    return settings, Request(composition.record, choices, list(words))


def _recorded(folder: Path) -> Any:
    """Return a run's recorded configuration, with what runs did before there was a choice."""
    from runner import compose
    from runner.execution.changes import ONCE

    composition = compose.recorded(folder / directory.CONFIG)
    for key, value in ONCE.items():
        section, _, name = key.rpartition(".")
        for config in (composition.config, composition.record):
            part = config.get(section) if section else config
            if isinstance(part, dict):
                part.setdefault(name, value)
    return composition


def _changed(
    composition: Any, words: Sequence[str], folders: Sequence[str]
) -> tuple[Any, dict[str, Any]]:
    """Return a composition with these words on top, and the options they choose."""
    from runner import compose

    keys = [word.lstrip("+~").partition("=")[0] for word in words]
    if "experiment" in keys:
        raise Misconfigured("experiment: is where a run begins; give the values that are to change")
    known = [Path(each) for each in folders if Path(each).is_dir()]
    defaults = {key: value for key, value in machine().items() if key not in LISTS}
    composer = compose.Composer(known, defaults, several())
    changed, problems = composer.compose(
        [*words, *compose.one_budget(words)], alone=True, base=composition.record
    )
    if problems:
        raise Misconfigured(problems)
    return changed, {key: each for key, each in changed.choices.items() if key in keys}


def _refuse_untrusted(folder: Path, trust: Sequence[str]) -> None:
    """Raise `Misconfigured` where a run calls code that is not trusted here and now."""
    from runner.sweeps.settings import CONSENT

    asked = directory.asked(folder)
    if missing := [name for name in asked.get("trust", []) if name not in (*trust, CONSENT)]:
        flags = " ".join(f"--trust {name}" for name in missing)
        folders = ", ".join(asked.get("config_dirs", [])) or "none"
        raise Misconfigured(
            f"{folder}: calls code of {', '.join(missing)} (option folders: {folders}); "
            f"if you trust it, add {flags}"
        )

"""What the verbs that take a configuration share: flags, the user's defaults file, the check."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_origin, get_type_hints

import yaml

from runner.foundation import kinds, memory
from runner.foundation.errors import Misconfigured, did_you_mean
from runner.foundation.files import flat
from runner.foundation.ranges import Count

# What a defaults file may set: where things are on this machine, nothing that shapes a result.
MACHINE: dict[str, Any] = {
    "output_root": str,
    "dataset.root": str,
    "threads": Count | Literal["auto"],
    "device": str,
    "trust": str,
    "config_dir": str,
}
RECORDED = ("dataset.root", "device")  # what may differ where a run is opened again
LISTS = ("trust", "config_dir")


def add_configuration(parser: argparse.ArgumentParser) -> None:
    """Add `key=value` words and the flags that go with them."""
    parser.add_argument(
        "overrides", nargs="*", default=[], metavar="key=value", help="configuration"
    )
    add_trust(parser)
    parser.add_argument(
        "--config-dir",
        action="append",
        default=[],
        metavar="DIR",
        help="a folder with further options, laid out as conf/ is (repeatable)",
    )


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Add the flag that lets a package of the user's own be named in a configuration."""
    parser.add_argument(
        "--trust",
        action="append",
        default=[],
        metavar="PACKAGE",
        help="let configurations call functions of this package of yours (repeatable)",
    )


def defaults_file() -> Path:
    """Return where the user's defaults file is, whether or not it exists."""
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "runner" / "defaults.yaml"


def machine() -> dict[str, Any]:
    """Read the defaults file: machine things only, else every other key is a mistake."""
    path = defaults_file()
    if not path.is_file():
        return {}
    try:
        content = flat(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    except (OSError, UnicodeDecodeError, yaml.YAMLError, AttributeError) as error:
        raise Misconfigured(f"{path}: not a mapping of keys: {error}") from error
    for key in LISTS:
        if isinstance(content.get(key), str):
            content[key] = [content[key]]
    if problems := [line for key, value in content.items() for line in _wrong(key, value)]:
        raise Misconfigured([f"{path}: {line}" for line in problems])
    return content


def _wrong(key: str, value: Any) -> list[str]:
    """Return what is wrong with one key of a defaults file."""
    if key not in MACHINE:
        return [f"'{key}' cannot be set here{did_you_mean(key, MACHINE)} ({', '.join(MACHINE)})"]
    try:
        for each in value if key in LISTS and isinstance(value, list) else [value]:
            kinds.convert(each, MACHINE[key])
    except ValueError:
        return [f"{key}: expected {kinds.describe(MACHINE[key])}, got {value!r}"]
    return []


def output_root(given: str | None = None) -> Path:
    """Return where runs are: the given root, else the defaults file's, else `outputs`."""
    return Path(given or machine().get("output_root", "outputs")).expanduser()


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add a run, and the machine keys that may differ from the recorded ones."""
    parser.add_argument("run", metavar="DIR", help="a run: directory, id, part of an id, or last")
    keys = ", ".join(f"{key}=" for key in RECORDED)
    parser.add_argument(
        "overrides", nargs="*", default=[], metavar="key=value", help=f"output_root=, {keys}"
    )
    add_trust(parser)


def here(overrides: list[str]) -> dict[str, str]:
    """Return the machine keys given for a recorded run; any other key is a mistake."""
    known = ("output_root", *RECORDED)
    given = dict(each.partition("=")[::2] for each in overrides)
    if wrong := [key for key in given if key not in known]:
        raise Misconfigured(
            [f"{key}: a recorded run takes only {', '.join(known)}" for key in wrong]
        )
    return given


def trusted(options: argparse.Namespace, defaults: Mapping[str, Any]) -> list[str]:
    """Return the packages to trust; those given by flag may lie in the working directory."""
    if options.trust and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # behind all others: nothing there can stand in for them
    return list(dict.fromkeys([*options.trust, *defaults.get("trust", [])]))


@dataclass(frozen=True)
class Given:
    """What a command composes with beside its words: the user's packages, options and defaults."""

    trust: list[str]
    folders: list[Path]
    machine: dict[str, Any]
    several: list[str]  # groups of which many options may be chosen

    @property
    def composing(self) -> dict[str, Any]:
        """Return what a `Composer` takes."""
        return {"folders": self.folders, "machine": self.machine, "several": self.several}

    def request(self, composition: Any, overrides: list[str]) -> Any:
        """Return what is recorded of the command."""
        from runner.execution.launch import Request

        return Request(
            config=composition.record,
            choices=composition.choices,
            overrides=list(overrides),
            trust=self.trust,
            config_dirs=[str(folder.resolve()) for folder in self.folders],
        )


def given(options: argparse.Namespace) -> Given:
    """Read flags and the defaults file."""
    from runner.assemble.settings import Settings

    defaults = machine()
    folders = dict.fromkeys([*options.config_dir, *defaults.get("config_dir", [])])
    return Given(
        trust=trusted(options, defaults),
        folders=[Path(each).expanduser() for each in folders],
        machine={key: value for key, value in defaults.items() if key not in LISTS},
        several=[name for name, kind in get_type_hints(Settings).items()
                 if get_origin(kind) is dict],
    )  # fmt: skip


@memory.loading()
def configured(options: argparse.Namespace) -> tuple[Any, Any, Any]:
    """Compose and check what the user asked for; return (settings, composition, request).

    Raises `Misconfigured` with the mistakes of composing and of checking together.
    """
    from runner import compose, config
    from runner.assemble.settings import Settings

    asked = given(options)
    words = [*options.overrides, *compose.one_budget(options.overrides)]
    try:
        composition = compose.compose(words, **asked.composing)
    except compose.MistakesFound as found:
        raise Misconfigured(_together(found, asked.trust)) from found
    settings = config.check(composition.config, Settings, trust=asked.trust)
    return settings, composition, asked.request(composition, options.overrides)


def _together(found: Any, trust: list[str]) -> list[str]:
    """Return the problems of composing, then those of checking that concern other keys."""
    from runner import compose, config
    from runner.assemble.settings import Settings

    try:
        config.check(found.config, Settings, trust=trust)
    except Misconfigured as error:
        return compose.beside(found.problems, error.problems)
    return list(found.problems)

"""What the verbs that take a configuration share: flags, the user's defaults file, the check."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_origin, get_type_hints

from runner.foundation import kinds, memory, secrets
from runner.foundation import options as conf
from runner.foundation.errors import Misconfigured, did_you_mean, shown
from runner.foundation.files import flat
from runner.foundation.ranges import Count
from runner.foundation.yaml_faults import load

# What a defaults file may set: where things are on this machine, nothing that shapes a result.
MACHINE: dict[str, Any] = {
    "output_root": str,
    "dataset.root": str,
    "threads": Count | Literal["auto"],
    "device": str,
    "trust": str,
    "config_dir": str,
}
OF_RECORDED = ("output_root", "dataset.root", "device")  # what may differ for one opened again
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
    found, faults = load(path)
    if faults:
        raise Misconfigured(faults)
    content = flat(found or {})
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
    except ValueError as error:
        hint = f"; {error}" if str(error) else ""
        return [f"{key}: expected {kinds.describe(MACHINE[key])}, got {shown(value)}{hint}"]
    return []


def output_root(given: str | None = None) -> Path:
    """Return where runs are: the given root, else the defaults file's, else `outputs`."""
    root = given or machine().get("output_root", "outputs")
    try:
        folder = Path(root).expanduser()
        folder.exists()  # raises for names that are too long
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise Misconfigured(f"output_root: {shown(root)} cannot be a folder: {reason}") from error
    return folder


def add_run(parser: argparse.ArgumentParser, takes: str = "") -> None:
    """Add a run, and what may differ from its record: machine keys alone, or what it `takes`."""
    parser.add_argument("run", metavar="DIR", help="a run: directory, id, part of an id, or last")
    keys = ", ".join(["output_root=", takes] if takes else [f"{key}=" for key in OF_RECORDED])
    parser.add_argument("overrides", nargs="*", default=[], metavar="key=value", help=keys)
    add_trust(parser)


def here(overrides: list[str]) -> dict[str, str]:
    """Return the machine keys given for a recorded run; any other key is a mistake."""
    known = OF_RECORDED
    given = dict(each.partition("=")[::2] for each in overrides)
    if wrong := [key for key in given if key not in known]:
        raise Misconfigured(
            [f"{key}: a recorded run takes only {', '.join(known)}" for key in wrong]
        )
    return given


def warn_of_secrets(words: Iterable[str]) -> None:
    """Print a warning for each word that is recorded and looks like a secret."""
    for warning in secrets.typed(words):
        print(f"warning: {warning}", file=sys.stderr)


def trusted(options: argparse.Namespace, defaults: Mapping[str, Any]) -> list[str]:
    """Return the packages to trust; those given by flag may lie in the working directory."""
    packages = list(dict.fromkeys([*options.trust, *defaults.get("trust", [])]))
    wrong = [each for each in packages if not all(map(str.isidentifier, each.split(".")))]
    if wrong:
        raise Misconfigured([f"--trust {shown(each)}: expected a package's name" for each in wrong])
    if options.trust and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # behind all others: nothing there can stand in for them
    return packages


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
            environment=secrets.names(),
        )


def several() -> list[str]:
    """Return the groups of which many options may be chosen."""
    from runner.assemble.settings import Settings

    return [name for name, kind in get_type_hints(Settings).items() if get_origin(kind) is dict]


def given(options: argparse.Namespace) -> Given:
    """Read flags and the defaults file."""
    defaults = machine()
    folders = dict.fromkeys([*options.config_dir, *defaults.get("config_dir", [])])
    return Given(
        trust=trusted(options, defaults),
        folders=conf.folders(folders)[1:],
        machine={key: value for key, value in defaults.items() if key not in LISTS},
        several=several(),
    )


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

"""What the verbs that take a configuration share: flags, the user's defaults file, the check."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runner.foundation.errors import Misconfigured, did_you_mean
from runner.foundation.files import flat, read_yaml

# What a defaults file may set: where things are on this machine, nothing that shapes a result.
MACHINE = ("output_root", "dataset.root", "threads", "device")
LISTS = ("trust", "config_dir")


def add_configuration(parser: argparse.ArgumentParser) -> None:
    """Add `key=value` words and the flags that go with them."""
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="configuration")
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
    content = flat(read_yaml(path))
    known = (*MACHINE, *LISTS)
    problems = [
        f"{path}: '{key}' cannot be set here{did_you_mean(key, known)} ({', '.join(known)})"
        for key in content
        if key not in known
    ]
    if problems:
        raise Misconfigured(problems)
    for name in LISTS:
        if isinstance(content.get(name), str):
            content[name] = [content[name]]
    return content


def output_root() -> Path:
    """Return where runs are looked for: the defaults file's root, else `outputs`."""
    return Path(machine().get("output_root", "outputs")).expanduser()


def trusted(options: argparse.Namespace, defaults: Mapping[str, Any]) -> list[str]:
    """Return the packages to trust; they are looked for in the working directory too."""
    packages = list(dict.fromkeys([*options.trust, *defaults.get("trust", [])]))
    if packages and "" not in sys.path:
        sys.path.insert(0, "")
    return packages


def configured(options: argparse.Namespace) -> tuple[Any, Any, Any]:
    """Compose and check what the user asked for; return (settings, composition, request).

    Raises `Misconfigured` with the mistakes of composing and of checking together.
    """
    from runner import compose, config
    from runner.assemble.launch import Request
    from runner.assemble.settings import Settings

    defaults = machine()
    trust = trusted(options, defaults)
    folders = [Path(each).expanduser() for each in
               dict.fromkeys([*options.config_dir, *defaults.get("config_dir", [])])]  # fmt: skip
    values = {key: value for key, value in defaults.items() if key in MACHINE}
    try:
        composition = compose.compose(options.overrides, folders=folders, machine=values)
    except compose.MistakesFound as found:
        raise Misconfigured(_together(found, trust)) from found
    settings = config.check(composition.config, Settings, trust=trust)
    request = Request(
        config=composition.record,
        choices=composition.choices,
        overrides=list(options.overrides),
        trust=trust,
        config_dirs=[str(folder.resolve()) for folder in folders],
    )
    return settings, composition, request


def _together(found: Any, trust: list[str]) -> list[str]:
    """Return the problems of composing, then those of checking that concern other keys."""
    from runner import config
    from runner.assemble.settings import Settings

    problems = list(found.problems)
    named = {problem.partition(":")[0].partition("=")[0] for problem in problems}
    try:
        config.check(found.config, Settings, trust=trust)
    except Misconfigured as error:
        problems += [each for each in error.problems if each.partition(":")[0] not in named]
    return problems

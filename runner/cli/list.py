"""List the groups and their options, or one group with the keys of each option.

runner list
runner list optimizer
"""

from __future__ import annotations

import argparse

from runner.cli.configure import machine
from runner.foundation import options as conf
from runner.foundation.absent import NOT_HERE
from runner.foundation.errors import Misconfigured, did_you_mean


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the words and flags."""
    parser.add_argument("group", nargs="?", metavar="GROUP", help="one group, with its keys")
    parser.add_argument("--config-dir", action="append", default=[], metavar="DIR")


def run(options: argparse.Namespace) -> int:
    """Print options with the first line of their files."""
    further = [*options.config_dir, *machine().get("config_dir", [])]
    groups = conf.groups(conf.folders(further))
    if options.group is None:
        _print_all(groups)
    elif options.group in groups:
        _print_group(options.group, groups[options.group])
        _print_absent(NOT_HERE.get(options.group, {}))
    else:
        hint = did_you_mean(options.group, groups)
        raise Misconfigured(f"no group '{options.group}'{hint} ({', '.join(groups)})")
    return 0


def _print_all(groups: dict[str, dict[str, conf.Path]]) -> None:
    width = max(len(option) for options in groups.values() for option in options)
    for group, options in groups.items():
        print(group)
        for option, path in options.items():
            print(f"  {option:<{width}}  {conf.description(path)}")
    print("\nchoose: runner GROUP=OPTION    keys of a group: runner list GROUP")


def _print_absent(reasons: dict[str, str]) -> None:
    for name, reason in reasons.items():
        print(f"not here: {name}\n  {reason}")


def _print_group(group: str, options: dict[str, conf.Path]) -> None:
    for option, path in options.items():
        print(f"{group}={option}\n  {conf.description(path)}")
        for key, value in conf.keys(path):
            print(f"    {group}.{key}={value}")

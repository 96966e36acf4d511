"""`runner list`: every option that is there, and what is not here with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.foundation import options
from runner.foundation.absent import NOT_HERE

GROUPS = options.groups([options.own_folder()])


def listed(printed: str) -> dict[str, dict[str, str]]:
    """Return group -> option -> description, as `runner list` prints them."""
    found: dict[str, dict[str, str]] = {}
    for line in printed.partition("\n\n")[0].splitlines():
        if not line.startswith("  "):
            inside = found.setdefault(line, {})
        else:
            option, _, text = line.strip().partition(" ")
            inside[option] = text.strip()
    return found


def test_it_shows_every_group_and_option_with_a_line_of_description(runner) -> None:
    done = runner("list")
    assert (done.code, done.err) == (0, "")
    found = listed(done.out)
    assert {group: list(each) for group, each in found.items()} == {
        group: list(each) for group, each in GROUPS.items()
    }
    for group, each in found.items():
        for option, text in each.items():
            assert text == options.description(GROUPS[group][option])
            assert text.endswith("."), f"{group}={option}: one sentence"
    assert len({text for each in found.values() for text in each.values()}) > 150


@pytest.mark.parametrize("group", GROUPS)
def test_it_shows_the_options_and_keys_of_one_group(runner, group: str) -> None:
    done = runner("list", group)
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    for option, path in GROUPS[group].items():
        at = lines.index(f"{group}={option}")
        assert lines[at + 1] == f"  {options.description(path)}"
        keys = [f"    {group}.{key}={value}" for key, value in options.keys(path)]
        assert lines[at + 2 : at + 2 + len(keys)] == keys


@pytest.mark.parametrize("group", NOT_HERE)
def test_it_shows_what_is_not_here_and_why(runner, group: str) -> None:
    printed = runner("list", group).out
    for name, reason in NOT_HERE[group].items():
        assert f"not here: {name}\n  {reason}\n" in printed
    assert printed.count("not here: ") == len(NOT_HERE[group])


def test_it_says_the_same_reason_to_who_asks_for_it(runner) -> None:
    done = runner("optimizer=k_fac")
    assert done.code == 2
    assert (
        f"optimizer=k_fac: no such option; not here: {NOT_HERE['optimizer']['k_fac']}" in done.err
    )


def test_it_shows_options_of_the_users_own(runner, tmp_path: Path, defaults_file: Path) -> None:
    (tmp_path / "own/optimizer").mkdir(parents=True)
    (tmp_path / "own/optimizer/mine.yaml").write_text("# My very own rule.\nlr: 1\n")
    folder = str(tmp_path / "own")
    assert "My very own rule." not in runner("list").out
    assert listed(runner("list", "--config-dir", folder).out)["optimizer"]["mine"]
    assert "    optimizer.lr=1\n" in runner("list", "optimizer", "--config-dir", folder).out
    defaults_file.write_text(f"config_dir: {folder}\n")
    assert "My very own rule." in runner("list").out

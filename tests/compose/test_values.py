"""Values on plain mappings: what OmegaConf does, at a hundredth of the time."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from omegaconf import OmegaConf

from runner.compose import values

CONFIG = {
    "a": {"b": 1, "c": [1, {"d": 2}], "e": None, "m": "???", "n": {"x": 1}},
    "s": "text",
    "t": [],
}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("a.b", 2),
        ("a.new", "x"),
        ("new.deep.er", [1]),
        ("s.deep", 1),
        ("a.e.deep", 1),
        ("a.c", [5]),
        ("a.c.0", 7),
        ("a.c.1.d", {"k": 1}),
        ("a.c.1", {"k": 1}),
        ("a", {"b": 3, "n": {"y": 2}, "z": {"w": 1}}),
        ("a", {"b": "???", "n": "???", "q": "???"}),
        ("a.n", {}),
        ("a.e", {"k": 1}),
        ("a.m", {"k": 1}),
        ("a.n", None),
        ("s", {"k": [1, {"l": 2}]}),
        ("t", [{"a": 1}]),
    ],
)
def test_put_does_what_omegaconf_does(key: str, value: Any) -> None:
    expected = OmegaConf.create(CONFIG)
    OmegaConf.update(expected, key, value, merge=True, force_add=True)
    config, kept = copy.deepcopy(CONFIG), copy.deepcopy(value)
    values.put(config, key, value)
    assert config == OmegaConf.to_container(expected)
    assert value == kept


@pytest.mark.parametrize("key", ["t.0", "a.c.2.d", "a.c.x"])
def test_put_knows_the_items_of_a_list(key: str) -> None:
    with pytest.raises(KeyError):
        values.put(copy.deepcopy(CONFIG), key, 1)


@pytest.mark.parametrize("key", ["nope", "a.nope", "s.x", "nope.x", "a.c.0", "a.c.7"])
def test_remove_needs_something_to_remove(key: str) -> None:
    with pytest.raises(KeyError):
        values.remove(copy.deepcopy(CONFIG), key)


def test_remove() -> None:
    config: dict[str, Any] = copy.deepcopy(CONFIG)
    values.remove(config, "a.n.x")
    values.remove(config, "s")
    assert (config["a"]["n"], "s" in config) == ({}, False)


@pytest.mark.parametrize(
    ("key", "there"),
    [("a.b", True), ("a.e", True), ("a.m", False), ("a.nope", False), ("s.x", False), ("a", True)],
)
def test_has(key: str, there: bool) -> None:
    assert values.has(CONFIG, key) is there


@pytest.mark.parametrize(
    "config",
    [
        {"a": "${b}", "b": {"c": 1, "d": "${a.c}x"}, "unrelated": 3},
        {"a": ["${b}", {"k": "v${b}"}], "b": 2},
        {"a": "${${name}.lr}", "name": "optimizer", "optimizer": {"lr": 3}},
        {"a": {"b": 1, "c": "${.b}", "d": {"e": "${..b}"}, "f": "${..g}"}, "g": 4},
        {"a": "${oc.select:nope,5}", "b": "${oc.dict.keys:c}", "c": {"k": 1}},
        {"a": "\\${b}", "b": "${oc.env:HOME}", "c": "???", "d": None},
        {"a": "${b-c}", "b-c": 1, "d": "${e[0]}", "e": [7]},
    ],
)
def test_resolved_is_what_omegaconf_resolves(config: dict[str, Any]) -> None:
    written = copy.deepcopy(config)
    problems: list[str] = []
    expected = OmegaConf.to_container(OmegaConf.create(config), resolve=True)
    assert values.resolved(config, problems) == expected
    assert (problems, config) == ([], written)


def test_what_cannot_be_resolved_is_named() -> None:
    problems: list[str] = []
    config = {"a": {"b": ["${nope}", 1]}, "c": "${oc.env:NOT_SET_HERE}", "d": "${d}"}
    found = values.resolved(config, problems)
    assert found == {"a": {"b": [None, 1]}, "c": None, "d": None}
    assert problems == [
        "a.b[0]: unknown interpolation ${nope}: there is no such key",
        "c: environment variable NOT_SET_HERE is not set",
        "d: interpolations go round in a circle",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("${", "a: cannot read '${': an interpolation is ${key} or ${oc.env:NAME}"),
        ("x${b", "a: cannot read 'x${b': an interpolation is ${key} or ${oc.env:NAME}"),
        (
            "${'\x1b'}",
            "a: cannot read \"${'\\x1b'}\": an interpolation is ${key} or ${oc.env:NAME}",
        ),
        ("${now:%S}", "a: unknown interpolation ${now:...}; known are oc.env, oc.decode, "),
        ("${oc.deprecated:b}", "a: unknown interpolation ${oc.deprecated:...}; known are oc.env"),
        ("${..b}", "a: Error resolving key '..b'"),
        ("${oc.decode:'['}", "a: mismatched input '<EOF>'"),
        ("${b\nc}", "a: unknown interpolation ${b\nc}: there is no such key"),
    ],
)
def test_what_cannot_be_read_is_named_before_anything_is_resolved(text: str, problem: str) -> None:
    """B47: in words, and nothing that changes from one reading to the next."""
    problems: list[str] = []
    assert values.resolved({"a": text, "b": 1, "c": "${b}"}, problems) == {
        "a": None,
        "b": 1,
        "c": 1,
    }
    assert len(problems) == 1
    assert problems[0].startswith(problem)

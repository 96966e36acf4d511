"""runner/docs/reliability.md: each fault and each bad configuration has a test that says so."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "runner/docs/reliability.md"
ROW = re.compile(r"\| ([FB]\d\d) \| (.+?) \| (.+) \|")
NAMED = re.compile(r"`([\w/]+\.py)::(\w+)`")
TABLE = "cli/test_mistakes.py"  # whose rows carry the numbers


def rows() -> dict[str, str]:
    """Return what the page says of each row: its tests, or why there is none."""
    found = [ROW.fullmatch(line) for line in PAGE.read_text(encoding="utf-8").splitlines()]
    return {match[1]: match[3] for match in found if match}


@functools.cache
def parsed(name: str) -> tuple[str, dict[str, ast.FunctionDef]]:
    text = (ROOT / "tests" / name).read_text(encoding="utf-8")
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
    return text, {node.name: node for node in nodes}


def says(name: str, test: str, row: str) -> bool:
    text, functions = parsed(name)
    function = functions[test]
    own = [ast.get_docstring(function) or "", *map(ast.unparse, function.decorator_list)]
    return row in " ".join(own) or (name == TABLE and row in text)


def test_every_row_stands_in_the_page():
    faults = [f"F{number:02}" for number in range(1, 47)]
    configurations = [f"B{number:02}" for number in range(1, 57)]
    assert list(rows()) == [*faults, *configurations]


@pytest.mark.parametrize("row", list(rows()))
def test_a_row_has_its_test_or_a_reason(row):
    content = rows()[row]
    named = NAMED.findall(content)
    assert named or content.startswith("not here: ")
    for name, test in named:
        assert test in parsed(name)[1], f"{name} has no {test}"
        assert says(name, test, row), f"{name}::{test} does not say {row}"

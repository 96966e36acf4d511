"""The house: layers, sizes, the correspondence of conf, components and tests."""

from __future__ import annotations

import ast
import re
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from runner import config
from runner.foundation import options

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "runner"
MODULES = sorted(PACKAGE.rglob("*.py"))
OPTIONS = [(group, option, path) for group, found in options.groups([ROOT / "conf"]).items()
           for option, path in found.items()]  # fmt: skip

# From the top down; a package may import rows below its own, and itself.
ROWS = [
    {"__init__", "__main__"},
    {"cli", "plugins"},
    {"studies"},
    {"search", "ensembles", "export"},
    {"sweeps"},
    {"execution"},
    {"compose", "reports", "assemble"},
    {"config", "recording", "diagnosis"},
    {"training"},
    {"components"},
    {"foundation"},
]
LEVEL = {package: at for at, row in enumerate(ROWS) for package in row}
EXEMPT = {"trainer", "experiment", "sweep", "search", "ensemble"}
TOP = {"pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "conf", "runner", "tests",
       "outputs", "scripts"}  # fmt: skip


def package_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def imports(path: Path) -> list[tuple[str, bool]]:
    """Return every module a file imports, and whether it does so inside a function."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {
        id(node)
        for scope in ast.walk(tree)
        if isinstance(scope, ast.FunctionDef) or _for_types_only(scope)
        for node in ast.walk(scope)
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) in inside) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [(name, id(node) in inside) for name in names]
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down(path: Path) -> None:
    own = package_of(path)
    group = path.relative_to(PACKAGE).parts[1] if own == "components" else None
    for name, local in imports(path):
        parts = name.split(".")
        if parts[0] == "runner" and len(parts) > 1:
            other = parts[1] if parts[1] in LEVEL else "__init__"
            assert other == own or LEVEL[other] > LEVEL[own], f"{own} imports {name}"
            if own == "components" and other == "components":
                assert parts[2:3] == [group.removesuffix(".py")], name
        if parts[0] in ("hydra", "omegaconf"):
            assert own in ("compose", "plugins", "cli"), f"{own} imports {name}"
        if parts[0] == "torch" and own in ("foundation", "cli", "compose", "config", "__init__"):
            assert local, f"{path.name} imports torch where it is loaded"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_sizes(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 330, "a module has about 300 lines at most"
    assert max(map(len, text.splitlines()), default=0) <= 100
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "a module says what it is"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 50, f"{node.name} is longer than 50 lines"


def test_no_drawers() -> None:
    names = {path.stem for path in MODULES} | {path.parent.name for path in MODULES}
    assert not names & {"utils", "util", "common", "helpers", "misc"}


def test_top_level_is_as_agreed() -> None:
    ignored = (".", "data")
    found = {path.name for path in ROOT.iterdir() if not path.name.startswith(ignored)}
    assert found <= TOP, found - TOP


def test_groups_components_and_tests_correspond() -> None:
    groups = {group for group, _, _ in OPTIONS} - EXEMPT
    components = {path.stem for path in (PACKAGE / "components").iterdir()} - {"__init__"}
    components.discard("__pycache__")
    tests = {path.stem.removeprefix("test_") for path in (ROOT / "tests/components").glob("*.py")}
    assert groups == components
    assert groups <= tests, f"no tests for {groups - tests}"
    assert len(groups) >= 16


def nodes(content: object) -> list[dict]:
    """Return every mapping with a target."""
    if not isinstance(content, dict):
        return []
    here = [content] if "_target_" in content else []
    return here + [node for value in content.values() for node in nodes(value)]


def test_every_option_has_exactly_the_keys_of_its_factory() -> None:
    visited = 0
    for group, option, path in OPTIONS:
        text = path.read_text(encoding="utf-8")
        assert re.match(r"(# @package \S+\n)?# \S.*\.\n", text), f"{group}={option}: its first line"
        if group in EXEMPT:
            continue
        for node in nodes(yaml.safe_load(text)):
            target = node["_target_"]
            assert target.startswith(f"runner.components.{group}."), target
            parameters = config.parameters_of(target)
            assert set(node) - {"_target_"} == set(parameters), f"{group}={option}"
            visited += 1
    assert visited >= 30


def test_rows_name_every_package() -> None:
    assert {package_of(path) for path in MODULES} <= set(LEVEL)
    assert all(not (above & below) for above, below in pairwise(ROWS))

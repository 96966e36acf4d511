"""What all tests share: defaults and cache of their own, an empty folder, a command line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the slow tests, the longest of which are the README's commands as written."""

    def rank(item: pytest.Item) -> tuple[bool, bool]:
        return item.get_closest_marker("slow") is None, item.path.name != "test_readme.py"

    items.sort(key=rank)


@pytest.fixture(autouse=True, scope="session")
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep what tests decide, compile and make out of the user's cache: a folder per process."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        patch.setenv("RUNNER_CACHE", str(folder / "runner"))
        yield folder / "runner"


@pytest.fixture(autouse=True)
def defaults_file(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Run every test in an empty folder, with one thread: several tests run side by side."""
    home = tmp_path_factory.mktemp("home")
    defaults = home / "runner/defaults.yaml"
    defaults.parent.mkdir()
    defaults.write_text("threads: 1\n")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))
    monkeypatch.setenv("NO_COLOR", "1")
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return defaults


@pytest.fixture
def runner(capfd: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Run a command line in this process."""
    from runner import cli

    def call(*words: str) -> Done:
        capfd.readouterr()
        code = cli.run(list(words))
        streams = capfd.readouterr()
        return Done(code, streams.out, streams.err)

    return call


@pytest.fixture
def shell() -> Callable[..., Done]:
    """Run a command line in a process of its own."""

    def call(*words: str, timeout: float = 120, **environment: str) -> Done:
        done = subprocess.run(
            [sys.executable, "-m", "runner", *words],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return call

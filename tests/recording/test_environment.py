"""The record of where a run happened: versions, machine, commit, and no environment variable."""

import json
import subprocess
import sys

import pytest
import torch

from runner.foundation.files import read_json
from runner.recording import environment as here
from runner.recording.environment import accelerators, commit, decided, environment, version


def git(folder, *words):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    command = ["git", "-C", str(folder), *identity, *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path):
    """A git repository with one commit."""
    git(tmp_path, "init", "--quiet")
    (tmp_path / "file").write_text("a")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    return tmp_path


def test_commit_and_changes(checkout):
    head = git(checkout, "rev-parse", "HEAD")
    assert commit(checkout) == {"commit": head, "dirty": False}
    (checkout / "file").write_text("b")
    assert commit(checkout) == {"commit": head, "dirty": True}


def test_no_commit_outside_a_checkout(tmp_path):
    assert commit(tmp_path) is None
    assert commit(tmp_path / "gone") is None


def test_no_commit_without_git(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit(tmp_path) is None


def test_versions():
    assert version("torch") == torch.__version__
    assert version("no-such-package-of-ours") is None


def test_environment_is_json_and_complete():
    found = environment()
    assert json.loads(json.dumps(found)) == found
    assert {"python", "platform", "processors", "versions", "git"} == set(found)
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert [name for name in (*here.PACKAGES, "runner") if not found["versions"][name]] == []


def test_no_environment_variable_is_recorded(monkeypatch):
    """F43."""
    monkeypatch.setenv("SECRET_TOKEN", "canary-7d1f")
    assert "canary-7d1f" not in json.dumps(environment())
    assert "SECRET_TOKEN" not in json.dumps(environment())


def test_accelerators_are_those_torch_sees(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"GPU {index}")
    assert accelerators() == ["GPU 0", "GPU 1"]


def test_accelerators_do_not_import_torch(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch")
    assert accelerators() == []
    assert "torch" not in sys.modules


def test_decided():
    assert decided({"threads": (2, "one for each")}) == {
        "threads": {"value": 2, "reason": "one for each"}
    }


def test_the_first_environment_stays_and_what_differs_is_added(tmp_path, monkeypatch):
    """F19: something that goes on elsewhere shows what changed, and when."""
    path = tmp_path / "environment.json"
    assert here.keep(path) == []
    first = read_json(path)
    assert first == environment()
    assert here.keep(path) == []
    assert read_json(path) == first
    versions = first["versions"]
    for torch_version in ("9.1", "9.2"):
        other = {**first, "versions": {**versions, "torch": torch_version}, "git": None}
        monkeypatch.setattr(here, "environment", lambda other=other: other)
        assert len(said := here.keep(path)) == 1
    assert said == ["versions.torch 9.1 -> 9.2"]
    assert here.keep(path) == []
    found = read_json(path)
    later = found.pop("later")
    assert found == first
    assert [set(each) for each in later] == [{"time", "versions", "git"}, {"time", "versions"}]
    assert later[1]["versions"] == {**versions, "torch": "9.2"}

"""Sweeps and their jobs as other commands see them: found, listed, resumed."""

from __future__ import annotations

import pytest
import standin
from standin import job, start

from runner.foundation.errors import Misconfigured
from runner.foundation.files import locked, read_json, write_json
from runner.recording import directory

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@pytest.fixture
def root(tmp_path):
    """A root with a run and two sweeps, the newest last."""
    root = tmp_path / "here" / "outputs"
    run = root / "default" / "1432-adam-3f2a"
    run.mkdir(parents=True)
    directory.set_status(run, state="finished", started=100.0)
    start(root / "default" / "rates", [job("lr0.1-seed0"), job("lr0.1-seed1")])
    start(root / "lecture" / "decay", [job("lr0.1-seed0"), job("wide", "fail")])
    return root


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("last", "lecture/decay"),
        ("rates", "default/rates"),
        ("1432", "default/1432-adam-3f2a"),
        ("rates/lr0.1-seed0", "default/rates/lr0.1-seed0"),
        ("decay/wi", "lecture/decay/wide"),
        ("seed1", "default/rates/lr0.1-seed1"),
        ("wide", "lecture/decay/wide"),
    ],
)
def test_found(root, word, found):
    assert directory.find(word, root, sweeps=True) == root / found
    assert directory.find(str(root / found), root, sweeps=True) == root / found


def test_a_job_of_the_same_name_in_two_sweeps(root):
    with pytest.raises(
        Misconfigured, match=r"any of 2 runs: decay/lr0\.1-seed0, rates/lr0\.1-seed0"
    ):
        directory.find("lr0.1-seed0", root)


def test_an_unknown_job_names_the_nearest(root):
    with pytest.raises(Misconfigured, match=r"no run 'widw' .*did you mean 'wide'"):
        directory.find("widw", root)


def test_a_sweep_where_a_run_is_wanted(root):
    with pytest.raises(
        Misconfigured, match="is a sweep: name one of its 2 jobs, such as decay/lr0"
    ):
        directory.find("last", root)


def test_runs_shows_a_sweep_in_one_row(root, runner):
    listed = runner("runs").out.splitlines()
    assert len(listed) == 4
    assert listed[1].split()[:6] == ["decay", "2", "jobs:", "1", "finished,", "1"]
    assert "valid/accuracy 0.61" in listed[2]
    assert "x=a,b" in listed[2]
    content = read_json(root / "default/rates/sweep.json")
    for entry in content["jobs"].values():
        entry["state"] = "running"
    write_json(root / "default/rates/sweep.json", content)
    assert "2 jobs: 2 interrupted" in runner("runs", "rates").out
    with locked(root / "default/rates"):
        assert "2 jobs: 2 running" in runner("runs", "rates").out


def test_resume_plans_the_recorded_command_again(tmp_path, monkeypatch, runner):
    does = "fail"

    def perform(members, *others):
        for each in members:
            told = {"does": does if each.settings.seed else "", "steps": 2, "pause": 0.0}
            for key, value in told.items():
                object.__setattr__(each.settings, key, value)
        return standin.perform(members, *others)

    engine = standin.Engine(
        standin.checksum,
        lambda settings: [standin.Group(list(range(len(settings))), "")],
        lambda settings, processes, say, most: standin.Way(1, "trace", 1, ""),
        perform, standin.Way, standin.Member,
    )  # fmt: skip
    monkeypatch.setattr("runner.sweeps.launch.the_engine", lambda: engine)
    first = runner("-m", "seed=0,1", "name=twice", "trainer=quick")
    assert first.code == 6, first.err
    does = ""
    again = runner("resume", "twice")
    assert again.code == 0, again.err
    folder = tmp_path / "here/outputs/default/twice"
    assert directory.status(folder / "seed1")["state"] == "finished"
    assert read_json(folder / "sweep.json")["overrides"] == [
        "seed=0,1", "name=twice", "trainer=quick"]  # fmt: skip
    refused = runner("resume", "twice", "optimizer.lr=3")
    assert refused.code == 2
    assert "a recorded run takes only" in refused.err

"""sweep.json: merged with a new grid, believed less than the jobs, written seldom."""

from __future__ import annotations

import time

import pytest
from standin import job

from runner.foundation import files
from runner.recording import directory
from runner.sweeps import batches
from runner.sweeps.state import State, best, counted, looked_at


@pytest.fixture
def state(tmp_path):
    state = State(tmp_path)
    state.merge([job("a"), job("b")])
    state.save(now=True)
    return state


def at(state, name):
    return state.jobs[f"id-{name}"]


def says(state, name, /, **status):
    folder = state.folder_of(f"id-{name}")
    folder.mkdir(exist_ok=True)
    directory.set_status(folder, **status)


def ends(state, name, /, **best):
    """Let a job have finished with this summary."""
    says(state, name, state="finished")
    files.write_json(state.folder_of(f"id-{name}") / directory.SUMMARY, {"best": best})


def test_a_new_job(state):
    assert at(State(state.folder), "a") == {
        "directory": "a", "state": "pending", "batch": None, "started": None, "ended": None,
        "value": None, "message": None, "data": None, "attempts": 0, "swept": {"x": "a"},
        "overrides": ["x=a"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("written", "found", "becomes"),
    [
        ("pending", None, "pending"),
        ("pending", "running", "interrupted"),
        ("running", "running", "interrupted"),
        ("running", "finished", "finished"),
        ("running", "diverged", "diverged"),
        ("interrupted", "failed", "failed"),
        ("running", None, "pending"),
        ("finished", None, "pending"),  # its directory was deleted
        ("finished", "finished", "finished"),
    ],
)
def test_reconcile(state, written, found, becomes):
    state.change("id-a", state=written, batch="b000" if written != "pending" else None)
    if found:
        says(state, "a", state=found, message="one\ntwo", started=5.0)
        best = {"objective": "valid/loss", "value": 0.25}
        files.write_json(state.folder / "a" / directory.SUMMARY, {"best": best})
    state.reconcile()
    entry = at(state, "a")
    assert entry["state"] == becomes
    assert at(state, "b")["state"] == "pending"
    if becomes in ("finished", "diverged", "failed"):
        assert entry["started"] == 5.0
        assert entry["ended"] == pytest.approx(time.time(), abs=60)
        assert entry["message"] == "one"
        assert entry["value"] == (0.25 if becomes == "finished" else None)
    if found is None:
        assert entry["batch"] == ("b000" if written == "running" else None)


def test_merge_keeps_what_is_known_and_where_it_is(state):
    state.change("id-b", state="finished")
    ends(state, "b", objective="valid/accuracy", value=1.0)
    other = job("z")
    same_name = other.__class__("id-new", "a", {"x": "n"}, other.settings)
    state.merge([same_name, job("b")])
    assert list(state.asked()) == ["id-new", "id-b"]
    assert state.jobs["id-new"]["directory"] == "a-id-n"
    assert at(state, "b")["value"] == 1.0
    assert at(state, "a")["asked"] is False
    state.merge([job("a")])
    assert list(state.asked()) == ["id-a"]


def test_it_is_written_once_a_second(state, monkeypatch):
    written = []
    now = [100.0]
    monkeypatch.setattr("runner.sweeps.state.write_json", lambda path, content: written.append(1))
    monkeypatch.setattr("runner.sweeps.state.time.monotonic", lambda: now[0])
    state._due = 0.0
    for _ in range(1000):
        state.change("id-a", step=1)
        state.save()
        now[0] += 0.01
    assert len(written) == 10
    state.save(now=True)
    state.save(now=True)  # nothing changed
    assert len(written) == 11


def test_writing_that_takes_long_is_done_less_often(state, monkeypatch):
    now = [100.0]

    def write(path, content):
        now[0] += 0.1

    monkeypatch.setattr("runner.sweeps.state.write_json", write)
    monkeypatch.setattr("runner.sweeps.state.time.monotonic", lambda: now[0])
    state._due = 0.0
    state.change("id-a", step=1)
    state.save()
    assert state._due == pytest.approx(now[0] + 0.1 / 0.02)


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ({"finished": 20, "failed": 4}, "24 jobs: 20 finished, 4 failed"),
        ({"running": 1}, "1 job: 1 running"),
        ({}, "0 jobs: none"),
    ],
)
def test_counted(counts, text):
    assert counted(counts) == text


def test_looked_at(state):
    state.change("id-a", state="running")
    state.merge([job("a"), job("c")])
    state.save(now=True)
    assert looked_at(state.folder, running=True)[1] == {"running": 1, "pending": 1}
    assert looked_at(state.folder, running=False)[1] == {"interrupted": 1, "pending": 1}


@pytest.mark.parametrize(("direction", "name"), [("max", "b"), ("min", "a"), (None, None)])
def test_best(state, direction, name):
    for each, value in (("a", 0.1), ("b", 0.2)):
        state.change(f"id-{each}", state="finished", value=value)
    state.head(direction=direction)
    found = best(state.content)
    assert (found[1]["directory"] if found else None) == name


@pytest.mark.parametrize(
    ("groups", "processes", "sizes"),
    [
        ([(9, 8)], 2, [[5, 4]]),
        ([(24, 8)], 2, [[6, 6, 6, 6]]),
        ([(24, 8)], 1, [[8, 8, 8]]),
        ([(16, 8)], 2, [[8, 8]]),
        ([(3, 8)], 2, [[2, 1]]),
        ([(3, 8)], 8, [[1, 1, 1]]),
        ([(3, 1)], 2, [[1, 1, 1]]),
        ([(8, 8), (8, 8), (8, 8)], 2, [[4, 4], [8], [8]]),
        ([(8, 8), (2, 1)], 2, [[4, 4], [1, 1]]),
        ([(1, 8)], 2, [[1]]),
        ([], 2, []),
    ],
)
def test_cut(groups, processes, sizes):
    assert batches.cut(groups, processes) == sizes


def test_batches_of_cut_jobs_go_on_as_they_were_pinned(state):
    state.merge([job(name) for name in "abcdef"])
    way = {"lanes": 2}
    for pair in ("ab", "cd", "ef"):
        batches.pin(state, [f"id-{name}" for name in pair], way)
    state.change("id-a", state="finished")
    state.change("id-b", state="interrupted")
    for name in "cd":
        state.change(f"id-{name}", state="finished")
    assert batches.unfinished(state) == ["b000", "b002"]
    state.merge([job(name) for name in "abcde"])  # f is asked for no more, and nobody began it
    assert batches.unfinished(state) == ["b000"]
    assert batches.members(state, "b000") == ["id-a", "id-b"]
    assert at(state, "e")["batch"] is None


@pytest.mark.parametrize("saved", ["step-3-abc.pt", "id-a/step-3-abc.pt", ".step-3.tmp", None])
def test_what_died_goes_on_and_what_failed_begins_anew(state, saved):
    """F34: the one that killed its process is told apart where nothing had been saved."""
    name = batches.pin(state, ["id-a", "id-b"], {"lanes": 2})
    for each in "ab":
        says(state, each, state="failed", exit_code=1)
        state.change(f"id-{each}", state="failed", data="3f2a")
    state.batches[name]["died"] = ["id-a"]
    if saved:
        path = state.folder / directory.BATCHES / name / saved
        path.parent.mkdir(parents=True)
        path.touch()
    assert batches.again(state, name, lambda key: True) == ["id-a", "id-b"]
    assert (at(state, "b")["state"], at(state, "b")["batch"]) == ("pending", None)
    assert directory.status(state.folder / "b") == {}
    if saved and not saved.startswith("."):
        assert (at(state, "a")["state"], at(state, "a")["batch"]) == ("interrupted", name)
        assert directory.status(state.folder / "a") == {"state": "interrupted"}
        return
    assert (at(state, "a")["state"], at(state, "a")["batch"]) == ("pending", "b001")
    assert state.batches["b001"] == {"jobs": ["id-a"], "way": {"lanes": 2}}
    assert batches.unfinished(state) == ["b001"]


@pytest.mark.parametrize("code", [3, 8])
def test_what_failed_for_no_fault_of_its_own_goes_on(state, code):
    """F31, F07: once its data can be read, or its files written, nothing is trained twice."""
    name = batches.pin(state, ["id-a", "id-b"], {"lanes": 2})
    says(state, "a", state="failed", exit_code=code)
    state.change("id-a", state="failed")
    assert batches.again(state, name, lambda key: True) == ["id-a"]
    assert (at(state, "a")["state"], at(state, "a")["batch"]) == ("interrupted", name)


def test_the_goal_is_that_of_the_jobs_asked_for(state):
    """Another objective is another job; those of an earlier one are kept."""
    ends(state, "a", objective="valid/accuracy", direction="max", value=0.9)
    state.reconcile()
    assert (state.content["objective"], state.content["direction"]) == ("valid/accuracy", "max")
    ends(state, "b", objective="valid/loss", direction="min", value=0.3)
    state.reconcile()
    assert at(state, "b")["value"] is None  # this sweep goes by the first one's
    state.merge([job("b")])
    assert (state.content["objective"], state.content["direction"]) == ("valid/loss", "min")
    assert best(state.content)[0] == at(state, "b")["value"] == 0.3
    state.merge([job("c")])
    assert (state.content["objective"], state.content["direction"]) == (None, None)

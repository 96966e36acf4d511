"""A sweep from start to end, and through all that may come between."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

import pytest
import standin
from standin import job, start, trained

from runner.foundation.errors import Interrupted, InUse, Misconfigured, UnusableCheckpoint
from runner.foundation.files import held, locked, read_json
from runner.recording import directory

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


class Coordinator:
    """A sweep of six jobs in a process of its own, with a session of its own."""

    def __init__(self, folder: Path, steps: int, does: str):
        self.folder, self.printed = folder, folder.parent / "printed"
        folder.parent.mkdir(parents=True, exist_ok=True)
        process = multiprocessing.get_context("fork").Process(target=self._run, args=(steps, does))
        process.start()
        self.process, self.pid = process, process.pid

    def _run(self, steps: int, does: str) -> None:
        os.setsid()
        jobs = [job(f"j{at}", does, steps=steps, pause=0.01) for at in range(6)]
        code = 0
        try:
            code, text = start(self.folder, jobs)
        except Interrupted as error:
            code, text = error.exit_code, str(error)
        self.printed.write_text(text)
        sys.exit(code)

    def wait(self, seconds: float = 20) -> int:
        until(lambda: self.process.exitcode is not None, seconds)
        return self.process.exitcode

    def workers(self) -> list[int]:
        path = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        return [int(word) for word in path.read_text().split()]


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "outputs" / "default" / "rates"


@pytest.fixture
def coordinator(folder):
    """Start a sweep of six jobs in a process of its own."""
    started = []

    def call(steps: int = 40, does: str = "") -> Coordinator:
        started.append(Coordinator(folder, steps, does))
        return started[-1]

    yield call
    for each in started:
        each.process.kill()
        each.process.join()
    until(lambda: not held(folder))  # no worker is left


def until(true, seconds=20.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def states(folder):
    content = read_json(folder / directory.SWEEP)
    return {entry["directory"]: entry["state"] for entry in content["jobs"].values()}


def steps(jobs, count=3):
    return sorted(f"{each.id} {at}" for each in jobs for at in range(1, count + 1))


def test_a_sweep(folder):
    jobs = [job(name) for name in "abcde"]
    code, text = start(folder, jobs)
    assert code == 0
    assert trained(folder) == steps(jobs)
    assert states(folder) == dict.fromkeys("abcde", "finished")
    content = read_json(folder / directory.SWEEP)
    assert [each["jobs"] for each in content["batches"].values()] == [
        ["id-a", "id-b"], ["id-c"], ["id-d"], ["id-e"]]  # fmt: skip
    assert content["batches"]["b000"]["way"] == {
        "lanes": 2, "compile": "trace", "threads": 1, "reason": "measured"}  # fmt: skip
    chosen = {key: content[key] for key in ("name", "swept", "objective", "direction",
                                            "processes", "threads")}  # fmt: skip
    assert chosen == {"name": "rates", "swept": ["x"], "objective": "valid/accuracy",
                      "direction": "max", "processes": 2, "threads": 1}  # fmt: skip
    assert {"overrides.yaml", "environment.json", "run.log", "results.csv"} <= {
        path.name for path in folder.iterdir()}  # fmt: skip
    assert "measured in another process" in text
    assert text.count("finished  ") >= 5
    assert not held(folder)


def test_the_same_command_trains_nothing_twice(folder):
    jobs = [job(name) for name in "ab"]
    start(folder, jobs)
    before = trained(folder)
    code, text = start(folder, jobs)
    assert (code, trained(folder)) == (0, before)
    assert "2 jobs: 2 finished" in text
    assert "measured" not in text


def test_an_edited_grid(folder):
    start(folder, [job(name) for name in "abc"])
    (folder / "d").mkdir()  # of whomever
    jobs = [job("d"), job("b"), job("a")]
    code, text = start(folder, jobs)
    content = read_json(folder / directory.SWEEP)
    assert code == 0
    assert trained(folder) == steps([job(name) for name in "abcd"])
    assert list(content["jobs"]) == ["id-d", "id-b", "id-a", "id-c"]
    assert content["jobs"]["id-c"]["asked"] is False
    assert content["jobs"]["id-c"]["state"] == "finished"
    assert content["jobs"]["id-d"]["directory"] == "d-id-d"
    assert "3 jobs: 1 pending, 2 finished" in text
    start(folder, [job("c")])
    content = read_json(folder / directory.SWEEP)
    assert [each.get("asked", True) for each in content["jobs"].values()] == [True] + [False] * 3
    assert trained(folder) == steps([job(name) for name in "abcd"])


@pytest.mark.parametrize(
    ("does", "state", "message"),
    [
        ("fail", "failed", "so it was meant"),
        ("diverge", "diverged", "so it was meant"),
        ("die", "failed", "its process was killed by SIGKILL; out of memory?"),
        ("explode", "failed", "what nobody expected"),
        ("no way", "failed", "dataset: no such file"),
        ("no way, dead", "failed", "its process was killed by SIGKILL; out of memory?"),
    ],
)
def test_a_fault_is_one_jobs_own(folder, does, state, message):
    jobs = [job("bad", does, group="alone"), job("good"), job("well")]
    code, text = start(folder, jobs)
    assert code == 6
    assert states(folder) == {"bad": state, "good": "finished", "well": "finished"}
    entry = read_json(folder / directory.SWEEP)["jobs"]["id-bad"]
    assert entry["message"] == message
    assert directory.status(folder / "bad")["state"] == state
    assert f"runner resume {folder}" in text or state == "diverged"
    if state == "failed":
        assert f"failed    bad: {message}; see {folder / 'bad' / 'error.txt'}" in text
    if does not in ("fail", "diverge"):
        assert message in (folder / "bad" / "error.txt").read_text()


def test_failed_jobs_are_run_again_and_diverged_ones_are_left(folder):
    jobs = [job("once", "fail once"), job("never", "diverge"), job("good")]
    assert start(folder, jobs)[0] == 6
    before = len(trained(folder))
    code, text = start(folder, jobs)
    assert code == 6
    assert states(folder) == {"once": "finished", "never": "diverged", "good": "finished"}
    assert len(trained(folder)) == before + 3
    assert read_json(folder / directory.SWEEP)["jobs"]["id-once"]["attempts"] == 2
    assert "the 1 that diverged would diverge again" in text


@pytest.mark.parametrize(
    ("does", "trained_steps"),
    [("fail once", [1, 1, 2, 2, 3, 3]), ("die once", [1, 2, 3])],  # anew; where it stood
)
def test_retries(folder, does, trained_steps):
    code, text = start(folder, [job("bad", does)], retries=1)
    assert code == 0
    assert trained(folder) == [f"id-bad {at}" for at in trained_steps]
    assert "again    bad" in text


def test_retries_come_to_an_end(folder):
    assert start(folder, [job("bad", "fail")], retries=2)[0] == 6
    assert read_json(folder / directory.SWEEP)["jobs"]["id-bad"]["attempts"] == 3
    assert len(trained(folder)) == 9


def test_a_batch_whose_process_died_goes_on_where_it_stood(folder):
    """By the same command; the other lane of the batch too."""
    jobs = [job("bad", "die once"), job("good")]
    assert start(folder, jobs, processes=1)[0] == 6
    assert states(folder) == {"bad": "failed", "good": "failed"}
    assert start(folder, jobs, processes=1)[0] == 0
    assert trained(folder) == steps(jobs)
    assert list(read_json(folder / directory.SWEEP)["batches"]) == ["b000"]


def test_a_batch_goes_on_without_the_job_that_had_ended(folder):
    jobs = [job("short", "diverge", steps=1), job("long", "die once")]
    assert start(folder, jobs, processes=1)[0] == 6
    assert states(folder) == {"short": "diverged", "long": "failed"}
    start(folder, jobs, processes=1)
    assert states(folder) == {"short": "diverged", "long": "finished"}
    assert trained(folder) == ["id-long 1", "id-long 2", "id-long 3", "id-short 1"]


def test_more_jobs_of_a_group_are_trained_as_the_others_were(folder):
    jobs = [job(name) for name in "abcd"]
    start(folder, jobs[:3], lanes=1)
    _, text = start(folder, jobs)
    assert "measured in another process" not in text
    assert read_json(folder / directory.SWEEP)["batches"]["b003"]["way"]["lanes"] == 1


def test_stop_on_failure(folder):
    jobs = [job("bad", "fail", steps=1), job("long", steps=2000, pause=0.01, group="b"),
            job("later", group="c")]  # fmt: skip
    code, _ = start(folder, jobs, on_failure="stop")
    assert code == 6
    assert states(folder) == {"bad": "failed", "long": "interrupted", "later": "pending"}
    assert 0 < len(trained(folder)) < 1000


def test_a_killed_coordinator_leaves_nothing_behind_and_nothing_is_trained_twice(
    folder, coordinator
):
    process = coordinator()
    until(lambda: len(trained(folder)) > 20)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert coordinator().wait() == 0
    assert trained(folder) == steps([job(f"j{at}") for at in range(6)], 40)
    assert set(states(folder).values()) == {"finished"}
    pinned = read_json(folder / directory.SWEEP)["batches"].values()
    assert [len(each["jobs"]) for each in pinned] == [2, 2, 1, 1]


def test_a_killed_worker(folder, coordinator):
    process = coordinator()
    until(lambda: len(trained(folder)) > 20)
    os.kill(process.workers()[0], signal.SIGKILL)
    assert process.wait() == 6
    found = list(states(folder).values())
    assert 1 <= found.count("failed") <= 2
    assert found.count("finished") == 6 - found.count("failed")
    assert process.printed.read_text().count("killed by SIGKILL") >= found.count("failed")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_to_everyone_saves_and_leaves(folder, coordinator, number, code):
    """As Ctrl-C in a terminal, which reaches the whole process group."""
    process = coordinator()
    until(lambda: len(trained(folder)) > 20)
    os.killpg(process.pid, number)
    assert process.wait() == code
    assert f"continue with: runner resume {folder}" in process.printed.read_text()
    assert not held(folder)
    found = set(states(folder).values())
    assert "interrupted" in found
    assert found <= {"interrupted", "pending", "finished"}
    jobs = [job(f"j{at}", steps=40) for at in range(6)]
    assert start(folder, jobs)[0] == 0
    assert trained(folder) == steps(jobs, 40)


def test_a_second_signal_leaves_at_once(folder, coordinator):
    process = coordinator(steps=100_000)
    until(lambda: len(trained(folder)) > 5)
    workers = process.workers()
    for worker in workers:
        os.kill(worker, signal.SIGSTOP)  # they cannot save
    try:
        os.kill(process.pid, signal.SIGINT)
        time.sleep(0.3)
        assert process.process.is_alive()
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(5) == 130
    finally:
        for worker in workers:
            os.kill(worker, signal.SIGCONT)
    until(lambda: not held(folder))


def test_a_signal_while_it_is_found_out_how_to_train(folder, coordinator):
    process = coordinator(does="no way, hangs")
    until(lambda: (folder / directory.SWEEP).exists() and process.workers())
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait() == 143
    assert set(states(folder).values()) == {"pending"}


def test_a_signal_at_the_very_end_of_a_batch(folder):
    """Its last step is taken, so that nobody saves and leaves; the process must not wait on."""
    jobs = [job("late", "late", steps=2), job("with", steps=2), job("next", steps=2)]
    began = time.monotonic()
    with pytest.raises(Interrupted):
        start(folder, jobs, processes=1)
    assert time.monotonic() - began < 15
    assert states(folder) == {"late": "finished", "with": "finished", "next": "pending"}


def test_a_worker_that_does_not_leave_is_killed(folder, monkeypatch):
    monkeypatch.setattr("runner.sweeps.crew.GRACE", 0.3)
    jobs = [job("bad", "fail", steps=1, pause=0.2), job("stuck", "hang", group="b")]
    code, text = start(folder, jobs, on_failure="stop")
    assert code == 6
    assert states(folder) == {"bad": "failed", "stuck": "interrupted"}
    assert "did not save in" in text


def test_one_at_a_time(folder):
    folder.mkdir(parents=True)
    with locked(folder), pytest.raises(InUse):
        start(folder, [job("a")])


def test_new_sweeps_beside_it_and_the_newest_is_found(folder):
    start(folder, [job("a")])
    start(folder, [job("a")], new=True)
    start(folder, [job("a"), job("b")])
    assert sorted(path.name for path in folder.parent.iterdir()) == ["rates", "rates-2"]
    assert set(states(folder)) == {"a"}
    assert set(states(folder.with_name("rates-2"))) == {"a", "b"}


def test_another_sweep_whose_name_ends_in_a_number_is_not_taken(folder):
    start(folder.with_name("rates-2"), [job("a")])
    start(folder, [job("b")])
    assert set(states(folder)) == {"b"}


def test_resume(folder):
    jobs = [job("a"), job("b", "fail once")]
    assert start(folder, jobs)[0] == 6
    request = standin.Request(config={}, choices={}, overrides=[])
    arguments = standin.sweep(), request, standin.Terminal(), standin.engine()
    with pytest.raises(Misconfigured, match="1 recorded jobs differ, such as b"):
        standin.launch.resume(folder, [jobs[0], job("c")], *arguments)
    assert standin.launch.resume(folder, [*jobs, job("c")], *arguments) == 0
    assert states(folder) == {"a": "finished", "b": "finished"}


def test_a_file_of_another_format_is_not_touched(folder):
    folder.mkdir(parents=True)
    (folder / directory.SWEEP).write_text(json.dumps({"format": 2}))
    with pytest.raises(UnusableCheckpoint, match="expected format 1, got 2"):
        start(folder, [job("a")])
    assert read_json(folder / directory.SWEEP) == {"format": 2}


@pytest.mark.parametrize(
    ("values", "batches"),
    [
        ({"lanes": 1}, [1, 1, 1]),
        ({"processes": 1}, [2, 1]),
        ({"processes": "auto", "lanes": 8}, None),
    ],
)
def test_what_the_user_sets(folder, values, batches):
    assert start(folder, [job(name) for name in "abc"], **values)[0] == 0
    content = read_json(folder / directory.SWEEP)
    if batches:
        assert [len(each["jobs"]) for each in content["batches"].values()] == batches
        assert content["batches"]["b000"]["way"]["lanes"] == values.get("lanes", 2)

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

from runner.foundation.errors import (
    BadData,
    Interrupted,
    InUse,
    Misconfigured,
    RunnerError,
    UnusableCheckpoint,
)
from runner.foundation.files import held, locked, read_json
from runner.recording import directory
from runner.sweeps import coordinate

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
        except (Interrupted, RunnerError) as error:
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
    """F36: what is known is kept, what is new runs, what is asked for no more stays, marked."""
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
        ("leave", "failed", "its code called sys.exit(0)"),
        ("leave at once", "failed", "its process ended with exit code 0"),
        ("explode", "failed", "what nobody expected"),
        ("no way", "failed", "dataset: no such file"),
        ("no way, dead", "failed", "its process was killed by SIGKILL; out of memory?"),
    ],
)
def test_a_fault_is_one_jobs_own(folder, does, state, message):
    """F33, F34: it is written down at once, where it can be found; the others run; exit 6."""
    jobs = [job("bad", does, group="alone"), job("good"), job("well")]
    code, text = start(folder, jobs)
    assert code == 6
    assert states(folder) == {"bad": state, "good": "finished", "well": "finished"}
    entry = read_json(folder / directory.SWEEP)["jobs"]["id-bad"]
    assert entry["message"] == message
    status = directory.status(folder / "bad")
    assert status["state"] == state
    assert status.get("exit_code") != 0
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


@pytest.mark.parametrize("retries", [0, 1])
def test_who_kills_a_process_before_anything_is_saved_is_told_apart(folder, retries):
    """F34: by the same command again, or a retry, the other jobs of its batch train."""
    jobs = [job("bad", "die at once"), job("good"), job("well")]
    code, _ = start(folder, jobs, processes=1, retries=retries)
    assert code == 6
    if not retries:
        assert states(folder) == {"bad": "failed", "good": "failed", "well": "finished"}
        assert start(folder, jobs, processes=1)[0] == 6
    assert states(folder) == {"bad": "failed", "good": "finished", "well": "finished"}
    assert trained(folder) == steps(jobs[1:])
    pinned = read_json(folder / directory.SWEEP)["batches"].values()
    assert [each["way"]["lanes"] for each in pinned] == [2, 2, 2, 2]


def test_who_kills_the_process_that_tries_lets_the_others_train(folder):
    """F34: each alone, so that they are told apart, and with a word about it."""
    jobs = [job("bad", "no lanes, dead"), job("good"), job("well")]
    code, text = start(folder, jobs)
    assert code == 6
    assert states(folder) == {"bad": "failed", "good": "finished", "well": "finished"}
    why = "trying how to train them together: its process was killed by SIGKILL; out of memory?"
    assert f"3 jobs  each alone, traced, 1 thread a process: {why}" in text


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
    """F35: what was finished is kept, what was cut goes on, the rest is run."""
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
    """F34: its jobs are counted as failed, another worker does the others."""
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
    """F11, F12: as Ctrl-C in a terminal, which reaches the whole process group."""
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
    """F12."""
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
    """F11."""
    process = coordinator(does="no way, hangs")
    until(lambda: (folder / directory.SWEEP).exists() and process.workers())
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait() == 143
    assert set(states(folder).values()) == {"pending"}


def test_a_signal_at_the_very_end_of_a_batch(folder):
    """F11: its last step is taken, so that nobody saves and leaves; nobody waits for that."""
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


def test_a_signal_between_two_batches(folder):
    """F11: nobody trains at that moment, and nobody begins."""
    over = coordinate.Coordinator._over

    def signalled(self, task, fault, kind):
        over(self, task, fault, kind)
        if task.batch == "b000":
            os.kill(os.getpid(), signal.SIGTERM)

    jobs = [job(name) for name in "abc"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coordinate.Coordinator, "_over", signalled)
        with pytest.raises(Interrupted, match="3 jobs: 2 pending, 1 finished") as caught:
            start(folder, jobs, processes=1, lanes=1)
    assert caught.value.exit_code == 143
    assert states(folder) == {"a": "finished", "b": "pending", "c": "pending"}
    assert not held(folder)
    assert start(folder, jobs, processes=1, lanes=1)[0] == 0
    assert trained(folder) == steps(jobs)


def test_one_at_a_time(folder):
    """F46."""
    folder.mkdir(parents=True)
    with locked(folder), pytest.raises(InUse, match="in use by pid"):
        start(folder, [job("a")])


def test_of_two_at_once_one_goes_on(folder, coordinator):
    """F46: the other leaves with 7, and trains nothing."""
    process = coordinator()
    until(lambda: len(trained(folder)) > 20)
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait() == 143
    both = [coordinator(), coordinator()]
    assert sorted(each.wait() for each in both) == [0, 7]
    assert trained(folder) == steps([job(f"j{at}") for at in range(6)], 40)
    assert set(states(folder).values()) == {"finished"}


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


# Data, and how it was trained before


def test_other_data_is_refused_before_anything_runs(folder, tmp_path):
    """F32: exit 3; with the right data again, everything goes on where it was."""
    data, other = tmp_path / "data", tmp_path / "other"
    data.write_text("3f2a")
    other.write_text("77aa")
    jobs = [job("a", data=str(data)), job("bad", "fail once", data=str(data)),
            job("else", group="b", data=str(other))]  # fmt: skip
    assert start(folder, jobs, processes=1)[0] == 6
    before = trained(folder)
    entries = read_json(folder / directory.SWEEP)["jobs"]
    data.write_text("0000")
    jobs.append(job("new", group="b", data=str(other)))
    with pytest.raises(BadData, match="data hash differs: recorded 3f2a, found 0000") as caught:
        start(folder, jobs)
    assert caught.value.exit_code == 3
    data.unlink()
    with pytest.raises(BadData, match="data: no such file"):
        start(folder, jobs)
    assert trained(folder) == before
    found = read_json(folder / directory.SWEEP)["jobs"]
    assert {each: found[each]["state"] for each in entries} == {
        "id-a": "finished", "id-bad": "failed", "id-else": "finished"}  # fmt: skip
    assert [found[key]["data"] for key in entries] == ["3f2a", "3f2a", "77aa"]
    data.write_text("3f2a")
    assert start(folder, jobs)[0] == 0
    assert not held(folder)


def test_data_that_nobody_is_to_be_trained_on_may_change(folder, tmp_path):
    """F32: not even looked at."""
    data = tmp_path / "data"
    data.write_text("3f2a")
    jobs = [job("a", data=str(data))]
    start(folder, jobs)
    data.unlink()
    assert start(folder, [*jobs, job("b", group="b")])[0] == 0


def test_a_table_of_jobs_trained_in_two_ways_is_said(folder):
    """F19: where more jobs of a group cannot be trained as the others were."""
    jobs = [job(name) for name in "abcd"]
    _, text = start(folder, jobs[:2])
    _, more = start(folder, jobs[:3])
    assert "not bit-exact" not in text + more
    _, text = start(folder, jobs, lanes=1)
    assert "warning: not bit-exact: trained as lanes -> alone, 1 of 4 jobs (measured)" in text


def test_another_environment_is_said_and_added(folder, monkeypatch):
    """F19."""
    jobs = [job("a")]
    start(folder, jobs)
    first = read_json(folder / directory.ENVIRONMENT)
    other = {**first, "versions": {**first["versions"], "torch": "9.1"}}
    monkeypatch.setattr("runner.recording.environment.environment", lambda: other)
    _, text = start(folder, jobs)
    torch_version = first["versions"]["torch"]
    assert f"since it began: versions.torch {torch_version} -> 9.1\n" in text
    found = read_json(folder / directory.ENVIRONMENT)
    assert found["versions"] == first["versions"]
    assert found["later"][0]["versions"]["torch"] == "9.1"

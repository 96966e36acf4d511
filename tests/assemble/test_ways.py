"""How a batch is trained: given, remembered, or tried; the trials' times are stand-ins here."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from lane_runs import settings

from runner.assemble import calibrate, ways
from runner.assemble.lanes import Together
from runner.assemble.ways import Way, known, way_of
from runner.foundation import remembered
from runner.foundation.errors import Misconfigured


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Give each test a memory of its own, and the threads back."""
    monkeypatch.setenv("RUNNER_CACHE", str(tmp_path / "cache"))
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def jobs(count: int, *overrides: str):
    one = settings("compile=auto", *overrides)
    return [replace(one, seed=seed) for seed in range(count)]


def silent(text: str) -> None:
    pytest.fail(f"nothing took long, yet: {text}")


@pytest.fixture
def times(monkeypatch):
    """Return a function that says how long all takes, and how fast steps of lanes turn out."""
    tried: list[list] = []

    def stand_in(seconds=1.0, compiled=None, **ratios):
        """`l8=0.5`: a step of 8 lanes takes twice as long as one of a model alone."""
        given = {1: 1.0, **{int(name[1:]): ratio for name, ratio in ratios.items()}}

        def faster(trials, limit):
            tried.append(list(trials))
            if set(trials) == {"trace", "true"}:
                return "?", {"trace": 1.0, "true": compiled}
            return "?", {way: given[way] for way in trials}

        monkeypatch.setattr(calibrate, "faster", faster)
        monkeypatch.setattr(ways, "seconds_of", lambda take: seconds)
        return tried

    return stand_in


GIVEN = {  # how many jobs, overrides, most lanes; what is chosen, and why
    "refused": (9, ["optimizer=lbfgs"], None, (1, "trace"), "goes by values of one model"),
    "refused, run plainly": (
        9,
        ["optimizer=lbfgs", "compile=false"],
        None,
        (1, "false"),
        "goes by",
    ),
    "one job": (1, [], None, (1, "trace"), "a single job"),
    "one lane is asked for": (9, [], 1, (1, "trace"), "sweep.lanes=1"),
}


@pytest.mark.parametrize("case", GIVEN)
def test_what_is_given_is_not_tried(case, monkeypatch):
    count, overrides, most, (lanes, mode), why = GIVEN[case]
    monkeypatch.setattr(ways, "assemble", lambda *given: pytest.fail("nothing is to be tried"))
    way = way_of(jobs(count, *overrides), 2, silent, most)
    assert (way.lanes, way.compile, way.threads) == (lanes, mode, 1)
    assert why in way.reason
    assert known(jobs(count, *overrides), 2, most) == way


def test_threads_are_shared_out(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: range(8))
    for processes, threads in ((1, 8), (2, 4), (3, 2), (8, 1), (16, 1)):
        assert way_of(jobs(1, "threads=auto"), processes, silent).threads == threads
    assert way_of(jobs(1, "threads=3"), 8, silent).threads == 3


def test_short_sweeps_are_not_tried(times):
    tried = times(seconds=1e-5)
    way = way_of(jobs(9), 2, silent)
    assert (way.lanes, way.compile) == (1, "trace")
    assert way.reason == "0.0 s of work: nothing is worth trying"
    assert tried == []


FOUND = {  # most lanes, stand-ins; lanes chosen, which were tried
    "lanes are faster": (None, {"l8": 0.5, "l32": 0.1}, 8, [1, 8, 32]),
    "more lanes are faster": (None, {"l8": 0.5, "l32": 0.4}, 32, [1, 8, 32]),
    "lanes are slower": (None, {"l8": 0.1, "l32": 0.03}, 1, [1, 8, 32]),
    "lanes are hardly faster": (None, {"l8": 0.13, "l32": 0.03}, 1, [1, 8, 32]),
    "fewer are asked for": (4, {"l4": 0.5}, 4, [1, 4]),
    "no more than 8 are asked for": (8, {"l8": 0.5}, 8, [1, 8]),
}


@pytest.mark.parametrize("case", FOUND)
def test_the_fastest_number_of_lanes_is_chosen(case, times, monkeypatch):
    most, ratios, lanes, expected = FOUND[case]
    monkeypatch.setattr(ways, "can_compile", lambda run: False)
    tried = times(**ratios)
    way = way_of(jobs(64), 2, silent, most)
    assert (way.lanes, way.compile, way.threads) == (lanes, "trace", 1)
    assert tried == [expected]
    assert way.reason.startswith("steps of mlp a second, alone 1: ")
    assert f"{expected[1]} lanes {expected[1] * ratios[f'l{expected[1]}']:.1f}" in way.reason


@pytest.mark.parametrize(
    ("count", "processes", "lanes"),
    [(3, 2, [2]), (3, 1, [3]), (9, 2, [5]), (18, 2, [5, 9]), (24, 2, [6, 12]), (64, 2, [8, 32])],
)
def test_jobs_are_shared_out_evenly(count, processes, lanes, times, monkeypatch):
    monkeypatch.setattr(ways, "can_compile", lambda run: False)
    tried = times(**{f"l{each}": 0.9 for each in lanes})
    assert way_of(jobs(count), processes, silent).lanes == lanes[-1]
    assert tried == [[1, *lanes]]


def test_many_lanes_of_a_large_model_are_not_tried(times, monkeypatch):
    monkeypatch.setattr(ways, "NEAR", 1e4)
    monkeypatch.setattr(ways, "can_compile", lambda run: False)
    tried = times(l8=0.5)
    assert way_of(jobs(64, "architecture.hidden=[64]"), 2, silent).lanes == 8
    assert tried == [[1, 8]]


def test_what_was_found_is_remembered_for_jobs_alike(times, monkeypatch):
    monkeypatch.setattr(ways, "can_compile", lambda run: False)
    times(l8=0.5, l32=0.1)
    way = way_of(jobs(64), 2, silent)
    (decision,) = [each for each in remembered.listed().values() if each["what"] == "way"]
    assert (Way(**decision["value"]), decision["for"]) == (way, "sweep of 64 jobs, mlp")
    monkeypatch.setattr(ways, "_tried", lambda *given: pytest.fail("it was tried already"))
    others = jobs(64, "optimizer.lr=0.5", "schedule=linear")
    assert way_of(others, 2, silent) == known(others, 2) == way
    for more in ((jobs(41), 2, None), (jobs(64), 1, None), (jobs(64), 2, 8),
                 (jobs(64, "trainer.epochs=3"), 2, None),
                 (jobs(64, "compile=trace"), 2, None),
                 (jobs(64, "architecture.hidden=[9]"), 2, None)):  # fmt: skip
        assert known(*more) is None


@pytest.mark.parametrize(("mode", "lanes"), [("false", 1), ("true", 8)])
def test_how_the_step_is_run_is_as_asked_for(times, mode, lanes):
    tried = times()
    way = way_of(jobs(64, f"compile={mode}"), 2, silent)
    assert way[:3] == (lanes, mode, 1)
    assert way.reason.startswith(f"compile={mode}")
    assert way_of(jobs(64, f"compile={mode}"), 2, silent, 4).lanes == min(lanes, 4)
    assert tried == []


COMPILED = {  # overrides, how much faster; lanes and mode chosen, whether it was tried
    "it pays": ([], 2.0, (8, "true"), True),
    "it is no faster than more lanes": ([], 1.2, (32, "trace"), True),
    "it cannot be": ([], 0.0, (32, "trace"), True),
    "traced lanes are asked for": (["compile=trace"], 2.0, (32, "trace"), False),
}


@pytest.mark.parametrize("case", COMPILED)
def test_lanes_are_compiled_where_that_pays(case, times, monkeypatch):
    overrides, faster, chosen, is_tried = COMPILED[case]
    asked: list[tuple[int, int]] = []

    def compiled(settings, count):
        asked.append((len(settings), count))
        return faster

    times(seconds=100.0, l8=0.5, l32=0.15)
    monkeypatch.setattr(ways, "_compiled", compiled)
    monkeypatch.setattr(ways, "can_compile", lambda run: True)
    said: list[str] = []
    way = way_of(jobs(64, *overrides), 2, said.append)
    assert (way.lanes, way.compile) == chosen
    assert bool(asked) == bool(said) == is_tried
    assert asked in ([], [(8, 8)])


def test_a_short_sweep_is_not_compiled(times, monkeypatch):
    times(seconds=0.01, l8=0.5, l32=0.1)
    monkeypatch.setattr(ways, "_compiled", lambda *given: pytest.fail("it would not pay"))
    monkeypatch.setattr(ways, "can_compile", lambda run: True)
    assert way_of(jobs(64), 2, silent).compile == "trace"


def test_what_cannot_be_stacked_trains_alone(times, monkeypatch):
    def fail(*given):
        raise RuntimeError("vmap: no rule for this\nand more")

    times(l8=0.5, l32=0.5)
    monkeypatch.setattr(Together, "step", fail)
    way = way_of(jobs(9), 2, silent)
    assert (way.lanes, way.compile) == (1, "trace")
    assert way.reason == "cannot be stacked: vmap: no rule for this"


def test_one_job_that_cannot_begin_hides_nothing_of_the_others(times, monkeypatch):
    monkeypatch.setattr(ways, "can_compile", lambda run: False)
    times(l5=0.5)
    faulty = [settings("compile=auto", "loss.eps=0.9")]
    sound = [settings("compile=auto", "loss.eps=0.01", f"seed={seed}") for seed in range(8)]
    assert way_of(faulty + sound, 2, silent).lanes > 1
    with pytest.raises(Misconfigured, match="leaves the true class less"):
        way_of(2 * faulty, 2, silent)

"""Calibration: the fastest way by a margin, in a given time, on a clock of the tests' own."""

import itertools
import time

import pytest
import torch

from runner.assemble import calibrate
from runner.assemble.calibrate import faster, threads, times


class Clock:
    """A clock that only steps move."""

    def __init__(self):
        self.now = 100.0
        self.steps = []

    def __call__(self):
        return self.now

    def step(self, name, seconds):
        """Return a step that takes so long; `seconds` may be a function of the time."""

        def trial():
            self.steps.append(name)
            self.now += seconds(self.now) if callable(seconds) else seconds

        return trial

    def by_threads(self, seconds):
        """Return a step whose time is a function of the number of threads."""

        def trial():
            self.steps.append(torch.get_num_threads())
            self.now += seconds(torch.get_num_threads())

        return trial


@pytest.fixture
def clock(monkeypatch):
    """Replace the clock; only steps take time."""
    made = Clock()
    monkeypatch.setattr(calibrate, "perf_counter", made)
    return made


@pytest.fixture(autouse=True)
def one_thread_after():
    """Leave one thread to the other tests."""
    yield
    torch.set_num_threads(1)


MS = 0.001
CHOICES = [
    ({"a": 1 * MS, "b": 5 * MS}, "a", {"a": 1, "b": 0.2}),
    ({"a": 5 * MS, "b": 1 * MS}, "b", {"a": 1, "b": 5}),
    ({"a": 1.04 * MS, "b": 1 * MS}, "a", {"a": 1, "b": 1.04}),
    ({"a": 1.06 * MS, "b": 1 * MS}, "b", {"a": 1, "b": 1.06}),
    ({"a": 8 * MS, "b": 4 * MS, "c": 2 * MS}, "c", {"a": 1, "b": 2, "c": 4}),
    ({"a": 8 * MS, "b": 2 * MS, "c": 4 * MS}, "b", {"a": 1, "b": 4, "c": 2}),
    ({"a": 1 * MS}, "a", {"a": 1}),
]


@pytest.mark.parametrize(("seconds", "best", "ratios"), CHOICES)
def test_the_fastest_by_a_margin_is_chosen(clock, seconds, best, ratios):
    trials = {name: clock.step(name, each) for name, each in seconds.items()}
    chosen, found = faster(trials, 0.5)
    assert chosen == best
    assert found == pytest.approx(ratios, rel=1e-6)


def test_by_the_real_clock_too():
    slow, quick = (lambda: time.sleep(0.02)), (lambda: time.sleep(0.002))
    assert faster({"slow": slow, "quick": quick}, 0.2)[0] == "quick"
    assert faster({"quick": quick, "slow": slow}, 0.2)[0] == "quick"


def test_ways_take_turns_and_the_order_changes(clock):
    faster({name: clock.step(name, 10 * MS) for name in "ab"}, 0.5)
    assert "".join(clock.steps[:14]) == "ab" + "aabb" + "bbaa" + "aabb"


def test_a_machine_that_becomes_slow_changes_nothing(clock):
    """The second half of the time takes ten times as long; in each round both suffer."""
    began = clock.now

    def drifting(seconds):
        return lambda now: seconds * (10 if now > began + 0.25 else 1)

    trials = {"a": clock.step("a", drifting(1.2 * MS)), "b": clock.step("b", drifting(1 * MS))}
    chosen, ratios = faster(trials, 0.5)
    assert chosen == "b"
    assert ratios["b"] == pytest.approx(1.2, rel=0.05)


def test_a_hiccup_changes_nothing(clock):
    turns = itertools.count()
    trials = {
        "a": clock.step("a", 1 * MS),
        "b": clock.step("b", lambda now: 0.1 if next(turns) % 30 == 7 else 0.5 * MS),
    }
    assert faster(trials, 2.0)[0] == "b"


@pytest.mark.parametrize(("first", "other", "longest"), [(1, 1.05, 0.5), (1, 5, 0.3), (3, 4, 0.5)])
def test_it_keeps_to_its_time(clock, first, other, longest):
    noise = itertools.cycle([0.9, 1.1, 1.0])
    trials = {
        "a": clock.step("a", first * MS),
        "b": clock.step("b", lambda now: other * MS * next(noise)),
    }
    faster(trials, 0.5)
    assert clock.now - 100 <= longest + (first + 1.1 * other) * MS


@pytest.mark.parametrize(("ratio", "best"), [(1.5, "a"), (3, "b")])
def test_one_round_is_enough_for_a_plain_difference(clock, ratio, best):
    trials = {"a": clock.step("a", ratio), "b": clock.step("b", 1.0)}
    assert faster(trials, 0.5) == (best, {"a": 1, "b": pytest.approx(ratio)})
    assert clock.steps == [*"ab", *"aabb"]


THREADS = [
    # processors, seconds by threads, the choice, why
    (2, lambda n: 1 * MS * n, 1, "1 thread was 2.0 times as fast as 2"),
    (2, lambda n: 3 * MS / n, 2, "2 threads were 2.0 times as fast as 1"),
    (2, lambda n: (1 + 0.02 * n) * MS, 2, "1 thread was 1.0 times as fast as 2: too little"),
    (8, lambda n: (1 + abs(n - 4)) * MS, 4, "4 threads were 5.0 times as fast as 8"),
    (8, lambda n: (1 + 8 / n) * MS, 8, "8 threads were 1.5 times as fast as 4"),
    (1, lambda n: 1 * MS, 1, "this process may use one processor"),
    (2, lambda n: 160 * MS / n, 2, "a step takes 80 ms: all processors help"),
    (8, lambda n: 8000 * MS / n, 8, "a step takes 1,000 ms: all processors help"),
]


@pytest.mark.parametrize(("most", "seconds", "chosen", "reason"), THREADS)
def test_threads(clock, most, seconds, chosen, reason):
    found, why = threads(clock.by_threads(seconds), most, 0.5)
    assert found == chosen == torch.get_num_threads()
    assert why.startswith(reason)


TIMES = {0.9: "0.90", 1.42: "1.4", 9.94: "9.9", 9.97: "10", 10: "10", 10.1: "more than 10",
         179.97: "more than 10"}  # fmt: skip


@pytest.mark.parametrize(("ratio", "said"), TIMES.items())
def test_a_ratio_is_said_to_two_digits(ratio, said):
    assert times(ratio) == f"{said} times as fast as"


@pytest.mark.parametrize(
    ("most", "tried"),
    [(2, {1, 2}), (3, {1, 3}), (4, {1, 4}), (5, {1, 2, 4, 5}), (6, {1, 2, 4, 6}),
     (8, {1, 2, 4, 8}), (16, {1, 2, 4, 8, 16})],
)  # fmt: skip
def test_which_numbers_of_threads_are_tried(clock, most, tried):
    threads(clock.by_threads(lambda n: 1 * MS), most, 0.5)
    assert set(clock.steps) == tried


def test_threads_that_hinder_each_other_make_no_long_step(clock):
    """Where other processes are at work, a short step of all threads may take half a second."""
    step = clock.by_threads(lambda n: 0.6 if n == 2 else 1 * MS)
    assert threads(step, 2, 0.5) == (1, "1 thread was more than 10 times as fast as 2")


def test_a_very_long_step_is_not_repeated_for_long(clock):
    assert threads(clock.by_threads(lambda n: 6 / n), 2, 0.5)[0] == 2
    assert clock.steps == [2, 2]

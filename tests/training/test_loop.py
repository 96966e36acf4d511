"""The loop: hooks in order, when due, after the last step, and when one of them ends training."""

import pytest
import torch
from torch import nn

from runner.training.loop import Hook, train
from runner.training.state import Outcome, State


def fresh(step: int = 0) -> State:
    return State(nn.Linear(1, 1), [], {}, {}, step=step)


def advance(state: State) -> Outcome:
    state.step += 1
    return Outcome(torch.tensor(float(state.step)), torch.zeros(1), torch.zeros(1))


def noted(every: int, calls: list, name: str = "", end: int | None = None) -> Hook:
    """Return a hook that notes its calls and ends training at a step."""

    def call(state, row):
        calls.append((state.step, name) if name else state.step)
        return state.step == end

    return Hook(every, call)


@pytest.mark.parametrize(
    ("every", "total", "start", "due"),
    [
        (1, 4, 0, [1, 2, 3, 4]),
        (3, 10, 0, [3, 6, 9, 10]),
        (5, 10, 0, [5, 10]),
        (20, 10, 0, [10]),
        (3, 10, 4, [6, 9, 10]),
        (3, 10, 10, []),
        (3, 0, 0, []),
        (3, 5, 9, []),
    ],
)
def test_due_steps(every, total, start, due):
    calls = []
    state = train(fresh(start), advance, [noted(every, calls)], total)
    assert calls == due
    assert state.step == max(total, start)


def test_hooks_run_in_their_order():
    calls = []
    hooks = [noted(2, calls, "a"), noted(1, calls, "b"), noted(2, calls, "c")]
    train(fresh(), advance, hooks, 3)
    assert calls == [(1, "b"), (2, "a"), (2, "b"), (2, "c"), (3, "a"), (3, "b"), (3, "c")]


def test_true_ends_training_and_the_hooks_behind_run_as_after_the_last_step():
    calls = []
    hooks = [noted(5, calls, "before"), noted(1, calls, "ends", end=3), noted(5, calls, "behind")]
    state = train(fresh(), advance, hooks, 100)
    assert state.step == 3
    assert calls == [(1, "ends"), (2, "ends"), (3, "ends"), (3, "behind")]


def test_what_has_ended_does_not_go_on():
    """A resumed run that was ended by a hook before it was cut."""
    calls = []
    state = train(fresh(), advance, [noted(1, calls, end=3)], 100)
    assert state.ended
    again = train(state, advance, [noted(1, calls)], 100)
    assert (again.step, calls) == (3, [1, 2, 3])
    assert not train(fresh(), advance, [noted(1, calls)], 5).ended


def test_a_hook_that_is_not_due_cannot_end_training():
    calls = []
    state = train(fresh(), advance, [noted(4, calls, end=3)], 6)
    assert (state.step, calls) == (6, [4, 6])


def test_hooks_share_the_row_of_their_step_and_no_other():
    rows = []
    hooks = [
        Hook(2, lambda state, row: row.update(value=state.step)),
        Hook(1, lambda state, row: rows.append(dict(row))),
    ]
    train(fresh(), advance, hooks, 3)
    assert rows == [{}, {"value": 2}, {"value": 3}]


def test_the_window_holds_every_step_until_a_hook_clears_it():
    sizes = []

    def clear(state, row):
        sizes.append([int(outcome.loss) for outcome in state.window])
        state.window.clear()

    state = train(fresh(), advance, [Hook(3, clear)], 7)
    assert sizes == [[1, 2, 3], [4, 5, 6], [7]]
    assert state.window == []


def test_an_error_in_a_hook_leaves_the_loop():
    def fail(state, row):
        raise KeyError(state.step)

    with pytest.raises(KeyError, match="2"):
        train(fresh(), advance, [Hook(2, fail)], 5)

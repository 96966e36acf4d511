"""The loop: advance, and call every hook that is due."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from runner.training.state import Outcome, State

Row = dict[str, Any]


class Hook(NamedTuple):
    """Something to do after every `every` steps and after the last.

    `call(state, row)` may add to the row that this step logs, or use what stands in it. True
    ends training: the hooks behind it are then called as after the last step.
    """

    every: int
    call: Callable[[State, Row], bool | None]


def train(
    state: State, advance: Callable[[State], Outcome], hooks: Sequence[Hook], total: int
) -> State:
    """Take the state to `total` steps, or to where a hook ends it."""
    while state.step < total and not state.ended:
        state.window.append(advance(state))
        last = state.step >= total
        row: Row = {}
        for hook in hooks:
            if (last or state.ended or state.step % hook.every == 0) and hook.call(state, row):
                state.ended = True
    return state

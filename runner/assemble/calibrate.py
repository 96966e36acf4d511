"""Find out which of several ways to take a step is the fastest here, in a fraction of a second.

A machine's speed drifts and hiccups, so the ways take turns and are compared within a round: what
counts is the median over the rounds of how many times as fast one was as the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median, quantiles
from time import perf_counter
from typing import TypeVar

import torch

Way = TypeVar("Way")
Trial = Callable[[], None]

MARGIN = 1.05  # times as fast as the first another must be to take its place
FEW, MARGIN_OF_FEW = 3, 2.0  # with fewer rounds than this the margin is that
SETTLED = 9  # rounds after which a plain verdict need not wait for the end of the time
TURN = 0.005  # seconds of one way, so that neither the clock nor the change of ways matters
LONG, VERY_LONG = 0.05, 2.0  # seconds of a step that has work for all processors


def faster(trials: Mapping[Way, Trial], seconds: float) -> tuple[Way, dict[Way, float]]:
    """Return the fastest way, and how many times as fast as the first each was.

    A trial takes one step, on copies of its own, and returns when it is done. After a step of each
    to warm up, rounds fill the given time, one at least, every other one backwards; they end before
    if three quarters of them agree. The first way stays unless another is 5 % faster, or twice as
    fast where there was time for two rounds only.
    """
    for trial in trials.values():
        trial()
    ways = list(trials)
    rounds: list[dict[Way, float]] = []
    end, longest = perf_counter() + seconds, 0.0
    while not rounds or (perf_counter() + longest < end and not _plain(rounds)):
        began = perf_counter()
        order = ways if len(rounds) % 2 == 0 else ways[::-1]
        took = {way: _turn(trials[way]) for way in order}
        rounds.append({way: took[ways[0]] / took[way] for way in ways})
        longest = max(longest, perf_counter() - began)
    ratios = {way: median(each[way] for each in rounds) for way in ways}
    best = max(ways, key=lambda way: ratios[way])
    needed = MARGIN if len(rounds) >= FEW else MARGIN_OF_FEW
    return (best if ratios[best] >= needed else ways[0]), ratios


def threads(step: Trial, most: int, seconds: float) -> tuple[int, str]:
    """Choose how many threads take a step, of `most` or fewer; return the number and the reason.

    1 is tried, and beyond 4 processors the powers of 2 between. The number chosen is set.
    """
    torch.set_num_threads(most)
    if most == 1:
        return 1, "this process may use one processor"
    if (took := _long(step, most)) is not None:
        torch.set_num_threads(most)
        return most, f"a step takes {1000 * took:,.0f} ms: all processors help"
    chosen, ratios = faster({count: _with(count, step) for count in _counts(most)}, seconds)
    torch.set_num_threads(chosen)
    return chosen, _reason(chosen, most, ratios)


def times(ratio: float) -> str:
    """Say a ratio of speeds to two digits; beyond 10 it tells of a busy machine, not of the way."""
    number = "more than 10" if ratio > 10 else f"{ratio:#.2g}".removesuffix(".")
    return f"{number} times as fast as"


def _turn(trial: Trial) -> float:
    """Return the seconds of a step; one before it finds the caches as another way left them."""
    trial()
    steps, took, began = 0, 0.0, perf_counter()
    while took < TURN:
        trial()
        steps, took = steps + 1, perf_counter() - began
    return took / steps


def _plain(rounds: Sequence[Mapping[Way, float]]) -> bool:
    """Tell whether three quarters of enough rounds say the same of every way."""
    if len(rounds) < SETTLED:
        return False
    spreads = (quantiles([each[way] for each in rounds], n=4) for way in rounds[0])
    return all(low >= MARGIN or high < MARGIN for low, _, high in spreads)


def _long(step: Trial, most: int) -> float | None:
    """Return the seconds of a step that needs no trials, None if it does.

    Threads that wait for each other make a short step long where other processes are at work, so
    half as many must find it long too.
    """
    step()
    took = _seconds(step)
    if took <= LONG:
        return None
    return took if took > VERY_LONG or _seconds(_with(most // 2, step)) > LONG else None


def _seconds(step: Trial) -> float:
    began = perf_counter()
    step()
    return perf_counter() - began


def _counts(most: int) -> Iterable[int]:
    """Return the numbers of threads to try, `most` first."""
    between = [2**power for power in range(1, (most - 1).bit_length())]
    return [most, 1, *(between if most > 4 else [])]


def _with(count: int, step: Trial) -> Trial:
    def trial() -> None:
        torch.set_num_threads(count)
        step()

    return trial


def _reason(chosen: int, most: int, ratios: Mapping[int, float]) -> str:
    """Say how many times as fast the chosen number is as all, or all as the best of the others."""
    if chosen != most:
        return f"{_counted(chosen)} {times(ratios[chosen])} {most}"
    rival = max((count for count in ratios if count != most), key=lambda count: ratios[count])
    if ratios[rival] > 1:
        return f"{_counted(rival)} {times(ratios[rival])} {most}: too little to tell"
    return f"{_counted(most)} {times(1 / ratios[rival])} {rival}"


def _counted(count: int) -> str:
    return "1 thread was" if count == 1 else f"{count} threads were"

"""How a batch of a sweep's jobs is trained: how many lanes, traced or compiled, on which threads.

Chosen by trying on the jobs' own data and model, and remembered for the machine and the structure.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import ceil
from typing import Any, NamedTuple

import torch

from runner.assemble import calibrate
from runner.assemble.lanes import Together, refusal, together
from runner.assemble.machine import speed_key
from runner.assemble.run import Run, assemble
from runner.assemble.settings import Settings
from runner.assemble.speed import SAVED, can_compile, compile_seconds, make_ready, seconds_of
from runner.foundation import remembered
from runner.foundation.errors import RunnerError, no_exit
from runner.training.ready import Compiled, Traced, preserved

SECONDS = 0.5  # of trying ways out
LANES = (8, 32)  # numbers of lanes that are tried, or so many fewer as share the jobs out evenly
NEAR = 16e6  # bytes of weights, gradients and slots of all lanes that stay near a processor
SHORT = 5.0  # seconds of all jobs, each alone, below which nothing is worth trying
AGAIN = 5.0  # seconds that each process takes to load what was compiled


class Way(NamedTuple):
    """How a batch is trained; with 1 lane each of its jobs is alone.

    compile  trace, true or false, as the setting of that name
    reason   why, in one line
    """

    lanes: int
    compile: str
    threads: int
    reason: str


def way_of(
    settings: Sequence[Settings],
    processes: int,
    say: Callable[[str], None],
    most: int | None = None,
) -> Way:
    """Return how jobs of one group are trained best by so many processes at once.

    Each way is tried in this process, on one share of the processors and scratch copies: the
    traced step of one model, of about 8 lanes, and of 32 where they are small; `most` limits them.
    Lanes must be 5 % faster. They are compiled where that pays by far. Raises what assembling does.
    """
    if (way := known(settings, processes, most)) is not None:
        return way
    first, threads = settings[0], threads_of(settings[0], processes)
    remembered_as = key_of(settings, processes, most)
    torch.set_num_threads(threads)
    whom = f"sweep of {len(settings)} jobs, {first.architecture.factory.__name__}"
    way = _tried(settings, processes, threads, most or LANES[-1], say)
    decision = {"what": "way", "value": way._asdict(), "reason": way.reason, "for": whom}
    return Way(**remembered.remember(remembered_as, decision)["value"])


def known(settings: Sequence[Settings], processes: int, most: int | None = None) -> Way | None:
    """Return the way of a group where it takes no trying: it is given, or remembered."""
    first, threads = settings[0], threads_of(settings[0], processes)
    if reason := refusal(first):
        return Way(1, mode_of(first), threads, reason)
    if most == 1 or len(settings) == 1:
        return Way(1, mode_of(first), threads, "a single job" if most != 1 else "sweep.lanes=1")
    decision = remembered.recall(key_of(settings, processes, most))
    return Way(**decision["value"]) if decision is not None else None


def key_of(settings: Sequence[Settings], processes: int, most: int | None = None) -> str:
    """Return under which key the way of a group is remembered."""
    first, threads = settings[0], threads_of(settings[0], processes)
    count = _shares(len(settings), processes, most or LANES[-1])[0]
    kept = remembered.recall(_compiled_key(first, threads, count)) is not None
    amount = len(settings), processes, first.trainer.epochs, first.trainer.steps, most, kept
    return speed_key(first, first.device, threads, "way", *amount)


def mode_of(settings: Settings) -> str:
    """Return how a single step is run: as asked for, traced where that is left open."""
    return {"auto": "trace", "trace": "trace", True: "true", False: "false"}[settings.compile]


def threads_of(settings: Settings, processes: int) -> int:
    """Return how many threads each of so many processes has for such a run."""
    if settings.threads != "auto":
        return settings.threads
    return max(1, len(os.sched_getaffinity(0)) // processes)


def _tried(
    settings: Sequence[Settings],
    processes: int,
    threads: int,
    most: int,
    say: Callable[[str], None],
) -> Way:
    run = _first(settings, threads)
    state = run.state()
    alone = make_ready(run, state, "trace")
    with preserved(state):
        seconds = seconds_of(alone.take)
    whole = len(settings) * run.clock.total * seconds / processes
    counts = _shares(len(settings), processes, most)
    if run.settings.compile in (False, True):
        lanes = counts[0] if run.settings.compile else 1
        why = "compile=true" if run.settings.compile else "compile=false is of single models"
        return Way(lanes, mode_of(run.settings), threads, why)
    looking = len(settings) * _evaluating(run) / processes
    if whole + looking < SHORT and run.device.type == "cpu":
        return Way(1, "trace", threads, f"{whole + looking:.1f} s of work: nothing is worth trying")
    trials: dict[int, Callable[[], Any]] = {1: alone.take}
    try:
        for count in counts:
            if count <= LANES[0] or count * _bytes(run, state) <= NEAR:
                stack = together([run.settings] * count)
                trials[count] = trial(stack, Traced(stack.lanes))
    except RunnerError:
        raise
    except Exception as error:  # whatever torch says of a kernel that it cannot stack
        why = str(error).partition("\n")[0]
        return Way(1, "trace", threads, f"cannot be stacked: {why}")
    return _fastest(run, trials, whole, threads, say)


def _fastest(
    run: Run,
    trials: dict[int, Callable[[], Any]],
    whole: float,
    threads: int,
    say: Callable[[str], None],
) -> Way:
    """Compare numbers of lanes, and their first with itself compiled where that may pay.

    `whole` are the seconds of all steps if each job trains alone.
    """
    _, ratios = calibrate.faster(trials, SECONDS)
    rates = {count: count * ratio for count, ratio in ratios.items()}
    best = max(rates, key=lambda count: rates[count])
    chosen = best if rates[best] >= calibrate.MARGIN else 1
    told = ", ".join(f"{count} lanes {rates[count]:.1f}" for count in trials if count > 1)
    told = f"steps of {run.settings.architecture.factory.__name__} a second, alone 1: {told}"
    count = list(trials)[1]
    kept = remembered.recall(_compiled_key(run.settings, threads, count)) is not None
    cost = AGAIN if kept else compile_seconds(run) + AGAIN
    pays = SAVED * whole / rates[chosen] >= cost and run.settings.compile == "auto"
    if not pays or not can_compile(run):
        return Way(chosen, "trace", threads, told)
    say(f"compiling the step of {count} lanes, which may take {cost:.0f} s")
    faster = _compiled([run.settings] * count, count)
    rate = faster * rates[count]
    told = f"{told}, {count} compiled {rate:.1f}"
    if rate < calibrate.MARGIN * rates[chosen]:
        return Way(chosen, "trace", threads, told)
    return Way(count, "true", threads, told)


def _shares(jobs: int, processes: int, most: int) -> list[int]:
    """Return the lanes of a batch if so many jobs are cut evenly, for each number to be tried."""
    counts = (ceil(ceil(jobs / min(each, most)) / processes) * processes for each in LANES)
    return list(dict.fromkeys(max(ceil(jobs / count), min(2, most)) for count in counts))


def _evaluating(run: Run) -> float:
    """Return the seconds that a run looks at its validation rows."""
    if not len(run.data.splits["valid"]):
        return 0.0
    times = run.clock.total // run.clock.steps(run.settings.trainer.evaluate_every)
    return times * seconds_of(lambda: run.evaluate("valid"))


def _first(settings: Sequence[Settings], threads: int) -> Run:
    """Assemble the first job that can be; raises what the first raises where none can."""
    errors: list[Exception] = []
    for each in settings:
        try:
            with no_exit():
                return assemble(replace(each, threads=threads))
        except Exception as error:  # what it calls may be the user's own code
            errors.append(error)
    raise errors[0]


def _compiled_key(settings: Settings, threads: int, count: int) -> str:
    """Return under which key it is remembered that kernels of so many lanes are on disk."""
    return speed_key(settings, settings.device, threads, "lanes compiled", count)


def remember_compiled(settings: Settings, threads: int, count: int) -> None:
    """Remember that kernels of lanes of such a structure are on disk: they cost little now."""
    whom = f"lanes of {settings.architecture.factory.__name__}"
    decision = {"what": "kernels", "value": True, "reason": "compiled before", "for": whom}
    remembered.remember(_compiled_key(settings, threads, count), decision)


def _compiled(settings: Sequence[Settings], count: int) -> float:
    """Return how many times as fast as traced lanes compiled ones are, 0 if they cannot be."""
    stack = together(settings, count)
    ready = Compiled(stack.lanes, remembered.kernels())
    take = trial(stack, ready, whole=True)
    if ready.refusal or ready.failure:
        return 0.0
    remember_compiled(settings[0], torch.get_num_threads(), count)
    traced = trial(stack, Traced(stack.lanes))
    return calibrate.faster({"trace": traced, "true": take}, SECONDS)[1]["true"]


def _bytes(run: Run, state: Any) -> int:
    tensors = [*state.tensors().values(), *run.model.parameters()]
    return sum(each.numel() * each.element_size() for each in tensors)


def trial(stack: Together, ready: Traced, whole: bool = False) -> Callable[[], Any]:
    """Return a call that takes one step of all lanes, made ready; weights stay what they are."""
    step = stack.step(ready, whole)
    x, y = stack.batches()(0)
    still = torch.zeros(stack.lanes.count, dtype=torch.float64, device=x.device)

    def take() -> None:
        step(x, y, still, False)
        stack.lanes.step = stack.lanes.seen = 0
        if x.device.type == "cuda":
            torch.cuda.synchronize()

    with preserved(stack.lanes):
        take()
    return take

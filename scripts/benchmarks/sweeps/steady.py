"""The steady state: steps of models in a second, without start, compiling, validation and files."""

from __future__ import annotations

import statistics
from collections.abc import Mapping

from benchmarks.rounds import Missing, Process, Result
from benchmarks.sweeps.by_hand import THREADS
from benchmarks.sweeps.ours import Way
from benchmarks.workloads import WORKLOADS


def steady(workload: str, way: Way, rounds: int, variables: Mapping[str, str]) -> Result:
    """Return how many times as many models take a step as in the tuned loop, beside it in turns.

    All processes of a sweep train at once; a round has ended when each of them has.
    """
    steps = WORKLOADS[workload].steps
    result, base, ours = Result(chosen=str(way)), [], []
    name = f"lanes,{way.lanes},{way.compile}"
    processes = [Process(workload, "tuned", THREADS[workload], steps)]
    processes += [
        Process(workload, name, way.threads, steps, variables) for _ in range(way.processes)
    ]
    try:
        for each in processes:
            each.answer()
        alone, *crew = processes
        before = alone.round(steps)
        for _ in range(rounds):
            for each in crew:
                each.begin(steps)
            seconds = max(float(each.answer()) for each in crew) / (way.lanes * way.processes)
            after = alone.round(steps)
            result.ratios.append((before + after) / 2 / seconds)
            base.append(steps / after)
            ours.append(steps / seconds)
            before = after
    except Missing as error:
        return Result(missing=str(error))
    finally:
        for each in processes:
            each.close()
    rates = [f"{statistics.median(each):,.0f}" for each in (ours, base)]
    result.chosen = f"{rates[0]} steps of a model a second; the tuned loop {rates[1]}"
    return result

"""Be a contender: a process that trains the workload round by round."""

from __future__ import annotations

import torch

from benchmarks.contenders import CONTENDERS, LANES, PAIR
from benchmarks.gate import Gate, Task, channel, reason
from benchmarks.workloads import WORKLOADS


def serve(workload: str, name: str, threads: int, steps: int) -> None:
    """Get ready over as many steps as a round has, then train a round for each line that comes.

    Behind the name, after commas, may stand further arguments.
    """
    gate = Gate(channel(), steps)
    name, *further = name.split(",")
    contender = (CONTENDERS | PAIR | LANES)[name]
    torch.set_num_threads(threads)
    try:
        train = contender.load()
        train(Task(WORKLOADS[workload], threads, gate), *further, **contender.arguments)
    except Exception as error:  # whatever a framework or its dependencies say
        gate.missing(reason(error))
    gate.missing("training ended by itself")

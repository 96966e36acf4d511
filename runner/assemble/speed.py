"""What `auto` makes of speed: how many threads, and whether the step is traced or compiled.

Everything is tried on the run's own model with its numbers put back, and remembered for the machine
and the structure, so that the same command has the same bits.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import torch

from runner.assemble import calibrate
from runner.assemble.budget import batch_size
from runner.assemble.machine import speed_key, threads_key
from runner.assemble.run import Begun, Run, assemble
from runner.assemble.settings import Settings
from runner.foundation import remembered
from runner.foundation.durations import ENDLESS
from runner.foundation.errors import Misconfigured
from runner.training.ready import Compiled, Traced, preserved
from runner.training.state import State
from runner.training.step import Step, is_traceable

CALIBRATION = 0.3  # seconds
LONG = 0.25  # seconds of a step next to which what tracing saves is nothing
UNTRACEABLE = (
    "this optimizer searches along a line or keeps a state of its own, "
    "so its step cannot be recorded"
)
NO_COMPILER = "there is no C++ compiler"
HEAVY = ("mm", "bmm", "conv", "linear", "attention")  # kernels that a compiler leaves to libraries
SAVED = 0.4  # of the time of all other kernels, by compiling: about half, on the safe side
COMPILING = 23.0, 0.4  # seconds to compile: at least, and for each tensor of parameters
COMPILERS = ("g++", "clang++", "c++")


class Made(NamedTuple):
    """A step, how it is run, why not as it was asked for, and a call that takes one for a trial."""

    step: Step
    way: str
    refusal: str
    take: Callable[[], Any]
    ready: Traced | None


def settled(settings: Settings, say: Callable[[str], None]) -> Run:
    """Assemble a run that is to be trained, and settle what it leaves to `auto`.

    Numbers of the data and of the first weights depend on the threads, so where another number of
    threads turns out to be faster, everything is assembled anew with it. `say` is told what takes
    long.
    """
    run = assemble(settings)
    if settings.threads == "auto" and run.device.type == "cpu":
        key, used = threads_key(settings, "cpu"), torch.get_num_threads()
        decision = remembered.recall(key)
        if decision is None:
            decided = _decision(run, "threads", *_threads(run, used, say))
            decision = remembered.remember(key, decided)
            torch.set_num_threads(decision["value"])
        if decision["value"] != used:
            run = assemble(replace(settings, threads=decision["value"]))
            run.settings = settings
        run.decided["threads"] = decision["value"], decision["reason"]
        _warn_if_lost(run, key, "threads")
    run.warnings += _crowded(settings)
    begin(run, say)
    return run


def _crowded(settings: Settings) -> list[str]:
    """Return what is odd about the number of threads that is asked for."""
    processors = len(os.sched_getaffinity(0))
    if settings.threads == "auto" or settings.threads <= processors:
        return []
    usable = "one processor" if processors == 1 else f"{processors} processors"
    asked = f"threads: {settings.threads} are asked for, but this process may use {usable}"
    return [f"{asked}; more threads than that wait for each other"]


def begin(run: Run, say: Callable[[str], None]) -> None:
    """Make the state and the step that train: plain, traced or compiled."""
    state = run.state()
    mode: bool | str = run.settings.compile
    made = None
    if mode == "auto":
        made, mode, reason = _recalled(run, state, say)
        run.decided["compile"] = mode, reason
    made = made or make_ready(run, state, mode, say)
    if made.refusal and run.settings.compile != "auto":
        run.warnings.append(f"compile: the step is {made.way}: {made.refusal}")
    run.begun = Begun(state, made.step, made.way)


def _recalled(
    run: Run, state: State, say: Callable[[str], None]
) -> tuple[Made | None, bool | str, str]:
    """Return what was decided for a run of this structure and length, or decide."""
    length = run.clock.total, run.settings.trainer.minutes
    key = speed_key(run.settings, str(run.device), torch.get_num_threads(), *length)
    decision = remembered.recall(key)
    if decision is None:
        made, value, reason = _chosen(run, state, say)
        decision = remembered.remember(key, _decision(run, "compile", value, reason))
        _warn_if_lost(run, key, "compile")
        if decision["value"] == value:
            return made, value, decision["reason"]
    if decision["value"] is True and not can_compile(run):
        return None, "trace", NO_COMPILER
    return None, decision["value"], decision["reason"]


def _warn_if_lost(run: Run, key: str, what: str) -> None:
    """Warn where a decision could not be kept."""
    if remembered.recall(key) is None:
        run.warnings.append(
            f"{remembered.folder()}: cannot be written, so that what auto decides is not "
            f"remembered; for the same bits again set {what} to what config.yaml says"
        )


def _threads(run: Run, most: int, say: Callable[[str], None]) -> tuple[int, str]:
    """Choose a number of threads by the speed of a step that is traced unless it is long.

    So it is whatever `compile` is, for all settings of which the choice stands.
    """
    state = run.state()
    made = make_ready(run, state, False)
    with preserved(state):
        seconds = seconds_of(made.take)
    if seconds > LONG:
        say(f"a step takes {seconds:.1f} s; trying it with fewer threads takes a while")
    else:
        made = make_ready(run, state, "trace")
    with preserved(state):
        return calibrate.threads(made.take, most, CALIBRATION)


def _chosen(run: Run, state: State, say: Callable[[str], None]) -> tuple[Made, bool | str, str]:
    """Choose how the step is run; return it with the choice and the reason."""
    plain = make_ready(run, state, False)
    if not is_traceable(state, run.optimizer):
        return plain, False, UNTRACEABLE
    with preserved(state):
        seconds = seconds_of(plain.take)
    if seconds > LONG:
        return plain, False, f"a step takes {seconds:.2g} s, next to which nothing is saved"
    traced = make_ready(run, state, "trace")
    if traced.refusal:
        return plain, False, f"the step cannot be traced: {traced.refusal}"
    if run.device.type == "cuda":
        return traced, "trace", "all kernels of a step are one launch"
    saved, expected = _saved(run, state, traced), compile_seconds(run)
    if saved < expected:
        return traced, "trace", f"compiling would take {expected:.0f} s and save {saved:.0f} s"
    if not can_compile(run):
        return traced, "trace", NO_COMPILER
    compiled = make_ready(run, state, True, say)
    if compiled.refusal:
        return traced, "trace", compiled.refusal
    with preserved(state):
        _, ratios = calibrate.faster({"trace": traced.take, "true": compiled.take}, CALIBRATION)
    reason = f"the compiled step is {calibrate.times(ratios['true'])} the traced one"
    if ratios["true"] < calibrate.MARGIN:
        return traced, "trace", reason
    return compiled, True, reason


def make_ready(
    run: Run, state: State, mode: bool | str, say: Callable[[str], None] = lambda text: None
) -> Made:
    """Make a step ready before it is needed, on the first batch, and leave the state as it was."""
    traceable = is_traceable(state, run.optimizer)
    ready: Traced | None = None
    if mode is True and traceable:
        if not can_compile(run):
            raise Misconfigured("compile: no C++ compiler was found; install one, or compile=trace")
        say(f"compiling the step, which may take {compile_seconds(run):.0f} s or more")
        ready = Compiled(state, remembered.kernels())
    elif mode and traceable:
        ready = Traced(state)
    step = run.stepping(state, ready, whole=isinstance(ready, Compiled))
    x, y = run.batches()(0)
    still = 0.0 if traceable else 1.0  # of lr: weights stay finite

    def take() -> None:
        step(x, y, still, False)
        state.step = state.seen = 0
        if run.device.type == "cuda":
            torch.cuda.synchronize()

    if ready is not None:
        with preserved(state):
            take()
    way, refusal = _outcome(ready, "" if traceable or not mode else UNTRACEABLE)
    return Made(step, way, refusal, take, ready)


def _outcome(ready: Traced | None, refusal: str) -> tuple[str, str]:
    """Return how a step is run after all, and why not as it was to be."""
    if ready is None or ready.refusal:
        return "plain", ready.refusal if ready else refusal
    failure = ready.failure if isinstance(ready, Compiled) else ""
    return "compiled" if isinstance(ready, Compiled) and not failure else "traced", failure


def can_compile(run: Run) -> bool:
    """Tell whether kernels can be written here: those for CUDA need no C++."""
    return run.device.type == "cuda" or any(map(shutil.which, COMPILERS))


def _saved(run: Run, state: State, traced: Made) -> float:
    """Return how many seconds of the whole run compiling might save, on the safe side."""
    with preserved(state):
        spent = run.clock.total * seconds_of(traced.take)
    if (minutes := run.settings.trainer.minutes) is not None:
        spent = min(spent, 60 * minutes)
    return SAVED * spent * light(state, traced)


def light(state: State, traced: Made) -> float:
    """Return the share of a step's time that is not spent in kernels of libraries."""
    assert traced.ready is not None
    assert traced.ready.newest is not None, "it was traced"
    program, inputs = traced.ready.newest
    with preserved(state):
        program.seconds(*inputs)
        seconds = program.seconds(*inputs)
    heavy = sum(took for name, took in seconds if any(word in name for word in HEAVY))
    return 1 - heavy / sum(took for _, took in seconds)


def compile_seconds(run: Run) -> float:
    """Return the seconds that compiling a step may take, nothing of it being kept on disk yet."""
    least, each = COMPILING
    return least + each * len(list(run.model.parameters()))


def seconds_of(take: Callable[[], Any]) -> float:
    """Return the time of a step, the second one unless the first was long."""
    for _ in range(2):
        before = time.perf_counter()
        take()
        seconds = time.perf_counter() - before
        if seconds > LONG:
            break
    return seconds


def _decision(run: Run, what: str, value: Any, reason: str) -> remembered.Decision:
    """Return a decision, with what its key depends on and users tell their runs apart by."""
    settings, count = run.settings, torch.get_num_threads()
    whom = [
        settings.architecture.factory.__name__,
        f"{run.parameters():,} parameters",
        f"batches of {batch_size(run.sampler):,}",
        settings.optimizer.factory.__name__,
        settings.precision,
    ]
    if what == "compile":
        whom += [f"{run.device} with {count} thread{'' if count == 1 else 's'}", *_length(run)]
    return {"what": what, "value": value, "reason": reason, "for": ", ".join(whom)}


def _length(run: Run) -> list[str]:
    """Return how long a run is, in words: steps, minutes or both."""
    total, minutes = run.clock.total, run.settings.trainer.minutes
    steps = [] if total == ENDLESS else [f"{total:,} steps"]
    return steps if minutes is None else [*steps, f"{minutes:g} minutes"]

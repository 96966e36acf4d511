"""What `auto` makes of speed: how many threads, and whether the step is traced or compiled.

Everything is tried on the run's own model with its numbers put back, and remembered for the machine
and the structure, so that the same command has the same bits.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import torch

from runner.assemble import calibrate
from runner.assemble.budget import batch_size
from runner.assemble.machine import structure
from runner.assemble.run import Begun, Run, assemble
from runner.assemble.settings import Settings
from runner.foundation import remembered
from runner.foundation.errors import Misconfigured
from runner.training.ready import Compiled, Traced, preserved
from runner.training.state import State
from runner.training.step import Step, is_traceable

CALIBRATION = 0.3  # seconds
LONG = 0.25  # seconds of a step next to which what tracing saves is nothing
UNTRACEABLE = "the optimizer goes by values or keeps a state of its own"
NO_COMPILER = "there is no C++ compiler"
HEAVY = ("mm", "bmm", "conv", "linear", "attention")  # kernels that a compiler leaves to libraries
SAVED = 0.4  # of the time of all other kernels, by compiling: about half, on the safe side
COMPILING = 10.0, 0.4  # seconds to compile: at least, and for each tensor of parameters
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
        key, used = structure(settings, "cpu"), torch.get_num_threads()
        decision = remembered.recall(key)
        if decision is None:
            decided = _decision(run, "threads", *_threads(run, used, say))
            decision = _remembered(run, key, decided)
            torch.set_num_threads(decision["value"])
        if decision["value"] != used:
            run = assemble(replace(settings, threads=decision["value"]))
            run.settings = settings
        run.decided["threads"] = decision["value"], decision["reason"]
    begin(run, say)
    return run


def begin(run: Run, say: Callable[[str], None]) -> None:
    """Make the state and the step that train: plain, traced or compiled."""
    state = run.state()
    mode: bool | str = run.settings.compile
    made = None
    if mode == "auto":
        made, mode, reason = _recalled(run, state, say)
        run.decided["compile"] = mode, reason
    made = made or _made(run, state, mode, say)
    if made.refusal and run.settings.compile != "auto":
        run.warnings.append(f"compile: the step is {made.way}: {made.refusal}")
    run.begun = Begun(state, made.step, made.way)


def _recalled(
    run: Run, state: State, say: Callable[[str], None]
) -> tuple[Made | None, bool | str, str]:
    """Return what was decided for a run of this structure and length, or decide."""
    length = run.clock.total, run.settings.trainer.minutes
    key = structure(run.settings, str(run.device), torch.get_num_threads(), *length)
    decision = remembered.recall(key)
    if decision is None:
        made, value, reason = _chosen(run, state, say)
        decision = _remembered(run, key, _decision(run, "compile", value, reason))
        if decision["value"] == value:
            return made, value, decision["reason"]
    if decision["value"] is True and not _can_compile(run):
        return None, "trace", NO_COMPILER
    return None, decision["value"], decision["reason"]


def _remembered(run: Run, key: str, decision: remembered.Decision) -> remembered.Decision:
    """Remember a decision and return the one that stands; warn where nothing can be kept."""
    stands = remembered.remember(key, decision)
    if remembered.recall(key) is None:
        run.warnings.append(
            f"{remembered.folder()}: cannot be written, so that what auto decides is not "
            f"remembered; for the same bits again set {decision['what']} to what config.yaml says"
        )
    return stands


def _threads(run: Run, most: int, say: Callable[[str], None]) -> tuple[int, str]:
    """Choose a number of threads by the speed of the step as it will be taken, or nearly so."""
    state = run.state()
    made = _made(run, state, False)
    with preserved(state):
        seconds = _seconds(made.take)
    if seconds > LONG:
        say(f"a step takes {seconds:.1f} s; trying it with fewer threads takes a while")
    elif run.settings.compile:
        made = _made(run, state, "trace")
    with preserved(state):
        return calibrate.threads(made.take, most, CALIBRATION)


def _chosen(run: Run, state: State, say: Callable[[str], None]) -> tuple[Made, bool | str, str]:
    """Choose how the step is run; return it with the choice and the reason."""
    plain = _made(run, state, False)
    if not is_traceable(state, run.optimizer):
        return plain, False, UNTRACEABLE
    with preserved(state):
        seconds = _seconds(plain.take)
    if seconds > LONG:
        return plain, False, f"a step takes {seconds:.2g} s, next to which nothing is saved"
    traced = _made(run, state, "trace")
    if traced.refusal:
        return plain, False, f"the step cannot be traced: {traced.refusal}"
    if run.device.type == "cuda":
        return traced, "trace", "all kernels of a step are one launch"
    saved, expected = _saved(run, state, traced), _expected(run)
    if saved < expected:
        return traced, "trace", f"compiling would take {expected:.0f} s and save {saved:.0f} s"
    if not _can_compile(run):
        return traced, "trace", NO_COMPILER
    compiled = _made(run, state, True, say)
    if compiled.refusal:
        return traced, "trace", compiled.refusal
    with preserved(state):
        _, ratios = calibrate.faster({"trace": traced.take, "true": compiled.take}, CALIBRATION)
    reason = f"the compiled step is {ratios['true']:.2f} times as fast as the traced one"
    if ratios["true"] < calibrate.MARGIN:
        return traced, "trace", reason
    return compiled, True, reason


def _made(
    run: Run, state: State, mode: bool | str, say: Callable[[str], None] = lambda text: None
) -> Made:
    """Make a step ready before it is needed, on the first batch, and leave the state as it was."""
    traceable = is_traceable(state, run.optimizer)
    ready: Traced | None = None
    if mode is True and traceable:
        if not _can_compile(run):
            raise Misconfigured("compile: no C++ compiler was found; install one, or compile=trace")
        say(f"compiling the step, which may take {_expected(run):.0f} s or more")
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


def _can_compile(run: Run) -> bool:
    """Tell whether kernels can be written here: those for CUDA need no C++."""
    return run.device.type == "cuda" or any(map(shutil.which, COMPILERS))


def _saved(run: Run, state: State, traced: Made) -> float:
    """Return how many seconds of the whole run compiling might save, on the safe side."""
    with preserved(state):
        spent = run.clock.total * _seconds(traced.take)
    if (minutes := run.settings.trainer.minutes) is not None:
        spent = min(spent, 60 * minutes)
    return SAVED * spent * _light(state, traced)


def _light(state: State, traced: Made) -> float:
    """Return the share of a step's time that is not spent in kernels of libraries."""
    assert traced.ready is not None
    assert traced.ready.newest is not None, "it was traced"
    program, inputs = traced.ready.newest
    with preserved(state):
        program.seconds(*inputs)
        seconds = program.seconds(*inputs)
    heavy = sum(took for name, took in seconds if any(word in name for word in HEAVY))
    return 1 - heavy / sum(took for _, took in seconds)


def _expected(run: Run) -> float:
    """Return the seconds that compiling a step may take, nothing of it being kept on disk yet."""
    least, each = COMPILING
    return least + each * len(list(run.model.parameters()))


def _seconds(take: Callable[[], Any]) -> float:
    """Return the time of a step, the second one unless the first was long."""
    for _ in range(2):
        before = time.perf_counter()
        take()
        seconds = time.perf_counter() - before
        if seconds > LONG:
            break
    return seconds


def _decision(run: Run, what: str, value: Any, reason: str) -> remembered.Decision:
    model = run.settings.architecture.factory.__name__
    whom = f"{model}, {run.parameters():,} parameters, batches of {batch_size(run.sampler):,}"
    return {"what": what, "value": value, "reason": reason, "for": whom}

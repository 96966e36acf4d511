"""Launch a run: make its directory, keep its status true, leave an error where it can be found."""

from __future__ import annotations

import contextlib
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from runner.assemble.budget import batch_size
from runner.assemble.fingerprint import differences, fingerprint
from runner.assemble.run import Run
from runner.assemble.settings import Settings
from runner.assemble.speed import settled
from runner.assemble.summary import summarize
from runner.components.dataset.data import SPLITS
from runner.execution.changes import (
    Asked,
    compared,
    is_allowed,
    told,
)
from runner.execution.examine import examined, is_over, refuse
from runner.execution.execute import execute
from runner.execution.lengthening import revived
from runner.execution.probing import diagnosed
from runner.execution.record import known, take_over, yaml_of
from runner.foundation import secrets
from runner.foundation.durations import ENDLESS
from runner.foundation.errors import (
    BadData,
    Diverged,
    Interrupted,
    InUse,
    RunnerError,
    Unrecorded,
    UnusableCheckpoint,
    Unwritable,
)
from runner.foundation.files import (
    clean,
    locked,
    read_json,
    read_yaml,
    unwritable,
    write_atomic,
    write_json,
)
from runner.recording import directory
from runner.recording.console import Terminal, number
from runner.reports import diagnosis
from runner.training import checkpoints
from runner.training.signals import before_leaving


@dataclass(frozen=True)
class Request:
    """What the user asked for, for the record: enough to say, repeat and resume it."""

    config: Mapping[str, Any]
    choices: Mapping[str, Any]
    overrides: list[str]
    trust: list[str] = field(default_factory=list)
    config_dirs: list[str] = field(default_factory=list)
    environment: list[str] = field(default_factory=list)  # variables whose values are used


def launch(run: Run, request: Request, terminal: Terminal, folder: Path | None = None) -> Path:
    """Train in a new directory, or in `folder`; return it.

    What `auto` became stands in its config.yaml.
    """
    settings = run.settings
    if folder is None:
        experiment = request.choices.get("experiment")
        root = Path(settings.output_root).expanduser()
        folder = directory.create(root, experiment, settings.name, request.overrides)
    start(run, request, folder, terminal)
    return folder


def start(run: Run, request: Request, folder: Path, terminal: Terminal) -> None:
    """Train in a directory that is this run's alone, from the beginning.

    What a start that was cut before its first checkpoint left there goes. Raises `InUse` where
    another process was faster.
    """
    asked = {"overrides": request.overrides, "choices": dict(request.choices),
             "trust": request.trust, "config_dirs": request.config_dirs}  # fmt: skip
    saves = folder / directory.CHECKPOINTS
    try:
        saves.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from error
    with locked(folder):
        if checkpoints.listed(saves):
            raise InUse(f"{folder}: another process has begun to train here meanwhile")
        _cleaned(folder, terminal)
        _emptied(folder)
        write_atomic(folder / directory.CONFIG, known(request.config, run))
        write_atomic(folder / directory.OVERRIDES, yaml_of(asked))
        directory.set_status(folder, state="running", started=time.time(), step=0,
                             exit_code=None, message=None)  # fmt: skip
        _perform(run, folder, terminal, None)


def _cleaned(folder: Path, terminal: Terminal) -> None:
    """Name and remove what writes that were cut have left."""
    for name in ("*.json", "*.yaml"):
        clean(folder, name, terminal.warn)
    clean(folder / directory.CHECKPOINTS, "step-*", terminal.warn)


def _emptied(folder: Path) -> None:
    """Remove the logs, which would go on otherwise."""
    for name in directory.LOGS:
        for path in folder.glob(name):
            try:
                path.unlink()
            except OSError as error:
                raise unwritable(path, error) from error


def resume(
    settings: Settings,
    folder: Path,
    terminal: Terminal,
    request: Request | None = None,
    allow: Sequence[str] = (),
) -> None:
    """Go on from the newest usable checkpoint, as if never stopped, unless the run is finished.

    `request` is what is asked for now, else what is recorded; `allow` are keys that may change
    although the result depends on them. Raises `Misconfigured` where others have changed.
    """
    config = request.config if request else read_yaml(folder / directory.CONFIG)
    if is_over(folder, settings, config, allow):
        step = directory.status(folder).get("step")
        terminal.line(f"{folder}: already finished (step {step})")
        return
    with locked(folder):
        _cleaned(folder, terminal)
        asked = examined(folder, settings, config, allow, terminal.warn)
        inexact, packed = refuse(asked, str(folder)), revived(asked)
        run = settled(settings, terminal.line)
        _same_data(run, folder, asked)
        _same_shapes(run, asked)
        inexact += differences(packed.get("fingerprint", {}), fingerprint(run))
        recorded = directory.asked(folder)
        choices = request.choices if request else recorded.get("choices", {})
        take_over(folder, run, asked, config, choices)
        words = [*recorded.get("overrides", []), *(request.overrides if request else [])]
        announce(run, named(choices, words), terminal)
        terminal.line(f"resuming at step {packed['step']} of {run.clock.total}")
        for line in told(asked.changes):
            terminal.line(f"changed {line}")
        for line in inexact:
            terminal.line(f"not bit-exact: {line}", "yellow")
        before = directory.status(folder).get("not_bit_exact", [])
        directory.set_status(folder, state="running", exit_code=None, message=None,
                             not_bit_exact=[*before, *inexact] or None)  # fmt: skip
        _perform(run, folder, terminal, packed)


def _same_data(run: Run, folder: Path, asked: Asked) -> None:
    """Raise `BadData` if the data set is not the one the run was started with, nor a changed one.

    Then it is the one to be compared with from here on.
    """
    path, found = folder / directory.ENVIRONMENT, run.data.checksum()
    recorded = read_json(path)
    data = recorded.get("data", {})
    if data.get("checksum") in (None, found):
        return
    if not any(is_allowed(key, ["dataset"]) for key in asked.of_results):
        raise BadData(f"{folder}: data hash differs: recorded {data['checksum']}, found {found}")
    write_json(path, {**recorded, "data": {**data, "checksum": found}})


def _same_shapes(run: Run, asked: Asked) -> None:
    """Raise `UnusableCheckpoint` if the checkpoint's tensors do not fit, with what was changed."""
    assert run.begun is not None, "it is settled"
    try:
        run.begun.state.verify(asked.packed["state"])
    except UnusableCheckpoint as error:
        changes = asked.of_results
        why = f"\n  {compared(changes)}" if changes else ""
        raise UnusableCheckpoint(f"{error}{why}") from error


def _perform(run: Run, folder: Path, terminal: Terminal, packed: dict[str, Any] | None) -> None:
    def told(error: Interrupted) -> Interrupted:
        """Note how a run was interrupted, and say how it goes on."""
        with_way = Interrupted(error.exit_code - 128, f"{error}; {_way(folder)}")
        _noted(with_way, folder, terminal)
        return with_way

    try:
        with before_leaving(told):
            _train(run, folder, terminal, packed)
    except Interrupted as error:
        raise told(error) from None
    except BaseException as error:
        _noted(error, folder, terminal)
        raise


def _train(run: Run, folder: Path, terminal: Terminal, packed: dict[str, Any] | None) -> None:
    terminal.keep_log(folder / directory.LOG)
    try:
        summary = execute(run, folder, terminal, packed)
    except Unrecorded as error:
        _report(run, error.summary, folder, terminal)
        raise
    _report(run, summary, folder, terminal)
    if unwritten := terminal.unwritten():
        raise Unrecorded(unwritten, summary)
    directory.set_status(folder, state="finished", step=summary["steps"], exit_code=0)
    (folder / directory.ERROR).unlink(missing_ok=True)  # of an attempt before this one


def _way(folder: Path) -> str:
    """Say how a run that was interrupted goes on."""
    if checkpoints.listed(folder / directory.CHECKPOINTS):
        return f"continue with: runner resume {folder}"
    return "nothing was saved yet"


def _noted(error: BaseException, folder: Path, terminal: Terminal) -> None:
    """Keep what ended a run as far as something can still be written; else the status stays."""
    with contextlib.suppress(Unwritable):
        note(error, folder)
    diagnosed(folder, terminal.note)
    terminal.note(str(error))


def note(error: BaseException, folder: Path) -> None:
    """Say in status.json how a run ended, and in error.txt why."""
    states = {Diverged: "diverged", Interrupted: "interrupted"}
    code = error.exit_code if isinstance(error, RunnerError | Interrupted) else 1
    step = checkpoints.newest(folder / directory.CHECKPOINTS) or 0
    state = states.get(type(error), "failed")
    directory.set_status(folder, state=state, step=step, exit_code=code, message=str(error))
    if state == "failed":
        text = secrets.without("".join(traceback.format_exception(error)))
        write_atomic(folder / directory.ERROR, text)


def _report(run: Run, summary: Mapping[str, Any], folder: Path, terminal: Terminal) -> None:
    best = summary["best"]
    splits = {name: summary[name] for name in SPLITS if name in summary}
    kept = "best" if best["value"] is not None else "last"
    terminal.line("")
    terminal.results(splits)
    terminal.line(
        f"\n{kept} weights of step {best['step']} (epoch {best['epoch']:g}); "
        f"{number(summary['steps'])} steps in {summary['seconds']:.1f} s, "
        f"{summary['samples_per_second'] or 0:,.0f} samples/s"
    )
    if summary["steps"] < run.clock.total < ENDLESS:
        terminal.line(
            f"ended early, {run.clock.total - summary['steps']:,} steps before the budget"
        )
    verdicts = diagnosed(folder, terminal.warn, "finished")
    for line in diagnosis.lines(verdicts, folder, terminal.verbose):
        terminal.line(line, "yellow")
    terminal.line(f"run     {folder}")
    terminal.line(f"curves  tensorboard --logdir {folder.parent.parent}")


def named(choices: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Return the choices that name what is run: those whose `_target_` was not overridden."""
    replaced = {each.lstrip("+").partition("._target_=")[0] for each in overrides}
    return {group: option for group, option in choices.items() if group not in replaced}


def announce(run: Run, choices: Mapping[str, Any], terminal: Terminal) -> None:
    """Print what is about to be trained, and what is odd about it.

    Parts are called by their options, or by their factories where no option was chosen.
    """
    for line in _head(run, choices):
        terminal.line(line)
    if run.settings.summary:
        terminal.summary(summarize(run.model, run.prepared.splits["train"][0]))
    for warning in run.warnings:
        terminal.warn(warning)


def _head(run: Run, choices: Mapping[str, Any]) -> list[str]:
    data, settings = run.data, run.settings
    dataset, architecture, optimizer = (
        choices.get(node.key) or node.factory.__name__
        for node in (settings.dataset, settings.architecture, settings.optimizer)
    )
    sizes = " / ".join(f"{len(data.splits[name]):,}" for name in ("train", "valid", "test"))
    shape = " x ".join(map(str, data.inputs))
    target = f"{data.outputs} classes" if data.task == "classification" else "regression"
    source = f", from {data.source}" if data.source else ""
    length = f"{run.clock.total:,} steps" if run.clock.total < ENDLESS else "by the clock"
    return [
        f"data    {dataset}: {sizes} samples of {shape}, {target}{source}",
        f"model   {architecture}, {run.parameters():,} parameters",
        f"train   {length}, batches of {batch_size(run.sampler):,}, "
        f"{optimizer} lr {run.optimizer.hyper['lr']:g}",
        f"device  {run.device}, {_threads()}, {settings.precision}",
        f"step    {_step(run)}",
    ]


def _threads() -> str:
    count = torch.get_num_threads()
    return f"{count} thread{'' if count == 1 else 's'}"


def _step(run: Run) -> str:
    """Say how the step is run and, where that was left to `auto`, why."""
    assert run.begun is not None, "a run that trains is settled first"
    _, reason = run.decided.get("compile", (None, ""))
    return f"{run.begun.way}: {reason}" if reason else run.begun.way

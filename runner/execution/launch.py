"""Launch a run: make its directory, keep its status true, leave an error where it can be found."""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml

from runner.assemble.budget import batch_size
from runner.assemble.run import Run
from runner.assemble.settings import Settings
from runner.assemble.speed import settled
from runner.assemble.summary import summarize
from runner.components.dataset.data import SPLITS
from runner.execution.execute import CHECKPOINT_PARTS, execute
from runner.foundation.durations import ENDLESS
from runner.foundation.errors import BadData, Diverged, Interrupted, RunnerError
from runner.foundation.files import locked, read_json, read_yaml, write_atomic
from runner.recording import directory
from runner.recording.console import Terminal, number
from runner.training import checkpoints


@dataclass(frozen=True)
class Request:
    """What the user asked for, for the record: enough to say, repeat and resume it."""

    config: Mapping[str, Any]
    choices: Mapping[str, Any]
    overrides: list[str]
    trust: list[str] = field(default_factory=list)
    config_dirs: list[str] = field(default_factory=list)


def launch(run: Run, request: Request, terminal: Terminal) -> Path:
    """Train in a new directory; return it. What `auto` became stands in its config.yaml."""
    settings = run.settings
    experiment = request.choices.get("experiment")
    root = Path(settings.output_root).expanduser()
    folder = directory.create(root, experiment, settings.name, request.overrides)
    start(run, request, folder, terminal)
    return folder


def start(run: Run, request: Request, folder: Path, terminal: Terminal) -> None:
    """Train in a directory that is this run's alone, from the beginning."""
    asked = {"overrides": request.overrides, "choices": dict(request.choices),
             "trust": request.trust, "config_dirs": request.config_dirs}  # fmt: skip
    directory.set_status(folder, state="running", started=time.time(), step=0)
    write_atomic(folder / directory.CONFIG, known(request.config, run))
    write_atomic(folder / directory.OVERRIDES, _yaml(asked))
    (folder / directory.CHECKPOINTS).mkdir(exist_ok=True)
    with locked(folder):
        _perform(run, folder, terminal, None)


def resume(settings: Settings, folder: Path, terminal: Terminal) -> None:
    """Go on from the newest usable checkpoint, as if never stopped."""
    with locked(folder):
        checkpoints.clean(folder / directory.CHECKPOINTS, terminal.warn)
        packed = checkpoints.load(folder / directory.CHECKPOINTS, terminal.warn, CHECKPOINT_PARTS)
        run = settled(settings, terminal.line)
        _same_data(run, folder)
        asked = read_yaml(folder / directory.OVERRIDES)
        announce(run, named(asked.get("choices", {}), asked.get("overrides", [])), terminal)
        terminal.line(f"resuming at step {packed['step']} of {run.clock.total}")
        directory.set_status(folder, state="running", exit_code=None, message=None)
        _perform(run, folder, terminal, packed)


def _same_data(run: Run, folder: Path) -> None:
    """Raise `BadData` if the data set is not the one the run was started with."""
    recorded = read_json(folder / directory.ENVIRONMENT).get("data", {}).get("checksum")
    if recorded not in (None, found := run.data.checksum()):
        raise BadData(f"{folder}: data hash differs: recorded {recorded}, found {found}")


def _perform(run: Run, folder: Path, terminal: Terminal, packed: dict[str, Any] | None) -> None:
    terminal.keep_log(folder / directory.LOG)
    try:
        summary = execute(run, folder, terminal, packed)
    except BaseException as error:
        terminal.note(str(error))
        note(error, folder)
        raise
    (folder / directory.ERROR).unlink(missing_ok=True)  # of an attempt before this one
    directory.set_status(folder, state="finished", step=summary["steps"], exit_code=0)
    _report(run, summary, folder, terminal)


def note(error: BaseException, folder: Path) -> None:
    """Say in status.json how a run ended, and in error.txt why."""
    states = {Diverged: "diverged", Interrupted: "interrupted"}
    code = error.exit_code if isinstance(error, RunnerError | Interrupted) else 1
    newest = checkpoints.listed(folder / directory.CHECKPOINTS)
    step = int(newest[0].name.split("-")[1]) if newest else 0
    state = states.get(type(error), "failed")
    directory.set_status(folder, state=state, step=step, exit_code=code, message=str(error))
    if state == "failed":
        text = "".join(traceback.format_exception(error))
        write_atomic(folder / directory.ERROR, text)


def _report(run: Run, summary: dict[str, Any], folder: Path, terminal: Terminal) -> None:
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


def known(config: Mapping[str, Any], run: Run) -> str:
    """Return a configuration as YAML; what was left to `auto` is known, the reason a comment."""
    left = [name for name in run.decided if getattr(run.settings, name, None) == "auto"]
    lines = {name: _yaml({name: value}) for name, value in config.items()}
    for name in left:
        value, reason = run.decided[name]
        words = "".join(letter if letter.isprintable() else " " for letter in reason).split()
        lines[name] = f"{_yaml({name: value}).rstrip()} # auto: {' '.join(words)}\n"
    return "".join(lines.values())


def _yaml(content: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True)

"""Continue a run that was cut, in the same directory, as if it had never stopped. Or a sweep.

runner resume last
runner resume 1432-adam
runner resume outputs/default/rates     what is missing of a sweep; failed jobs are tried again
runner resume rates/lr0.1-seed0         the same: jobs that train together go on together
"""

from __future__ import annotations

import argparse
from pathlib import Path

from runner.cli.configure import add_run, here, output_root
from runner.cli.reopen import reopened
from runner.foundation.files import read_yaml
from runner.recording import directory
from runner.recording.console import Terminal


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the words and flags."""
    add_run(parser)


def run(options: argparse.Namespace) -> int:
    """Read the record, assemble as then, continue from the newest checkpoint."""
    from runner.training.signals import raising

    with raising():
        root = output_root(here(options.overrides).get("output_root"))
        found = directory.find(options.run, root, sweeps=True)
        if directory.is_sweep(found):
            return _sweep(found, options)
        terminal, done = Terminal(), directory.status(found).get("state") == "finished"
        if directory.is_sweep(found.parent) and not done:
            terminal.line(f"{found.name} is a job of {found.parent}, which goes on")
            return _sweep(found.parent, options)
        folder, settings = reopened(options)
        if done:
            step = directory.status(folder).get("step")
            terminal.line(f"{folder}: already finished (step {step})")
            return 0
        from runner.execution.launch import resume

        resume(settings, folder, terminal)
    return 0


def _sweep(folder: Path, options: argparse.Namespace) -> int:
    """Plan the recorded command again, with what is given for this machine, and go on."""
    from runner.cli.sweep import by_hydra, planned
    from runner.sweeps.launch import resume

    given = here(options.overrides)
    given.pop("output_root", None)
    asked = read_yaml(folder / directory.OVERRIDES)
    kept = [word for word in asked.get("overrides", []) if word.partition("=")[0] not in given]
    words = [*kept, *(f"{key}={value}" for key, value in given.items())]
    recorded = argparse.Namespace(
        overrides=words, trust=options.trust, config_dir=asked.get("config_dirs", []), new=False,
        dry_run=False, detach=False,
    )  # fmt: skip
    if (code := by_hydra(recorded, folder)) is not None:
        return code
    plan, request = planned(recorded)
    return resume(folder, plan.jobs, plan.sweep, request, Terminal())

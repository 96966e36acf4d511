"""Continue a run that was cut, in the same directory, as if it had never stopped. Or a sweep.

runner resume last
runner resume 1432-adam
runner resume outputs/default/rates     what is missing of a sweep; failed jobs are tried again
runner resume rates/lr0.1-seed0         the same: jobs that train together go on together
runner resume last trainer.epochs=40    a run with other values; those that change what was trained
                                        already are refused, unless resume.allow=[optimizer.lr]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from runner.cli import continuing
from runner.cli.configure import add_run, here, machine, output_root, trusted, warn_of_secrets
from runner.cli.reopen import asked_again
from runner.foundation.errors import Misconfigured
from runner.foundation.files import read_yaml
from runner.recording import directory
from runner.recording.console import Terminal


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the words and flags."""
    add_run(parser, "configuration of the run that is to change")


def run(options: argparse.Namespace) -> int:
    """Read the record, assemble as then, continue from the newest checkpoint."""
    from runner.training.signals import leaving

    warn_of_secrets(options.overrides)
    with leaving():
        about, words = continuing.apart(options.overrides, continuing.ALLOW)
        root, words = _root(words)
        found = directory.find(options.run, root, sweeps=True)
        if directory.is_sweep(found):
            return _sweep(found, options)
        terminal = Terminal()
        if directory.is_sweep(found.parent):
            here(options.overrides)
            if directory.status(found).get("state") != "finished":
                terminal.line(f"{found.name} is a job of {found.parent}, which goes on")
                return _sweep(found.parent, options)
        settings, request = asked_again(found, words, options)
        from runner.execution.launch import resume

        resume(settings, found, terminal, request, about.allow)
    return 0


def _root(words: list[str]) -> tuple[Path, list[str]]:
    """Take where runs are looked for from among the words."""
    given = [word.partition("=")[2] for word in words if word.startswith("output_root=")]
    return output_root(given[-1] if given else None), [
        word for word in words if not word.startswith("output_root=")
    ]


def _sweep(folder: Path, options: argparse.Namespace) -> int:
    """Plan the recorded command again, with what is given for this machine, and go on."""
    from runner.cli.sweep import by_hydra, planned
    from runner.sweeps.launch import resume
    from runner.training.signals import raising

    given = here(options.overrides)
    given.pop("output_root", None)
    asked = read_yaml(folder / directory.OVERRIDES)
    kept = [word for word in asked.get("overrides", []) if word.partition("=")[0] not in given]
    words = [*kept, *(f"{key}={value}" for key, value in given.items())]
    recorded = argparse.Namespace(
        overrides=words, trust=options.trust, config_dir=asked.get("config_dirs", []), new=False,
        dry_run=False, detach=False,
    )  # fmt: skip
    _refuse_unasked(folder, words, options)
    with raising():
        if (code := by_hydra(recorded, folder)) is not None:
            return code
        plan, request = planned(recorded)
        return resume(folder, plan.jobs, plan.sweep, request, Terminal())


def _refuse_unasked(folder: Path, words: list[str], options: argparse.Namespace) -> None:
    """Raise `Misconfigured` where Hydra's plugins are told what nobody trusted says."""
    if not any("hydra" in word for word in words):
        return
    from runner.compose.multirun import telling
    from runner.sweeps.settings import CONSENT

    said = telling(words)
    if said and CONSENT not in trusted(options, machine()):
        raise Misconfigured(
            f"{folder}: its command has {said[0]}, and what that says is done; if you trust it, "
            f"add --trust {CONSENT}"
        )

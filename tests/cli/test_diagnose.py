"""`runner diagnose`: verdicts with their evidence, of runs and sweeps, looked at or not."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

TABLE = ("dataset=wine", "architecture.hidden=[8,6]", "trainer.epochs=6")


def test_a_sound_run(runner):
    assert runner("trainer.epochs=8").code == 0
    done = runner("diagnose", "last")
    assert done.code == 0
    assert done.out.endswith(": finished, nothing found that is wrong\n")


def test_every_verdict_has_its_evidence_and_the_command(runner):
    words = ("initializer=zeros", "preprocessing=none", "name=same", "optimizer.lr=0.001")
    assert runner(*TABLE, *words).code == 0
    before = {path: path.read_bytes() for path in Path("outputs").rglob("*") if path.is_file()}
    done = runner("diagnose", "same")
    assert done.code == 0
    assert "\nfault: symmetric weights\n" in done.out
    verdicts = len(re.findall(r"^(?:fault|warning|note): ", done.out, re.M))
    assert len(re.findall(r"^  measured \S+, threshold \S+ \(.+\)$", done.out, re.M)) == verdicts
    assert "try runner dataset=wine" in done.out
    assert done.out.count("initializer=") == done.out.count("initializer=kaiming_normal") + sum(
        "initializer=zeros" in line for line in done.out.splitlines() if line.startswith("  try")
    )
    assert {path: path.read_bytes() for path in before} == before


def test_the_command_that_is_printed_trains_without_the_fault(runner):
    assert runner(*TABLE, "initializer=zeros").code == 0
    printed = runner("diagnose", "last").out.splitlines()
    command = next(line for line in printed if "initializer=kaiming_normal" in line)
    assert runner(*shlex.split(command.partition("try runner ")[2]), "name=better").code == 0
    assert "symmetric" not in runner("diagnose", "better").out


@pytest.mark.parametrize("level", ["light", "none"])
def test_a_run_that_was_not_looked_at_is_looked_at_afterwards(runner, level):
    words = (*TABLE, "initializer=zeros", f"probes={level}", "name=same")
    assert runner(*words).code == 0
    done = runner("diagnose", "same")
    assert done.code == 0
    assert "fault: symmetric weights" in done.out


def test_a_sweep(runner):
    words = ("-m", "seeds=2", "initializer=zeros,kaiming_normal", "probes.jobs=true", "name=sw")
    assert runner(*words, *TABLE).code == 0
    done = runner("diagnose", "sw")
    assert done.code == 0
    assert "4 jobs" in done.out
    assert "fault: symmetric weights, 2 of 4 jobs" in done.out


def test_a_sweep_whose_seeds_hide_the_difference(runner):
    """What is offered is the sweep's command with more seeds, as it can be typed."""
    words = ("-m", "seeds=2", "optimizer.lr=0.03,0.031", "name=pair", "output_root=outputs")
    assert runner(*words, *TABLE).code == 0
    done = runner("diagnose", "pair")
    assert done.code == 0
    line = next(each for each in done.out.splitlines() if each.startswith("  try runner -m "))
    assert "seeds=" in line
    assert "seeds=2 " not in f"{line} "
    assert runner(*shlex.split(line)[2:], "--dry-run").code == 0


def test_a_mistake_is_refused(runner):
    done = runner("diagnose", "nothing")
    assert done.code == 2
    assert "no run 'nothing'" in done.err

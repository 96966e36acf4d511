"""Print the configuration that a command would run, composed and checked.

runner show optimizer=adam schedule=cosine
runner show --plot-schedule schedule=one_cycle   draw the learning rate instead
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator
from typing import Any

from runner.cli.chart import chart
from runner.cli.configure import add_configuration, configured
from runner.foundation.durations import ENDLESS

POINTS = 100_000  # steps that are looked at, at most
EPOCHS = 20  # that are drawn of a run without end


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the words and flags."""
    add_configuration(parser)
    parser.add_argument(
        "--plot-schedule",
        action="store_true",
        help="draw the learning rate over the run; reads the data, trains nothing",
    )


def run(options: argparse.Namespace) -> int:
    """Compose, check, print; nothing is made."""
    settings, composition, _ = configured(options)
    if options.plot_schedule:
        print("\n".join(_drawn(settings, shutil.get_terminal_size().columns)))
        return 0
    import yaml

    print(yaml.safe_dump(composition.record, sort_keys=False, allow_unicode=True), end="")
    return 0


def _drawn(settings: Any, width: int) -> Iterator[str]:
    """Yield the lines of a drawing, and what is worth knowing about the schedule."""
    from runner.assemble.budget import budget
    from runner.assemble.run import optimizer_of
    from runner.components.schedule import robbins_monro
    from runner.config import build

    clock, _ = budget(settings, build(settings.dataset))
    schedule = build(settings.schedule, clock.total, clock=clock)
    endless = clock.total >= ENDLESS
    total = EPOCHS * clock.steps_per_epoch if endless else clock.total
    lr, state = optimizer_of(settings.optimizer).hyper["lr"], schedule.init()
    rates = [lr * schedule.at(step, state) for step in range(0, total, -(-total // POINTS))]
    axes = {"step": total, "epoch": total / clock.steps_per_epoch}
    yield f"learning rate, schedule {settings.schedule.factory.__name__}"
    yield from chart(rates, axes, width)
    yield f"first {rates[0]:.4g}, highest {max(rates):.4g}, last {rates[-1]:.4g}"
    yield robbins_monro(schedule.sums)
    if endless:
        yield f"only the clock ends this run: the first {EPOCHS} epochs are drawn"
    if schedule.watches:
        yield f"the cuts depend on {schedule.watches}, which only training tells: none is drawn"

"""Sweep learning rates times seeds, the runner against others: whole processes, in turns.

  scripts/bench sweeps                          W1, 64 jobs of 60 epochs, caches warm
  scripts/bench sweeps --cold --jobs 256        256 jobs, nothing compiled or decided before
  scripts/bench sweeps --workload W3            against one process per core
  scripts/bench sweeps --contenders tuned,steady --rounds 5
  scripts/bench sweeps --write                  its table into runner/docs/benchmarks.md too

The runner takes part in any case. Lightning comes with `pip install -e '.[bench]'`; what is not
installed is reported as missing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.parsing import FEW, Parser, count, several
from benchmarks.sweeps.grid import USUAL, Grid

STEADY = "steady"
NAMES = ("basic", "tuned", "joblib", "template", STEADY)  # beside ours
ALONE = {"W1": NAMES, "W2": ("joblib",), "W3": ("joblib",)}  # where none are asked for
FOR_W1 = "template"  # is written for that alone


def main(words: Sequence[str], page: Path) -> None:
    """Read the command line; measure, print, and write if asked to."""
    options = parse(words)
    from benchmarks import machine, table
    from benchmarks.sweeps import report
    from benchmarks.sweeps.contest import OURS, Contest, environment
    from benchmarks.sweeps.steady import steady

    facts = machine.processor(), machine.versions()
    print(*facts, sep="\n", flush=True)
    command = " ".join(["scripts/bench", "sweeps", *words])
    written = f"Written on {time.strftime('%Y-%m-%d')} by `{command}` ({'; '.join(facts)})."
    grid = Grid(options.workload, options.jobs, options.epochs)
    names = [OURS, *(name for name in options.contenders if name != STEADY)]
    with tempfile.TemporaryDirectory() as folder:
        contest = Contest(grid, names, options.cold, options.part, Path(folder))
        contest.hold(options.rounds, lambda text: print(text, file=sys.stderr, flush=True))
        rest = None
        if STEADY in options.contenders and contest.ways:
            variables = environment(Path(folder, "cache"))
            rest = steady(grid.workload, contest.ways[-1], 10 * options.rounds, variables)
    made = report.compared(contest, options.rounds, rest, written)
    print(table.lines(made))
    if options.write:
        old = page.read_text(encoding="utf-8") if page.is_file() else ""
        page.write_text(table.replaced(old, [made, report.described()]), encoding="utf-8")


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Return what is to be swept, and by whom."""
    parser = Parser(
        prog="bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workload", choices=list(USUAL), default="W1")
    usual = ", ".join(f"{name} {jobs}" for name, (jobs, _) in USUAL.items())
    parser.add_argument("--jobs", type=several, help=f"by default {usual}")
    usual = ", ".join(f"{name} {epochs}" for name, (_, epochs) in USUAL.items())
    parser.add_argument("--epochs", type=count, help=f"of a job, by default {usual}")
    parser.add_argument("--cold", action="store_true", help="with empty caches")
    parser.add_argument("--rounds", type=count, default=FEW)
    parser.add_argument("--part", type=_part, help="of the jobs, at most, for all but the runner")
    parser.add_argument("--contenders", metavar="NAME,NAME", help=f"ours, {', '.join(NAMES)}")
    parser.add_argument("--write", action="store_true", help="write the table into the page too")
    options = parser.parse_args(words)
    jobs, epochs = USUAL[options.workload]
    options.jobs, options.epochs = options.jobs or jobs, options.epochs or epochs
    chosen = options.contenders.split(",") if options.contenders else ALONE[options.workload]
    known = ("ours", *NAMES)
    if unknown := [name for name in chosen if name not in known]:
        parser.error(f"no contender {', '.join(unknown)} (there are {', '.join(known)})")
    if FOR_W1 in chosen and options.workload != "W1":
        parser.error(f"{FOR_W1} sweeps W1 only")
    options.contenders = [name for name in NAMES if name in chosen]
    if options.rounds < FEW:
        print(f"bench: quartiles of fewer than {FEW} rounds mean little", file=sys.stderr)
    return options


def _part(text: str) -> int:
    number = several(text)
    if number < 4:  # the first jobs pay for the start, the others tell what a job takes
        raise argparse.ArgumentTypeError(f"expected at least 4 jobs, got {text}")
    return number

"""Report on a sweep, finished or running: its table, results.csv, figures. Or on a single run: its
results and a page, report.html, that shows all there is of it.

runner report outputs/default/rates
runner report last --figures        and curves of the means for TensorBoard
runner report rates --latex         a table to paste (booktabs)
runner report rates --csv           the same in full precision
runner report last                  a run: verdicts, curves, layers, mistakes, what was changed

Seeds are folded: mean ± standard deviation (n - 1 degrees of freedom) over the finished jobs that
differ in nothing else. `*` marks the best configuration; one of which a job diverged or failed is
never the best. `~` are numbers so far. results.csv in the sweep's directory has a row for each job.
A run's page is a single file that loads nothing; for it the extra `reports` has to be installed.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from runner.cli.configure import output_root
from runner.foundation.errors import Misconfigured, Unwritable, printable
from runner.foundation.files import refuse_links
from runner.recording import directory
from runner.recording.console import Terminal
from runner.reports import curves, figures, folding, page, results, sweep, table, tensorboard
from runner.reports import run as run_report


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the words and flags."""
    parser.add_argument("folder", metavar="DIR", help="a sweep or a run: directory, name, or last")
    parser.add_argument("overrides", nargs="*", default=[], metavar="output_root=DIR")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--latex", action="store_true", help="print a table for LaTeX (booktabs)")
    form.add_argument("--csv", action="store_true", help="print the folded table as CSV")
    parser.add_argument(
        "--figures",
        action="store_true",
        help="draw figures (SVG, PNG) and write mean curves for TensorBoard",
    )
    parser.add_argument(
        "--verbose", action="store_true", help="every metric, every row, everything that failed"
    )


def run(options: argparse.Namespace) -> int:
    """Print the report, and on demand draw what can be drawn."""
    folder = _found(options)
    terminal = Terminal()
    if directory.is_sweep(folder) or options.figures:
        refuse_links(folder)
    if not directory.is_sweep(folder):
        return _run(folder, options, terminal)
    if not (options.latex or options.csv):
        found = sweep.summarize(folder, terminal, verbose=options.verbose)
    else:
        found = results.read(folder)
        configurations = folding.folded(found)
        form = table.as_csv if options.csv else table.latex
        print(printable(form(found, configurations, every=options.verbose or options.csv)), end="")
        if problem := sweep.keep(found):
            print(f"warning: {problem}", file=sys.stderr)
    if options.figures:
        configurations = folding.folded(found)
        known = curves.of(found, configurations)
        means = tensorboard.write_means(found, known)
        _written([*([means] if means else []), *figures.draw(found, known)], options)
        if few := curves.too_many(configurations):
            print(f"curves of {few}", file=sys.stderr)
    return 0


def _found(options: argparse.Namespace) -> Path:
    """Return the directory that is meant; a folder that holds neither sweep nor run is refused."""
    given = dict(each.partition("=")[::2] for each in options.overrides)
    if wrong := [key for key in given if key != "output_root"]:
        raise Misconfigured([f"{key}: a report takes only output_root=" for key in wrong])
    try:
        return directory.find(options.folder, output_root(given.get("output_root")), sweeps=True)
    except Misconfigured as error:
        if not os.path.isdir(path := Path(options.folder)):
            raise
        inside = sorted(each.parent.name for each in path.glob(f"*/{directory.SWEEP}"))
        hint = f"; the sweeps in it: {', '.join(inside[:10])}" if inside else ""
        raise Misconfigured(f"{path}: neither a sweep ({directory.SWEEP}) nor a run "
                            f"({directory.STATUS}){hint}") from error  # fmt: skip


def _run(folder: Path, options: argparse.Namespace, terminal: Terminal) -> int:
    if options.latex or options.csv:
        raise Misconfigured(f"{folder} is a single run: --latex and --csv are tables of sweeps")
    run_report.summarize(folder, terminal)
    if problem := _paged(folder, terminal):
        print(problem, file=sys.stderr)
    if options.figures:
        _written(figures.draw_run(folder, run_report.objective(folder)), options)
    return 0


def _paged(folder: Path, terminal: Terminal) -> str:
    """Write the run's page; say why there is none, if so: what is printed is worth having alone."""
    if lacking := page.missing():
        return lacking
    try:
        refuse_links(folder)
        terminal.line(f"page    {page.write(folder, _defaults(folder))}")
    except (Misconfigured, Unwritable) as error:
        return f"warning: no page: {error}"
    return ""


def _defaults(folder: Path) -> page.Defaults | None:
    """Compose what a run would be if nothing but its options had been chosen.

    None where they are no more to be had.
    """
    from runner import compose

    asked = directory.asked(folder)
    folders = [path for each in asked.get("config_dirs", []) if (path := Path(each)).is_dir()]
    usual = compose.compose([])
    chosen = page.chosen(folder, usual.choices)
    words = [f"{key}={_word(value)}" for key, value in chosen.items()
             if value != usual.choices.get(key)]  # fmt: skip
    try:
        composer = compose.Composer(folders, several=[*chosen])
        composition, problems = composer.compose(words)
    except Misconfigured:
        return None
    return None if problems else page.Defaults(usual.choices, composition.record)


def _word(value: str | list[str] | None) -> str:
    """Return options of a group as they are typed."""
    return f"[{','.join(value)}]" if isinstance(value, list) else value or "null"


def _written(paths: list[Path], options: argparse.Namespace) -> None:
    """Say what was written, where it is in nobody's way."""
    stream = sys.stderr if options.latex or options.csv else sys.stdout
    for path in paths:
        print(path, file=stream)
    if not paths:
        print("nothing to draw yet", file=stream)

"""Tables: texts of numbers, marks, LaTeX, CSV."""

from __future__ import annotations

import csv
import re
import statistics

import pytest

from runner.reports import folding, results, table
from runner.reports.folding import Spread


@pytest.mark.parametrize(
    ("spreads", "expected"),
    [
        ([(0.97213, 0.0021), (0.9, 0.011)], [("0.9721", "0.0021"), ("0.9000", "0.0110")]),
        ([(0.97213, 2.1e-5), (0.9, 0.0011)], [("0.972130", "0.000021"), ("0.90000", "0.00110")]),
        ([(0.012, 0.0011), (31.5, 4.2)], [("0.0120", "0.0011"), ("31.50", "4.20")]),
        ([(0.1, 0.01)] * 2 + [(0.2, 0.00013)], [("0.100", "0.010")] * 2 + [("0.2000", "0.0001")]),
        ([(1.0, 0.0), (0.9, 0.012)], [("1.000", "0"), ("0.900", "0.012")]),
        ([(3e9, 2e8)], [("3e+09", "2e+08")]),
        ([(0.5, None)], [("0.5", "")]),
        ([(0.5, 0.0)], [("0.5", "0")]),
        ([None], [("-", "")]),
    ],
)  # fmt: skip
def test_deviations_have_two_digits(spreads, expected) -> None:
    values = [Spread(*each, 3) if each else None for each in spreads]
    assert table.texts(values) == expected


def rates(swept: dict) -> float:
    return 0.9 - abs(swept["optimizer.lr"] - 0.1) + 0.01 * swept["seed"]


def test_cells(make_sweep) -> None:
    folder = make_sweep(
        {"optimizer.lr": [0.01, 0.1, 1.0], "seed": [0, 1]}, rates,
        lambda swept: "diverged" if swept["optimizer.lr"] > 0.5 else "finished",
    )  # fmt: skip
    found = results.read(folder)
    head, rows = table.cells(found, folding.folded(found))
    assert head == ["", "lr", "n", "valid/accuracy", "test/accuracy", "jobs"]
    assert [row[:3] for row in rows] == [["", "0.01", "2"], ["*", "0.1", "2"], ["", "1", "0"]]
    assert rows[1][3] == "0.9050 ± 0.0071"
    assert float(rows[1][3].split()[2]) == pytest.approx(statistics.stdev([0.9, 0.91]), rel=0.01)
    assert [row[3].strip() for row in rows[2:]] == ["-"]
    assert [row[5] for row in rows] == ["", "", "2 diverged"]
    assert len({len(row[3]) for row in rows}) == 1, "each ± stands below the other"
    head, _ = table.cells(found, folding.folded(found), every=True)
    assert head[3:8] == ["valid/accuracy", "test/accuracy", "train/loss", "train/accuracy",
                         "valid/loss"]  # fmt: skip


def test_numbers_so_far_are_marked_and_never_best(make_sweep) -> None:
    folder = make_sweep({"optimizer": ["sgd", "adam"]}, lambda swept: 0.9, lambda swept: (
        "interrupted" if swept["optimizer"] == "adam" else "finished"))  # fmt: skip
    found = results.read(folder)
    _, rows = table.cells(found, folding.folded(found))
    assert [(row[0], row[3].strip(), row[4].strip()) for row in rows] == [
        ("*", "0.9", "0.89"),
        ("", "~0.9", "-"),
    ]


def test_latex(make_sweep) -> None:
    folder = make_sweep(
        {"optimizer.lr": [1e-05, 0.1], "loss": ["cross_entropy", "50%&$x^2"], "seed": [0, 1]},
        lambda swept: rates(swept) + 0.02 * (swept["loss"] == "cross_entropy"),
    )
    found = results.read(folder)
    text = table.latex(found, folding.folded(found))
    lines = text.splitlines()
    assert lines[1] == r"\begin{tabular}{llrrr}"
    assert [lines[at] for at in (2, 4, -2, -1)] == [r"\toprule", r"\midrule", r"\bottomrule",
                                                    r"\end{tabular}"]  # fmt: skip
    body = [lines[3], *lines[5:-2]]
    assert all(line.endswith(r" \\") and len(re.findall(r"(?<!\\)&", line)) == 4 for line in body)
    assert all(len(re.findall(r"(?<!\\)\$", line)) % 2 == 0 for line in body), "formulas are closed"
    assert text.count("{") == text.count("}")
    assert body[1].startswith(r"$1 \times 10^{-5}$") or body[1].startswith(r"$10^{-5}$")
    assert r"cross\_entropy" in text
    assert r"50\%\&\$x\textasciicircum{}2" in text
    assert [r"\mathbf" in line for line in body] == [False, False, False, True, False]


def test_csv_is_in_full(make_sweep) -> None:
    folder = make_sweep({"optimizer.lr": [1 / 3, 0.1], "seed": [0, 1]}, rates)
    found = results.read(folder)
    rows = list(csv.DictReader(table.as_csv(found, folding.folded(found)).splitlines()))
    values = [rates({"optimizer.lr": 1 / 3, "seed": seed}) for seed in (0, 1)]
    assert float(rows[0]["optimizer.lr"]) == 1 / 3
    assert float(rows[0]["valid/accuracy"]) == statistics.fmean(values)
    assert float(rows[0]["valid/accuracy std"]) == statistics.stdev(values)
    assert (rows[0]["n"], rows[0]["jobs"]) == ("2", "2")
    assert "test/loss std" in rows[0]

"""Axes: the words of a sweep become those of its jobs."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser

from runner.compose import Composer, axes
from runner.foundation import options

COMPOSER = Composer()


def spread(
    *typed: str, sets: Any = (), zipped: Any = (), seed: int = 0
) -> tuple[list[axes.Point], list[str]]:
    """Return the jobs of some words, and the mistakes in them."""
    problems: list[str] = []
    words = axes.tell_apart(typed, COMPOSER, problems)
    grids = axes.grids(words, sets, zipped, seed, COMPOSER, problems)
    points = [point for grid in grids for point in grid.points()]
    assert sum(grid.size for grid in grids) == len(points)
    return points, problems


def swept(*typed: str, **more: Any) -> list[dict[str, Any]]:
    points, problems = spread(*typed, **more)
    assert problems == []
    return [point.swept for point in points]


@pytest.mark.parametrize(
    "typed",
    [
        ["optimizer.lr=0.1,0.01"],
        ["optimizer=sgd,adam", "seed=range(3)", "name=x"],
        ["seed=range(1,10,4)", "optimizer.lr=choice(1,2.5,1e-3)"],
        [
            "optimizer.lr=sort(3,1,2)",
            "seed=sort(range(4),reverse=true)",
            "seed_=tag(t,choice(1,2))",
        ],
        ["architecture.hidden=[32],[64,64]", "+x={a: 1},{a: 2}", "++y='a,b',\"c d\""],
        ["optimizer.lr=int(2.5,3.5)", "name=null", "~optimizer.nesterov"],
        ["optimizer.lr=${a},${b}", "x=a\\,b,c"],
    ],
)
def test_hydras_sweeps_give_hydras_jobs(typed: list[str]) -> None:
    parser = OverridesParser.create()
    kept = [each for each in parser.parse_overrides(typed) if not each.is_delete()]
    (expected,) = BasicSweeper.split_arguments(kept, None)
    points, problems = spread(*typed)
    read = parser.parse_override
    found = [[read(word) for word in point.words if word[0] != "~"] for point in points]
    asked = [[read(word) for word in job] for job in expected]
    assert problems == []
    assert [[(each.get_key_element(), each.value()) for each in job] for job in found] == [
        [(each.get_key_element(), each.value()) for each in job] for job in asked
    ]


def test_the_last_axis_is_the_fastest_and_words_keep_their_order() -> None:
    points, _ = spread("optimizer.lr=1,2", "activation=relu", "seed=0,1")
    assert [point.words for point in points] == [
        [f"optimizer.lr={lr}", "activation=relu", f"seed={seed}"]
        for lr, seed in itertools.product([1, 2], [0, 1])
    ]
    assert points[1].swept == {"optimizer.lr": 1, "seed": 1}


def test_shuffle_gives_the_same_values_in_some_order() -> None:
    found = [each["seed"] for each in swept("seed=shuffle(range(50))")]
    assert sorted(found) == list(range(50))


def test_glob_chooses_among_a_groups_options() -> None:
    names = options.groups([options.own_folder()])["optimizer"]
    found = [each["optimizer"] for each in swept("optimizer=glob(ada*)")]
    assert found == [name for name in names if name.startswith("ada")]
    assert len(found) > 2
    most = [each["optimizer"] for each in swept("optimizer=glob(*,exclude=[ada*,gd])")]
    assert most == [name for name in names if name not in found and name != "gd"]


@pytest.mark.parametrize(("start", "stop", "n"), [(0, 1, 5), (-2.5, 7, 13), (1, 0, 4), (3, 3, 2)])
def test_linspace_is_numpys(start: float, stop: float, n: int) -> None:
    found = [each["x"] for each in swept(f"x=linspace({start},{stop},{n})")]
    assert found == pytest.approx(np.linspace(start, stop, n), rel=1e-11, abs=1e-11)
    assert (found[0], found[-1]) == (start, stop)


@pytest.mark.parametrize(("start", "stop", "n"), [("1e-4", 1, 9), (8, 0.5, 5), (1e-6, 1e-5, 3)])
def test_logspace_is_numpys(start: Any, stop: float, n: int) -> None:
    found = [each["x"] for each in swept(f"x=logspace({start},{stop},{n})")]
    assert found == pytest.approx(np.geomspace(float(start), stop, n), rel=1e-11)
    assert (found[0], found[-1]) == (float(start), stop), "the ends are exact"
    assert max(len(repr(each)) for each in found) < 20


def test_numbers_are_short() -> None:
    assert [each["x"] for each in swept("x=range(0.1,0.5,0.1)")] == [0.1, 0.2, 0.3, 0.4]
    assert [each["x"] for each in swept("x=linspace(0,1,11)")] == [each / 10 for each in range(11)]
    ten = [each["x"] for each in swept("x=logspace(1e-4,1,5)")]
    assert ten == [1e-4, 1e-3, 1e-2, 1e-1, 1]


def test_functions_go_together() -> None:
    found = [each["x"] for each in swept("x=sort(logspace(1,100,3),reverse=true)")]
    assert found == [100, 10, 1]


def test_zipped_axes_go_in_step() -> None:
    assert swept("a=1,2", "b=0", "c=3,4", "d=5,6", zipped=[["d", "a"]]) == [
        {"a": a, "d": d, "c": c} for a, d in ((1, 5), (2, 6)) for c in (3, 4)
    ]
    both = swept("a=1,2", "b=3,4", "c=5,6", "d=7,8", zipped=[["a", "b"], ["c", "d"]])
    assert [tuple(each.values()) for each in both] == [
        (1, 3, 5, 7), (1, 3, 6, 8), (2, 4, 5, 7), (2, 4, 6, 8)]  # fmt: skip
    assert [each["seed"] for each in swept("a=1,2,3", "seeds=3", zipped=[["a", "seed"]])] == [
        0, 1, 2]  # fmt: skip


@pytest.mark.parametrize(
    ("typed", "seed", "expected"),
    [
        (["seeds=3"], 0, [0, 1, 2]),
        (["seed=7", "seeds=2"], 7, [7, 8]),
        (["seeds=2", "a=1,2"], 0, [0, 1, 0, 1]),
    ],
)
def test_seeds_are_the_fastest_axis(typed: list[str], seed: int, expected: list[int]) -> None:
    points, problems = spread(*typed, seed=seed)
    assert problems == []
    assert [point.swept["seed"] for point in points] == expected
    assert all(point.words[-1] == f"seed={point.swept['seed']}" for point in points)
    assert all(sum(word.startswith("seed=") for word in point.words) == 1 for point in points)


def test_grids_are_run_one_after_the_other_times_what_stands_outside() -> None:
    sets = ["optimizer=sgd optimizer.lr=0.1,1", ["optimizer=adam", "optimizer.betas=[0.8,0.9]"]]
    found = swept("a=1,2", "b=3", "seeds=2", sets=sets)
    assert len(found) == 2 * 2 * 2 + 1 * 2 * 2
    assert found[0] == {"optimizer": "sgd", "optimizer.lr": 0.1, "a": 1, "seed": 0}
    assert found[-1] == {"optimizer": "adam", "optimizer.betas": [0.8, 0.9], "a": 2, "seed": 1}
    quoted = spread("a=1,2", sets=["name='a b' x=\"['c d', e]\""])[0]
    assert quoted[0].swept["x"] == ["c d", "e"]


def test_a_zip_reaches_into_the_sets_that_have_it() -> None:
    found = swept(sets=["a=1,2 b=3,4", "c=5,6"], zipped=[["a", "b"]])
    assert found == [{"a": 1, "b": 3}, {"a": 2, "b": 4}, {"c": 5}, {"c": 6}]


@pytest.mark.parametrize(
    ("typed", "more", "problem"),
    [
        (["a=interval(0,1)"], {}, "a: interval(0,1): an interval has no grid; write linspace("),
        (["a=tag(x,interval(0,1))"], {}, "an interval has no grid"),
        (["a=range(3,1)"], {}, "a: range(3,1) has no values"),
        (["a=range(1,3,0)"], {}, "a: range(1,3,0): "),
        (["a=range(0.5,3,0)"], {}, "a: range(0.5,3,0): "),
        (["a=range(0,1,1e-9)"], {}, "a: range(0,1,1e-9) has more than 100,000 values"),
        (["a=glob(*)"], {}, "a: glob chooses among a group's options; no such group"),
        (["optimiser=glob(*)"], {}, "no such group; did you mean 'optimizer'?"),
        (["optimizer=glob(x*)"], {}, "optimizer: glob(x*) has no values"),
        (["a=linspace(0,1,1)"], {}, "a: linspace(0,1,1): the number of values must be in [2, "),
        (["a=linspace(0,1,2.5)"], {}, "a: linspace(0,1,2.5): mismatch type argument n"),
        (["a=linspace(0,inf,3)"], {}, "a: linspace(0,inf,3): both ends must be finite"),
        (["a=logspace(0,1,5)"], {}, "a: logspace(0,1,5): both ends must be above 0"),
        (["a=logspace(1,2)"], {}, "a: logspace(1,2): missing a required argument: 'n'"),
        (["a=1,range(3)"], {}, "a: 1,range(3): a sweep stands by itself, not among other values"),
        (["a=[1,range(3)]"], {}, "a: [1,range(3)]: a sweep stands by itself"),
        (["a=1,"], {}, "a: cannot read '1,': a value is missing beside a comma"),
        (["a="], {}, "a: missing value after '='"),
        (["a=1,2", "a=3"], {}, "a: given 2 times (1,2, 3)"),
        (["hydra.x=1,2"], {}, "hydra.x: the runner composes by itself"),
        (["name=a,b"], {}, "name: one for all jobs, got a,b"),
        (["output_root=a,b"], {}, "output_root: one for all jobs"),
        (["sweep.lanes=1,2"], {}, "sweep.lanes: one for all jobs, got 1,2"),
        (["~a=1,2"], {}, "~a=1,2: what is removed has no values to sweep"),
        (["seeds=0"], {}, "seeds: expected a whole number in [1, 100000], got 0"),
        (["seeds=1,2"], {}, "got 1,2; for seeds of your choice write seed=3,7"),
        (["seeds=true"], {}, "seeds: expected a whole number"),
        (["seeds=2", "seed=0,1"], {}, "seeds: seed is given too; give one of them"),
        (["seeds=2"], {"sets": ["seed=3"]}, "seeds: seed is given too"),
        (["a=1,2", "b=3,4,5"], {"zipped": [["a", "b"]]}, "got 2 of a, 3 of b"),
        (["a=1,2", "b=3"], {"zipped": [["a", "b"]]}, "sweep.zip: b is not swept"),
        (["lr=1,2"], {"zipped": [["lr", "lrr"]]}, "lrr is not swept; did you mean 'lr'?"),
        (["a=1,2", "b=1,2"], {"zipped": [["a", "b"], ["b"]]}, "sweep.zip: b is named twice"),
        ([], {"sets": ["a=1,2 b=3,4", "a=1,2"], "zipped": [["a", "b"]]}, "got 2 of a, 1 of b"),
        (["a=1"], {"sets": ["a=1,2"]}, "sweep.grids[0]: a: given outside the sets too"),
        ([], {"sets": ["b=1", "name=x"]}, "sweep.grids[1]: name: given outside the sets too, or"),
        ([], {"sets": ["b=1 'c"]}, "sweep.grids[0]: \"b=1 'c\": No closing quotation"),
        ([], {"sets": ["b=1 seeds=3"]}, "sweep.grids[0]: seeds: stands outside the sets"),
        ([], {"sets": ["sweep.zip=[a]"]}, "sweep.grids[0]: sweep.zip=[a]: stands outside the sets"),
        ([], {"sets": ["b"]}, "sweep.grids[0]: 'b': not of the form key=value"),
        (["sweep.grids=[a=1]"], {}, "quote each set"),
    ],
)  # fmt: skip
def test_mistakes(typed: list[str], more: dict[str, Any], problem: str) -> None:
    _, problems = spread(*typed, **more)
    assert len(problems) == 1, problems
    assert problem in problems[0]


def test_every_mistake_is_collected() -> None:
    _, problems = spread("a=range(3,1)", "seeds=0", "b=1,", "c=1,2", sets=["d=glob(*)"])
    assert len(problems) == 4


def test_a_huge_grid_is_counted_not_made() -> None:
    """B53: a grid of 10^27 jobs costs nothing to refuse."""
    problems: list[str] = []
    words = axes.tell_apart([f"k{at}=range(1000)" for at in range(9)], COMPOSER, problems)
    (grid,) = axes.grids(words, [], [], 0, COMPOSER, problems)
    assert (grid.size, problems) == (1000**9, [])
    assert math.isclose(float(len(grid.axes)), 9)

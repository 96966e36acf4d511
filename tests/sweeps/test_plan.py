"""Plans: equal to what each job composes to alone, every mistake at once, names, ids, and speed."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest

from runner import compose, config
from runner.assemble.settings import Settings
from runner.compose import Composer
from runner.foundation.errors import Misconfigured
from runner.sweeps.plan import Plan, plan

SEVERAL = ["regularizer", "hooks", "metrics", "augmentation", "clipping"]


COMPOSER = Composer(several=SEVERAL)


def planned(*typed: str, **more: Any) -> Plan:
    return plan(typed, Composer(several=SEVERAL, **more) if more else COMPOSER)


def problems(*typed: str, **more: Any) -> list[str]:
    with pytest.raises(Misconfigured) as caught:
        planned(*typed, **more)
    return caught.value.problems


def write_experiment(folder: Path, text: str, name: str = "mine") -> None:
    (folder / "experiment").mkdir(exist_ok=True)
    (folder / f"experiment/{name}.yaml").write_text(f"# @package _global_\n# Mine.\n{text}")


SAMPLES = [
    ["optimizer.lr=0.1,0.01", "seeds=2", "name=rates"],
    ["optimizer=sgd,adam,lbfgs", "activation=glob(s*)", "optimizer.lr=logspace(1e-3,1,2)"],
    ["experiment=diabetes,perceptron", "trainer.steps=5,6"],
    ["experiment=diabetes", "optimizer={lr: 0.1},{lr: 0.2,momentum: 0.5}", "trainer=quick"],
    ["architecture.hidden=[8],[8,4],[${seed},3]", "seed=5,6"],
    ["regularizer=l2,[l2,l1],none", "metrics=none"],
    ["regularizer=l2", "+regularizer.x={_target_: runner.components.regularizer.l1,over: all},"
     "{_target_: runner.components.regularizer.lp_norm,over: all,p: 3}",
     "+regularizer.x.strength=2"],
    ["~optimizer", "+optimizer._target_=runner.components.optimizer.sgd", "+optimizer.lr=0.1,0.2"],
    ["trainer=quick", "trainer.minutes=1,null", "++trainer.samples=1000,2000"],
    ["name=${oc.env:CANARY}", "optimizer.lr=${oc.decode:${oc.env:RATE}},0.1"],
    ["dataset=mnist,digits", "tensorboard=true,false"],
    ['sweep.grids=["optimizer=sgd optimizer.lr=0.1,1","optimizer=adam optimizer.betas=[0.8,0.9]"]',
     "seeds=2", "trainer.epochs=3"],
    ["trainer.batch_size=linspace(16,32,3)", "optimizer.lr=1,2,3",
     "sweep.zip=[trainer.batch_size,optimizer.lr]"],
]  # fmt: skip


@pytest.mark.parametrize("typed", SAMPLES, ids=[" ".join(each)[:60] for each in SAMPLES])
def test_each_job_is_what_its_words_compose_alone(
    typed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY", "secret")
    monkeypatch.setenv("RATE", "0.5")
    if any("${oc.decode" in word for word in typed):
        typed = [typed[0], "optimizer.lr=${oc.env:RATE},0.1", "optimizer.momentum=0,0.5"]
        assert "got '0.5'" in problems(*typed)[0], "an environment variable is a text"
        typed = [typed[0], *typed[2:]]
    machine = {"dataset.root": "/data", "threads": 2}
    made = planned(*typed, machine=machine)
    assert len(made.jobs) > 1
    for job in made.jobs[:6]:
        words = [*job.overrides, *compose.one_budget(job.overrides)]
        alone = compose.compose(words, machine=machine, several=SEVERAL)
        assert job.composition.config == alone.config
        assert job.composition.record == alone.record
        assert job.composition.choices == alone.choices
        assert job.settings == config.check(alone.config, Settings)
        assert "secret" not in str(job.composition.record)
        assert "secret" not in " ".join(job.overrides)


def test_a_plan_says_what_is_swept() -> None:
    made = planned("optimizer=sgd,adam", "activation=tanh", "optimizer.lr=0.1,0.01", "seeds=2")
    assert made.keys == ["optimizer", "optimizer.lr", "seed"]
    assert made.values() == {
        "optimizer": ["sgd", "adam"], "optimizer.lr": [0.1, 0.01], "seed": [0, 1]}  # fmt: skip
    assert made.fixed == ["activation=tanh"]
    assert planned("seed=3", "seeds=2", "activation=tanh").fixed == ["activation=tanh"]
    assert [job.directory for job in made.jobs[:3]] == [
        "sgd-lr0.1-seed0", "sgd-lr0.1-seed1", "sgd-lr0.01-seed0"]  # fmt: skip
    assert made.jobs[1].overrides == [
        "optimizer=sgd", "activation=tanh", "optimizer.lr=0.1", "seed=1"]  # fmt: skip
    assert made.jobs[1].swept == {"optimizer": "sgd", "optimizer.lr": 0.1, "seed": 1}
    assert len({job.id for job in made.jobs}) == 8
    assert made.warnings == []


def test_the_seed_is_last_whatever_the_grids_bring() -> None:
    made = planned('sweep.grids=["optimizer=sgd","optimizer=adam optimizer.lr=0.1,1"]', "seeds=2")
    assert made.keys == ["optimizer", "optimizer.lr", "seed"]
    assert made.jobs[0].swept == {"optimizer": "sgd", "seed": 0}


def test_grids_of_an_experiment(tmp_path: Path) -> None:
    write_experiment(
        tmp_path,
        "seed: 3\nsweep:\n  grids:\n    - [optimizer=sgd, 'optimizer.lr=0.1,1']\n"
        "    - optimizer=adam optimizer.lr=0.001 optimizer.betas=[0.8,0.9],[0.9,0.99]\n"
        "  retries: 2\n",
    )
    made = planned("experiment=mine", "seeds=2", "sweep.max_jobs=8", folders=[tmp_path])
    assert len(made.jobs) == 8
    assert [job.swept["seed"] for job in made.jobs] == [3, 4] * 4, "from the experiment's seed on"
    assert (made.sweep.retries, made.sweep.max_jobs) == (2, 8)
    assert made.folder.parent == Path("outputs/mine")
    assert all("sweep" not in job.composition.record for job in made.jobs)
    line = problems("experiment=mine", "seeds=2", "sweep.max_jobs=7", folders=[tmp_path])[0]
    assert line == "8 jobs, more than sweep.max_jobs=7; if you mean it, raise it"


def test_experiments_with_sweeps_of_their_own_are_not_swept_over(tmp_path: Path) -> None:
    write_experiment(tmp_path, "sweep:\n  grids: ['seed=0,1']\n")
    (line,) = problems("experiment=mine,diabetes", folders=[tmp_path])
    assert "the jobs' section sweep differs" in line


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (["seed=3"], ["-m: nothing is swept"]),
        (["optimizer.lr=-1,0.1,0.2"], ["optimizer.lr: expected a number > 0, got -1"]),
        (
            ["optimizer=sgd,adam", "optimizer.momentum=0.5", "seeds=2"],
            ["(in 2 of 4 jobs: optimizer=sgd)", "(in 2 of 4 jobs: optimizer=adam)"],
        ),
        (["optimizer=sgd,adm", "seeds=9"], ["optimizer=adm: no such option; did you mean 'adam'?"]),
        (
            ["optimizer.lr=1,interval(0,1)", "activation=rellu", "sweep.max_job=3", "seed=0,1.5"],
            [
                "optimizer.lr: 1,interval(0,1): a sweep stands by itself",
                "sweep.max_job: unknown key; did you mean 'sweep.max_jobs'?",
                "activation=rellu: no such option; did you mean 'relu'?",
                "seed: expected a whole number in [0, 4294967295], got 1.5",
            ],
        ),
        (["trainer.epochs=1,2", "trainer.steps=3"], ["trainer.epochs and trainer.steps: give one"]),
        (["seeds=2000"], ["2,000 jobs, more than sweep.max_jobs=1000"]),
        (["seed=range(100000)", "optimizer.lr=range(1,100001)"], ["10,000,000,000 jobs, more"]),
        (["seed=0,1", "sweep.on_failure=pause"], ["sweep.on_failure: expected one of continue"]),
        (["seed=0,1", "sweep.zip=[seed,[name]]"], ["sweep.zip: expected keys, or lists of keys"]),
        (["seed=0,1", "sweep.zip=seed"], ["sweep.zip: expected a list"]),
        (["seed=0,1", "sweep.grids=[3]"], ["sweep.grids[0]: expected a text or a list"]),
        (["seed=0,1", "sweep=nope"], ["sweep=nope: no such option"]),
        (["seed=x", "seeds=2"], ["seeds: the first of them, seed, is no whole number: 'x'"]),
        (["seed=0,1", "lrr=3"], ["lrr: unknown key; did you mean 'optimizer.lr'?"]),
        (["optimizer.lr=${nope},1"], ["optimizer.lr: unknown interpolation ${nope}: there is no"]),
    ],
)  # fmt: skip
def test_mistakes(typed: list[str], expected: list[str]) -> None:
    found = problems(*typed)
    assert len(found) == len(expected), found
    for line, part in zip(found, expected, strict=True):
        assert part in line


def test_identical_jobs_are_kept_once() -> None:
    """B53: with a warning that counts them."""
    made = planned("optimizer.lr=0.1,1e-1,0.2", "seed=0,0.0")
    assert [job.directory for job in made.jobs] == ["lr0.1-seed0", "lr0.2-seed0"]
    assert made.warnings == ["4 jobs are the same as another and run once: 2 of 6 remain"]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ([], ["name=x"], True),
        ([], ["output_root=/x"], True),
        ([], ["tensorboard=false", "summary=true", "trainer.save_every=1epochs"], True),
        ([], ["sweep.retries=3"], True),
        (["dataset=mnist"], ["dataset=mnist", "dataset.root=/x", "dataset.download=true"], True),
        (
            ["dataset=image_folder", "dataset.root=/a"],
            ["dataset=image_folder", "dataset.root=/b"],
            False,
        ),
        ([], ["optimizer.lr=0.3"], False),
        ([], ["dataset.seed=1"], False),
        ([], ["precision=float64"], False),
        ([], ["threads=1", "device=cpu"], True),
        ([], ["compile=false"], False),
        ([], ["trainer.evaluate_every=2epochs"], False),
        ([], ["trainer.epochs=20"], True),
    ],
)
def test_ids_are_of_what_can_change_a_result(one: list[str], other: list[str], same: bool) -> None:
    first, second = ([job.id for job in planned("seed=0,1", *each).jobs] for each in (one, other))
    assert (first == second) is same
    assert all(len(key) == 12 and int(key, 16) >= 0 for key in first)


def test_what_is_swept_counts_whatever_it_is() -> None:
    made = planned("dataset=mnist", "dataset.root=/a,/b", "tensorboard=true,false")
    assert len({job.id for job in made.jobs}) == 4


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (["optimizer.lr=0.1,0.2"], ["optimizer.lr=logspace(1e-3,1,9)"], True),
        (["optimizer=adam", "seeds=3"], ["seeds=5", "optimizer=adam"], True),
        (["seeds=3", "seed=4"], ["seeds=3"], True),
        (["seeds=2"], ["seeds=2", "sweep.retries=1", "output_root=outputs"], True),
        (["seeds=2"], ["seeds=2", "optimizer=adam"], False),
        (["seeds=2"], ["optimizer.lr=0.1,0.2"], False),
        (["seeds=2", "optimizer.lr=1"], ["seeds=2", "optimizer.lr=2"], False),
    ],
)
def test_a_sweep_is_called_by_what_is_fixed_and_the_keys_that_are_swept(
    one: list[str], other: list[str], same: bool
) -> None:
    assert (planned(*one).name == planned(*other).name) is same


@pytest.mark.parametrize(
    ("typed", "folder"),
    [
        (["optimizer=adam", "optimizer.lr=0.1,1", "seeds=2"], r"default/adam-by-lr-seed-\w{4}"),
        (["optimizer.lr=0.1,1", "name=rates"], "default/rates"),
        (["experiment=diabetes", "seeds=2"], r"diabetes/seed-\w{4}"),
        (["experiment=diabetes,perceptron"], r"default/experiment-\w{4}"),
    ],
)  # fmt: skip
def test_where_a_sweep_is(typed: list[str], folder: str) -> None:
    found = planned(*typed).folder
    assert re.fullmatch(f"outputs/{folder}", str(found)), found


@pytest.mark.parametrize(
    "typed",
    [
        ["optimizer.lr=logspace(1e-4,1,50)", "seeds=20"],
        ["optimizer=sgd,adam", "optimizer.lr=linspace(1,2,50)", "dataset.seed=${seed}", "seeds=10"],
        ["optimizer=glob(*a*)", "activation=glob(*)", "normalization=glob(*)", "seeds=1"],
    ],
    ids=["values", "interpolated", "options"],
)  # fmt: skip
def test_1000_jobs_take_less_than_5_s_of_cpu(typed: list[str]) -> None:
    plan(["seeds=2"], Composer())  # what is imported is not counted
    before = time.process_time()
    made = plan([*typed, "sweep.max_jobs=2000"], Composer())
    taken = time.process_time() - before
    assert len(made.jobs) >= 1000
    assert taken / len(made.jobs) < 0.005

"""Whatever options are chosen: a run that was killed and resumed is the run that never was."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from resuming import (
    begin,
    cut,
    differences,
    flat,
    grouped,
    quickened,
    record,
    resume,
    rewrite,
    started,
)

from runner.foundation import options
from runner.recording import directory
from runner.training import checkpoints

# Eighteen steps, most often three epochs; checkpoints after 5, 10 and 15, rows after 4, 6, 8, 12,
# 16 and 18. The kill comes behind an evaluation, in the middle of an epoch; the run goes on from
# inside a logging window.
TOTAL, SAVED, DIED = 18, 10, 11
SHORT = {"trainer.epochs": "null", "trainer.steps": TOTAL, "trainer.batch_size": 16,
         "trainer.log_every": "4steps", "trainer.evaluate_every": "6steps",
         "trainer.save_every": "5steps", "threads": 1, "device": "cpu", "compile": "false",
         "tensorboard": "false", "probes": "none"}  # fmt: skip
SMALL = {**SHORT, "architecture.hidden": "[8]"}
TABLE = {**SMALL, "dataset": "wine"}
IMAGES = {**SMALL, "dataset": "digits", "dataset.subset": 96}
CONVOLUTIONS = {**SHORT, "dataset": "digits", "dataset.subset": 96, "architecture": "cnn",
                "architecture.channels": "[4,8]"}  # fmt: skip

# What the options of a group are tried on.
GROUPS = {"schedule": TABLE, "stopping": TABLE, "averaging": TABLE, "sampler": IMAGES,
          "normalization": TABLE, "dropout": TABLE, "regularizer": TABLE, "clipping": TABLE,
          "augmentation": IMAGES, "metrics": IMAGES, "activation": TABLE,
          "preprocessing": IMAGES, "loss": TABLE, "output": TABLE, "initializer": TABLE,
          "hooks": TABLE}  # fmt: skip
QUICK_GROUPS = ("stopping", "averaging")
QUICK = ("schedule=cosine_restarts", "schedule=plateau", "sampler=bootstrap",
         "sampler=disjoint_chop", "normalization=batch_whitening", "normalization=full_data",
         "dropout=classic", "dropout=monte_carlo", "augmentation=elastic", "augmentation=mixup",
         "regularizer=jacobian", "regularizer=max_norm", "clipping=adaptive", "metrics=confusion",
         "torch.optim.Adam, float32", "torch.optim.LBFGS, float32",
         "torch.optim.NAdam, float64")  # fmt: skip
TRIED_ON = {
    "normalization=instance": CONVOLUTIONS,
    "dropout=spatial": CONVOLUTIONS,
    "initializer=fixup": {
        **CONVOLUTIONS,
        "architecture": "resnet",
        "architecture.channels": "[4]",
        "architecture.blocks": 1,
    },
}

# What an option needs to matter in so short a run.
LATE = {"trainer.evaluate_every": "12steps"}  # for rules that stop at the first evaluation
SWA = {"averaging": "swa", "averaging.start": "5steps", "averaging.every": "2steps"}
PLATEAU = {"schedule": "plateau", "schedule.patience": 1, "schedule.min_delta": 100}
NEEDS: dict[str, dict[str, Any]] = {
    "schedule=cosine_restarts": {"schedule.period": "7steps"},
    "schedule=cyclic": {"schedule.period": "7steps"},
    "schedule=plateau": PLATEAU,
    "schedule=staircase": {"schedule.every": "3steps"},
    "stopping=early": {"stopping.patience": 1, "stopping.min_delta": 1},
    "stopping=gradient_norm": {"stopping.tolerance": 1000, **LATE},
    "stopping=loss_change": {"stopping.tolerance": 1000},
    "stopping=target": {"stopping.value": 0, **LATE},
    "averaging=ema": {"averaging.decay": 0.9},
    "averaging=swa": SWA,
    "sampler=disjoint_chop": {"sampler.parts": 2},
    "normalization=group": {"normalization.groups": 2},
    "regularizer=max_norm": {"regularizer.max_norm.limit": 0.5},
    "clipping=norm": {"clipping.norm.limit": 0.1},
    "clipping=value": {"clipping.value.limit": 0.01},
    "loss=bce": {"dataset": "breast_cancer"},
    "loss=bce_probabilities": {"dataset": "breast_cancer", "output": "sigmoid"},
    **{f"loss={name}": {"loss.one_hot": "true"} for name in ("mse", "l1", "huber")},
}
STOPPING = ["stopping=early", "stopping=gradient_norm", "stopping=loss_change", "stopping=target"]
STOPPED = 12

# Choices that meet, and settings of an option beside its file's.
TOGETHER: dict[str, dict[str, Any]] = {
    "plateau of the gradient": {**TABLE, **PLATEAU, "schedule.metric": "gradient/norm",
                                "schedule.factor": 0.5},
    "plateau in a warm-up": {**TABLE, **PLATEAU, "schedule.warmup": "12steps"},
    "population": {**TABLE, "normalization": "batch", "normalization.inference": "population"},
    "batch norm after swa": {**TABLE, **SWA, "normalization": "batch"},
    "full data after ema": {**TABLE, "normalization": "full_data", "averaging": "ema"},
    "every mask": {**TABLE, "dropout": "classic", "dropout.average": "exhaustive"},
    "masks after ema": {**TABLE, "dropout": "monte_carlo", "averaging": "ema"},
    "jacobian and dropout": {**TABLE, "regularizer": "jacobian", "dropout": "inverted"},
    "in parts": {**TABLE, "trainer.accumulate": 2, "dropout": "inverted"},
    "in parts, batch norm": {**TABLE, "trainer.accumulate": 3, "normalization": "batch"},
    "several metrics": {**IMAGES, "metrics": "[standard,confusion]"},
    "several augmentations": {**IMAGES, "augmentation": "[rotate,noise,cutmix]"},
    "several regularizers": {**TABLE, "regularizer": "[l2,max_norm,jacobian]"},
    "noise in an objective": {**TABLE, "optimizer": "lbfgs", "dropout": "inverted",
                              "regularizer": "jacobian"},
    "batch norm in an objective": {**TABLE, "optimizer": "backtracking",
                                   "normalization": "batch"},
    "newton after swa": {**TABLE, **SWA, "optimizer": "newton"},
    "random features": {**SHORT, "dataset": "wine", "architecture": "random_fourier"},
    "a metric that falls": {**IMAGES, "metrics": "error", "objective": "valid/error",
                            "averaging": "ema"},
    "no validation": {**TABLE, **SWA, "dataset.valid": 0},
    "parts, ema, plateau": {**IMAGES, **PLATEAU, "trainer.accumulate": 2, "averaging": "ema",
                            "normalization": "batch", "dropout": "inverted", "optimizer": "adam",
                            "augmentation": "[rotate,noise]", "clipping": "norm",
                            "stopping": "early", "stopping.patience": 9},
    "parts, swa, restarts": {**TABLE, **SWA, "trainer.accumulate": 3, "schedule": "cosine_restarts",
                             "schedule.period": "4steps", "schedule.warmup": "3steps",
                             "dropout": "inverted", "regularizer": "[l2,max_norm]",
                             "optimizer": "momentum", "sampler": "bootstrap"},
}  # fmt: skip

TORCH = [name for name, each in vars(torch.optim).items()
         if inspect.isclass(each) and issubclass(each, torch.optim.Optimizer)
         and name not in ("Optimizer", "SparseAdam")]  # fmt: skip


def by_torch(name: str, precision: str) -> dict[str, Any]:
    """Return a case with an optimizer of torch's; one of them takes matrices alone."""
    return {**TABLE, "optimizer": "sgd", "optimizer._target_": f"torch.optim.{name}",
            "architecture.bias": "false", "precision": precision}  # fmt: skip


def discovered() -> dict[str, dict[str, Any]]:
    """Return a case for every option of the groups, by `group=option`."""
    found = options.groups([options.own_folder()])
    names = {f"{group}={option}": (group, option) for group in GROUPS for option in found[group]}
    return {
        name: {**TRIED_ON.get(name, GROUPS[group]), group: option, **NEEDS.get(name, {})}
        for name, (group, option) in names.items()
    }


CASES = {
    **discovered(),
    **TOGETHER,
    **{
        f"torch.optim.{name}, {precision}": by_torch(name, precision)
        for name in TORCH
        for precision in ("float32", "float64")
    },
}


def words(case: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(f"{key}={value}" for key, value in case.items())


@pytest.fixture(autouse=True, scope="module")
def _quick() -> Iterator[None]:
    with quickened():
        yield


@pytest.fixture(scope="module")
def uncut(tmp_path_factory):
    """Return the record of the uninterrupted run of a case, trained once."""

    @functools.cache
    def run(name: str) -> dict[str, Any]:
        return record(begin(words(CASES[name]), tmp_path_factory.mktemp("uncut")))

    return run


def cases(quick: Callable[[str], bool]) -> list[Any]:
    """Return the names of all cases; those that are not quick wait for the slow tier."""
    return [pytest.param(name, marks=[] if quick(name) else [pytest.mark.slow])
            for name in CASES]  # fmt: skip


def is_quick(name: str) -> bool:
    """Tell whether an option has memory or noise, or meets others."""
    return name in QUICK or name in TOGETHER or name.startswith(QUICK_GROUPS)


@pytest.mark.parametrize("name", cases(is_quick))
def test_a_killed_run_is_the_uncut_run(tmp_path, uncut, name):
    """F02: with every option, and with options that meet."""
    folder = killed(name, tmp_path)
    assert checkpoints.load(folder / directory.CHECKPOINTS, pytest.fail)["step"] == SAVED
    resume(words(CASES[name]), folder)
    assert differences(folder, uncut(name)) == []
    assert uncut(name)["status"] == ["finished", steps_of(name), 0]


@pytest.mark.parametrize("name", cases(lambda name: name.startswith("parts, ")))
def test_a_run_that_is_cut_again_and_again_is_the_uncut_run(tmp_path, uncut, name):
    """F11: at step 1, in a warm-up, at and around each row, evaluation and save, at the end.

    What meets others is cut after every step, the rest after every third.
    """
    stride = 1 if name in TOGETHER else 3
    with cut(stride):
        begin(words(CASES[name]), tmp_path)
    folder = started(tmp_path)
    for _ in range(stride, steps_of(name), stride):
        with cut(stride):
            resume(words(CASES[name]), folder)
    resume(words(CASES[name]), folder)
    assert differences(folder, uncut(name)) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CASES if is_quick(name)])
def test_steps_may_be_recorded(tmp_path, uncut, name):
    """F02: what replays its kernels goes on as what runs them one by one."""
    traced = words({**CASES[name], "compile": "trace"})
    with cut(DIED, kill=True):
        begin(traced, tmp_path / "cut")
    folder = resume(traced, started(tmp_path / "cut"))
    assert differences(folder, record(begin(traced, tmp_path / "uncut"))) == []


def steps_of(name: str) -> int:
    return STOPPED if name in STOPPING else TOTAL


def killed(name: str, root: Path) -> Path:
    with cut(DIED, kill=True):
        begin(words(CASES[name]), root)
    return started(root)


@pytest.mark.slow
def test_the_cases_are_not_all_alike(uncut):
    """An option that changes nothing would be resumed whatever became of it."""
    usual = {"schedule=cosine", "sampler=minibatch", "metrics=standard", "activation=relu",
             "loss=cross_entropy", "output=identity", "initializer=kaiming_normal",
             "preprocessing=standardize"}  # fmt: skip
    usual |= {"loss=kl", "preprocessing=channel_mean_std"}  # the same for labels, and one channel
    usual |= {name for name in CASES if name.endswith("=none")}
    records = {}
    for name in CASES:
        each = uncut(name)
        records[name] = {"metrics": each["metrics"] + repr(each["summary"]).encode()}
    alike = [set(group) for group in grouped(records) if len(group) > 1 and not usual >= set(group)]
    assert alike == [{"stopping=early", "stopping=loss_change"},
                     {"stopping=gradient_norm", "stopping=target"},
                     {"preprocessing=center", "preprocessing=channel_mean"},
                     {"initializer=normal", "initializer=normal_small"}]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("schedule=plateau", "schedule"),
        ("plateau of the gradient", "schedule"),
        ("stopping=early", "stopping"),
        ("stopping=loss_change", "stopping"),
        ("averaging=ema", "averages"),
        ("averaging=swa", "averages"),
        ("no validation", "averages"),
        ("normalization=batch", "model"),
        ("normalization=full_data", "model"),
        ("noise in an objective", "slots"),
        ("torch.optim.Adam, float32", "slots"),
    ],
)
def test_memory_of_an_older_step_is_not_enough(tmp_path, uncut, name, part):
    """What an option remembers matters: with a part of the checkpoint before, the run differs."""
    folder = killed(name, tmp_path)
    newest, older = map(checkpoints.read, checkpoints.listed(folder / directory.CHECKPOINTS))
    assert flat(newest["state"][part]) != flat(older["state"][part])
    newest["state"][part] = older["state"][part]
    rewrite(folder / directory.CHECKPOINTS, newest)
    resume(words(CASES[name]), folder)
    assert set(differences(folder, uncut(name))) & {"metrics", "summary"}

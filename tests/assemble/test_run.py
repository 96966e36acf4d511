"""A run, assembled: every option of `conf/` takes steps; budget, goal, units, refusals."""

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from sklearn import metrics as reference

from runner.assemble.run import assemble
from runner.assemble.settings import Settings
from runner.components.dataset import images
from runner.compose import compose
from runner.config import check
from runner.foundation.errors import BadData, Misconfigured
from runner.foundation.options import own_folder
from runner.training import feed
from runner.training.step import prepare

FOLDER = own_folder()
CHOICES = sorted(
    (path.parent.name, path.stem)
    for path in FOLDER.glob("*/*.yaml")
    if path.parent.name not in ("trainer", "experiment")
)
FILES = {"mnist", "fashion_mnist", "cifar10"}  # tests/components/test_dataset.py makes their files
BASE = compose([]).config
SMALL = {"threads": 1, "device": "cpu", "precision": "float64"}
# What an option needs beside itself, where the default run is no place for it.
NEEDS = {
    ("loss", "mse"): {"dataset": "diabetes"},
    ("dataset", "diabetes"): {"loss": "mse"},
}


def configured(changes):
    """Return checked settings: `group: option` or `group.key: value` on the default run."""
    config = OmegaConf.create(BASE | SMALL)
    for key, value in sorted(changes.items(), key=lambda each: "." in each[0]):
        path = FOLDER / key / f"{value}.yaml"
        if path.is_file():
            config[key] = OmegaConf.load(path)
        else:
            OmegaConf.update(config, key, value)
    return check(OmegaConf.to_container(config), Settings)


def assembled(**changes):
    return assemble(configured({key.replace("__", "."): each for key, each in changes.items()}))


def curve(run, steps):
    """Take some steps and return their losses and the parameters after them."""
    state = run.state()
    step, batch = run.stepping(state), run.batches()
    losses = [
        float(step(*batch(at), run.schedule.at(at, state.schedule), False).loss)
        for at in range(steps)
    ]
    return losses, [each.detach().clone() for each in run.model.parameters()]


def test_options_of_every_group_were_found():
    groups = {group for group, _ in CHOICES}
    assert groups == {each for each in BASE if (FOLDER / each).is_dir()} - {"trainer", "experiment"}
    assert len(CHOICES) > 40


@pytest.mark.parametrize(("group", "option"), [each for each in CHOICES if each[1] not in FILES])
def test_every_option_takes_steps_and_moves_every_parameter(group, option):
    changes = {group: option, **NEEDS.get((group, option), {})}
    run = assemble(configured({"trainer.batch_size": 16, **changes}))
    before = [each.detach().clone() for each in run.model.parameters()]
    losses, after = curve(run, 3)
    assert np.isfinite(losses).all()
    assert not any(torch.equal(*pair) for pair in zip(before, after, strict=True))
    evaluated = run.evaluate("valid")
    assert np.isfinite(list(evaluated.values())).all()
    assert run.goal.removeprefix("valid/") in evaluated


def test_the_same_settings_give_the_same_curve_and_seeds_share_their_data():
    globally = torch.get_rng_state()
    noisy = {"dropout": "inverted", "augmentation": "flip_crop", "architecture": "cnn"}
    runs = [assembled(seed=seed, **noisy) for seed in (1, 1, 2)]
    assert torch.equal(torch.get_rng_state(), globally)
    first, again, other = (curve(run, 4) for run in runs)
    assert torch.equal(torch.get_rng_state(), globally)
    assert first[0] == again[0] != other[0]
    assert all(torch.equal(*pair) for pair in zip(first[1], again[1], strict=True))
    assert runs[0].data.checksum() == runs[2].data.checksum()
    moved = assembled(dataset__seed=1)
    assert moved.data.checksum() != runs[0].data.checksum()


@pytest.mark.parametrize("optimizer", [each for group, each in CHOICES if group == "optimizer"])
@pytest.mark.parametrize("model", [each for group, each in CHOICES if group == "architecture"])
def test_one_kernel_for_all_tensors_gives_the_curve_of_plain_updates(optimizer, model):
    options = {"optimizer": optimizer, "architecture": model, "augmentation": "flip_crop"}
    fused, plain = assembled(**options), assembled(**options)
    plain.optimizer = plain.optimizer._replace(fused=None)
    (losses, weights), (expected, reference_weights) = curve(fused, 5), curve(plain, 5)
    assert losses == pytest.approx(expected, rel=1e-9)
    for pair in zip(weights, reference_weights, strict=True):
        torch.testing.assert_close(*pair, rtol=1e-7, atol=1e-9)


def test_starting_point_is_a_function_of_the_run_seed_alone():
    first, data, run = (
        list(assembled(**changes).model.parameters())
        for changes in ({}, {"dataset__seed": 1}, {"seed": 1})
    )
    assert all(torch.equal(*pair) for pair in zip(first, data, strict=True))
    assert not torch.equal(first[0], run[0])


@pytest.mark.parametrize(
    ("changes", "goal", "sign"),
    [
        ({}, "valid/accuracy", -1.0),
        ({"dataset": "diabetes", "loss": "mse"}, "valid/loss", 1.0),
        ({"dataset.valid": 0.0}, "train/accuracy", -1.0),
        ({"dataset": "diabetes", "loss": "mse", "dataset.valid": 0.0}, "train/loss", 1.0),
        ({"objective": "valid/loss"}, "valid/loss", 1.0),
        ({"dataset": "diabetes", "loss": "mse", "objective": "valid/r2"}, "valid/r2", -1.0),
        ({"dataset": "diabetes", "loss": "mse", "objective": "valid/mae"}, "valid/mae", 1.0),
    ],
)
def test_goal_is_what_the_task_is_judged_by(changes, goal, sign):
    run = assemble(configured(changes))
    assert (run.goal, run.sign) == (goal, sign)


ROWS = 1797 - 2 * round(0.2 * 1797)  # training rows of digits


@pytest.mark.parametrize(
    ("changes", "per_epoch", "total"),
    [
        ({}, ROWS // 64, 20 * (ROWS // 64)),
        ({"trainer.drop_last": False}, ROWS // 64 + 1, 20 * (ROWS // 64 + 1)),
        ({"trainer.epochs": 3, "trainer.batch_size": 100}, ROWS // 100, 3 * (ROWS // 100)),
        ({"trainer.steps": 5}, ROWS // 64, 5),
        (
            {"trainer.epochs": None, "trainer.minutes": 0.5, "schedule": "constant"},
            ROWS // 64,
            10**12,
        ),
        ({"trainer.batch_size": ROWS}, 1, 20),
    ],
)
def test_budget_is_resolved_to_steps(changes, per_epoch, total):
    clock = assemble(configured(changes)).clock
    assert (clock.steps_per_epoch, clock.total) == (per_epoch, total)


REFUSED = [
    ({"trainer.batch_size": ROWS + 1}, rf"trainer\.batch_size: {ROWS + 1} is more than the {ROWS}"),
    ({"trainer.epochs": None}, r"trainer: one of epochs, steps and minutes must be set"),
    ({"objective": "valid/acuracy"}, r"no metric 'valid/acuracy'; did you mean 'valid/accuracy'"),
    ({"objective": "test/accuracy"}, r"objective: no metric 'test/accuracy'"),
    ({"device": "cuda:99"}, r"device: 'cuda:99' is not available"),
    ({"dataset": "wine", "architecture": "cnn"}, r"architecture: cnn needs images"),
    ({"dataset": "wine", "augmentation": "flip_crop"}, r"augmentation: flip_crop needs images"),
    ({"dataset": "wine", "preprocessing.per": "channel"}, r"preprocessing: per=channel needs"),
    ({"loss": "mse"}, r"loss 'mse' needs float targets .* use loss=cross_entropy"),
    ({"dataset": "diabetes"}, r"loss 'cross_entropy' needs class labels.* use loss=mse"),
    ({"schedule.warmup": "99epochs"}, r"schedule: warmup \d+ >= total"),
    ({"optimizer.nesterov": True, "optimizer.momentum": 0}, r"optimizer: nesterov=true needs"),
    ({"dataset.valid": 0.6, "dataset.test": 0.6}, r"leaves no training rows"),
    ({"normalization": "batch", "trainer.batch_size": 1}, r"layer .* has 1 sample, use trainer"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED)
def test_what_does_not_go_together_is_refused_before_training(changes, message):
    with pytest.raises(Misconfigured, match=message) as caught:
        assemble(configured(changes))
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("option", sorted(FILES))
def test_missing_files_end_before_anything_is_built(option, tmp_path, monkeypatch):
    monkeypatch.setattr(images, "DEBIAN_FASHION_MNIST", tmp_path)
    with pytest.raises(BadData, match="no data files in"):
        assembled(dataset=option, dataset__root=str(tmp_path))


def test_momentum_of_nothing_is_plain_descent():
    plain = curve(assembled(optimizer="sgd", optimizer__lr=0.05), 3)
    ball = curve(assembled(optimizer="momentum", optimizer__lr=0.05, optimizer__momentum=0.0), 3)
    assert ball[0] == pytest.approx(plain[0], rel=1e-12)


def test_batches_of_one_train_where_nothing_is_taken_over_the_batch():
    run = assembled(normalization="layer", trainer__batch_size=1)
    assert np.isfinite(curve(run, 2)[0]).all()


@pytest.mark.parametrize(
    ("precision", "dtype", "autocast"),
    [
        ("float32", torch.float32, False),
        ("float64", torch.float64, False),
        ("bfloat16", torch.float32, True),
    ],
)
def test_precision_is_that_of_model_and_data(precision, dtype, autocast):
    run = assembled(precision=precision)
    assert {each.dtype for each in run.model.parameters()} == {dtype}
    assert run.prepared.raw_train[0].dtype == dtype
    assert run.autocast == autocast
    assert run.parameters() == 64 * 128 + 128 + 128 * 128 + 128 + 128 * 10 + 10
    assert np.isfinite(list(run.evaluate("valid").values())).all()


def test_metrics_of_a_regression_are_in_the_units_of_the_data():
    run = assembled(dataset="diabetes", loss="mse")
    curve(run, 10)
    x, _ = run.prepared.splits["valid"]
    with torch.no_grad():
        predicted = run.prepared.fitted.targets.invert(run.model.eval()(x)).numpy()
    truth = run.data.y[run.data.splits["valid"]].numpy()
    evaluated = run.evaluate("valid")
    assert evaluated["rmse"] == pytest.approx(reference.root_mean_squared_error(truth, predicted))
    assert evaluated["mae"] == pytest.approx(reference.mean_absolute_error(truth, predicted))
    assert evaluated["r2"] == pytest.approx(reference.r2_score(truth, predicted))
    spread = run.data.y[run.data.splits["train"]].double().std(correction=0)
    assert evaluated["loss"] == pytest.approx((evaluated["rmse"] / float(spread)) ** 2)
    assert evaluated["rmse"] > 10  # of a progression between 25 and 346


def test_evaluation_sees_every_row_whatever_its_batches():
    whole, parts = assembled(), assembled(trainer__evaluation_batch_size=7)
    for split in ("train", "valid", "test"):
        assert parts.evaluate(split) == pytest.approx(whole.evaluate(split), rel=1e-12)
    x, y = whole.prepared.splits["test"]
    with torch.no_grad():
        predicted = whole.model.eval()(x).argmax(1).numpy()
    assert whole.evaluate("test")["accuracy"] == reference.accuracy_score(y.numpy(), predicted)


def test_what_auto_became_is_said_with_its_reason():
    run = assembled(threads="auto", device="auto")
    torch.set_num_threads(1)
    assert set(run.decided) == {"threads", "device"}
    assert run.decided["device"][0] == str(run.device).partition(":")[0]
    assert all(reason for _, reason in run.decided.values())
    assert assembled().decided == {}


def test_columns_that_do_not_vary_are_among_the_warnings():
    assert assembled().warnings == []
    per_feature = assembled(preprocessing__per="feature")  # corners of digits are always white
    assert any("do not vary" in warning for warning in per_feature.warnings)

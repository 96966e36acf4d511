"""A run, assembled: every option of `conf/` takes steps; rules, budget, goal, units, refusals."""

import re

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from sklearn import metrics as reference
from sklearn.decomposition import PCA
from torch import nn

from runner.assemble.run import assemble, optimizer_of
from runner.assemble.settings import Settings
from runner.assemble.unit import Brick, activation_gain
from runner.components.dataset import images
from runner.components.normalization.batchwise import populations
from runner.compose import compose
from runner.config import check, check_node
from runner.execution.hooks import advancing, measuring
from runner.foundation import options
from runner.foundation.errors import BadData, Misconfigured
from runner.recording.recorder import Stopwatch
from runner.training.loop import Hook, train
from runner.training.ready import Traced

FOLDER = options.own_folder()
CHOICES = sorted(
    (path.parent.name, path.stem)
    for path in FOLDER.glob("*/*.yaml")
    if path.parent.name not in ("trainer", "experiment", "sweep")
)
BASE = compose([]).config
SMALL = {"threads": 1, "device": "cpu", "precision": "float64"}

# Data sets read from files that are not here, and what they say then. Their tests make the files.
FILES = {
    "mnist": ({}, "no data files in"),
    "fashion_mnist": ({}, "no data files in"),
    "cifar10": ({}, "no data files in"),
    "cifar100": ({}, "no data files in"),
    "image_folder": ({}, "expected a folder"),
    "csv": ({"dataset.path": "absent.csv", "dataset.target": "y"}, "absent.csv"),
}

# What an option needs beside itself, where the default run is no place for it.
CLASSES_2, NUMBERS = {"dataset": "moons"}, {"loss": "mse"}
FULL = {"sampler": "full_batch"}
TINY = {"architecture.hidden": [8]}
QUADRATIC = {
    **NUMBERS,
    **FULL,
    "preprocessing": "none",
    "architecture": "linear",
    "architecture.bias": False,  # it would stand at its minimum already
    "metrics": "none",  # targets are all 0, so that r2 is nan
}
NEEDS = {
    ("architecture", "cubic"): {"dataset": "sine_cubic", **NUMBERS},
    ("architecture", "probe_10x500"): {"architecture.hidden": 10 * [8]},
    ("architecture", "probe_6x4096"): {"architecture.hidden": 6 * [8]},
    ("architecture", "torchvision"): {"architecture.name": "shufflenet_v2_x0_5"},
    ("architecture", "vit"): {"architecture.width": 8, "architecture.depth": 2},
    ("augmentation", "color"): {"architecture": "cnn"},
    ("dataset", "correlated_columns"): NUMBERS,
    ("dataset", "diabetes"): NUMBERS,
    ("dataset", "elongated_quadratic"): QUADRATIC,
    ("dataset", "gaussian_probe"): TINY,
    ("dataset", "independent_columns"): NUMBERS,
    ("dataset", "least_squares"): NUMBERS,
    ("dataset", "mnist1d"): {"architecture": "cnn"},
    ("dataset", "quadratic_1d"): QUADRATIC,
    ("dataset", "sine_cubic"): NUMBERS,
    ("dataset", "weather"): NUMBERS,
    ("dataset", "weather_synthetic"): NUMBERS,
    ("dropout", "monte_carlo"): TINY,
    ("dropout", "spatial"): {"architecture": "cnn"},
    ("initializer", "fixup"): {"architecture": "resnet", "architecture.channels": [8, 16]},
    ("loss", "bce"): CLASSES_2,
    ("loss", "bce_probabilities"): {**CLASSES_2, "output": "sigmoid"},
    ("loss", "huber"): {"dataset": "diabetes"},
    ("loss", "l1"): {"dataset": "diabetes"},
    ("loss", "mse"): {"loss.one_hot": True},
    ("normalization", "instance"): {"architecture": "cnn"},
    ("optimizer", "backtracking"): FULL,
    ("optimizer", "gd"): FULL,
    ("optimizer", "lbfgs"): FULL,
    ("optimizer", "newton"): {**FULL, **CLASSES_2, **TINY},
    ("optimizer", "rprop"): FULL,
    ("optimizer", "rprop_torch"): FULL,
    ("output", "sigmoid"): {**CLASSES_2, "loss": "bce_probabilities"},
    ("output", "sine"): {**CLASSES_2, "loss": "bce_probabilities"},
    ("output", "softmax"): {"loss": "mse", "loss.one_hot": True},
    ("preprocessing", "pca_whiten"): {"dataset": "wine"},  # corners of digits never vary
    ("preprocessing", "zca"): {"dataset": "wine"},
}

# How many of the last parameters move where not every one does, and why.
STILL = {
    ("activation", "sign"): (2, "its slope is 0: no gradient gets behind the last layer"),
    ("initializer", "zeros"): (1, "hidden units give 0: nothing but the last bias has a gradient"),
}


def configured(changes):
    """Return checked settings: `group: option` or `group.key: value` on the default run.

    Several options of a group are a list; a node of one's own is a mapping.
    """
    config = OmegaConf.create(BASE | SMALL)
    for key, value in sorted(changes.items(), key=lambda each: "." in each[0]):
        names = value if isinstance(value, list) else [value]
        paths = [FOLDER / key / f"{name}.yaml" for name in names]
        if all(path.is_file() for path in paths):
            config[key] = OmegaConf.merge(*map(OmegaConf.load, paths))
        else:
            OmegaConf.update(config, key, value, merge=False)
    return check(OmegaConf.to_container(config), Settings)


def assembled(**changes):
    return assemble(configured({key.replace("__", "."): each for key, each in changes.items()}))


def curve(run, steps, state=None):
    """Take some steps and return their losses and the parameters after them."""
    state = state or run.state()
    step, batch = run.stepping(state), run.batches()
    losses = [
        float(step(*batch(at), run.schedule.at(at, state.schedule), False).loss)
        for at in range(state.step, state.step + steps)
    ]
    return losses, copies(run.model.parameters())


def copies(tensors):
    return [each.detach().clone() for each in tensors]


def logged(run):
    """Train to the end of the budget and return the logged rows."""
    rows, state = [], run.state()
    hooks = [*measuring(run, Stopwatch()), Hook(1, lambda state, row: rows.append(row))]
    train(state, advancing(run, run.stepping(state)), hooks, run.clock.total)
    return [row for row in rows if row]


def test_options_of_every_group_were_found():
    groups = {group for group, _ in CHOICES}
    assert groups == {each for each in BASE if (FOLDER / each).is_dir()} - {
        "trainer",
        "experiment",
        "sweep",
    }
    assert len(CHOICES) > 180
    assert {*NEEDS, *STILL, *(("dataset", option) for option in FILES)} <= set(CHOICES)


@pytest.mark.parametrize(("group", "option"), [each for each in CHOICES if each[1] not in FILES])
def test_every_option_takes_steps_and_moves_every_parameter(group, option):
    changes = {group: option, **NEEDS.get((group, option), {})}
    budget = {"trainer.epochs": None, "trainer.steps": 3, "trainer.batch_size": 16}
    run = assemble(configured(budget | changes))
    before = copies(run.model.parameters())
    *_, row = logged(run)
    moved = [not torch.equal(*pair) for pair in zip(before, run.model.parameters(), strict=True)]
    last, _ = STILL.get((group, option), (len(moved), "all move"))
    assert moved == [at >= len(moved) - last for at in range(len(moved))]
    assert np.isfinite(list(row.values())).all()
    assert row["step"] == 3
    assert run.warnings == [], "where an option belongs, nothing is odd"
    assert run.goal in row


STEPPED = ("activation", "architecture", "averaging", "clipping", "dropout", "loss",
           "normalization", "optimizer", "output", "regularizer", "sampler")  # fmt: skip
PLAIN = {  # whose steps are no function of tensors alone
    ("optimizer", "backtracking"),
    ("optimizer", "lbfgs"),
    ("optimizer", "newton"),
}


@pytest.mark.parametrize(("group", "option"), [each for each in CHOICES if each[0] in STEPPED])
def test_every_option_traced_has_the_bits_of_the_plain_step(group, option):
    changes = {group: option, "trainer.batch_size": 32, "precision": "float32", "clipping": "norm",
               **NEEDS.get((group, option), {})}  # fmt: skip
    if (group, option) in PLAIN:
        changes["clipping"] = "none"
    ends, ready = [], None
    for traced in (False, True):
        run = assemble(configured(changes | ({group: option} if group == "clipping" else {})))
        state = run.state()
        ready = Traced(state) if traced else None
        step, batch = run.stepping(state, ready), run.batches()
        outcomes = [
            step(*batch(at), run.schedule.at(at, state.schedule), at % 2 == 1) for at in range(4)
        ]
        norm = torch.zeros(()) if state.gradient_norm is None else state.gradient_norm
        ends.append([*(o.loss for o in outcomes), outcomes[-1].outputs, norm, *tensors_of(state)])
    for one, other in zip(*ends, strict=True):
        assert torch.equal(one, other)
    assert ready is not None
    assert ready.refusal == ""
    assert (ready.newest is None) == ((group, option) in PLAIN)


def tensors_of(state):
    return [each.detach() for each in state.tensors().values()]


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


def optimizer_named(option):
    return optimizer_of(check_node(options.node("optimizer", option), "optimizer", "optimizer"))


OPTIMIZERS = [option for group, option in CHOICES if group == "optimizer"]
IN_PLACE = [  # without those that remember in an object of torch's, which has no plain update
    option
    for option in OPTIMIZERS
    if (made := optimizer_named(option)).in_place
    and isinstance(made.init([torch.zeros(2, 2, requires_grad=True)]), dict)
]
MODELS = {
    "mlp": {"architecture.hidden": [16, 16], "normalization": "batch"},
    "cnn": {"architecture.channels": [8, 16], "augmentation": "flip_crop"},
}


def test_there_are_optimizers_with_one_kernel_for_all_tensors():
    assert {"sgd", "momentum", "adam", "adamw"} <= set(IN_PLACE) < set(OPTIMIZERS)


@pytest.mark.parametrize("optimizer", IN_PLACE)
@pytest.mark.parametrize("model", MODELS)
def test_one_kernel_for_all_tensors_gives_the_curve_of_plain_updates(optimizer, model):
    changes = {"optimizer": optimizer, "architecture": model, **MODELS[model]}
    whole, plain = (assemble(configured(changes)) for _ in range(2))
    plain.optimizer = plain.optimizer._replace(in_place=None)
    (losses, weights), (expected, reference_weights) = curve(whole, 5), curve(plain, 5)
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
        ({"trainer.epochs": None, "trainer.samples": 640}, ROWS // 64, 10),
        ({"trainer.samples": 641}, ROWS // 64, 11),  # before epochs, and not fewer
        ({"trainer.samples": 641, "trainer.steps": 3}, ROWS // 64, 3),
        ({"trainer.samples": 50, "sampler": "single"}, ROWS, 50),
        ({"trainer.samples": 2 * ROWS + 1, "sampler": "full_batch"}, 1, 3),
    ],
)
def test_budget_is_resolved_to_steps(changes, per_epoch, total):
    clock = assemble(configured(changes)).clock
    assert (clock.steps_per_epoch, clock.total) == (per_epoch, total)


REGRESSION = {"dataset": "diabetes", "loss": "mse"}
REFUSED = [
    ({"trainer.batch_size": ROWS + 1}, rf"trainer\.batch_size {ROWS + 1} is more than the {ROWS}"),
    ({"trainer.epochs": None}, r"trainer: one of epochs, steps, samples and minutes must be set"),
    ({"objective": "valid/acuracy"}, r"no metric 'valid/acuracy'; did you mean 'valid/accuracy'"),
    ({"objective": "test/accuracy"}, r"objective: no metric 'test/accuracy'"),
    ({"device": "cuda:99"}, r"device: 'cuda:99' is not available"),
    ({"dataset": "wine", "architecture": "cnn"}, r"architecture: cnn needs images"),
    ({"dataset": "wine", "augmentation": "flip_crop"}, r"augmentation: flip_crop needs images"),
    ({"dataset": "wine", "preprocessing.per": "channel"}, r"preprocessing: per=channel needs"),
    ({"schedule.warmup": "99epochs"}, r"schedule: warmup \d+ >= total"),
    ({"optimizer.nesterov": True, "optimizer.momentum": 0}, r"optimizer: nesterov=true needs"),
    ({"dataset.valid": 0.6, "dataset.test": 0.6}, r"leaves no training rows"),
    ({"normalization": "batch", "trainer.batch_size": 1}, r"layer .* has 1 sample, use trainer"),
    ({"normalization.layers": [0, 2], "normalization": "batch"}, r"no unit 2; .* units 0 to 1"),
    ({"architecture.activations": ["tanh"]}, r"activations names 1 for 2 hidden layers"),
    ({"optimizer": "newton"}, r"optimizer: newton .* takes at most 4,000"),
    # Loss, output and task
    ({"dataset": "diabetes"}, r"loss: loss 'cross_entropy' needs class labels; .* use loss=mse"),
    ({"dataset": "diabetes", "loss": "bce"}, r"loss: loss 'bce' needs class labels"),
    ({**REGRESSION, "loss.one_hot": True}, r"loss\.one_hot: is for classes, .*one_hot=false"),
    ({"loss": "mse"}, r"'mse' needs float targets .*\(N, 10\).*one_hot=true or loss=cross_entropy"),
    ({"loss": "bce"}, r"loss: .* needs exactly 2 classes, the data has 10; use loss=cross_entropy"),
    ({**CLASSES_2, "loss": "bce_probabilities"}, r"needs probabilities, .* use output=sigmoid"),
    ({**REGRESSION, "output": "sine"}, r"output: 'sine' gives probabilities, which a regression"),
    ({**CLASSES_2, "loss": "bce", "output": "softmax"}, r"softmax of one column is always 1"),
    ({"loss": "hinge", "augmentation": "mixup"}, r"'hinge' needs class labels, .* mixes samples"),
    # Optimizers that take the objective
    ({"optimizer": "lbfgs", "clipping": "norm"}, r"clipping: .*'lbfgs' .* use clipping=none"),
    ({"optimizer": "lbfgs", "trainer.accumulate": 2}, r"trainer\.accumulate: .* whole batches"),
    ({"optimizer": {"_target_": "torch.optim.LBFGS"}, "clipping": "value"}, r"'LBFGS' takes its"),
    ({"optimizer": {"_target_": "torch.optim.SparseAdam"}}, r"optimizer: SparseAdam takes sparse"),
    # What is measured and watched
    ({"metrics": ["standard", "top_k"], **CLASSES_2}, r"metrics\.top_k: k=5 of 2 classes"),
    ({**REGRESSION, "metrics": "error"}, r"metrics\.error: 'error' is for classes"),
    ({"metrics": "none", "objective": "valid/accuracy"}, r"measured are valid/loss, train/loss"),
    ({"schedule": "plateau", "schedule.metric": "valid/los"}, r"schedule\.metric.*'valid/loss'"),
    ({"stopping": "target", **REGRESSION}, r"stopping\.metric: 'valid/accuracy' is not logged"),
    ({"stopping": "early", "dataset.valid": 0.0}, r"stopping: needs validation rows"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED)
def test_what_does_not_go_together_is_refused_before_training(changes, message):
    with pytest.raises(Misconfigured, match=message) as caught:
        assemble(configured(changes))
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


def test_every_pair_that_does_not_go_together_is_named_at_once():
    changes = {**REGRESSION, "loss": "bce_probabilities", "clipping": "norm"}
    with pytest.raises(Misconfigured) as caught:
        assemble(configured({**changes, "optimizer": "lbfgs", "trainer.accumulate": 2}))
    message = str(caught.value)
    starts = ["loss: loss 'bce_prob", "loss: 'bce_prob", "clipping: opt", "trainer.accumulate: opt"]
    lines = message.splitlines()
    assert all(line.startswith(start) for line, start in zip(lines, starts, strict=True))


def test_a_metric_cannot_be_measured_twice():
    twice = {"metrics.error": {"_target_": "runner.components.metrics.standard"}}
    with pytest.raises(Misconfigured, match=r"metrics\.error: 'accuracy' is measured already"):
        assemble(configured(twice))


FULL_BATCH = [option for option in OPTIMIZERS if optimizer_named(option).full_batch]
BATCHWISE = {"trainer.accumulate": 2, "normalization": "batch"}
ODD = [  # what is warned of, how, and a cure
    ({"output": "softmax"}, r"double softmax: .*use output=identity", {"output": "identity"}),
    ({"output": "sigmoid"}, r"double sigmoid: .*use output=identity", {"output": "identity"}),
    (
        {"output": "softmax", "loss": "kl"},
        r"double softmax: loss 'kl' ",
        {"loss": "mse", "loss.one_hot": True},
    ),
    (BATCHWISE, r"trainer\.accumulate: batch statistics", {"normalization": "layer"}),
    (BATCHWISE, r"trainer\.accumulate: batch statistics", {"trainer.accumulate": 1}),
    (
        {"trainer.accumulate": 2, "normalization": "batch_whitening"},
        r"trainer\.accumulate: batch statistics",
        {"normalization": "full_data"},
    ),
    (
        {"optimizer": {"_target_": "torch.optim.LBFGS"}},
        r"optimizer 'LBFGS' is made for full batches; use sampler=full_batch",
        FULL,
    ),
    *(
        (
            {"optimizer": option, **CLASSES_2, **TINY},
            r"optimizer '\w+' is made for full batches; use sampler=full_batch",
            FULL,
        )
        for option in FULL_BATCH
    ),
]


@pytest.mark.parametrize(("changes", "message", "cure"), ODD)
def test_what_is_hardly_meant_is_warned_of_until_it_is_cured(changes, message, cure):
    (warning,) = assemble(configured(changes)).warnings
    assert re.search(message, warning)
    assert assemble(configured(changes | cure)).warnings == []


def test_optimizers_for_full_batches_were_found():
    assert {"gd", "lbfgs", "newton", "backtracking", "rprop"} <= set(FULL_BATCH) < set(OPTIMIZERS)


@pytest.mark.parametrize("option", FILES)
def test_missing_files_end_before_anything_is_built(option, tmp_path, monkeypatch):
    monkeypatch.setattr(images, "DEBIAN_FASHION_MNIST", tmp_path)
    keys, message = FILES[option]
    where = keys or {"dataset.root": str(tmp_path / "absent")}
    with pytest.raises(BadData, match=message):
        assemble(configured({"dataset": option, **where}))


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


# ---- parts that meet only here ----------------------------------------------------------------


ADAM = {"_target_": "torch.optim.Adam", "lr": 0.01, "betas": [0.8, 0.99]}


@pytest.mark.parametrize(
    ("target", "own"),
    [
        (ADAM, {"optimizer": "adam", "optimizer.lr": 0.01, "optimizer.betas": [0.8, 0.99]}),
        ({"_target_": "torch.optim.SGD", "lr": 0.1}, {"optimizer": "sgd"}),
    ],
)
def test_classes_of_torch_give_the_curves_of_our_own_rules(target, own):
    theirs, ours = (assemble(configured(each)) for each in ({"optimizer": target}, own))
    (losses, weights), (expected, reference_weights) = curve(theirs, 5), curve(ours, 5)
    assert losses == pytest.approx(expected, rel=1e-9)
    for pair in zip(weights, reference_weights, strict=True):
        torch.testing.assert_close(*pair, rtol=1e-7, atol=1e-9)


def test_a_class_of_torch_that_searches_along_a_line_trains():
    run = assembled(optimizer={"_target_": "torch.optim.LBFGS", "max_iter": 5}, **FULL)
    losses, _ = curve(run, 4)
    assert losses[-1] < losses[0] / 4


@pytest.mark.parametrize("target", [ADAM, "momentum"])
def test_a_state_packed_and_unpacked_goes_on_as_if_nothing_had_been(target):
    settings = configured({"optimizer": target, "averaging": "ema", "dropout": "inverted"})
    whole = assemble(settings)
    expected, weights = curve(whole, 6)
    first, second = assemble(settings), assemble(settings)
    begun, resumed = first.state(), second.state()
    losses, _ = curve(first, 3, begun)
    resumed.unpack(begun.pack())
    more, after = curve(second, 3, resumed)
    assert losses + more == expected
    assert all(torch.equal(*pair) for pair in zip(after, weights, strict=True))


def statistics(run):
    """Return the statistics that the batch norms of a run serve at test."""
    return copies(each for norm in populations(run.model, every=True) for each in norm.buffers())


def blockwise(run):
    """Return mean and unbiased variance of what the first norm is fed, averaged over batches."""
    x, _ = run.prepared.splits["train"]
    with torch.no_grad():
        fed = run.model[1].layer(x.flatten(1)).split(64)
    full = torch.stack([rows for rows in fed if len(rows) == 64])
    return full.mean((0, 1)), full.var(1, correction=1).mean(0)


def test_population_statistics_are_taken_anew_and_are_the_same_after_assembling_again():
    changes = {"normalization": "batch", "trainer.steps": 12}
    running, population, again = (
        assemble(configured(changes | {"normalization.inference": inference}))
        for inference in ("running", "population", "population")
    )
    state = population.state()
    assert curve(running, 12)[0] == curve(population, 12, state)[0]
    met = statistics(running)
    assert all(torch.equal(*pair) for pair in zip(met, statistics(population), strict=True))
    measured = running.evaluate("test")
    for run in (running, population):
        run.settle()
    settled = statistics(population)
    assert all(torch.equal(*pair) for pair in zip(met, statistics(running), strict=True))
    assert not any(torch.equal(*pair) for pair in zip(met, settled, strict=True))
    for mine, theirs in zip(settled[:2], blockwise(population), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)
    assert population.evaluate("test")["loss"] != measured["loss"]
    assert population.model.training

    later = again.state()
    later.unpack(state.pack())
    again.settle()
    assert all(torch.equal(*pair) for pair in zip(settled, statistics(again), strict=True))
    assert again.evaluate("test") == population.evaluate("test")


def ema(weights, decay=0.9):
    shares = [decay ** (len(weights) - 1 - at) for at in range(len(weights))]
    return [
        sum(share * each for share, each in zip(shares, tensors, strict=True)) / sum(shares)
        for tensors in zip(*weights, strict=True)
    ]


def swa(weights):  # of steps 3 and 5
    return [(tensors[2] + tensors[4]) / 2 for tensors in zip(*weights, strict=True)]


@pytest.mark.parametrize(
    ("option", "keys", "mean"),
    [
        ("ema", {"averaging.decay": 0.9}, ema),
        ("swa", {"averaging.start": "3steps", "averaging.every": "2steps"}, swa),
    ],
)
def test_validation_sees_the_average_of_the_weights_and_training_their_last_values(
    option, keys, mean
):
    changes = {"averaging": option, **keys, "trainer.steps": 6}
    run, plain, by_hand = (assemble(configured(each)) for each in (changes, {}, {}))
    state = run.state()
    seen = [curve(run, 1, state)[1] for _ in range(6)]
    plain.schedule = by_hand.schedule = run.schedule
    last = curve(plain, 6)[1]
    assert all(torch.equal(*pair) for pair in zip(seen[-1], last, strict=True))
    with torch.no_grad():
        for own, value in zip(by_hand.model.parameters(), mean(seen), strict=True):
            own.copy_(value)
    with state.averaged():
        averaged = run.evaluate("valid")
    assert averaged == pytest.approx(by_hand.evaluate("valid"), rel=1e-9)
    assert run.evaluate("valid") == plain.evaluate("valid") != averaged
    state.restore_best()  # without a best one: the average
    assert run.evaluate("valid") == averaged


def test_swa_takes_the_statistics_of_batch_norms_anew():
    keys = {"averaging": "swa", "averaging.start": "2steps", "averaging.every": "1steps"}
    run = assemble(configured({**keys, "normalization": "batch"}))
    state = run.state()
    curve(run, 6, state)
    state.restore_best()
    before = statistics(run)
    run.settle()
    assert not any(torch.equal(*pair) for pair in zip(before, statistics(run), strict=True))
    for mine, theirs in zip(statistics(run)[:2], blockwise(run), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)


def test_several_metrics_are_measured_together():
    run = assembled(metrics=["standard", "error", "top_k", "calibration", "confusion"])
    curve(run, 10)
    numbers, larger = run.measure("valid")
    x, y = (part.numpy() for part in run.prepared.splits["valid"])
    with torch.no_grad():
        scores = run.model.eval()(torch.from_numpy(x)).softmax(1).numpy()
    assert list(numbers) == ["loss", "accuracy", "error", "top5", "calibration_error"]
    assert numbers["accuracy"] == reference.accuracy_score(y, scores.argmax(1))
    assert numbers["error"] == pytest.approx(reference.zero_one_loss(y, scores.argmax(1)))
    assert numbers["top5"] == reference.top_k_accuracy_score(y, scores, k=5)
    assert numbers["loss"] == pytest.approx(reference.log_loss(y, scores))
    assert larger == {"confusion": reference.confusion_matrix(y, scores.argmax(1)).tolist()}


ONE_COLUMN = {
    "bce": {"loss": "bce"},
    "bce_probabilities": {"loss": "bce_probabilities", "output": "sigmoid"},
}
MEASURED = {"metrics": ["standard", "error", "calibration", "confusion"]}


@pytest.mark.parametrize("loss", ONE_COLUMN)
def test_one_column_is_measured_as_two_classes_are(loss):
    run = assemble(configured({**CLASSES_2, **ONE_COLUMN[loss], **MEASURED}))
    curve(run, 10)
    assert run.goal == "valid/accuracy"
    numbers, larger = run.measure("valid")
    x, y = run.prepared.splits["valid"]
    with torch.no_grad():
        outputs = run.model.eval()(x)[:, 0]
    second = (outputs.sigmoid() if loss == "bce" else outputs).numpy()
    answers, truth = second > 0.5, y.numpy()
    assert numbers["loss"] == pytest.approx(reference.log_loss(truth, second))
    assert numbers["accuracy"] == reference.accuracy_score(truth, answers) < 1
    assert numbers["error"] == pytest.approx(reference.zero_one_loss(truth, answers))
    assert larger == {"confusion": reference.confusion_matrix(truth, answers).tolist()}
    confidence = np.maximum(second, 1 - second)
    bins = np.ceil(confidence * 15).astype(int)
    gaps = [((answers == truth)[bins == at] - confidence[bins == at]).sum() for at in range(16)]
    assert numbers["calibration_error"] == pytest.approx(np.abs(gaps).sum() / len(truth))


def test_a_logit_and_its_probability_have_one_curve():
    (losses, weights), (expected, _) = (
        curve(assemble(configured({**CLASSES_2, **each})), 10) for each in ONE_COLUMN.values()
    )
    assert losses == pytest.approx(expected, rel=1e-9)
    assert len(weights[-1]) == 1  # the last bias


def test_each_layer_may_have_an_activation_of_its_own_and_is_filled_for_it():
    kinds = {"tanh": nn.Tanh, "relu": nn.ReLU, "selu": nn.SELU}
    keys = {"architecture.hidden": [300, 300, 300], "architecture.activations": list(kinds)}
    run = assemble(configured(keys | {"activation": "sigmoid"}))
    bricks = [each for each in run.model.modules() if isinstance(each, Brick)]
    assert [type(each.activation) for each in bricks] == list(kinds.values())
    for each, kind in zip(bricks, kinds.values(), strict=True):
        assert each.gain == activation_gain(kind())
        deviation = each.gain / each.layer.in_features**0.5
        assert float(each.layer.weight.detach().std()) == pytest.approx(deviation, rel=0.03)


@pytest.mark.parametrize(
    ("keys", "axes"),
    [({"preprocessing.components": 10}, 10), ({"preprocessing.variance": 0.9}, None)],
)
def test_a_model_has_as_many_inputs_as_preprocessing_leaves(keys, axes):
    run = assemble(configured({"preprocessing": "pca", **keys}))
    rows = run.data.x[run.data.splits["train"]].flatten(1).double().numpy()
    fitted = PCA(axes or 0.9, svd_solver="full").fit(rows)
    x, _ = run.prepared.splits["train"]
    assert run.model[1].layer.in_features == fitted.n_components_ == x.shape[1]
    expected = np.abs(fitted.transform(rows))  # the sign of an axis means nothing
    np.testing.assert_allclose(x.abs().numpy(), expected, rtol=1e-4, atol=1e-4)
    assert run.data.inputs == (1, 8, 8)
    assert np.isfinite(curve(run, 2)[0]).all()

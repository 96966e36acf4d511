"""Verdicts on planted faults: probes of networks as the lectures break them, and drawn curves."""

from __future__ import annotations

import pytest
import torch
from test_probe import Unit, loss
from torch import nn

from runner.diagnosis.layers import layers, tails
from runner.diagnosis.probe import probe
from runner.diagnosis.verdicts import KINDS, judge
from runner.diagnosis.verdicts.kind import SEVERITIES, Evidence
from runner.diagnosis.verdicts.remedy import corrected
from runner.diagnosis.verdicts.sweep import noise

START = 2.3


def known(model):
    facts = {}
    for each in layers(model):
        facts[each.name] = {"units": len(each.weight)}
        if each.activation is not None:
            found = tails(each.activation)
            facts[each.name] |= {"activation": "a", "squashes": found.squashes,
                                 "rectifies": found.rectifies}  # fmt: skip
    return facts


def untrained(activation, fill, depth=10, width=100, seed=0):
    """Return the evidence of a network before its first step."""
    torch.manual_seed(seed)
    units = [Unit(nn.Linear(width, width, bias=False), activation()) for _ in range(depth)]
    model = nn.Sequential(*units, nn.Linear(width, 10))
    for unit in units:
        fill(unit.layer.weight)
    found = probe(model, loss, torch.randn(256, width), torch.randint(0, 10, (256,)))
    row = {"step": 0, "epoch": 0.0, "layers": found.layers, "network": found.network}
    return Evidence(facts={"layers": known(model)}, probes=[row])


def xavier(weight):
    nn.init.normal_(weight, std=weight.shape[1] ** -0.5)


def kaiming(weight):
    nn.init.normal_(weight, std=(2 / weight.shape[1]) ** 0.5)


def small(weight):
    nn.init.normal_(weight, std=0.01)


def big(weight):
    nn.init.normal_(weight, std=1.0)


BROKEN = {
    "tanh, 0.01": (nn.Tanh, small, {}, "shrinking activations", "initializer=xavier_fan_in"),
    "tanh, 1": (nn.Tanh, big, {}, "saturated at the start", "initializer=xavier_fan_in"),
    "relu, xavier": (nn.ReLU, xavier, {"depth": 20}, "shrinking activations",
                     "initializer=kaiming_normal"),
    "relu, 1": (nn.ReLU, big, {}, "exploding activations", "initializer=kaiming_normal"),
    "zeros": (nn.ReLU, nn.init.zeros_, {}, "symmetric weights", "initializer=kaiming_normal"),
    "sigmoid, 8 deep": (nn.Sigmoid, xavier, {"depth": 8}, "vanishing gradients", ""),
}  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", list(BROKEN))
def test_a_network_that_cannot_train_is_told(name, seed):
    activation, fill, more, expected, override = BROKEN[name]
    found = judge(untrained(activation, fill, seed=seed, **more))
    assert expected in [each.name for each in found]
    verdict = next(each for each in found if each.name == expected)
    assert verdict.severity == "fault"
    assert verdict.source
    assert verdict.override == override or not override


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("activation", "fill"), [(nn.ReLU, kaiming), (nn.Tanh, xavier)], ids=["relu", "tanh"]
)
def test_a_sound_network_is_left_alone(activation, fill, seed):
    assert judge(untrained(activation, fill, seed=seed)) == []


def trained(train, valid=(), update=0.005, state="finished", accuracy=None, **settings):
    """Return the evidence of curves."""
    probes = [{"step": at, "epoch": at, "layers": {"0": {"update": update}} if at else {},
               "network": {"loss": START}} for at in range(8)]  # fmt: skip
    rows = [{"step": at + 1, "train/loss": value} for at, value in enumerate(train)]
    for row, value in zip(rows, valid, strict=False):
        row["valid/loss"] = value
    for row in rows if accuracy is not None else ():
        row["train/accuracy"] = accuracy
    facts = {"floor": 0.0, "layers": {}, "data": {"largest_class": 0.1}}
    return Evidence({"optimizer.lr": 0.03, **settings}, facts, probes, rows, {"state": state})


PLATEAU = [2.2, 1.8, 1.6, *[1.5] * 18]
FALLING = [START * 0.6**at for at in range(20)]
SHAPES = {
    "falls": (trained(FALLING), []),
    "hardly falls": (trained([2.29] * 20, update=1e-5), ["learning rate too low"]),
    "moves in vain": (trained([2.29] * 20, update=1.5e-2), ["stalled"]),
    "rounds away": (
        trained([2.29] * 20, update=1e-8),
        ["learning rate too low", "updates too small"],
    ),
    "cannot fit": (
        trained(PLATEAU, accuracy=0.3, **{"architecture.hidden": [2]}),
        ["underfitting"],
    ),
    "fits": (trained(PLATEAU, accuracy=0.9), []),
    "still falls": (trained([START * (1 - 0.03 * at) for at in range(20)]), ["learning rate low"]),
    "jumps and stays": (trained([50.0, 9.0, *[2.2] * 18]), ["learning rate too high"]),
    "jumps and learns": (trained([50.0, *FALLING[3:]]), []),
    "nan": (trained([2.0] * 20, state="diverged"), ["diverged"]),
    "huge steps": (trained(FALLING, update=2.0), ["updates too large"]),
    "overfits": (trained(FALLING, [1.0, 0.6, *[1.2] * 18]), ["overfitting"]),
    "generalizes": (trained(FALLING, FALLING), []),
    "not over": (trained([2.29] * 20, state="running"), []),
}


@pytest.mark.parametrize("name", list(SHAPES))
def test_the_shape_of_a_curve(name):
    evidence, expected = SHAPES[name]
    assert [each.name for each in judge(evidence)] == expected


def test_the_override_turns_the_rate_the_right_way():
    (low,), (high,) = (judge(SHAPES[name][0]) for name in ("still falls", "jumps and stays"))
    assert (low.override, high.override) == ("optimizer.lr=0.18", "optimizer.lr=0.003")


DATA = {
    "unscaled inputs": ({"scale_spread": 2000.0}, "preprocessing=standardize"),
    "inputs off centre": ({"offset": 50.0}, "preprocessing=standardize"),
    "large inputs": ({"magnitude": 300.0}, "preprocessing=standardize"),
    "small inputs": ({"magnitude": 0.01}, "preprocessing=standardize"),
    "dependent inputs": ({"condition": 1e4}, "preprocessing=pca_whiten"),
    "nearly constant labels": ({"largest_class": 0.97, "class_ratio": 30.0}, ""),
    "class imbalance": (
        {"largest_class": 0.6, "class_ratio": 30.0, "rows": 6000},
        "dataset.balance=1",
    ),
    "leakage": ({"leaks": {"valid": 0.0, "test": 0.2}}, ""),
    "sorted data": ({"batch_purity": 1.0, "largest_class": 0.1}, "sampler=minibatch"),
}


@pytest.mark.parametrize("name", list(DATA))
def test_data_as_the_network_gets_it(name):
    facts, override = DATA[name]
    (found,) = judge(going(data=facts, batch=64, outputs=3))
    assert (found.name, found.override) == (name, override)


def going(optimizer: str = "sgd", loss: float = 1.0, **facts) -> Evidence:
    """Return a run that goes on, of whose loss of 2 so much is left."""
    return Evidence(
        {"optimizer": optimizer},
        {"floor": 0.0, **facts},
        [{"step": 0, "layers": {}, "network": {"loss": 2.0}}],
        [{"step": 1, "train/loss": loss}],
        {"state": "running"},
    )


@pytest.mark.parametrize(("optimizer", "loss"), [("adam", 1.0), ("sgd", 0.01)])
def test_inputs_may_depend_where_that_holds_nobody_up(optimizer, loss):
    assert judge(going(optimizer, loss, data={"condition": 1e4})) == []


CONFIGURATIONS = {
    "softmax twice": Evidence({"output": "softmax", "loss": "cross_entropy"}),
    "batch norm with tiny batches": Evidence(facts={"batch": 4, "batch_norms": 2}),
    "weight decay on norms": Evidence({"regularizer.l2.over": "all"}, {"norms": 2}),
    "schedule ends too early": Evidence(
        facts={"floor": 0.0},
        probes=[{"step": 0, "layers": {}, "network": {"loss": START}}],
        rows=[{"step": at, "lr": 1.0 if at < 5 else 1e-4, "train/loss": 1.0} for at in range(20)],
        status={"state": "finished"},
    ),
    "noise at test": Evidence(
        probes=[{"step": 9, "layers": {}, "network": {"noise_in_evaluation": 0.2}}]
    ),
    "running statistics off": Evidence(
        facts={"batch_norms": 1},
        probes=[{"step": 0, "layers": {}, "network": {"loss": 2.0}},
                {"step": 9, "layers": {}, "network": {"loss": 0.1, "loss_in_evaluation": 3.0}}],
        status={"state": "finished"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", list(CONFIGURATIONS))
def test_settings_that_work_against_each_other(name):
    assert [each.name for each in judge(CONFIGURATIONS[name])] == [name]


def test_nothing_known_is_nothing_wrong():
    assert judge(Evidence()) == []


def test_the_gravest_comes_first():
    evidence = Evidence(
        {"output": "softmax", "loss": "cross_entropy", "regularizer.l2.over": "all"},
        {"norms": 1, "data": {"scale_spread": 1e4}},
    )
    found = [SEVERITIES.index(each.severity) for each in judge(evidence)]
    assert found == sorted(found) == [0, 1, 2]


def test_a_rate_that_is_too_high_explains_the_rest():
    high = trained([50.0, 9.0, *[2.2] * 18], [1.0, 0.6, *[1.2] * 18], update=2.0)
    assert [each.name for each in judge(high)] == ["learning rate too high"]


def test_a_network_that_starts_wrong_is_not_judged_by_its_curve():
    start = untrained(nn.Tanh, small)
    curve = trained([2.29] * 20, update=1e-5)
    both = Evidence(curve.settings, {**curve.facts, **start.facts}, start.probes, curve.rows,
                    curve.status)  # fmt: skip
    names = {each.name for each in judge(both)}
    assert "shrinking activations" in names
    assert "learning rate too low" not in names


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), None, 0.0])
def test_odd_numbers_are_no_reason_to_fail(odd):
    probes = [{"step": at, "epoch": at, "network": {"loss": odd, "loss_in_evaluation": odd},
               "layers": {"0": {"update": odd, "dead": odd, "flat": odd, "std": odd,
                                "gradient": odd, "weight": 1.0, "spread": 1.0}}}
              for at in range(8)]  # fmt: skip
    rows = [{"step": at, "train/loss": odd, "valid/loss": odd, "lr": 0.1} for at in range(9)]
    facts = {"layers": {"0": {"units": 3, "activation": "a", "squashes": True}}, "floor": 0.0,
             "batch_norms": 1, "chance": odd, "data": {"largest_class": 1.0}}  # fmt: skip
    judge(Evidence({"optimizer.lr": 0.1}, facts, probes, rows, {"state": "finished"}))


def test_a_pasted_override_replaces_what_it_stands_for():
    words = ["optimizer=adam", "optimizer.lr=0.1", "initializer=normal", "initializer.std=1"]
    adam, lr, *_ = words
    assert corrected(words, "initializer=zeros") == [adam, lr, "initializer=zeros"]
    assert corrected(words[:2], "optimizer.lr=0.01") == [adam, "optimizer.lr=0.01"]
    assert corrected(words[:2], "optimizer=sgd") == ["optimizer=sgd"]
    both = "activation=relu initializer=zeros"
    assert corrected([], both) == both.split()


SWEEPS = {
    "apart": ([0.9, 0.8], [0.01, 0.01], [3, 3], None),
    "together": ([0.9, 0.895, 0.1], [0.01, 0.01, 0.0], [3, 3, 3], "seeds=30"),
    "nearly apart": ([0.9, 0.893], [0.01, 0.008], [3, 3], "seeds=14"),
    "one seed": ([0.9, 0.899], [0.0, 0.0], [1, 1], None),
    "alone": ([0.9], [0.01], [3], None),
    "equal": ([0.9, 0.9], [0.0, 0.0], [3, 3], None),
    "diverged": ([0.9, float("nan")], [0.01, 0.01], [3, 3], None),
}


@pytest.mark.parametrize("name", list(SWEEPS))
def test_a_sweep_whose_seeds_hide_the_difference(name):
    means, deviations, counts, override = SWEEPS[name]
    found = noise(means, deviations, counts, largest=True)
    assert (found and found.override) == override


def test_the_best_of_a_sweep_may_be_the_smallest():
    means, deviations, counts = [0.5, 0.1, 0.11], [0.1, 0.02, 0.02], [3, 3, 3]
    assert noise(means, deviations, counts, largest=True) is None
    assert noise(means, deviations, counts, largest=False) is not None


def test_kinds_are_told_apart_by_name():
    names = [kind.name for kind in KINDS]
    assert len(set(names)) == len(names) >= 30

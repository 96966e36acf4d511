"""Which runs can be lanes of one program: those that differ in numbers alone."""

from __future__ import annotations

import pytest
import torch
from lane_runs import CNN, GROUPS, settings

from runner.assemble.lanes import NUMBERED, groups, numbers_of, refusal, together
from runner.foundation.errors import Misconfigured

TOGETHER = {  # what may differ within a group
    "seeds": [["seed=0"], ["seed=1"]],
    "learning rates": [["optimizer.lr=0.1"], ["optimizer.lr=0.0003"]],
    "momentum": [["optimizer.momentum=0.9"], ["optimizer.momentum=0.5"]],
    "betas": [["optimizer=adam", f"optimizer.betas={each}"] for each in ([0.9, 0.99], [0.8, 0.9])],
    "decoupled decay": [["optimizer=adamw", f"optimizer.weight_decay={each}"]
                        for each in (0.1, 0.2)],
    "penalties": [["regularizer=l2", f"regularizer.l2.strength={each}"] for each in (0.1, 0.2)],
    "both strengths": [["regularizer=elastic", f"regularizer.elastic.l1={each}"]
                       for each in (0.1, 0.2)],
    "decay before the update": [["regularizer=weight_decay",
                                 f"regularizer.weight_decay.strength={each}"]
                                for each in (0.1, 0.2)],
    "the share of units that stay": [["dropout=inverted", f"dropout.keep={each}"]
                                     for each in (0.5, 0.9, 1.0)],
    "smoothing": [[f"loss.alpha={each}"] for each in (0.1, 0.2)],
    "smoothing in the other words": [[f"loss.eps={each}"] for each in (0.01, 0.02)],
    "limits of the gradient": [["clipping=norm", f"clipping.norm.limit={each}"]
                               for each in (1, 0.1)],
    "averages": [["averaging=ema", f"averaging.decay={each}"] for each in (0.9, 0.99)],
    "scales of the first weights": [["initializer=normal", f"initializer.std={each}"]
                                    for each in (0.1, 0.01)],
    "initializers": [["initializer=orthogonal"], ["initializer=kaiming_normal"],
                     ["initializer=lsuv"]],
    "schedules": [["schedule=cosine"], ["schedule=plateau"], ["schedule=one_cycle"]],
    "stopping rules": [["stopping=none"], ["stopping=early"], ["stopping=target"]],
    "names": [["name=one"], ["name=another"]],
    "everything at once": [["seed=3", "optimizer.lr=0.2", "initializer=orthogonal",
                            "loss.alpha=0.3"],
                           ["optimizer.momentum=0.1", "schedule=linear", "loss.alpha=0.1"]],
}  # fmt: skip

APART = {  # what makes another program, or another data set
    "a shape": [["architecture.hidden=[8,6]"], ["architecture.hidden=[8,7]"]],
    "the data": [["dataset=wine"], ["dataset=breast_cancer"]],
    "the seed of the data": [["dataset.seed=0"], ["dataset.seed=1"]],
    "the size of batches": [["trainer.batch_size=16"], ["trainer.batch_size=8"]],
    "the length": [["trainer.epochs=3"], ["trainer.epochs=4"]],
    "the sampler": [["sampler=minibatch"], ["sampler=with_replacement"]],
    "the preprocessing": [["preprocessing=standardize"], ["preprocessing=min_max"]],
    "the augmentation": [["augmentation=none"], ["augmentation=noise"]],
    "the activation": [["activation=relu"], ["activation=tanh"]],
    "a number of an activation": [["activation=elu", f"activation.alpha={each}"]
                                  for each in (1.0, 0.5)],
    "the normalization": [["normalization=none"], ["normalization=batch"]],
    "a number of a normalization": [["normalization=batch", f"normalization.momentum={each}"]
                                    for each in (0.1, 0.2)],
    "the output": [["output=identity"], ["output=softmax"]],
    "the loss": [["loss=cross_entropy"], ["loss=hinge"]],
    "the optimizer": [["optimizer=adam"], ["optimizer=sgd"]],
    "an option with the same rule": [["optimizer=momentum"], ["optimizer=nesterov"]],
    "nesterov": [["optimizer.nesterov=true"], ["optimizer.nesterov=false"]],
    "where eps stands": [["optimizer=adagrad", f"optimizer.eps_inside={each}"]
                         for each in ("true", "false")],
    "what is decayed": [["optimizer=adamw", f"optimizer.decay_on={each}"]
                        for each in ("weights", "all")],
    "rounds": [["optimizer=muon", f"optimizer.rounds={each}"] for each in (4, 5)],
    "no momentum": [["optimizer.momentum=0.0"], ["optimizer.momentum=0.5"]],
    "no second beta": [["optimizer=adam", f"optimizer.betas={each}"]
                       for each in ([0.9, 0.0], [0.9, 0.9])],
    "no penalty": [["regularizer=l2", f"regularizer.l2.strength={each}"] for each in (0.0, 0.1)],
    "another regularizer": [["regularizer=l2"], ["regularizer=l1"]],
    "what is penalized": [["regularizer=l2", f"regularizer.l2.over={each}"]
                          for each in ("weights", "all")],
    "a penalty with noise": [["regularizer=jacobian", f"regularizer.jacobian.strength={each}"]
                             for each in (0.1, 0.2)],
    "no smoothing": [["loss.eps=0.0"], ["loss.eps=0.01"]],
    "smoothing in two words": [["loss.eps=0.01"], ["loss.alpha=0.01"]],
    "no dropout": [["dropout=none"], ["dropout=inverted"]],
    "dropout at test": [["dropout=inverted"], ["dropout=classic"]],
    "no clipping": [["clipping=none"], ["clipping=norm"]],
    "when averages begin": [["averaging=swa", f"averaging.start={each}"]
                            for each in ("10steps", "20steps")],
    "precision": [["precision=float32"], ["precision=float64"]],
    "the objective": [["objective=auto"], ["objective=valid/loss"]],
    "how often is looked": [["trainer.log_every=10steps"], ["trainer.log_every=20steps"]],
}  # fmt: skip


def members(overrides: list[list[str]]) -> list[list[int]]:
    return [each.members for each in groups([settings(*each) for each in overrides])]


@pytest.mark.parametrize("case", TOGETHER)
def test_numbers_and_what_happens_on_the_host_join_a_group(case):
    given = [settings(*each) for each in TOGETHER[case]]
    assert [(each.members, each.refusal) for each in groups(given)] == [([*range(len(given))], "")]
    names = [numbers_of(each).keys() for each in given]
    assert all(each == names[0] for each in names)


@pytest.mark.parametrize("case", APART)
def test_what_changes_a_shape_the_data_or_the_graph_splits(case):
    assert members(APART[case]) == [[0], [1]]


def test_groups_stand_in_the_order_of_their_first_members():
    assert members([["optimizer=adam"], ["optimizer=sgd"], ["optimizer=adam", "seed=1"],
                    ["optimizer=sgd", "optimizer.lr=0.3"]]) == [[0, 2], [1, 3]]  # fmt: skip


def test_numbers_are_named_by_their_keys_and_the_words_of_the_rule():
    given = settings("optimizer=adamw", "regularizer=elastic", "clipping=adaptive",
                     "dropout=inverted", "averaging=ema", "loss.alpha=0.1")  # fmt: skip
    assert numbers_of(given) == {
        "optimizer.lr": 0.001, "optimizer.beta1": 0.9, "optimizer.beta2": 0.999,
        "optimizer.eps": 1e-8, "optimizer.weight_decay": 0.01, "regularizer.elastic.l1": 1e-5,
        "regularizer.elastic.l2": 1e-4, "clipping.adaptive.limit": 0.02,
        "clipping.adaptive.eps": 1e-3, "dropout.keep": 0.5, "averaging.decay": 0.999,
        "loss.alpha": 0.1,
    }  # fmt: skip


REFUSED = {  # overrides, part of the reason
    "a search": (["optimizer=backtracking"], "optimizer backtracking goes by values of one model"),
    "a search of torch": (["optimizer=lbfgs"], "optimizer lbfgs goes by values of one model"),
    "a solver": (["optimizer=newton"], "optimizer newton goes by values of one model"),
    "hooks": (["hooks=weight_norm"], "hooks look at one model"),
    "statistics of all the data": (["normalization=full_data"], "the whole data set"),
    "an average over masks": (["dropout=monte_carlo"], "dropout.average predicts by many masks"),
    "every mask": (["dropout=inverted", "dropout.average=exhaustive"], "by many masks"),
    "parts of a batch": (["trainer.accumulate=2"], "trainer.accumulate spares memory"),
    "a clock": (["trainer.minutes=1.0"], "trainer.minutes ends each run by its own clock"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_stacked_is_refused_with_the_reason(case):
    overrides, reason = REFUSED[case]
    both = groups([settings(*overrides), settings(*overrides, "seed=1")])
    assert [each.members for each in both] == [[0, 1]]
    assert reason in both[0].refusal == refusal(settings(*overrides))


def test_every_option_is_refused_here_or_held_to_a_solo_run_elsewhere():
    found = {(group, option) for group in (*NUMBERED, "optimizer", "hooks", "normalization")
             for option in GROUPS[group] if refusal(settings(f"{group}={option}"))}  # fmt: skip
    assert found == {
        ("optimizer", "backtracking"), ("optimizer", "lbfgs"), ("optimizer", "newton"),
        ("hooks", "weight_norm"), ("normalization", "full_data"), ("dropout", "monte_carlo"),
    }  # fmt: skip


def test_a_lane_is_checked_as_a_run_is():
    with pytest.raises(Misconfigured, match="leaves the true class less"):
        together([settings("loss.eps=0.01"), settings("loss.eps=0.9")])
    with pytest.raises(Misconfigured, match="'valid/acuracy' is not logged"):
        together([settings(), settings("stopping=target", "stopping.metric=valid/acuracy")])


def test_places_that_are_left_over_have_twins():
    alone = together([settings()])
    assert (alone.lanes.count, alone.fixed) == (2, False)
    filled = together([settings("seed=1"), settings("seed=2")], fixed=5)
    assert (filled.lanes.count, filled.fixed) == (5, True)
    assert [run.settings.seed for run in filled.runs] == [1, 2, 1, 1, 1]


def test_images_lie_in_the_plain_order():
    stack = together([settings(*CNN, f"seed={seed}") for seed in (0, 1)])
    assert any(each.dim() == 5 for each in stack.lanes.weights.values())
    for name, weight in stack.first.model.named_parameters():
        assert stack.lanes.weights[name].is_contiguous()
        assert torch.equal(stack.lanes.weights[name][0], weight)

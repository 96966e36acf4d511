"""What a run that diverged tells: what the history shows, and overrides that fit."""

from __future__ import annotations

import functools
import json

import pytest
import torch
from resuming import begin, composed, quickened
from torch import nn

from runner.assemble.run import assemble
from runner.execution import divergence
from runner.execution.divergence import BATCH, LOSS, Cause, NotFinite, diverged
from runner.foundation.errors import Diverged
from runner.recording import directory
from runner.training.state import Outcome

SMALL = ("dataset=wine", "architecture.hidden=[4]", "threads=1", "device=cpu")


@functools.cache
def run(*overrides):
    return assemble(composed((*SMALL, *overrides))[0])


def told(folder, *overrides, step=9, norms=(), losses=(), cause=None):
    """Return what follows the first words, after rows with these numbers."""
    count = len(norms) or len(losses)
    pairs = zip(losses or [1.0] * count, norms or [1.0] * count, strict=True)
    rows = [{"step": at + 1, "train/loss": loss, "gradient/norm": norm}
            for at, (loss, norm) in enumerate(pairs)]  # fmt: skip
    (folder / directory.METRICS).write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    found = NotFinite("the training loss", "nan", step, step, step)
    return str(diverged(found, run(*overrides), folder, cause)).partition("; ")[2]


RATE = "optimizer.lr=0.03"
GREW = "grew over the last rows: "
TRY = "try optimizer.lr=0.003"
HINTS = {  # what came before, what is advised
    "F23": ({"norms": [9, 0.5, 8.1, 22, 23000]},
            f"the norm of the gradient {GREW}0.5, 8.1, 22, 2.3e+04; {TRY} or clipping=norm"),
    "F23, the loss": ({"losses": [1, 2, 40]}, f"the loss {GREW}1, 2, 40; {TRY} or clipping=norm"),
    "nothing grew": ({"norms": [1, 2, 1, None]}, f"{TRY} or clipping=norm"),
    "no rows": ({}, f"{TRY} or clipping=norm"),
}  # fmt: skip


@pytest.mark.parametrize("name", HINTS)
def test_the_history_is_shown(tmp_path, name):
    """F23: the last norms of the gradient, or the losses, if they grew."""
    given, advice = HINTS[name]
    assert told(tmp_path, RATE, **given) == advice


@pytest.mark.parametrize(
    ("overrides", "advice"),
    [
        ((RATE, "clipping=norm"), TRY),
        ((RATE, "precision=bfloat16"), f"{TRY}, clipping=norm or precision=float32"),
        (("optimizer=lbfgs",), "try optimizer.lr=0.1"),
        (("optimizer.lr=1e30",), "try optimizer.lr=0.01 or clipping=norm"),
    ],
)
def test_overrides_fit_the_run(tmp_path, overrides, advice):
    """F23: what is on already is not advised."""
    assert told(tmp_path, *overrides) == advice


FIRST = "no update was made yet, so the data or the first weights are too large"


@pytest.mark.parametrize(
    ("overrides", "advice"),
    [
        ((), FIRST),
        (("initializer=normal_big",), f"{FIRST}; try initializer=kaiming_normal"),
        (
            ("initializer=normal_big", "preprocessing=none"),
            f"{FIRST}; try initializer=kaiming_normal or preprocessing=standardize",
        ),
        (("precision=bfloat16",), f"{FIRST}; try precision=float32"),
    ],
)
def test_before_any_update_no_learning_rate_is_to_blame(tmp_path, overrides, advice):
    assert told(tmp_path, *overrides, step=1) == advice


def test_data_and_losses_are_looked_at_themselves(tmp_path):
    skips = "; trainer.on_nonfinite=skip_step leaves out such steps"
    assert told(tmp_path, cause=Cause(9, BATCH, False)) == f"look at the data{skips}"
    assert told(tmp_path, cause=Cause(9, LOSS, False)) == f"look at the loss{skips}"
    own = told(tmp_path, "trainer.on_nonfinite=skip_step", cause=Cause(9, BATCH, False))
    assert own == "look at the data"


def test_a_learning_rate_too_high_is_told_by_the_norms(tmp_path):
    """F23: a real run, a thousand times too fast."""
    overrides = ("dataset=diabetes", "loss=mse", "architecture=linear", "optimizer=sgd",
                 "optimizer.lr=20", "schedule=constant", "trainer.batch_size=64", "threads=1",
                 "device=cpu", "trainer.log_every=2steps")  # fmt: skip
    with quickened(), pytest.raises(Diverged) as caught:
        begin(overrides, tmp_path)
    hint = str(caught.value).partition("; ")[2]
    assert hint.startswith("the norm of the gradient grew over the last rows: ")
    assert hint.endswith("; try optimizer.lr=0.01 or clipping=norm")
    shown = [float(each) for each in hint.partition("rows: ")[2].partition(";")[0].split(", ")]
    assert shown == sorted(shown)
    assert len(shown) > 1


# ---- what is refused ---------------------------------------------------------------------------


def window(*losses):
    return [Outcome(torch.tensor(each), torch.zeros(2, 3), torch.zeros(2)) for each in losses]


@pytest.mark.parametrize(
    ("losses", "said"),
    [
        ([1.0, float("nan"), float("inf")], "nan between steps 28 and 30: first at step 29"),
        ([1.0, 2.0, float("-inf")], "infinite between steps 28 and 30: first at step 30"),
        ([float("nan")], "nan at step 30"),
    ],
)
def test_losses(losses, said):
    """F21: the window and the first bad step in it."""
    with pytest.raises(NotFinite) as caught:
        divergence.refuse_losses(window(*losses), 30)
    assert str(caught.value) == f"the training loss became {said}"
    divergence.refuse_losses(window(1.0, 2.0), 30)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights(value):
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    divergence.refuse_weights(model.named_parameters(), 5)
    with torch.no_grad():
        model[1].bias[1] = value
    with pytest.raises(NotFinite, match=r"the weights '1.bias' became nan or infinite at step 5"):
        divergence.refuse_weights(model.named_parameters(), 5)


def test_a_gradient_counts_where_it_did_harm():
    """F22: one clipped by value, or taken for its sign, need not."""
    model = nn.Linear(2, 2)
    divergence.refuse_gradient(float("inf"), model.named_parameters(), 5)
    with torch.no_grad():
        model.weight[0, 1] = float("inf")
    divergence.refuse_gradient(1.0, model.named_parameters(), 5)
    with pytest.raises(NotFinite, match="the gradient became infinite at step 5"):
        divergence.refuse_gradient(float("inf"), model.named_parameters(), 5)


def test_standing_still():
    divergence.refuse_standstill(9.0, 30)
    with pytest.raises(NotFinite, match="between steps 21 and 30: first at step 21"):
        divergence.refuse_standstill(10.0, 30)

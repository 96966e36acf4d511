"""mistakes.json of real runs, against what `runner.load` predicts."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import runner as package

QUICK = ("trainer=quick", "compile=false", "probes=none")


def trained(runner, *words: str) -> tuple[Path, dict]:
    """Train, and return the run's directory and its mistakes."""
    done = runner(*QUICK, *words)
    assert done.code == 0, done.err
    (run,) = Path("outputs/default").iterdir()
    path = run / "mistakes.json"
    return run, json.loads(path.read_text()) if path.exists() else {}


@pytest.mark.parametrize(
    ("words", "split"),
    [((), "test"), (("dataset.test=0",), "valid"), (("dataset=moons", "loss=bce"), "test"),
     (("dataset=moons", "output=sigmoid", "loss=bce_probabilities"), "test")],
)  # fmt: skip
def test_the_worst_of_the_wrong_ones(runner, words, split) -> None:
    run, found = trained(runner, *words)
    loaded = package.load(run)
    data, rows = loaded.data, loaded.data.splits[split]
    outputs, truth = loaded.predict(split).double(), data.y[rows]
    if outputs.shape[1] == 1:
        second = outputs if "output=sigmoid" in words else outputs.sigmoid()
        shares = torch.cat([1 - second, second], 1)
    else:
        shares = outputs.softmax(1)
    losses, answers = F.nll_loss(shares.log(), truth, reduction="none"), shares.argmax(1)
    wrong = [at for at in range(len(rows)) if answers[at] != truth[at]]
    worst = sorted(wrong, key=lambda at: -float(losses[at]))[:16]
    assert (found["split"], found["count"], found["wrong"]) == (split, len(rows), len(wrong))
    assert [each["row"] for each in found["rows"]] == rows[worst].tolist()
    for each, at in zip(found["rows"], worst, strict=True):
        assert (each["target"], each["answer"]) == (int(truth[at]), int(answers[at]))
        assert each["probability"] == pytest.approx(float(shares[at].max()), rel=1e-4)
        assert each["loss"] == pytest.approx(float(losses[at]), rel=1e-3)
    matrix = np.zeros((data.outputs, data.outputs), int)
    np.add.at(matrix, (truth.numpy(), answers.numpy()), 1)
    assert found["confusion"] == matrix.tolist()
    assert found["labels"] == list(data.labels)


def test_images_are_those_of_the_data_and_tensorboard_shows_them(runner) -> None:
    run, found = trained(runner)
    x = package.load(run).data.x
    for each in found["rows"]:
        read = np.asarray(Image.open(io.BytesIO(base64.b64decode(each["image"]))))
        digit = x[each["row"], 0].numpy()
        np.testing.assert_array_equal(read, (digit / digit.max() * 255).round())
    events = EventAccumulator(str(run)).Reload()
    assert events.Tags()["images"] == ["train/images", "test/confusion", "test/mistakes"]
    assert events.Tags()["graph"]
    assert events.Images("test/mistakes")[0].step == 20


def test_numbers_that_are_furthest_off(runner) -> None:
    run, found = trained(runner, "dataset=diabetes", "loss=mse")
    loaded = package.load(run)
    rows = loaded.data.splits["test"]
    errors = (loaded.predict("test") - loaded.data.y[rows]).abs().squeeze(1)
    worst = errors.argsort(descending=True)[:16]
    assert [each["row"] for each in found["rows"]] == rows[worst].tolist()
    assert [each["error"] for each in found["rows"]] == pytest.approx(errors[worst].tolist())
    assert [each["target"] for each in found["rows"]] == loaded.data.y[rows][worst].tolist()
    assert "wrong" not in found
    assert EventAccumulator(str(run)).Reload().Tags()["images"] == []


def test_all_answers_are_right(runner) -> None:
    """Two far groups: nothing is wrong, nothing is drawn but the matrix."""
    Path("two.csv").write_text("x,y\n" + "0,0\n9,1\n" * 30)
    data = (
        "dataset=csv",
        "dataset.path=two.csv",
        "dataset.target=y",
        "dataset.task=classification",
    )
    run, found = trained(runner, *data, "trainer.steps=60", "trainer.batch_size=12")
    assert (found["wrong"], found["rows"]) == (0, [])
    assert EventAccumulator(str(run)).Reload().Tags()["images"] == ["test/confusion"]


def test_training_rows_alone_have_none(runner) -> None:
    assert trained(runner, "dataset.valid=0", "dataset.test=0")[1] == {}


def test_without_tensorboard_there_are_mistakes_all_the_same(runner) -> None:
    run, found = trained(runner, "tensorboard=false")
    assert found["rows"]
    assert not list(run.glob("*tfevents*"))


def test_jobs_of_a_sweep_leave_none(runner) -> None:
    done = runner("-m", *QUICK, "optimizer.lr=0.1,0.01", "name=rates", "sweep.processes=1")
    assert done.code == 0, done.err
    assert len(list(Path("outputs/default/rates").glob("*/summary.json"))) == 2
    assert not list(Path("outputs").rglob("mistakes.json"))
    (events, _) = Path("outputs/default/rates").glob("*/*tfevents*")
    assert not EventAccumulator(str(events)).Reload().Tags()["graph"]

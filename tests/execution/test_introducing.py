"""What a run gives TensorBoard beside its curves, read back from its event file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.util import tensor_util

from runner.recording import graph

QUICK = ("trainer=quick", "compile=false")


def events_of(runner, *words: str) -> EventAccumulator:
    """Train, and read the event file."""
    done = runner(*QUICK, *words)
    assert done.code == 0, done.err
    (run,) = Path("outputs/default").iterdir()
    return EventAccumulator(str(run)).Reload()


def charts(events: EventAccumulator) -> dict[str, dict[str, list[str]]]:
    """Return which curves stand in which chart, by category."""
    (stored,) = events.Tensors("custom_scalars__config__")
    layout = Layout.FromString(tensor_util.make_ndarray(stored.tensor_proto).item())
    tags = events.Tags()["scalars"]
    return {
        category.title: {
            chart.title: [tag for tag in tags for pattern in chart.multiline.tag
                          if re.match(pattern, tag)]
            for chart in category.chart
        }
        for category in layout.category
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "names"),
    [(("metrics=[standard,top_k]",), ["loss", "accuracy", "top5"]),
     (("dataset=diabetes", "loss=mse"), ["loss", "rmse", "mae", "r2"])],
)  # fmt: skip
def test_each_metric_has_its_splits_in_one_chart(runner, words, names) -> None:
    found = charts(events_of(runner, *words))
    assert found["metrics"] == {
        name: [f"{split}/{name}" for split in ("train", "valid", "test")] for name in names
    }
    assert found["layers"]["std"] == [f"layers std/{layer}" for layer in (1, 2, 3)]
    assert all(found["layers"].values())


def test_the_graph_is_that_of_the_model(runner) -> None:
    events = events_of(runner, "architecture=mlp", "probes=none")
    kinds = [node.op for node in events.Graph().node]
    assert kinds == ["Placeholder", "Flatten", *["Linear", "ReLU"] * 2, "Linear", "Output"]
    assert list(charts(events)) == ["metrics"]


def test_a_model_that_cannot_be_followed_is_trained_all_the_same(runner, monkeypatch) -> None:
    monkeypatch.setattr(graph, "_tensors", lambda content: 1 / 0)
    events = events_of(runner)
    assert not events.Tags()["graph"]
    assert charts(events)["metrics"]

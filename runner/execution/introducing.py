"""What TensorBoard shows of a run beside curves: which belong together, how its model is built."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from runner.assemble.run import Run
from runner.recording.recorder import OF_LAYERS
from runner.training.evaluation import measure

if TYPE_CHECKING:
    from runner.recording.tensorboard import Events


def introduce(run: Run, events: Events) -> None:
    """Give a run's event file its common charts and the graph of its model."""
    from runner.recording.graph import traced

    x, y = (part[:2] for part in run.prepared.splits["train"])
    names, _ = measure(run.predict([(x, y)]), run.metrics)
    charts = {"metrics": {name: f"(train|valid|test)/{re.escape(name)}$" for name in names}}
    if run.probes.level != "none":
        charts["layers"] = {key: f"layers {key}/" for key in OF_LAYERS}
    events.layout(charts)
    if (graph := traced(run.model, x)) is not None:
        events.graph(graph)

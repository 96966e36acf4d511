"""TensorBoard's event file, written record by record: one event holds a whole row of scalars.

No thread, no queue, and a length that a checkpoint can note. One event of many values costs a
tenth of one call a scalar. Importing this takes a sixth of a second: only who writes events does.
"""

from __future__ import annotations

import contextlib
import io
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tensorboard.compat.proto.event_pb2 import Event, SourceMetadata
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DataType
from tensorboard.plugins.custom_scalar import metadata as custom_scalar
from tensorboard.plugins.custom_scalar.layout_pb2 import (
    Category,
    Chart,
    Layout,
    MultilineChartContent,
)
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.summary.writer.record_writer import RecordWriter

from runner.foundation.errors import Unwritable
from runner.recording.logs import Log

if TYPE_CHECKING:
    from PIL.Image import Image
    from tensorboard.compat.proto.graph_pb2 import GraphDef
    from torch import Tensor


WRITER = "runner"  # stands in the first record: whose file it is


class Events:
    """An event file in a run directory; resuming goes on in the same file, whatever it is called.

    Where a user has removed it, a new one is begun: `missing` then.
    """

    def __init__(self, directory: Path, length: int | None = None, waiting: bytes = b""):
        found = min(directory.glob("events.out.tfevents.*"), key=_owner, default=None)
        self.missing = length is not None and found is None
        if length is not None and found is not None:
            self.log = Log(found, length, waiting)
            return
        now = time.time()
        self.log = Log(directory / f"events.out.tfevents.{int(now)}.{socket.gethostname()}")
        source = SourceMetadata(writer=WRITER)
        with contextlib.suppress(Unwritable):  # it waits, and the next one says so
            self._write(Event(wall_time=now, file_version="brain.Event:2", source_metadata=source))

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Log a row of numbers at a step."""
        self._summary([_value(tag=tag, simple_value=value) for tag, value in values.items()], step)

    def text(self, tag: str, text: str) -> None:
        """Log a text, shown as Markdown."""
        self._summary(text_pb(tag, text).value, 0)

    def images(self, tag: str, images: Tensor) -> None:
        """Log up to 32 images (N, channels, H, W) as one sheet, each scaled to its own range."""
        from runner.recording import pictures

        self.image(tag, pictures.from_bytes(pictures.contact_sheet(images[:32])), 0)

    def image(self, tag: str, image: Image, step: int) -> None:
        """Log a picture."""
        from runner.recording import pictures

        stored = Summary.Image(
            height=image.height,
            width=image.width,
            colorspace=len(image.getbands()),
            encoded_image_string=pictures.png(image),
        )
        self._summary([_value(tag=tag, image=stored)], step)

    def layout(self, charts: Mapping[str, Mapping[str, str]]) -> None:
        """Put curves into common charts, on the page Custom Scalars.

        Each category has charts by their titles, each with the pattern of its tags.
        """
        layout = Layout(category=[
            Category(title=category, chart=[
                Chart(title=title, multiline=MultilineChartContent(tag=[pattern]))
                for title, pattern in titles.items()
            ])
            for category, titles in charts.items()
        ])  # fmt: skip
        content = TensorProto(dtype=DataType.DT_STRING, string_val=[layout.SerializeToString()],
                              tensor_shape=TensorShapeProto())  # fmt: skip
        known = custom_scalar.create_summary_metadata()
        self._summary([_value(tag=custom_scalar.CONFIG_SUMMARY_TAG, metadata=known,
                              tensor=content)], 0)  # fmt: skip

    def graph(self, graph: GraphDef) -> None:
        """Log how the model is built."""
        self._write(Event(wall_time=time.time(), graph_def=graph.SerializeToString()))

    def histograms(self, values: Mapping[str, Tensor], step: int) -> None:
        """Log how numbers are distributed, a histogram of 30 bins for each tensor."""
        if values:
            from tensorboard.plugins.histogram.summary_v2 import histogram_pb

            made = [histogram_pb(tag, each.numpy(), 30).value[0] for tag, each in values.items()]
            self._summary(made, step)

    def hparams(self, values: Mapping[str, Any], name: str, started: float) -> None:
        """Log the settings as one row of the HParams table, beside this run's last scalars."""
        plain = {
            key: value if isinstance(value, bool | int | float | str) else str(value)
            for key, value in values.items()
        }
        self._summary(hparams_pb(plain, trial_id=name, start_time_secs=started).value, 0)

    def _summary(self, values: Any, step: int) -> None:
        self._write(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))

    def _write(self, event: Any) -> None:
        buffer = io.BytesIO()
        RecordWriter(buffer).write(event.SerializeToString())
        self.log.write(buffer.getvalue())


def _owner(path: Path) -> tuple[bool, str]:
    """Put event files that others laid here behind our own."""
    with path.open("rb") as file:
        return WRITER.encode() not in file.read(64), path.name


def _value(**fields: Any) -> Any:
    return Summary.Value(**fields)

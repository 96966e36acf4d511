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
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.summary.writer.record_writer import RecordWriter

from runner.foundation.errors import Unwritable
from runner.recording.logs import Log

if TYPE_CHECKING:
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
        from PIL import Image

        sheet = contact_sheet(images[:32])  # (channels, H, W), bytes
        pixels = sheet.permute(1, 2, 0).squeeze(-1).numpy()
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, format="PNG")
        image = Summary.Image(
            height=sheet.shape[1],
            width=sheet.shape[2],
            colorspace=len(sheet),
            encoded_image_string=buffer.getvalue(),
        )
        self._summary([_value(tag=tag, image=image)], 0)

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


def contact_sheet(images: Tensor, columns: int = 8, scale: int = 3) -> Tensor:
    """Return (channels, H, W) bytes: the images in rows, enlarged, black to white each."""
    low = images.amin((1, 2, 3), keepdim=True)
    high = images.amax((1, 2, 3), keepdim=True)
    bytes_ = ((images - low) / (high - low).clamp(min=1e-12) * 255).round().byte().cpu()
    bytes_ = bytes_.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    count, channels, height, width = bytes_.shape
    rows = -(-count // columns)
    sheet = bytes_.new_full((rows * columns, channels, height + 2, width + 2), 40)
    sheet[:count, :, 1:-1, 1:-1] = bytes_
    sheet = sheet.reshape(rows, columns, channels, height + 2, width + 2)
    return sheet.permute(2, 0, 3, 1, 4).reshape(channels, rows * (height + 2), -1)


def _value(**fields: Any) -> Any:
    return Summary.Value(**fields)

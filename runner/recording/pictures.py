"""Pictures made of numbers: samples as images, sheets of them, a confusion matrix. No matplotlib.

Samples are (channels, H, W) with one or three channels; B of them stand first.
"""

from __future__ import annotations

import base64
import functools
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from torch import Tensor

SIDE = 96  # pixels that a sample is shown with at most, or about
WHITE, BLACK, BLUE = (255, 255, 255), (30, 30, 30), (0, 114, 178)
FONT, LINE = 12, 15  # size of letters and distance of lines, in pixels
LETTERS = 16  # of a name
COUNTED, NAMED = 20, 50  # classes up to which a matrix has counts, and names
MATRIX = 900  # pixels of one with more


def sample(x: Tensor) -> Image.Image:
    """Return a sample as an image: values in [0, 1] as they are, others from black to white."""
    low, high = (0.0, 1.0) if x.min() >= 0 and x.max() <= 1 else (float(x.min()), float(x.max()))
    bytes_ = ((x.float() - low) / max(high - low, 1e-12) * 255).round().byte().cpu()
    drawn = from_bytes(bytes_)
    drawn.thumbnail((SIDE, SIDE))
    return drawn


def from_bytes(pixels: Tensor) -> Image.Image:
    """Return (channels, H, W) bytes as an image."""
    return Image.fromarray(pixels.permute(1, 2, 0).squeeze(-1).numpy())


def png(drawn: Image.Image) -> bytes:
    """Return an image as the content of a PNG file."""
    buffer = io.BytesIO()
    drawn.save(buffer, format="PNG")
    return buffer.getvalue()


def inline(drawn: Image.Image) -> str:
    """Return an image as JSON and HTML may hold it: PNG in base64."""
    return base64.b64encode(png(drawn)).decode()


def of_mistakes(found: Mapping[str, Any]) -> dict[str, Image.Image]:
    """Return, by tag, what can be drawn of mistakes.json: confused classes, and wrong samples."""
    split, names, drawn = found["split"], found["labels"], {}
    if "confusion" in found:
        title = f"{split}: true classes in rows, answers in columns"
        drawn[f"{split}/confusion"] = matrix(found["confusion"], names, title)
    if rows := [row for row in found["rows"] if "image" in row]:
        captions = [
            [f"is {names[row['target']]}", f"said {names[row['answer']]}",
             f"loss {row['loss']:.3g}"]
            for row in rows
        ]  # fmt: skip
        drawn[f"{split}/mistakes"] = captioned([_read(row["image"]) for row in rows], captions)
    return drawn


def _read(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text)))


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


def captioned(
    images: Sequence[Image.Image], captions: Sequence[Sequence[str]], columns: int = 8
) -> Image.Image:
    """Return a sheet of images of one size, each enlarged, with lines of text below it."""
    width, height = images[0].size
    scale = max(1, SIDE // max(width, height))
    width, height = width * scale, height * scale
    lines = max(map(len, captions))
    across, down = max(width, SIDE) + 16, height + lines * LINE + 12
    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (across * min(columns, len(images)), down * rows), WHITE)
    draw = ImageDraw.Draw(sheet)
    for at, (image, caption) in enumerate(zip(images, captions, strict=True)):
        left, top = at % columns * across + 8, at // columns * down + 6
        sheet.paste(image.resize((width, height), Image.Resampling.NEAREST), (left, top))
        for line, text in enumerate(caption):
            draw.text((left, top + height + 2 + line * LINE), _short(text), BLACK, _font())
    return sheet


def matrix(counts: Sequence[Sequence[int]], names: Sequence[str], title: str) -> Image.Image:
    """Return a matrix (C, C) as an image, each cell as dark as its share of its row.

    Few classes have their counts and names, many are dots.
    """
    count = len(counts)
    named, counted = count <= NAMED, count <= COUNTED
    wide, high = (52, 28) if counted else (16, 16) if named else (max(2, MATRIX // count),) * 2
    names = [_short(name) for name in names] if named else [""] * count
    margin = round(max(map(_font().getlength, names))) + 14
    left, top = margin, LINE + 12 + margin
    size = max(left + count * wide, round(_font().getlength(title)) + 14), top + count * high
    drawn = Image.new("RGB", (size[0] + 8, size[1] + 8), WHITE)
    draw = ImageDraw.Draw(drawn)
    draw.text((7, 6), title, BLACK, _font())
    for row, cells in enumerate(counts):
        y = top + row * high
        draw.text((left - 6, y + high / 2), names[row], BLACK, _font(), anchor="rm")
        drawn.paste(_upright(names[row], margin - 8), (left + row * wide + wide // 2 - LINE // 2,
                                                       LINE + 14))  # fmt: skip
        for column, cell in enumerate(cells):
            x, share = left + column * wide, cell / max(sum(cells), 1)
            shade = tuple(round(255 + share * (each - 255)) for each in BLUE)
            draw.rectangle((x, y, x + wide - 1, y + high - 1), shade)
            if counted and cell:
                colour = WHITE if share > 0.5 else BLACK
                middle = x + wide / 2, y + high / 2
                draw.text(middle, f"{cell}", colour, _font(), anchor="mm")
    return drawn


def _upright(text: str, length: int) -> Image.Image:
    """Return a name that reads from below, at the end of so many pixels."""
    drawn = Image.new("RGB", (max(length, 1), LINE), WHITE)
    ImageDraw.Draw(drawn).text((0, LINE / 2), text, BLACK, _font(), anchor="lm")
    return drawn.transpose(Image.Transpose.ROTATE_90)


def _short(text: str) -> str:
    return text if len(text) <= LETTERS else f"{text[: LETTERS - 1]}."


@functools.cache
def _font() -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(FONT)

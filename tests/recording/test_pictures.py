"""Pictures made of numbers: their sizes, and what stands at which pixel."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

from runner.recording import pictures

BLUE = (0, 114, 178)


def test_a_contact_sheet_shows_each_image_from_black_to_white():
    images = torch.tensor([[0.0, 1.0], [-4.0, 4.0], [7.0, 7.0]]).reshape(3, 1, 1, 2)
    sheet = pictures.contact_sheet(images, columns=2, scale=1)
    assert sheet.dtype is torch.uint8
    assert sheet.shape == (1, 6, 8)  # two rows and two columns, a border of one pixel
    assert [sheet[0, 1, 1:3].tolist(), sheet[0, 1, 5:7].tolist()] == [[0, 255]] * 2
    assert sheet[0, 4, 1:3].tolist() == [0, 0]  # an image of one value
    assert set(sheet[0, 3:, 4:].flatten().tolist()) == {40}  # where there is none


@pytest.mark.parametrize(
    ("values", "bytes_"),
    [([0.0, 0.5, 1.0], [0, 128, 255]), ([0.2, 0.4, 0.2], [51, 102, 51]),
     ([0.0, 8.0, 16.0], [0, 128, 255]), ([-1.0, 0.0, 1.0], [0, 128, 255]), ([7.0] * 3, [0] * 3)],
)  # fmt: skip
def test_a_sample_keeps_its_range_if_it_is_one_of_pixels(values, bytes_):
    drawn = pictures.sample(torch.tensor(values).reshape(1, 1, 3))
    assert np.asarray(drawn).tolist() == [bytes_]


@pytest.mark.parametrize("channels", [1, 3])
def test_a_sample_comes_back_from_base64(channels):
    x = torch.rand(channels, 5, 4, generator=torch.Generator().manual_seed(0))
    content = base64.b64decode(pictures.inline(pictures.sample(x)), validate=True)
    read = np.asarray(Image.open(io.BytesIO(content))).reshape(5, 4, channels)
    np.testing.assert_array_equal(read, (x.permute(1, 2, 0).numpy() * 255).round())


def test_a_large_sample_is_made_small():
    drawn = pictures.sample(torch.rand(3, 400, 200))
    assert drawn.size == (48, 96)


@pytest.mark.parametrize("classes", [1, 2, 10, 20, 21, 50, 51, 300])
def test_a_matrix_is_darkest_on_a_sound_diagonal(classes):
    counts = (np.eye(classes, dtype=int) * 7).tolist()
    names = [f"a class with a long name {at}" for at in range(classes)]
    drawn = pictures.matrix(counts, names, "test")
    blue = (np.asarray(drawn) == BLUE).all(2)
    assert 100 < drawn.width < 1300
    rows, columns = blue.nonzero()
    order = np.corrcoef(rows, columns)[0, 1] if classes > 1 else 1
    assert order > 0.5, "it falls from the upper left to the lower right"
    high = 28 if classes <= 20 else 16 if classes <= 50 else 900 // classes
    assert len(set(rows)) in range((high - 12) * classes, high * classes + 1)


def test_a_row_without_rows_is_white():
    drawn = pictures.matrix([[0, 0], [1, 3]], ["a", "b"], "valid")
    assert (np.asarray(drawn) == (64, 149, 197)).all(2).any(), "three quarters of blue"
    assert not (np.asarray(drawn) == BLUE).all(2).any()


@pytest.mark.parametrize(("count", "size"), [(3, (336, 141)), (8, (896, 141)), (9, (896, 282))])
def test_a_sheet_has_captions(count, size):
    images = [Image.new("L", (28, 28), 255 * (at % 2)) for at in range(count)]
    sheet = pictures.captioned(images, [["is a", "said b", "loss 1"]] * count)
    assert sheet.size == size
    pixels = np.asarray(sheet)
    assert (pixels[6 : 6 + 84, 8 : 8 + 84] == 0).all(), "28 pixels three times as large"
    assert (pixels[92:137, 8:104] < 255).any(), "text"


def test_what_is_drawn_of_mistakes():
    image = pictures.inline(Image.new("RGB", (8, 8)))
    row = {"row": 5, "target": 0, "answer": 1, "loss": 2.0, "probability": 0.9}
    found = {"split": "valid", "labels": ["a", "b"], "rows": [row | {"image": image}]}
    drawn = pictures.of_mistakes(found | {"confusion": [[1, 1], [0, 3]]})
    assert list(drawn) == ["valid/confusion", "valid/mistakes"]
    assert pictures.of_mistakes(found | {"rows": [row]}) == {}
    assert pictures.of_mistakes(found | {"rows": []}) == {}

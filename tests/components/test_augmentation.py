"""Augmentations against a loop over pixels, at every option of `conf/augmentation`."""

from dataclasses import make_dataclass
from itertools import product

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from runner.config import Node, build, check
from runner.foundation.options import own_folder

FOLDER = own_folder() / "augmentation"
OPTIONS = sorted(path.stem for path in FOLDER.glob("*.yaml"))
SCHEMA = make_dataclass("Schema", [("augmentation", dict[str, Node])], kw_only=True)


def augmentations(option, **changes):
    content = OmegaConf.to_container(OmegaConf.load(FOLDER / f"{option}.yaml"))
    content = {name: each | changes for name, each in content.items()}
    return [build(node) for node in check({"augmentation": content}, SCHEMA).augmentation.values()]


def flip_cropped(image, draws, flip=0.5, padding=2):
    """Return one image pixel by pixel: mirrored, shifted, zero where nothing was."""
    channels, height, width = image.shape
    down, right = (int(draw * (2 * padding + 1)) - padding for draw in draws[1:])
    result = np.zeros_like(image)
    for channel, row, column in product(range(channels), range(height), range(width)):
        origin = width - 1 - column if draws[0] < flip else column
        at = row + down, origin + right
        if 0 <= at[0] < height and 0 <= at[1] < width:
            result[channel, row, column] = image[channel, *at]
    return result


REFERENCES = {"flip_crop": [flip_cropped], "none": []}
RANDOM = [option for option in OPTIONS if REFERENCES.get(option, True)]


def images(count, channels=3, height=6, width=5):
    values = torch.arange(1.0, 1 + count * channels * height * width)  # no two pixels alike
    return values.reshape(count, channels, height, width), torch.arange(count)


def test_every_option_has_a_reference():
    assert OPTIONS
    assert set(REFERENCES) == set(OPTIONS)


@pytest.mark.parametrize("option", OPTIONS)
def test_pixels_are_those_of_the_loop_and_targets_stay(option):
    x, y = images(40)
    applied = augmentations(option)
    for augmentation, reference in zip(applied, REFERENCES[option], strict=True):
        draws = augmentation.draw(len(x), torch.Generator().manual_seed(0))
        given = x.clone()
        changed, targets = augmentation.apply(x, y, draws)
        expected = [reference(*each) for each in zip(x.numpy(), draws.numpy(), strict=True)]
        np.testing.assert_array_equal(changed.numpy(), np.stack(expected))
        assert torch.equal(targets, y)
        assert torch.equal(x, given)


@pytest.mark.parametrize("option", RANDOM)
def test_each_sample_of_a_batch_has_draws_of_its_own(option):
    x = images(1)[0].expand(200, -1, -1, -1)
    (augmentation,) = augmentations(option)
    draws = augmentation.draw(len(x), torch.Generator().manual_seed(0))
    assert len({tuple(draw) for draw in draws.tolist()}) == len(x)
    changed = augmentation.apply(x, torch.zeros(200), draws)[0]
    assert len({tuple(each.flatten().tolist()) for each in changed}) > 25  # of 50 there can be


@pytest.mark.parametrize("option", RANDOM)
def test_nothing_is_drawn_outside_draw(option):
    (augmentation,) = augmentations(option)
    generator = torch.Generator().manual_seed(0)
    globally = torch.get_rng_state()
    draws = augmentation.draw(8, generator)
    left = generator.get_state()
    first = augmentation.apply(*images(8), draws)[0]
    assert torch.equal(first, augmentation.apply(*images(8), draws)[0])
    assert torch.equal(generator.get_state(), left)
    assert torch.equal(torch.get_rng_state(), globally)
    again = augmentation.draw(8, torch.Generator().manual_seed(0))
    assert torch.equal(draws, again)
    assert not torch.equal(draws, augmentation.draw(8, generator))


@pytest.mark.parametrize("flip", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("padding", [0, 1, 3])
def test_flip_crop_mirrors_and_shifts_as_often_as_it_says(flip, padding):
    count = 20_000
    (augmentation,) = augmentations("flip_crop", flip=flip, padding=padding)
    picture = torch.zeros(count, 1, 9, 9)
    picture[:, 0, 4, 4], picture[:, 0, 4, 5] = 1, 2  # what is right of the centre tells a mirror
    draws = augmentation.draw(count, torch.Generator().manual_seed(1))
    changed = augmentation.apply(picture, picture, draws)[0][:, 0]
    centre = (changed == 1).flatten(1).long().argmax(1)
    mate = (changed == 2).flatten(1).long().argmax(1)
    assert set((mate - centre).tolist()) <= {-1, 1}
    assert (mate < centre).float().mean() == pytest.approx(flip, abs=0.02)
    for shifts in (centre // 9 - 4, centre % 9 - 4):
        counts = {shift: int((shifts == shift).sum()) for shift in range(-padding, padding + 1)}
        assert sum(counts.values()) == count
        expected = count / (2 * padding + 1)
        assert list(counts.values()) == pytest.approx([expected] * len(counts), rel=0.08)


@pytest.mark.parametrize("padding", range(0, 40, 3))
def test_flip_crop_takes_the_largest_draw_there_is(padding):
    (augmentation,) = augmentations("flip_crop", flip=0.0, padding=padding)
    x, y = images(1)
    largest = torch.full((1, 3), 1 - 2.0**-24)
    reference = flip_cropped(x[0].numpy(), largest[0].double().numpy(), 0, padding)
    np.testing.assert_array_equal(augmentation.apply(x, y, largest)[0][0].numpy(), reference)


def test_flip_crop_refuses_what_is_no_image():
    (augmentation,) = augmentations("flip_crop")
    draws = augmentation.draw(4, torch.Generator())
    with pytest.raises(ValueError, match=r"needs images, got samples of shape \(13,\)"):
        augmentation.apply(torch.zeros(4, 13), torch.zeros(4), draws)

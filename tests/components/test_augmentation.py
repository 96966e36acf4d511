"""Augmentations against loops, numpy and scipy, at every option of `conf/augmentation`."""

from dataclasses import make_dataclass
from itertools import product

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from scipy import ndimage, stats

from runner.components.augmentation.mixing import beta
from runner.components.augmentation.noise import uniform_of
from runner.compose import compose
from runner.config import Node, build, check
from runner.foundation.errors import Misconfigured
from runner.foundation.options import own_folder
from runner.foundation.vision import torchvision

FOLDER = own_folder() / "augmentation"
OPTIONS = sorted(path.stem for path in FOLDER.glob("*.yaml"))
SCHEMA = make_dataclass("Schema", [("augmentation", dict[str, Node])], kw_only=True)


def nodes(option, **changes):
    content = OmegaConf.to_container(OmegaConf.load(FOLDER / f"{option}.yaml"))
    content = {name: each | changes for name, each in content.items()}
    return check({"augmentation": content}, SCHEMA).augmentation


def augmentations(option, **changes):
    return [build(node) for node in nodes(option, **changes).values()]


def one(option, **changes):
    (augmentation,) = augmentations(option, **changes)
    return augmentation


def drawn(augmentation, count, seed=0):
    """Return draws, in double precision where they are no whole numbers."""
    draws = augmentation.draw(count, torch.Generator().manual_seed(seed))
    return draws.double() if draws.is_floating_point() else draws


# What comes out, sample by sample: (x, draws) -> x, x (B, ...) ------------------------------------


def each_image(reference):
    return lambda x, draws: np.stack([reference(*each) for each in zip(x, draws, strict=True)])


@each_image
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


@each_image
def cropped(image, draws):
    """Return what is seen through a window that moved (np.pad, then a slice)."""
    top, left = (int(5 * draw) for draw in draws[1:])
    _, height, width = image.shape
    return np.pad(image, [(0, 0), (2, 2), (2, 2)])[:, top : top + height, left : left + width]


@each_image
def flipped(sample, draws):
    return sample[..., ::-1] if draws[0] < 0.5 else sample


@each_image
def turned_over(sample, draws):
    return sample[:, ::-1] if draws[0] < 0.5 else sample


@each_image
def translated(sample, draws, pixels=2, mode="constant"):
    shifts = [int(draw * (2 * pixels + 1)) - pixels for draw in draws[: sample.ndim - 1]]
    return ndimage.shift(sample, [0, *shifts], order=0, mode=mode, prefilter=False)


def transformed(matrix, mode="grid-constant"):
    """Return the reference that takes each pixel from `matrix(draw)` times its (down, right)."""

    @each_image
    def reference(image, draws):
        centre = (np.array(image.shape[1:]) - 1) / 2
        into = np.array(matrix(2 * draws[0] - 1))
        options = {"offset": centre - into @ centre, "order": 1, "mode": mode}
        return np.stack([ndimage.affine_transform(each, into, **options) for each in image])

    return reference


def turn(draw, degrees=15):
    cos, sin = np.cos(np.radians(degrees * draw)), np.sin(np.radians(degrees * draw))
    return [[cos, sin], [-sin, cos]]


def magnification(draw, factor=1.25):
    return np.eye(2) / factor**draw


def slope(draw, degrees=15):
    return [[1, 0], [np.tan(np.radians(degrees * draw)), 1]]


def keys_cubic(distance, a=-0.75):
    """Return the weight of a neighbour in bicubic interpolation (Keys 1981)."""
    near = (a + 2) * distance**3 - (a + 3) * distance**2 + 1
    far = a * (distance**3 - 5 * distance**2 + 8 * distance - 4)
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0))


def cubic(size, nodes):
    """Return the matrix (size, nodes) that interpolates `nodes` values to `size` pixels."""
    result = np.zeros((size, nodes))
    for pixel in range(size):
        at = pixel * (nodes - 1) / (size - 1)
        for node in range(int(at) - 1, int(at) + 3):
            result[pixel, np.clip(node, 0, nodes - 1)] += keys_cubic(abs(at - node))
    return result


@each_image
def bent(image, draws, pixels=1.0, cells=3):
    height, width = image.shape[1:]
    moved = pixels * cubic(height, cells + 1) @ draws @ cubic(width, cells + 1).T
    places = np.indices((height, width)) + moved
    options = {"order": 1, "mode": "grid-constant"}
    return np.stack([ndimage.map_coordinates(each, places, **options) for each in image])


def grey(image):
    weights = [0.299, 0.587, 0.114] if len(image) == 3 else [1.0]
    return np.tensordot(weights, image, 1)


def colored(x, draws, strength=0.2):
    first, second, third = (1 + strength * (2 * draws - 1)).T
    low = x.min()
    x = np.stack([low + f * (image - low) for f, image in zip(first, x, strict=True)])
    middle = [grey(image).mean() for image in x]
    x = np.stack([m + f * (image - m) for m, f, image in zip(middle, second, x, strict=True)])
    return np.stack([grey(i) + f * (i - grey(i)) for f, i in zip(third, x, strict=True)])


def lit(x, draws, strength=0.3):
    result = np.empty_like(x)
    _, _, height, width = x.shape
    for at, (turned, share) in enumerate(draws):
        for row, column in product(range(height), range(width)):
            down, right = (2 * row - height + 1) / height, (2 * column - width + 1) / width
            along = np.cos(2 * np.pi * turned) * right + np.sin(2 * np.pi * turned) * down
            light = 1 + strength * share * along / np.sqrt(2)
            result[at, :, row, column] = x.min() + light * (x[at, :, row, column] - x.min())
    return result


def backed(x, draws, strength=0.3, cells=2):
    height, width = x.shape[2:]
    rows, columns = np.linspace(0, cells, height), np.linspace(0, cells, width)
    places = np.stack(np.meshgrid(rows, columns, indexing="ij"))
    levels = [ndimage.map_coordinates(each[0], places, order=1) for each in draws]
    return np.maximum(x, x.min() + strength * (x.max() - x.min()) * np.stack(levels)[:, None])


@each_image
def blurred(sample, draws, sigma=1.0):
    def smooth(values):
        options = {"mode": "constant", "radius": 60}
        return ndimage.gaussian_filter(values, sigma * draws[0], axes=axes, **options)

    axes = range(1, sample.ndim)
    return smooth(sample) / smooth(np.ones_like(sample))


def split_mix(seed, count):
    """Return the first outputs of SplitMix64, with Python's unbounded whole numbers."""
    state, numbers = int(seed) % 2**64, []
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        mixed = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) % 2**64
        numbers.append(mixed ^ (mixed >> 31))
    return numbers


def noisy(x, draws, strength=0.05):
    over = tuple(at for at in range(x.ndim) if at != 1)
    ranges = x.max(over, keepdims=True) - x.min(over, keepdims=True)
    numbers = [[n // 2**12 for n in split_mix(seed, x[0].size)] for (seed,) in draws]
    uniform = (np.array(numbers, dtype=float) + 0.5) / 2**52
    return x + strength * ranges * stats.norm.ppf(uniform).reshape(x.shape)


def boxed(shape, share, centre):
    """Return whether each position is in the box, one by one."""
    sides = [round(size * share ** (1 / len(shape))) for size in shape]
    places = zip(shape, centre[: len(shape)], sides, strict=True)
    first = [int(size * at) - side // 2 for size, at, side in places]
    inside = np.zeros(shape, dtype=bool)
    for at in np.ndindex(*shape):
        inside[at] = all(f <= i < f + side for i, f, side in zip(at, first, sides, strict=True))
    return inside


@each_image
def occluded(sample, draws, share=0.25):
    return np.where(boxed(sample.shape[1:], share, draws), 0, sample)


REFERENCES = {
    "none": [],
    "flip_crop": [flip_cropped],
    "crop": [cropped],
    "flip": [flipped],
    "flip_vertical": [turned_over],
    "translate": [translated],
    "rotate": [transformed(turn)],
    "scale": [transformed(magnification)],
    "shear": [transformed(slope)],
    "elastic": [bent],
    "color": [colored],
    "illumination": [lit],
    "background": [backed],
    "noise": [noisy],
    "blur": [blurred],
    "occlusion": [occluded],
}


# Those that mix: (x, y, draws) -> (x, y) ----------------------------------------------------------


def mixed_up(x, y, draws):
    pairs = list(zip(np.argsort(draws[:, 1]), draws[:, 0], strict=True))
    return tuple(
        np.stack([kept * a[i] + (1 - kept) * a[j] for i, (j, kept) in enumerate(pairs)])
        for a in (x, y)
    )


def cut_and_mixed(x, y, draws):
    partners = np.argsort(draws[:, 1])
    boxes = [boxed(x.shape[2:], 1 - draw[0], draw[2:]) for draw in draws]
    rows = zip(x, x[partners], boxes, strict=True)
    targets = zip(y, y[partners], boxes, strict=True)
    pasted = np.stack([np.where(box, other, own) for own, other, box in rows])
    return pasted, np.stack([(~b).mean() * own + b.mean() * other for own, other, b in targets])


MIXING = {"mixup": mixed_up, "cutmix": cut_and_mixed}
RANDOM = [option for option in OPTIONS if option != "none"]


# Samples ------------------------------------------------------------------------------------------

SHAPES = {"images": (3, 6, 5), "grey": (1, 7, 8), "signals": (2, 11), "tables": (4,)}
POSITIONS = frozenset({"images", "grey", "signals"})
ANYTHING = frozenset(SHAPES)
SUITS = {option: {"images", "grey"} for option in RANDOM}  # what each can be used on
SUITS |= dict.fromkeys(["flip", "translate", "blur", "occlusion", "cutmix"], POSITIONS)
SUITS |= dict.fromkeys(["noise", "mixup"], ANYTHING)
SUITED = [(option, kind) for option in RANDOM for kind in SHAPES if kind in SUITS[option]]
UNSUITED = [(option, kind) for option in RANDOM for kind in SHAPES if kind not in SUITS[option]]


def samples(kind, count, dtype=torch.float64):
    """Return inputs no two values of which are alike, and targets as float rows."""
    shape = SHAPES[kind]
    values = torch.arange(1, 1 + count * int(np.prod(shape)), dtype=dtype).reshape(count, *shape)
    generator = torch.Generator().manual_seed(5)
    x = values * 0.01 + torch.rand(values.shape, generator=generator, dtype=dtype)
    return x, torch.rand(count, 3, generator=generator, dtype=dtype)


def test_every_option_has_a_reference():
    assert OPTIONS
    assert sorted([*REFERENCES, *MIXING]) == OPTIONS
    assert len(SUITED) + len(UNSUITED) == len(RANDOM) * len(SHAPES)


@pytest.mark.parametrize(("option", "kind"), [("none", "images"), *SUITED])
def test_samples_are_those_of_the_reference(option, kind):
    x, y = samples(kind, 30)
    applied = augmentations(option)
    references = [MIXING[option]] if option in MIXING else REFERENCES[option]
    for augmentation, reference in zip(applied, references, strict=True):
        draws, given = drawn(augmentation, len(x)), (x.clone(), y.clone())
        changed, targets = augmentation.apply(x, y, draws)
        assert augmentation.mixes == (option in MIXING)
        if augmentation.mixes:
            expected, expected_targets = reference(x.numpy(), y.numpy(), draws.numpy())
        else:
            expected, expected_targets = reference(x.numpy(), draws.numpy()), y.numpy()
            assert targets is y
        np.testing.assert_allclose(changed.numpy(), expected, rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(targets.numpy(), expected_targets, rtol=1e-12, atol=1e-12)
        assert torch.equal(x, given[0])
        assert torch.equal(y, given[1])
        assert not torch.equal(x, changed)


@pytest.mark.parametrize(("option", "kind"), UNSUITED)
def test_other_samples_are_refused_by_name(option, kind):
    augmentation, (x, y) = one(option), samples(kind, 4)
    message = r"needs images( or signals)?, got samples of shape \(.*\); use .*noise"
    with pytest.raises(ValueError, match=message) as refusal:
        augmentation.apply(x, y, drawn(augmentation, 4))
    factory = {"crop": "flip_crop", "flip_vertical": "flip"}.get(option, option)
    assert str(refusal.value).startswith(factory)
    assert str(SHAPES[kind]) in str(refusal.value)


@pytest.mark.parametrize(("option", "kind"), SUITED)
def test_single_precision_stays_single_and_close(option, kind):
    x, y = samples(kind, 10)
    augmentation = one(option)
    draws = augmentation.draw(10, torch.Generator().manual_seed(0))
    changed, targets = augmentation.apply(x.float(), y.float(), draws)
    assert changed.dtype == targets.dtype == torch.float32
    assert changed.shape == x.shape
    double = augmentation.apply(x, y, draws)[0]
    torch.testing.assert_close(changed.double(), double, rtol=1e-4, atol=1e-4)


# Randomness ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", RANDOM)
def test_each_sample_of_a_batch_has_draws_of_its_own(option):
    x, y = (part[:1].expand(200, *part.shape[1:]) for part in samples("images", 2))
    augmentation = one(option)
    draws = drawn(augmentation, len(x))
    assert len(draws) == len(x)
    assert len({tuple(draw) for draw in draws.flatten(1).tolist()}) == len(x)
    changed = augmentation.apply(x, y, draws)[0]
    alike = {tuple(each.flatten().tolist()) for each in changed}
    few = {"flip": 2, "flip_vertical": 2, "translate": 25, "flip_crop": 50, "occlusion": 25}
    few["crop"] = 25
    few["blur"] = 170  # narrower than a tenth of a pixel it changes nothing
    if option in MIXING:  # all samples are one
        torch.testing.assert_close(changed, x, rtol=1e-12, atol=1e-12)
    else:
        assert len(alike) > 0.9 * few.get(option, len(x))


@pytest.mark.parametrize("option", RANDOM)
def test_nothing_is_drawn_outside_draw(option):
    augmentation = one(option)
    generator = torch.Generator().manual_seed(0)
    globally = torch.get_rng_state()
    draws = augmentation.draw(8, generator)
    left = generator.get_state()
    first = augmentation.apply(*samples("images", 8), draws)[0]
    assert torch.equal(first, augmentation.apply(*samples("images", 8), draws)[0])
    assert torch.equal(generator.get_state(), left)
    assert torch.equal(torch.get_rng_state(), globally)
    again = augmentation.draw(8, torch.Generator().manual_seed(0))
    assert torch.equal(draws, again)
    assert not torch.equal(draws, augmentation.draw(8, generator))


# Lanes --------------------------------------------------------------------------------------------

NUMBERS = {  # what may differ between lanes, and three values of it
    "flip_crop": ("flip", [0.0, 0.4, 1.0]),
    "crop": ("flip", [0.0, 0.4, 1.0]),
    "flip": ("probability", [0.0, 0.4, 1.0]),
    "flip_vertical": ("probability", [0.0, 0.4, 1.0]),
    "translate": ("pixels", [0, 1, 3]),
    "rotate": ("degrees", [0.0, 20.0, 180.0]),
    "scale": ("factor", [1.0, 1.1, 2.0]),
    "shear": ("degrees", [0.0, 20.0, 50.0]),
    "elastic": ("pixels", [0.0, 0.5, 2.0]),
    "color": ("contrast", [0.0, 0.5, 1.0]),
    "illumination": ("strength", [0.0, 0.5, 1.0]),
    "background": ("strength", [0.0, 0.5, 1.0]),
    "noise": ("strength", [0.0, 0.1, 1.0]),
    "blur": ("sigma", [0.0, 0.5, 3.0]),
    "occlusion": ("share", [0.0, 0.3, 1.0]),
}
DRAWN_WITH = "alpha is needed where lambda is drawn, for each lane outside the step"
WITHOUT = {"mixup": DRAWN_WITH, "cutmix": DRAWN_WITH}


@pytest.mark.parametrize("option", RANDOM)
def test_many_lanes_are_what_each_is_alone(option):
    assert (option in NUMBERS) != (option in WITHOUT)
    ((_, node),) = nodes(option).items()
    name, numbers = NUMBERS.get(option, ("alpha", [node.arguments.get("alpha")] * 3))

    def apply(number, x, y, draws):
        return node.factory(**node.arguments | {name: number}).apply(x, y, draws)

    lanes = [samples("images", 12) for _ in numbers]
    x = torch.stack([part[0] * (1 + at) for at, part in enumerate(lanes)])
    y = torch.stack([part[1] + at for at, part in enumerate(lanes)])
    draws = torch.stack([drawn(build(node), 12, seed) for seed in range(len(numbers))])
    stacked = torch.func.vmap(apply)(torch.from_numpy(np.array(numbers)), x, y, draws)
    alone = [apply(*each) for each in zip(numbers, x, y, draws, strict=True)]
    for found, expected in zip(stacked, zip(*alone, strict=True), strict=True):
        torch.testing.assert_close(found, torch.stack(expected), rtol=1e-10, atol=1e-10)


# Units --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["color", "illumination", "background", "noise", "blur"])
def test_units_of_the_data_do_not_matter(option):
    augmentation, (x, y) = one(option), samples("images", 10)
    draws = drawn(augmentation, 10)
    expected = 16 * augmentation.apply(x, y, draws)[0] - 3
    found = augmentation.apply(16 * x - 3, y, draws)[0]
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


OFF = {
    "flip_crop": {"flip": 0.0, "padding": 0}, "crop": {"padding": 0}, "flip": {"probability": 0.0},
    "flip_vertical": {"probability": 0.0}, "translate": {"pixels": 0}, "rotate": {"degrees": 0.0},
    "scale": {"factor": 1.0}, "shear": {"degrees": 0.0}, "elastic": {"pixels": 0.0},
    "color": {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0},
    "illumination": {"strength": 0.0}, "background": {"strength": 0.0}, "noise": {"strength": 0.0},
    "blur": {"sigma": 0.0}, "occlusion": {"share": 0.0},
}  # fmt: skip


@pytest.mark.parametrize("option", sorted(OFF))
def test_without_strength_nothing_changes(option):
    augmentation, (x, y) = one(option, **OFF[option]), samples("images", 20)
    changed = augmentation.apply(x, y, drawn(augmentation, 20))[0]
    torch.testing.assert_close(changed, x, rtol=1e-12, atol=1e-12)


# One by one ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("flip", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("padding", [0, 1, 3])
def test_flip_crop_mirrors_and_shifts_as_often_as_it_says(flip, padding):
    count = 20_000
    augmentation = one("flip_crop", flip=flip, padding=padding)
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
    augmentation = one("flip_crop", flip=0.0, padding=padding)
    x, y = samples("images", 1)
    largest = torch.full((1, 3), 1 - 2.0**-24)
    _, height, width = SHAPES["images"]
    expected = torch.zeros_like(x)
    if padding < min(height, width):
        expected[:, :, : height - padding, : width - padding] = x[:, :, padding:, padding:]
    torch.testing.assert_close(augmentation.apply(x, y, largest)[0], expected)


@pytest.mark.parametrize("option", ["flip", "flip_vertical"])
@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_flips_are_as_frequent_as_they_say(option, probability):
    augmentation = one(option, probability=probability)
    x, y = (part.expand(20_000, *part.shape[1:]) for part in samples("images", 1))
    changed = augmentation.apply(x, y, drawn(augmentation, len(x)))[0]
    mirrored = (changed != x).flatten(1).any(1)
    assert mirrored.double().mean() == pytest.approx(probability, abs=0.02)


MODES = {"zero": "constant", "edge": "nearest", "wrap": "grid-wrap"}  # in scipy's words


@pytest.mark.parametrize("beyond", MODES)
@pytest.mark.parametrize("pixels", [1, 4])
@pytest.mark.parametrize("kind", sorted(POSITIONS))
def test_translate_fills_from_beyond(beyond, pixels, kind):
    augmentation, (x, y) = one("translate", beyond=beyond, pixels=pixels), samples(kind, 60)
    draws = drawn(augmentation, 60)
    pairs = zip(x.numpy(), draws.numpy(), strict=True)
    expected = []
    for sample, draw in pairs:
        shifts = [int(each * (2 * pixels + 1)) - pixels for each in draw[: sample.ndim - 1]]
        expected.append(ndimage.shift(sample, [0, *shifts], order=0, mode=MODES[beyond]))
    np.testing.assert_array_equal(augmentation.apply(x, y, draws)[0].numpy(), np.stack(expected))


def test_translate_reaches_every_shift_equally_often():
    augmentation, count = one("translate", pixels=2, beyond="wrap"), 20_000
    x = torch.zeros(count, 1, 9)
    x[:, 0, 4] = 1
    at = augmentation.apply(x, x, drawn(augmentation, count))[0][:, 0].argmax(1)
    counts = torch.bincount(at, minlength=9)
    assert (counts[[0, 1, 7, 8]] == 0).all()
    np.testing.assert_allclose(counts[2:7].numpy(), count / 5, rtol=0.06)


@pytest.mark.parametrize(
    ("option", "matrix", "changes"),
    [
        ("rotate", lambda draw: turn(draw, 180), {"degrees": 180}),
        ("scale", lambda draw: magnification(draw, 3), {"factor": 3}),
        ("shear", lambda draw: slope(draw, 60), {"degrees": 60}),
    ],
)
def test_the_edge_is_repeated_if_asked_for(option, matrix, changes):
    augmentation, (x, y) = one(option, beyond="edge", **changes), samples("images", 30)
    draws = drawn(augmentation, 30)
    expected = transformed(matrix, "nearest")(x.numpy(), draws.numpy())
    changed = augmentation.apply(x, y, draws)[0].numpy()
    np.testing.assert_allclose(changed, expected, rtol=1e-9, atol=1e-9)


def test_rotate_turns_counter_clockwise_for_large_draws():
    augmentation = one("rotate", degrees=90)
    x, y = samples("images", 1)
    x = x[:, :, :5]  # a square
    largest = torch.ones(1, 1, dtype=torch.float64)
    expected = np.rot90(x.numpy(), axes=(2, 3))
    changed = augmentation.apply(x, y, largest)[0].numpy()
    np.testing.assert_allclose(changed, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("strength", [0.2, 0.9])
def test_color_is_that_of_torchvision(strength):
    functional = torchvision().transforms.functional
    augmentation = one("color", brightness=strength, contrast=strength, saturation=strength)
    x = torch.rand(20, 3, 6, 5, generator=torch.Generator().manual_seed(0))
    x[0, :, 0, 0] = 0  # black, as there
    draws = augmentation.draw(20, torch.Generator().manual_seed(1)) / 2  # factors below 1: no clamp
    expected = []
    for image, factors in zip(x, (1 + strength * (2 * draws - 1)).tolist(), strict=True):
        brighter = functional.adjust_brightness(image, factors[0])
        clearer = functional.adjust_contrast(brighter, factors[1])
        expected.append(functional.adjust_saturation(clearer, factors[2]))
    changed = augmentation.apply(x, x, draws)[0]
    torch.testing.assert_close(changed, torch.stack(expected), rtol=0, atol=2e-4)  # luma .2989


def test_color_refuses_other_numbers_of_channels():
    augmentation, x = one("color"), torch.rand(4, 2, 6, 5)
    with pytest.raises(ValueError, match=r"1 or 3 channels, got samples of shape \(2, 6, 5\)"):
        augmentation.apply(x, x, drawn(augmentation, 4))


def test_noise_is_normal_and_every_value_has_its_own():
    augmentation, count = one("noise", strength=0.5), 300
    x = torch.zeros(count, 2, 10, 10, dtype=torch.float64)
    x[0, :, 0, 0] = torch.tensor([1.0, 4.0])  # ranges of the channels
    added = augmentation.apply(x, x, drawn(augmentation, count))[0] - x
    normal = added / torch.tensor([0.5, 2.0])[:, None, None]
    assert stats.kstest(normal.flatten().numpy(), "norm").pvalue > 0.01
    assert normal.unique().numel() == normal.numel()
    rows = np.corrcoef(normal.flatten(1).numpy())
    columns = np.corrcoef(normal.flatten(1).numpy(), rowvar=False)
    for correlation, length in ((rows, 200), (columns, count)):
        off = correlation[np.triu_indices(len(correlation), 1)]
        assert off.std() == pytest.approx(length**-0.5, rel=0.03)
        assert np.abs(off).max() < 6 * length**-0.5


def test_noise_uses_the_published_generator():
    seeds = torch.tensor([[0], [1], [-1], [2**63 - 1], [-(2**63)]])
    found = uniform_of(seeds, 40)
    expected = [[(n // 2**12 + 0.5) / 2**52 for n in split_mix(seed, 40)] for (seed,) in seeds]
    np.testing.assert_array_equal(found.numpy(), np.array(expected))
    assert 0xE220A8397B1DCDAF in split_mix(0, 1)  # the first number that is published for seed 0


@pytest.mark.parametrize(
    ("option", "kind"), [("noise", "tables"), ("mixup", "tables"), ("cutmix", "images")]
)
def test_what_is_taken_from_other_rows_needs_other_rows(option, kind):
    augmentation, (x, y) = one(option), samples(kind, 1)
    message = rf"{option}.* needs batches of 2 rows or more, got 1; use trainer.batch_size > 1"
    with pytest.raises(ValueError, match=message):
        augmentation.apply(x, y, drawn(augmentation, 1))


def test_occlusion_can_fill_with_the_mean():
    augmentation, (x, y) = one("occlusion", fill="mean", share=0.4), samples("images", 30)
    draws = drawn(augmentation, 30)
    boxes = np.stack([boxed(x.shape[2:], 0.4, draw) for draw in draws.numpy()])[:, None]
    expected = np.where(boxes, x.numpy().mean((0, 2, 3))[:, None, None], x.numpy())
    np.testing.assert_allclose(augmentation.apply(x, y, draws)[0].numpy(), expected)


@pytest.mark.parametrize("alpha", [0.05, 0.2, 1.0, 2.5, 30.0])
def test_lambda_is_a_beta_number(alpha):
    def below_half(numbers):  # by symmetry half of them; close to 1 small alpha meets rounding
        return 2 * stats.beta(alpha, alpha).cdf(numbers)

    for option in MIXING:
        kept = drawn(one(option, alpha=alpha), 20_000)[:, 0]
        low = kept[kept < 0.5]
        assert len(low) / len(kept) == pytest.approx(0.5, abs=0.01)
        assert stats.kstest(low.numpy(), below_half).pvalue > 0.01


@pytest.mark.parametrize("alpha", [1e-6, 1e6])
def test_lambda_stays_finite_for_any_alpha(alpha):
    found = beta(alpha, 1000, torch.Generator().manual_seed(0))
    assert found.isfinite().all()
    ends = torch.minimum(found, 1 - found)
    assert (ends < 1e-9).all() if alpha < 1 else (ends > 0.49).all()


@pytest.mark.parametrize("option", sorted(MIXING))
def test_partners_are_a_permutation_and_shares_of_classes_stay(option):
    augmentation, count = one(option, alpha=1.0), 50
    x, _ = samples("images", count)
    classes = torch.eye(count, dtype=torch.float64)
    targets = augmentation.apply(x, classes, drawn(augmentation, count))[1]
    torch.testing.assert_close(targets.sum(1), torch.ones(count, dtype=torch.float64))
    assert ((targets > 0).sum(1) <= 2).all()
    partners = drawn(augmentation, count)[:, 1].argsort()
    assert sorted(partners.tolist()) == list(range(count))
    assert ((targets > 0).sum(0) <= 2).all()


def test_a_list_of_augmentations_keeps_its_order():
    for names in (["flip", "rotate", "mixup"], ["mixup", "rotate", "flip"]):
        composed = compose([f"augmentation=[{','.join(names)}]"], several=["augmentation"])
        assert list(composed.config["augmentation"]) == names


@pytest.mark.parametrize(
    ("option", "changes", "message"),
    [
        ("flip", {"probability": 1.5}, r"flip.probability: expected a number in \[0, 1\], got 1.5"),
        ("flip", {"axis": "left"}, "flip.axis: expected one of horizontal, vertical, got 'left'"),
        ("translate", {"pixels": 1.5}, r"translate.pixels: expected a whole number >= 0, got 1.5"),
        ("translate", {"beyond": "edges"}, r"got 'edges'; did you mean 'edge'"),
        ("rotate", {"degrees": 200}, r"rotate.degrees: expected a number in \[0, 180\], got 200"),
        ("rotate", {"beyond": "wrap"}, r"rotate.beyond: expected one of zero, edge, got 'wrap'"),
        ("scale", {"factor": 0.5}, r"scale.factor: expected a number >= 1, got 0.5"),
        ("shear", {"degrees": 90}, r"shear.degrees: expected a number in \[0, 90\), got 90"),
        ("elastic", {"cells": 0}, r"elastic.cells: expected a whole number >= 1, got 0"),
        ("color", {"brightness": 2}, r"color.brightness: expected a number in \[0, 1\], got 2"),
        ("noise", {"strength": -1}, r"noise.strength: expected a number >= 0, got -1"),
        ("mixup", {"alpha": 0}, r"mixup.alpha: expected a number > 0, got 0"),
    ],
)
def test_mistakes_are_answered(option, changes, message):
    with pytest.raises(Misconfigured, match=message):
        one(option, **changes)

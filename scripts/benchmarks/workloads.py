"""What is trained: the four workloads, their rows and models, for the runner and by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from runner import compose, config
from runner.assemble.settings import Settings
from runner.components.dataset.data import Data, split
from runner.config import Node, build
from runner.foundation import rng
from runner.foundation.ranges import Count, Seed

CLASSES = 10
PADDING = 2  # pixels on each side, of the crop
PICTURES = 8192  # generated for W4, before the split
NEVER = "1000000000steps"
LEARNING_RATES = {"momentum": 0.03, "adam": 0.001}


@dataclass(frozen=True)
class Workload:
    """A model, data and an optimizer.

    overrides  what the runner is asked for
    shape      of a sample
    model      the same network in plain torch
    steps      in a round of the comparison
    long       in a round against the loop with everything on: about as long as the five seconds
               between two checkpoints
    """

    text: str
    overrides: tuple[str, ...]
    shape: tuple[int, ...]
    batch: int
    optimizer: str
    augmented: bool
    model: Callable[[], nn.Module]
    steps: int
    long: int


def mlp(inputs: int, hidden: int, normalized: bool) -> nn.Module:
    """Return a perceptron of two hidden layers."""
    layers: list[nn.Module] = [nn.Flatten()]
    for fan_in in (inputs, hidden):
        norm = [nn.BatchNorm1d(hidden)] if normalized else []
        layers += [nn.Linear(fan_in, hidden), *norm, nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(hidden, CLASSES))


def cnn() -> nn.Module:
    """Return three stages of convolution, batch norm and pooling for images of 28 x 28."""
    layers: list[nn.Module] = []
    for before, after in pairwise((1, 16, 32, 64)):
        layers += [*convolved(before, after), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 3 * 3, CLASSES))


def resnet() -> nn.Module:
    """Return a residual network for images of 32 x 32: three stages of two blocks."""
    layers: list[nn.Module] = [*convolved(3, 16), nn.ReLU()]
    before = 16
    for after in (16, 32, 64):
        for _ in range(2):
            layers.append(Block(before, after))
            before = after
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, CLASSES))


class Block(nn.Module):
    """Add two convolutions to what goes past them; halve the image where the channels double."""

    def __init__(self, before: int, after: int):
        super().__init__()
        stride = 1 if before == after else 2
        self.branch = nn.Sequential(
            *convolved(before, after, stride), nn.ReLU(), *convolved(after, after)
        )
        same = before == after
        self.skip = nn.Identity() if same else nn.Conv2d(before, after, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return x + f(x), of the shape the branch gives."""
        return self.skip(x) + self.branch(x)


def convolved(before: int, after: int, stride: int = 1) -> list[nn.Module]:
    """Return a convolution and its batch norm."""
    return [nn.Conv2d(before, after, 3, stride, padding=1), nn.BatchNorm2d(after)]


WORKLOADS = {
    "W1": Workload(
        "MLP 64-128-128-10 with batch norm, digits, batch 64, momentum",
        ("normalization=batch", "optimizer=momentum", "trainer.batch_size=64"),
        (64,), 64, "momentum", False, partial(mlp, 64, 128, True), 300, 15_000,
    ),
    "W2": Workload(
        "MLP 784-256-256-10, Fashion-MNIST, batch 128, Adam",
        ("dataset=fashion_mnist", "architecture.hidden=[256,256]", "optimizer=adam",
         "trainer.batch_size=128"),
        (1, 28, 28), 128, "adam", False, partial(mlp, 784, 256, False), 100, 3000,
    ),
    "W3": Workload(
        "CNN 16-32-64 with batch norm, Fashion-MNIST, batch 128, momentum, flip and crop",
        ("dataset=fashion_mnist", "architecture=cnn", "normalization=batch",
         "optimizer=momentum", "augmentation=flip_crop", "trainer.batch_size=128"),
        (1, 28, 28), 128, "momentum", True, cnn, 25, 250,
    ),
    "W4": Workload(
        "ResNet 16-32-64 with two blocks a stage and batch norm, generated images of 3 x 32 x 32, "
        "batch 128, momentum, flip and crop",
        ("architecture=resnet", "normalization=batch", "optimizer=momentum",
         "augmentation=flip_crop", "trainer.batch_size=128"),
        (3, 32, 32), 128, "momentum", True, resnet, 2, 10,
    ),
}  # fmt: skip


@split
def pictures(seed: Seed, *, samples: Count) -> Data:
    """Draw images of noise with as many channels and pixels as those of CIFAR-10."""
    generator = rng.generator(seed, "pictures")
    pixels = torch.randint(256, (samples, 3, 32, 32), generator=generator, dtype=torch.uint8)
    labels = torch.randint(CLASSES, (samples,), generator=generator)
    return Data(pixels / 255, labels, "classification", tuple(map(str, range(CLASSES))))


def settings(workload: Workload, *overrides: str) -> Settings:
    """Return the settings of a run of ours; W4 has its data from here."""
    composed = compose.compose([*workload.overrides, *overrides]).config
    checked: Settings = config.check(composed, Settings)
    if workload is not WORKLOADS["W4"]:
        return checked
    shared = dict.fromkeys(("subset", "balance")) | {"label_noise": 0.0, "seed": 0}
    options = {"samples": PICTURES, "valid": 0.1, "test": 0.1, **shared}
    return replace(checked, dataset=Node("dataset", pictures, options))


@dataclass(frozen=True)
class Rows:
    """Rows as files hold them: images of bytes (N, channels, H, W), or a table."""

    x: Tensor
    y: Tensor


def rows(workload: Workload) -> Rows:
    """Return the rows that the runner trains on, before any preprocessing."""
    return parts(workload)["train"]


def parts(workload: Workload) -> dict[str, Rows]:
    """Return the rows of each split, before any preprocessing."""
    data: Data = build(settings(workload).dataset)
    is_table = len(workload.shape) == 1

    def picked(numbers: Tensor) -> Rows:
        x = data.x[numbers]
        return Rows(x.flatten(1) if is_table else (x * 255).round().byte(), data.y[numbers])

    return {name: picked(numbers) for name, numbers in data.splits.items()}


def statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and deviation, of each channel of images of bytes, of each column of a table."""
    over = (0, 2, 3) if x.dim() == 4 else (0,)
    x = x.float()
    deviation = x.std(over, correction=0, keepdim=True)
    return x.mean(over, keepdim=True), torch.where(deviation > 0, deviation, 1)

"""From settings to an initialized model: construction, output function, initialization."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from runner.assemble.initialize import initialize
from runner.assemble.settings import Settings
from runner.assemble.unit import ModuleMaker, brick
from runner.components.activation import Maxout
from runner.components.initializer import Trial
from runner.components.normalization.samplewise import GroupNorm
from runner.config import Node, build, check_node, maker
from runner.foundation import memory, options, rng
from runner.foundation.errors import naming

TENSOR_CORES = ("bfloat16", "tf32")
INSIDE = ("architecture", "activation", "normalization", "dropout", "initializer", "regularizer",
          "optimizer", "clipping", "averaging", "hooks")  # fmt: skip


def construct(settings: Settings, inputs: Sequence[int], outputs: int, last: nn.Module) -> Any:
    """Build the model on the CPU, leaving the global generator untouched; count its units.

    `last` is the output function, put behind the network unless it is the identity.
    """
    with torch.random.fork_rng(devices=[]), naming("architecture"), memory.for_parameters():
        torch.default_generator.manual_seed(rng.derive(settings.seed, "construction"))
        unit = brick(
            maker(settings.activation),
            build(settings.normalization),
            maker(settings.dropout),
            named,
        )
        network: nn.Module = build(settings.architecture, tuple(inputs), outputs, unit)
        unit.refuse_missing()
    model = network if isinstance(last, nn.Identity) else nn.Sequential(network, last)
    return model, unit.count


def place(model: nn.Module, settings: Settings, device: torch.device, dtype: torch.dtype) -> None:
    """Move the model to the device, channels last in memory where that is faster.

    Not where code of the user's own meets weights or images: a `view` works in one order alone.
    """
    model.to(device, dtype)
    if suits_channels_last(model, settings.precision, device) and not _foreign(settings):
        for parameter in model.parameters():
            if parameter.dim() == 4:
                parameter.data = parameter.data.to(memory_format=torch.channels_last)


def suits_channels_last(model: nn.Module, precision: str, device: torch.device) -> bool:
    """Tell whether images are better kept as (B, H, W, channels) from layer to layer.

    Convolutions hand on what they give in the order of their weights. With channels last they
    spare the processor rearranging it, and so do pooling and depthwise convolutions; tensor cores,
    which float32 does not use, want it. A norm over groups of channels and maxout then step
    through memory, and lose more than convolutions gain.
    """
    parts = list(model.modules())
    images = any(isinstance(part, nn.Conv2d) for part in parts)
    stepping = any(
        isinstance(part, Maxout) or (isinstance(part, GroupNorm) and part.groups > 1)
        for part in parts
    )
    return images and not stepping and (device.type == "cpu" or precision in TENSOR_CORES)


def _foreign(settings: Settings) -> bool:
    """Tell whether a part that meets weights or what layers give is neither ours nor torch's."""
    choices = [getattr(settings, group) for group in INSIDE]
    nodes = [
        node
        for choice in choices
        for node in (choice.values() if isinstance(choice, dict) else [choice])
    ]
    return any(node.factory.__module__.partition(".")[0] not in ("runner", "torch")
               for node in nodes)  # fmt: skip


def named(activation: str) -> ModuleMaker:
    """Return the maker of an activation that an architecture names for one of its layers."""
    return maker(activation_node(activation))


def activation_node(option: str) -> Node:
    """Check an option of `conf/activation` as it stands in its file."""
    return check_node(options.node("activation", option), f"activation={option}", "activation")


def fill(
    settings: Settings,
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    minimized: Callable[[nn.Module, Tensor, Tensor], Tensor],
) -> None:
    """Initialize the model; a batch of training rows serves rules that go by the data."""
    generator = rng.generator(settings.seed, "initialization")
    with naming("initializer"):
        initialize(model, build(settings.initializer), generator, Trial(x, y, minimized))

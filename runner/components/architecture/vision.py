"""Torchvision's models for classification, by name, always with random weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from runner.components.architecture.unit import Unit, times
from runner.foundation import vision
from runner.foundation.errors import did_you_mean


def torchvision(inputs: Sequence[int], outputs: int, unit: Unit, *, name: str) -> nn.Module:
    """Return a model of torchvision's for images (channels, H, W), such as resnet18.

    Its layers are its own: the run's activation, normalization and dropout do not reach inside.
    The first convolution is made for the channels of the data. Dropout and stochastic depth, which
    draw from the global generator, are taken out; batch norm loses its counter of batches, which
    nothing reads. Most need images of 32 x 32 or more, some of 224 x 224.
    """
    package = vision.torchvision()
    names = package.models.list_models(module=package.models)
    if name not in names:
        near = did_you_mean(name, names)
        raise ValueError(f"torchvision has no model '{name}'{near} ({', '.join(names)})")
    if len(inputs) != 3:
        raise ValueError(
            f"{name} needs images of shape (channels, height, width), got {(*inputs,)}; "
            "a table goes with architecture=mlp"
        )
    depth, *size = inputs
    try:
        model: nn.Module = package.models.get_model(
            name, weights=None, num_classes=outputs, **_settings(name, size)
        )
    except (AssertionError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{name} cannot take images of {times(size)}: {reason}") from error
    _take_channels(model, depth)
    _quieten(model, (nn.Dropout, package.ops.StochasticDepth))
    return model


def _settings(name: str, size: list[int]) -> dict[str, Any]:
    """Return what some models must know beforehand: the image's size, no second output."""
    if name in ("googlenet", "inception_v3"):
        return {"aux_logits": False, "init_weights": False}
    if name.startswith("vit_"):
        if size[0] != size[1]:
            raise ValueError("its images are square")
        return {"image_size": size[0]}
    return {"input_size": tuple(size)} if name.startswith("maxvit") else {}


def _take_channels(model: nn.Module, channels: int) -> None:
    """Make the first convolution one for this many channels."""
    first = next(each for each in model.modules() if isinstance(each, nn.Conv2d))
    if first.in_channels != channels:
        first.in_channels = channels
        shape = (first.out_channels, channels, *first.kernel_size)
        first.weight = nn.Parameter(first.weight.new_empty(shape))
        first.reset_parameters()


def _quieten(model: nn.Module, random: tuple[type[nn.Module], ...]) -> None:
    """Take out the modules that draw numbers in a forward pass, and the counters of batches."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, random):
                setattr(module, name, nn.Identity())
        if isinstance(module, nn.BatchNorm2d):
            module.num_batches_tracked = None
            module.register_load_state_dict_pre_hook(_without_counter)


def _without_counter(
    module: nn.Module, state: dict[str, Tensor], prefix: str, *further: object
) -> None:
    """Drop the counter that batch norm puts into every state it finds without one."""
    state.pop(f"{prefix}num_batches_tracked", None)

"""Keras on torch: the same networks from its own layers, fitted with its own optimizers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
from keras import layers

from benchmarks.feeds import Ready
from benchmarks.gate import Gate, Task
from benchmarks.workloads import (
    CLASSES,
    LEARNING_RATES,
    PADDING,
    WORKLOADS,
    Workload,
    rows,
    statistics,
)


def train(task: Task, *, fast: bool) -> None:
    """Fit without end, on arrays and with layers that augment, or on batches that are ready."""
    workload, lr = task.workload, LEARNING_RATES[task.workload.optimizer]
    adam, sgd = keras.optimizers.Adam, keras.optimizers.SGD
    if fast:  # the order of axes that torch's kernels take; by default Keras has channels last
        keras.config.set_image_data_format("channels_first")
    model = network(workload, augmenting=workload.augmented and not fast)
    model.compile(
        optimizer=adam(lr) if workload.optimizer == "adam" else sgd(lr, momentum=0.9),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    gate = [Gated(task.gate)]
    if fast:
        batches = Ready(workload)
        model.fit(_endless(batches), steps_per_epoch=len(batches), epochs=10**9, callbacks=gate)
    else:
        x, y = _arrays(workload)
        model.fit(x, y, batch_size=workload.batch, epochs=10**9, callbacks=gate)


class Gated(keras.callbacks.Callback):
    """Pass the gate before each batch."""

    def __init__(self, gate: Gate):
        super().__init__()
        self.gate = gate

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.gate()


def network(workload: Workload, augmenting: bool) -> keras.Model:
    """Return the workload's network."""
    first = keras.config.image_data_format() == "channels_first"
    shape = workload.shape
    inputs = keras.Input(shape if first or len(shape) == 1 else (*shape[1:], shape[0]))
    x = _augmented(inputs, shape) if augmenting else inputs
    build = {"W1": _mlp, "W2": _mlp, "W3": _cnn, "W4": _resnet}
    (name,) = (name for name, each in WORKLOADS.items() if each is workload)
    return keras.Model(inputs, layers.Dense(CLASSES)(build[name](x)))


def _augmented(x: Any, shape: tuple[int, ...]) -> Any:
    """Shift each image by up to two pixels and mirror it.

    Keras' own RandomCrop makes one crop for a whole batch, and none where it does not train.
    """
    factors = [PADDING / pixels for pixels in shape[1:]]
    x = layers.RandomTranslation(*factors, fill_mode="constant")(x)
    return layers.RandomFlip("horizontal")(x)


def _mlp(x: Any) -> Any:
    images = len(x.shape) > 2
    x = layers.Flatten()(x) if images else x
    for _ in range(2):
        x = layers.Dense(256 if images else 128)(x)
        x = layers.ReLU()(x if images else layers.BatchNormalization()(x))
    return x


def _cnn(x: Any) -> Any:
    for channels in (16, 32, 64):
        x = layers.MaxPooling2D()(layers.ReLU()(_convolved(x, channels)))
    return layers.Flatten()(x)


def _resnet(x: Any) -> Any:
    x = layers.ReLU()(_convolved(x, 16))
    for channels in (16, 32, 64):
        for block in range(2):
            stride = 2 if channels > 16 and not block else 1
            branch = layers.ReLU()(_convolved(x, channels, stride))
            if stride == 2:
                x = layers.Conv2D(channels, 1, 2, use_bias=False)(x)
            x = layers.Add()([x, _convolved(branch, channels)])
    return layers.GlobalAveragePooling2D()(x)


def _convolved(x: Any, channels: int, stride: int = 1) -> Any:
    first = keras.config.image_data_format() == "channels_first"
    x = layers.Conv2D(channels, 3, stride, padding="same")(x)
    return layers.BatchNormalization(axis=1 if first else -1)(x)


def _arrays(workload: Workload) -> tuple[Any, Any]:
    """Return normalized arrays, images with channels last, cut to whole batches."""
    given = rows(workload)
    mean, deviation = statistics(given.x)
    whole = len(given.y) // workload.batch * workload.batch
    x = given.x[:whole].float().sub_(mean).div_(deviation)
    x = x.permute(0, 2, 3, 1) if x.dim() == 4 else x
    return x.contiguous().numpy(), given.y[:whole].numpy()


def _endless(batches: Ready) -> Iterator[tuple[Any, Any]]:
    while True:
        yield from batches

"""Sound runs, which train well: different data, networks, optimizers and normalizations."""

from __future__ import annotations

SIGNALS = "dataset=mnist1d dataset.valid=0.2 dataset.subset=1500"
# Words, and the least accuracy (r2 of numbers) on rows that training has not seen.
SOUND = [
    ("", 0.95),
    ("optimizer=adam normalization=layer", 0.95),
    ("optimizer=sgd optimizer.lr=0.3 normalization=batch", 0.95),
    ("optimizer=rmsprop optimizer.lr=0.001 normalization=group", 0.95),
    ("optimizer=lion optimizer.lr=0.001 normalization=rms", 0.95),
    ("optimizer=adagrad activation=tanh initializer=xavier_fan_in", 0.95),
    ("optimizer=adamw regularizer=weight_decay activation=gelu", 0.95),
    ("optimizer=muon schedule=one_cycle activation=leaky_relu", 0.95),
    ("schedule=constant activation=selu initializer=orthogonal", 0.95),
    ("dropout=inverted dropout.keep=0.8 averaging=ema", 0.95),
    ("architecture.hidden=[100,100,100,100,100,100,100,100] normalization=batch", 0.95),
    ("architecture=cnn normalization=batch trainer.epochs=10", 0.95),
    ("architecture=linear optimizer.lr=0.1", 0.93),
    ("loss=hinge stopping=early", 0.95),
    ("dataset=wine optimizer=nesterov", 0.9),
    ("dataset=breast_cancer loss=bce", 0.93),
    ("experiment=diabetes", 0.35),
    ("dataset=moons optimizer=adam optimizer.lr=0.01", 0.97),
    ("dataset=spirals optimizer=adam optimizer.lr=0.01", 0.97),
    ("dataset=quadrants optimizer=adam optimizer.lr=0.01", 0.97),
    (f"{SIGNALS} architecture=cnn normalization=batch optimizer.lr=0.1", 0.8),
    ("activation=sigmoid initializer=xavier_fan_in optimizer=adam optimizer.lr=0.01", 0.95),
]

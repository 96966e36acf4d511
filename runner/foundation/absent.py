"""What the field knows and the runner has not, by group: the name and the reason why not."""

from __future__ import annotations

# Keys by the names that they have elsewhere, for those no letter of which tells.
ALSO_CALLED = {
    "learning_rate": "optimizer.lr",
    "bs": "trainer.batch_size",
    "max_steps": "trainer.steps",
    "iterations": "trainer.steps",
    "model": "architecture",
    "arch": "architecture",
    "network": "architecture",
    "criterion": "loss",
    "norm": "normalization",
    "init": "initializer",
    "transform": "augmentation",
    "gpu": "device",
    "cuda": "device",
    "amp": "precision",
    "dtype": "precision",
    "workers": "threads",
    "random_state": "seed",
    "logdir": "output_root",
    "weight_decay": "regularizer=weight_decay",
    "wd": "regularizer=weight_decay",
    "ema": "averaging=ema",
    "clip": "clipping=norm",
}

NOT_HERE: dict[str, dict[str, str]] = {
    "optimizer": {
        "coordinate_descent": (
            "moves one weight at a time, and for a network each move costs a whole forward pass"
        ),
        "conjugate_gradient": (
            "keeps its directions conjugate by exact line searches on a quadratic; lbfgs does the "
            "same work with less care"
        ),
        "trust_region": (
            "solves a constrained quadratic for each step; newton with damping is its simplest form"
        ),
        "k_fac": (
            "factors the curvature layer by layer, so each kind of layer needs code of its own; "
            "muon is the option that treats layers as matrices"
        ),
        "shampoo": (
            "takes matrix roots for every axis of every tensor; muon is its cheap relative"
        ),
        "subsampled_newton": (
            "estimates the Hessian from part of the rows; newton takes whole Hessians of small "
            "models, lbfgs serves the rest"
        ),
        "stochastic_lbfgs": (
            "needs pairs of gradients from overlapping batches, which no sampler here gives; "
            "lbfgs is for full batches"
        ),
        "sparse_adam": (
            "is for the sparse gradients of embeddings, which no architecture here has; use adam"
        ),
        "manifold": (
            "moves along curved sets of weights with a retraction for each set; the projections "
            "of regularizer=max_norm and regularizer=binary are the constraints there are"
        ),
    },
    "initializer": {
        "xavier": (
            "two rules have that name; xavier_fan_in has variance 1 / fan_in (LeCun), "
            "glorot_normal 2 / (fan_in + fan_out) (torch's xavier_normal_)"
        ),
        "lottery_ticket": (
            "is no start but a procedure: train, prune, and train the survivors again"
        ),
    },
    "schedule": {
        "step": "a cut after every so many steps or epochs is called staircase",
        "quadratic": "1 / (k + 1)^2 is called inverse_square; polynomial has a power of its own",
    },
    "loss": {
        "logistic": "the logistic loss of two classes is bce",
        "zero_one": "has no gradient; it is a metric, metrics=error",
    },
}

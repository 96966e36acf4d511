"""Verdicts on the untrained network: whether signals and gradients get through it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from runner.diagnosis.verdicts.kind import Evidence, Kind, Verdict
from runner.diagnosis.verdicts.remedy import initializer, normalized, passing, standardized

LAYERS = 3  # fewer say nothing about a trend
ALIKE = 1e-6  # of the weights

SYMMETRIC = Kind(
    "symmetric weights", "fault", "hidden layers whose units all start alike", 0,
    "S1, S4: symmetry breaking", "the initializer for the activation",
)  # fmt: skip
SHRINKING = Kind(
    "shrinking activations", "fault",
    "standard deviation of the last hidden layer's activations over the first one's", 0.1,
    "S1, S3: std 0.01 in 10 layers; S0: Xavier with ReLU; the number is our choice",
    "the initializer for the activation; else normalization=layer", below=True,
)  # fmt: skip
EXPLODING = Kind(
    "exploding activations", "fault",
    "standard deviation of the last hidden layer's activations over the first one's", 10.0,
    "S3: products of many factors above 1; the number is our choice",
    "the initializer for the activation; else normalization=layer",
)  # fmt: skip
SATURATED = Kind(
    "saturated at the start", "fault", "mean share of activations in both flat tails", 0.2,
    "S0: std 0.05 (25 to 40 %), S1: std 1 (over 85 %); Xavier below 1 %",
    "preprocessing=standardize where inputs are large; else the initializer",
)  # fmt: skip
DEAD = Kind(
    "dead units at the start", "fault",
    "share of a hidden layer's rectified units that are off on every row", 0.4,
    "S3: about 10 % in layer 10 of a sound network; the number is our choice",
    "preprocessing=standardize where inputs are large; the initializer; activation=leaky_relu",
)  # fmt: skip
VANISHING = Kind(
    "vanishing gradients", "fault",
    "gradient of a row's loss in the first hidden layer over the last one's", 1e-3,
    "S1, S3: saturating activations in depth; the number is our choice",
    "a rectifier instead of a sigmoid; the initializer; normalization=layer", below=True,
)  # fmt: skip
GROWING = Kind(
    "exploding gradients", "fault",
    "gradient of a row's loss in the first hidden layer over the last one's", 1e3,
    "S1: std 1 in 10 layers of tanh (1e4 and more); S3",
    "the initializer; else normalization=layer",
)  # fmt: skip
KINDS = (SYMMETRIC, SHRINKING, EXPLODING, SATURATED, DEAD, VANISHING, GROWING)


def symmetric(evidence: Evidence) -> Iterator[Verdict]:
    """All units of a hidden layer begin alike, so that they stay alike (S1, S4 "W = 0")."""
    layers, known = evidence.first["layers"], evidence.facts.get("layers", {})
    hidden = [
        name
        for name, numbers in layers.items()
        if known.get(name, {}).get("activation") and known[name]["units"] > 1
        and numbers.get("spread", 1.0) <= ALIKE * numbers.get("weight", 0.0)
    ]  # fmt: skip
    if hidden:
        yield SYMMETRIC.verdict(
            len(hidden),
            f"all units of layer {hidden[0]} start with the same weights: they stay alike, and the "
            "layer is worth a single unit",
            initializer(evidence),
        )


def scale(evidence: Evidence) -> Iterator[Verdict]:
    """Activations shrink or grow from layer to layer (S0, S1, S3)."""
    stds = evidence.hidden(evidence.first, "std")
    if len(stds) < LAYERS or stds[0] == 0:
        return
    ratio = stds[-1] / stds[0]
    each = ratio ** (1 / (len(stds) - 1))
    override = initializer(evidence) or normalized(evidence)
    if ratio < SHRINKING.threshold:
        yield SHRINKING.verdict(
            ratio,
            f"activations shrink to {ratio:.1e} of the first hidden layer's over {len(stds)} "
            f"layers ({each:.2f} a layer): deeper layers see hardly any signal",
            override,
        )
    elif ratio > EXPLODING.threshold:
        yield EXPLODING.verdict(
            ratio,
            f"activations grow {ratio:.1e} times over {len(stds)} layers ({each:.2f} a layer)",
            override,
        )


def saturated(evidence: Evidence) -> Iterator[Verdict]:
    """Units of a squashing activation sit in its flat tails before training (S0, S1)."""
    shares = flat_tails(evidence, evidence.first)
    if shares and (share := sum(shares) / len(shares)) > SATURATED.threshold:
        yield SATURATED.verdict(
            share,
            f"{share:.0%} of the activations lie in the flat tails before the first step: hardly a "
            "gradient passes them",
            standardized(evidence) or initializer(evidence) or normalized(evidence),
        )


def dead(evidence: Evidence) -> Iterator[Verdict]:
    """Units are off on every row looked at before training."""
    if not any(known.get("rectifies") for known in evidence.facts.get("layers", {}).values()):
        return
    shares = evidence.hidden(evidence.first, "dead")
    if shares and (worst := max(shares)) > DEAD.threshold:
        yield DEAD.verdict(
            worst,
            f"{worst:.0%} of the units of a hidden layer are off on every row before the first "
            "step",
            standardized(evidence) or initializer(evidence) or "activation=leaky_relu",
        )


def gradients(evidence: Evidence) -> Iterator[Verdict]:
    """Gradients get lost, or grow, on their way back through the untrained network."""
    sizes = [each for each in evidence.hidden(evidence.first, "gradient") if each > 0]
    if len(sizes) < LAYERS:
        return
    ratio = sizes[0] / sizes[-1]
    if ratio < VANISHING.threshold:
        yield VANISHING.verdict(
            ratio,
            f"the gradient of the first hidden layer is {ratio:.1e} of the last one's: the first "
            "layers do not learn",
            passing(evidence),
        )
    elif ratio > GROWING.threshold:
        yield GROWING.verdict(
            ratio,
            f"the gradient of the first hidden layer is {ratio:.1e} times the last one's",
            initializer(evidence) or normalized(evidence),
        )


def flat_tails(evidence: Evidence, probe: Mapping[str, Any]) -> list[float]:
    """Return the share of activations in flat tails, of each hidden layer that can saturate."""
    layers = evidence.facts.get("layers", {})
    squash = all(known.get("squashes") for known in layers.values() if known.get("activation"))
    return evidence.hidden(probe, "flat") if squash else []


RULES = (symmetric, scale, saturated, dead, gradients)

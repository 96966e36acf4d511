"""Verdicts on the untrained network: whether signals and gradients get through it."""

from __future__ import annotations

from collections.abc import Iterator

from runner.diagnosis.verdicts.kind import Evidence, Verdict

LAYERS = 3  # fewer say nothing about a trend
SHRINKS, GROWS = 0.1, 10.0  # last hidden layer against the first
ALIKE = 1e-6  # of the weights
SATURATED, DEAD = 0.2, 0.4
VANISHES, EXPLODES = 1e-3, 1e3


def symmetric(evidence: Evidence) -> Iterator[Verdict]:
    """All units of a hidden layer begin alike, so that they stay alike (S1, S4 "W = 0")."""
    layers, known = evidence.first["layers"], evidence.facts.get("layers", {})
    hidden = [
        name
        for name, numbers in layers.items()
        if known.get(name, {}).get("activation") and known[name]["units"] > 1
        and numbers["spread"] <= ALIKE * numbers["weight"]
    ]  # fmt: skip
    if hidden:
        yield Verdict(
            "symmetric weights", "fault",
            f"all units of layer {hidden[0]} start with the same weights: they stay alike, and the "
            "layer is worth a single unit",
            len(hidden), 1, "S1, S4: symmetry breaking", _initializer(evidence),
        )  # fmt: skip


def scale(evidence: Evidence) -> Iterator[Verdict]:
    """Activations shrink or grow from layer to layer (S0, S1, S3)."""
    stds = evidence.hidden(evidence.first, "std")
    if len(stds) < LAYERS or stds[0] == 0:
        return
    ratio = stds[-1] / stds[0]
    each = ratio ** (1 / (len(stds) - 1))
    if ratio < SHRINKS:
        yield Verdict(
            "shrinking activations", "fault",
            f"activations shrink to {ratio:.1e} of the first hidden layer's over {len(stds)} "
            f"layers ({each:.2f} a layer): deeper layers see hardly any signal",
            ratio, SHRINKS, "S1, S3: std 0.01 in 10 layers; S0: Xavier with ReLU",
            _initializer(evidence),
        )  # fmt: skip
    elif ratio > GROWS:
        yield Verdict(
            "exploding activations", "fault",
            f"activations grow {ratio:.1e} times over {len(stds)} layers ({each:.2f} a layer)",
            ratio, GROWS, "S3: products of many factors above 1", _initializer(evidence),
        )  # fmt: skip


def saturated(evidence: Evidence) -> Iterator[Verdict]:
    """Units of a squashing activation sit in its flat tails before training (S0, S1)."""
    if not any(known.get("squashes") for known in evidence.facts.get("layers", {}).values()):
        return
    shares = evidence.hidden(evidence.first, "flat")
    if shares and (share := sum(shares) / len(shares)) > SATURATED:
        yield Verdict(
            "saturated at the start", "fault",
            f"{share:.0%} of the activations lie in the flat tails before the first step: hardly a "
            "gradient passes them",
            share, SATURATED, "S0: std 0.05 (25 to 40 %), S1: std 1 (over 85 %); Xavier below 1 %",
            _initializer(evidence),
        )  # fmt: skip


def dead(evidence: Evidence) -> Iterator[Verdict]:
    """Units are off on every row looked at before training."""
    if not any(known.get("rectifies") for known in evidence.facts.get("layers", {}).values()):
        return
    shares = evidence.hidden(evidence.first, "dead")
    if shares and (worst := max(shares)) > DEAD:
        yield Verdict(
            "dead units at the start", "fault",
            f"{worst:.0%} of the units of a hidden layer are off on every row before the first "
            "step",
            worst, DEAD, "S3: about 10 % in layer 10 of a sound network",
            _initializer(evidence) or "activation=leaky_relu",
        )  # fmt: skip


def gradients(evidence: Evidence) -> Iterator[Verdict]:
    """Gradients get lost, or grow, on their way back through the untrained network."""
    sizes = [each for each in evidence.hidden(evidence.first, "gradient") if each > 0]
    if len(sizes) < LAYERS:
        return
    ratio = sizes[0] / sizes[-1]
    if ratio < VANISHES:
        yield Verdict(
            "vanishing gradients", "fault",
            f"the gradient of the first hidden layer is {ratio:.1e} of the last one's: the first "
            "layers do not learn",
            ratio, VANISHES, "S1, S3: saturating activations in depth", _passing(evidence),
        )  # fmt: skip
    elif ratio > EXPLODES:
        yield Verdict(
            "exploding gradients", "fault",
            f"the gradient of the first hidden layer is {ratio:.1e} times the last one's",
            ratio, EXPLODES, "S1: std 1 in 10 layers of tanh; S3", _initializer(evidence),
        )  # fmt: skip


def _initializer(evidence: Evidence) -> str:
    """Return the initializer that keeps variances for the activation at hand."""
    used = [known for known in evidence.facts.get("layers", {}).values() if known.get("activation")]
    squashing = sum(bool(known.get("squashes")) for known in used)
    name = "xavier_fan_in" if squashing > len(used) / 2 else "kaiming_normal"
    return "" if evidence.settings.get("initializer") == name else f"initializer={name}"


def _passing(evidence: Evidence) -> str:
    """Return what lets gradients through: a fitting scale, else another activation."""
    used = [known for known in evidence.facts.get("layers", {}).values() if known.get("squashes")]
    if used and evidence.settings.get("activation") == "sigmoid":
        return "activation=relu initializer=kaiming_normal"
    return _initializer(evidence) or "normalization=batch"


RULES = (symmetric, scale, saturated, dead, gradients)

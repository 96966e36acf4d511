"""What to type instead: words that stand in for a run's own."""

from __future__ import annotations

from collections.abc import Sequence

from runner.diagnosis.verdicts.data import LARGE, OFFSET, UNSCALED
from runner.diagnosis.verdicts.kind import Evidence

WIDTHS = ("architecture.hidden", "architecture.channels", "architecture.width",
          "architecture.features")  # fmt: skip
ENOUGH = 64  # units of a layer that is not too narrow
STEP = 0.03  # of the weights: what the largest steps of sound runs change (measured)


def corrected(words: Sequence[str], override: str) -> list[str]:
    """Return the words of a command with those of an override in place of what they replace.

    Another option of a group takes the values with it that were set for the first one.
    """
    new = override.split()
    keys = [each.partition("=")[0] for each in new]
    groups = tuple(f"{key}." for key in keys if "." not in key)
    kept = [
        word
        for word in words
        if (key := word.lstrip("+").partition("=")[0]) not in keys and not key.startswith(groups)
    ]
    return [*kept, *new]


def rate(evidence: Evidence, factor: float) -> str:
    """Return the learning rate times a factor."""
    lr = evidence.settings.get("optimizer.lr")
    return f"optimizer.lr={lr * factor:.2g}" if isinstance(lr, int | float) and lr > 0 else ""


def slower(evidence: Evidence) -> str:
    """Return what makes steps smaller: inputs of a sound scale, else a tenth of the rate."""
    return standardized(evidence) or rate(evidence, 0.1)


def standardized(evidence: Evidence) -> str:
    """Return what scales inputs that are too large, unlike each other, or off centre."""
    data = evidence.facts.get("data", {})
    limits = {"magnitude": LARGE, "scale_spread": UNSCALED, "offset": OFFSET}
    wrong = any((data.get(key) or 0) > kind.threshold for key, kind in limits.items())
    return "preprocessing=standardize" if wrong else ""


def higher_rate(evidence: Evidence, largest: float, least: float) -> str:
    """Return a learning rate whose largest steps are as those of sound runs."""
    return rate(evidence, max(STEP / largest, least) if largest > 0 else 10)


def initializer(evidence: Evidence) -> str:
    """Return the initializer that keeps variances for the activation at hand, without offset."""
    used = [known for known in evidence.facts.get("layers", {}).values() if known.get("activation")]
    squashing = sum(bool(known.get("squashes")) for known in used)
    name = "xavier_fan_in" if squashing > len(used) / 2 else "kaiming_normal"
    if evidence.settings.get("initializer") != name:
        return f"initializer={name}"
    settings = {"initializer.bias": 0, "initializer.gain": "auto"}
    off = [key for key, value in settings.items() if evidence.settings.get(key, value) != value]
    return " ".join(f"{key}={settings[key]}" for key in off)


def normalized(evidence: Evidence) -> str:
    """Return a normalization of activations, where there is none."""
    return "" if evidence.facts.get("norms") else "normalization=layer"


def passing(evidence: Evidence) -> str:
    """Return what lets gradients through: a rectifier for a sigmoid, a fitting scale, a norm."""
    if evidence.chosen("activation") == "sigmoid":
        return "activation=relu initializer=kaiming_normal"
    return initializer(evidence) or normalized(evidence)


def capacity(evidence: Evidence) -> str:
    """Return what lets a network fit that is held back: by inputs, penalty, dropout, or form."""
    if override := standardized(evidence):
        return override
    if evidence.chosen("regularizer") != "none":
        return "regularizer=none"
    if evidence.chosen("dropout") != "none":
        return "dropout=none"
    if evidence.chosen("architecture") in ("linear", "deep_linear"):
        return "architecture=mlp"
    if evidence.chosen("loss") == "wasserstein":  # flat where scores are far apart
        return "loss=cross_entropy"
    return ""


def units(evidence: Evidence) -> str:
    """Return wider layers: twice as many units, or as many as are enough."""
    for key in WIDTHS:
        value = evidence.settings.get(key)
        if isinstance(value, list) and value:
            return f"{key}=[{','.join(str(max(2 * each, ENOUGH)) for each in value)}]"
        if isinstance(value, int):
            return f"{key}={max(2 * value, ENOUGH)}"
    return ""

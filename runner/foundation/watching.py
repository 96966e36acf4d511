"""What rules that watch a run share: a logged metric by its name, and a choice for many lanes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.foundation.errors import did_you_mean


def logged(row: Mapping[str, float], metric: str, group: str) -> float:
    """Return a metric of a logged row; a ValueError of this group lists what there is."""
    if metric in row:
        return row[metric]
    names = ", ".join(row)
    raise ValueError(
        f"{group}.metric: '{metric}' is not logged{did_you_mean(metric, row)} (logged are {names})"
    )


def where(condition: Any, yes: Any, no: Any) -> Any:
    """Choose for one model, or lane by lane for many, where the condition is a tensor."""
    if isinstance(condition, bool):
        return yes if condition else no
    import torch

    pair = (
        torch.as_tensor(each, dtype=torch.float64, device=condition.device) for each in (yes, no)
    )
    return torch.where(condition, *pair)

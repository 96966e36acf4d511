"""Factories that add parameters to those of a function they wrap, and show both."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any


def extended(
    factory: Callable[..., Any],
    wrapped: Callable[..., Any],
    *,
    positional: bool = False,
    **kinds: Any,
) -> Callable[..., Any]:
    """Let a factory show the keyword-only parameters of what it wraps, then its own `kinds`.

    A signature is a schema, so `config.check` must see all of them. With `positional` the run-time
    parameters of the wrapped function are the factory's too.
    """
    only = inspect.Parameter.KEYWORD_ONLY
    own = [each for each in inspect.signature(wrapped, eval_str=True).parameters.values()
           if positional or each.kind is only]  # fmt: skip
    added = [inspect.Parameter(name, only, annotation=kind) for name, kind in kinds.items()]
    signed: Any = functools.update_wrapper(factory, wrapped)
    signed.__signature__ = inspect.Signature([*own, *added])
    return factory

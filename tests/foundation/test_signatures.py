"""A wrapped function's parameters and the factory's own, in one signature."""

import inspect

import pytest

from runner.foundation.signatures import extended


def wrapped(x: int, *, rate: float) -> float:
    """Say something."""
    return x * rate


@pytest.mark.parametrize(("positional", "names"), [(False, ["rate", "more"]),
                                                   (True, ["x", "rate", "more"])])  # fmt: skip
def test_a_factory_shows_both(positional, names):
    made = extended(lambda *given, **options: None, wrapped, positional=positional, more=bool)
    parameters = inspect.signature(made).parameters
    assert list(parameters) == names
    assert (parameters["rate"].annotation, parameters["more"].annotation) == (float, bool)
    assert parameters["more"].kind is inspect.Parameter.KEYWORD_ONLY
    assert (made.__name__, made.__doc__) == ("wrapped", "Say something.")

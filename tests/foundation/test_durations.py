"""Durations: what can be written, what cannot, and how many steps it comes to."""

import pytest

from runner.foundation.durations import Clock, parse


@pytest.mark.parametrize(
    ("text", "amount", "unit"),
    [
        ("200steps", 200, "steps"),
        ("1step", 1, "step"),
        ("10epochs", 10, "epochs"),
        ("1epoch", 1, "epoch"),
        ("0.5epochs", 0.5, "epochs"),
        ("5%", 5, "%"),
        ("12.5%", 12.5, "%"),
        ("100%", 100, "%"),
        ("0steps", 0, "steps"),
        (" 5 epochs ", 5, "epochs"),
        ("2.0steps", 2, "steps"),
    ],
)
def test_parse(text, amount, unit):
    assert parse(text) == (amount, unit)


@pytest.mark.parametrize(
    "text",
    ["", "5", "steps", "-5steps", "5 minutes", "5stepss", "1e3steps", "101%", "100.1%", "nan%",
     "infsteps", ".5epochs", "5.epochs", "5steps 3epochs", "5steps\n6steps", 5, 5.0, None, True],
)  # fmt: skip
def test_parse_refuses(text):
    with pytest.raises(ValueError, match="expected a duration such as 200steps, 10epochs or 5%"):
        parse(text)


def test_parse_refuses_a_part_of_a_step():
    with pytest.raises(ValueError, match="expected a whole number of steps"):
        parse("1.5steps")


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("7steps", 7),
        ("3epochs", 51),
        ("0.5epochs", 8),  # 8.5, a tie, goes to the even number
        ("10%", 20),
        ("12.5%", 25),
        ("100%", 200),
        ("0.001epochs", 1),
        ("0.001%", 1),
        ("0steps", 0),
        ("0epochs", 0),
        ("0%", 0),
    ],
)
def test_resolution(text, steps):
    resolved = Clock(steps_per_epoch=17, total=200).steps(text)
    assert resolved == steps
    assert type(resolved) is int

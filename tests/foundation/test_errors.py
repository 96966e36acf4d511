"""Errors: exit codes of every kind, and the nearest word to a misspelt one."""

import pickle
import sys

import pytest

from runner.foundation import errors
from runner.foundation.errors import (
    Interrupted,
    Misconfigured,
    RunnerError,
    did_you_mean,
    nearest,
    no_exit,
)

KEYS = ["optimizer.lr", "optimizer.momentum", "trainer.batch_size", "seed", "architecture.hidden"]


@pytest.mark.parametrize(
    ("word", "words", "expected"),
    [
        ("lr", KEYS, "optimizer.lr"),
        ("trainer.lr", KEYS, "optimizer.lr"),
        ("sead", KEYS, "seed"),
        ("optimizer.momentun", KEYS, "optimizer.momentum"),
        ("batchsize", KEYS, "trainer.batch_size"),
        ("rellu", ["relu", "gelu", "tanh"], "relu"),
        ("relu", ["relu", "leaky_relu"], "relu"),
        ("RELU", ["relu", "gelu"], "relu"),
        ("Optimizer.LR", KEYS, "optimizer.lr"),
        ("x" * 100_000, KEYS, None),
        ("zebra", KEYS, None),
        ("zebra", [], None),
        ("", KEYS, None),
    ],
)
def test_nearest(word, words, expected):
    assert nearest(word, words) == expected


def test_nearest_does_not_depend_on_the_order_of_the_words():
    words = ["b.lr", "a.lr", "c.rate"]
    assert nearest("lr", words) == nearest("lr", reversed(words)) == "a.lr"


def test_did_you_mean():
    assert did_you_mean("rellu", ["relu"]) == "; did you mean 'relu'?"
    assert did_you_mean("zebra", ["relu"]) == ""


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("RunnerError", 1),
        ("Misconfigured", 2),
        ("BadData", 3),
        ("Diverged", 4),
        ("UnusableCheckpoint", 5),
        ("InUse", 7),
        ("Unwritable", 8),
    ],
)
def test_exit_codes(name, code):
    error = getattr(errors, name)("a message")
    assert isinstance(error, RunnerError)
    assert error.exit_code == code
    assert str(error) == "a message"


@pytest.mark.parametrize(("number", "code"), [(2, 130), (15, 143)])
def test_an_interruption_has_the_code_of_its_signal(number, code):
    assert Interrupted(number, "saved").exit_code == code


def test_every_mistake_is_kept_and_shown():
    assert Misconfigured("one").problems == ["one"]
    several = Misconfigured(["one", "two"])
    assert several.problems == ["one", "two"]
    assert str(several) == "one\ntwo"
    assert isinstance(several, ValueError)


def test_an_interruption_crosses_from_one_process_to_another() -> None:
    again = pickle.loads(pickle.dumps(Interrupted(15, "saved")))
    assert (again.exit_code, str(again)) == (143, "saved")


def test_who_calls_exit_without_being_a_command_fails() -> None:
    """F34."""
    with pytest.raises(RunnerError, match=r"its code called sys.exit\(0\)") as caught, no_exit():
        sys.exit(0)
    assert caught.value.exit_code == 1
    with pytest.raises(Interrupted), no_exit():
        raise Interrupted(15, "saved")


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "null"), (True, "true"), (1.5, "1.5"), ("a\n", "'a\\n'"), ([1, None], "[1, None]"),
     ("x" * 300, f"'{'x' * 119}... (300 characters)")],
)  # fmt: skip
def test_a_value_is_shown_as_yaml_has_it_and_not_without_end(value, text):
    assert errors.shown(value) == text


def test_numbers_that_are_too_large_are_a_mistake_of_their_group():
    expected = r"^x: a number of it, or what follows"
    with pytest.raises(Misconfigured, match=expected), errors.naming("x"):
        assert 1e300**2


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a 'b'\nc", "a 'b'\nc"),
        ("\x1b[31m", r"\x1b[31m"),
        ("\r\x9b", r"\r\x9b"),
        ("é \u202e", "é \\u202e"),
        ("\\n", "\\n"),
    ],
)
def test_what_a_terminal_would_obey_is_written_out(text, shown):
    """F42: an escape sequence in a word of the command line stays a text."""
    assert errors.printable(text) == shown

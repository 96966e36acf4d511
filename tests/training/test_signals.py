"""Signals: at once outside the loop, noted inside it, and twice means now."""

import os
import signal
import subprocess
import sys

import pytest

from runner.foundation.errors import Interrupted
from runner.training.signals import SIGNALS, deferred, raising

TWICE = """
import os, sys
from runner.training.signals import deferred
with deferred() as waiting:
    os.kill(os.getpid(), int(sys.argv[1]))
    print(waiting.number, flush=True)
    os.kill(os.getpid(), int(sys.argv[2]))
    print("still here", flush=True)
"""


@pytest.fixture(autouse=True)
def _handlers_are_put_back():
    before = [signal.getsignal(number) for number in SIGNALS]
    yield
    assert [signal.getsignal(number) for number in SIGNALS] == before


@pytest.mark.parametrize(
    ("number", "code", "name"), [(signal.SIGINT, 130, "SIGINT"), (signal.SIGTERM, 143, "SIGTERM")]
)
def test_raising(number, code, name):
    with pytest.raises(Interrupted, match=f"interrupted by {name}") as caught, raising():
        os.kill(os.getpid(), number)
    assert caught.value.exit_code == code


@pytest.mark.parametrize("number", SIGNALS)
def test_deferred_notes_the_number_and_goes_on(number):
    with deferred() as waiting:
        assert waiting.number == 0
        os.kill(os.getpid(), number)
        assert waiting.number == number
    with deferred() as again:
        assert again.number == 0


def test_deferred_inside_raising_and_back():
    with raising():
        with deferred() as waiting:
            os.kill(os.getpid(), signal.SIGTERM)
        assert waiting.number == signal.SIGTERM
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), signal.SIGTERM)


def test_handlers_are_put_back_after_an_error():
    before = [signal.getsignal(number) for number in SIGNALS]
    with pytest.raises(ZeroDivisionError), deferred():
        raise ZeroDivisionError
    assert [signal.getsignal(number) for number in SIGNALS] == before


@pytest.mark.parametrize(("first", "second", "code"), [(2, 2, 130), (15, 2, 130), (2, 15, 143)])
def test_the_second_signal_leaves_at_once(first, second, code):
    command = [sys.executable, "-c", TWICE, str(first), str(second)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (code, f"{first}\n", "")

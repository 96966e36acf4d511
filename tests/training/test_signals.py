"""Signals: at once outside the loop, noted inside it, and twice means now."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runner.foundation.errors import Interrupted
from runner.training.signals import SIGNALS, deferred, leaving, raising

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


ALONE = """
import os, signal, subprocess, sys, weakref
from runner.foundation.errors import Interrupted
from runner.training import signals

class Thing:
    pass

def told(error):
    print("told", error, flush=True)
    return Interrupted(error.exit_code - 128, "told")

def broken(error):
    raise RuntimeError

signals.own_process()
child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
print(child.pid, flush=True)
with signals.leaving(), signals.before_leaving(told), signals.before_leaving(broken):
    with signals.before_leaving(print):
        pass
    thing = Thing()
    kept = weakref.ref(thing, lambda _: os.kill(os.getpid(), signal.SIGTERM))
    del thing  # Python passes over what is raised in here
    print("still here", flush=True)
"""


def is_at_work(process: str) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False


def test_a_process_of_its_own_leaves_wherever_it_is():
    """F11: also where an exception would be lost; nothing that it started is left."""
    done = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True,
                          timeout=30, check=False)  # fmt: skip
    child, *others = done.stdout.splitlines()
    assert (done.returncode, others, done.stderr) == (
        143, ["told interrupted by SIGTERM"], "runner: told\n")  # fmt: skip
    until = time.monotonic() + 10
    while is_at_work(child):
        assert time.monotonic() < until
        time.sleep(0.05)


def test_leaving_raises_in_a_process_of_others():
    with pytest.raises(Interrupted, match="interrupted by SIGTERM"), leaving():
        os.kill(os.getpid(), signal.SIGTERM)

"""Loading without the collector of cycles; each case in a process of its own."""

import subprocess
import sys

import pytest

# What stands before loading, inside and behind: whether cycles are collected, how much is kept.
CASES = {
    "the first time": ("", "pass", (False, True, True)),
    "where it fails": ("", "raise KeyError", (False, True, True)),
    "torch is there": ("sys.modules['torch'] = None", "pass", (True, True, False)),
    "never collected": ("gc.disable()", "pass", (False, False, False)),
}
SCRIPT = """
import contextlib, gc, sys
from runner.foundation import memory
{before}
@memory.loading()
def load():
    global inside
    inside = gc.isenabled()
    {body}
with contextlib.suppress(KeyError):
    load()
print(inside, gc.isenabled(), gc.get_freeze_count() > 0)
"""


@pytest.mark.parametrize("case", CASES)
def test_loading(case):
    before, body, expected = CASES[case]
    script = SCRIPT.format(before=before, body=body)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True,
                          timeout=60, check=True)  # fmt: skip
    assert done.stdout.split() == list(map(str, expected))

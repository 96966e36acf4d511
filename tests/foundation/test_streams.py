"""The standard streams: whoever reads them may leave, and no letter is too much for them."""

import contextlib
import os
import subprocess
import sys

import pytest

from runner.foundation.streams import forgiving

SCRIPT = """
import os, sys
from runner.foundation.streams import forgiving
with forgiving() as failures:
    for at in range(20_000):
        print("a line that fills what is between us")
    print("naïve \\u2713 \\udce9", flush=True)
    print("still here", file=sys.stderr)
with open(sys.argv[1], "w") as file:
    print(file.fileno(), failures, file=file)
"""


def done(tmp_path, stdout, encoding="ascii", before=()):
    """Run the script; return its end, what it says on the other stream, and what it met."""
    command = [*before, sys.executable, "-c", SCRIPT, str(tmp_path / "file")]
    ended = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, timeout=30, check=False,
                           env={**os.environ, "PYTHONIOENCODING": encoding})  # fmt: skip
    return ended, (tmp_path / "file").read_text().strip()


def test_a_reader_who_leaves_ends_nothing(tmp_path):
    """F45: the pipe to `head -1` breaks in mid-word; no complaint, not even at the exit."""
    reading, writing = os.pipe()
    os.close(reading)
    ended, met = done(tmp_path, writing)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (0, b"still here\n")
    assert met.endswith("[]")


def test_an_output_that_is_full_is_told_of_at_the_end(tmp_path):
    """F45, F07."""
    with open("/dev/full", "wb") as full:
        ended, met = done(tmp_path, full)
    assert (ended.returncode, ended.stderr) == (0, b"still here\n")
    assert "No space left on device" in met


def test_an_output_that_was_closed_gives_its_number_to_no_file(tmp_path):
    """F45: a library that prints would write into it."""
    ended, met = done(tmp_path, None, before=("sh", "-c", 'exec "$@" >&-', "sh"))
    assert (ended.returncode, ended.stderr) == (0, b"still here\n")
    assert met == "3 []"


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [("ascii", rb"na\xefve \u2713 \udce9"), ("utf-8", "naïve \u2713 \\udce9".encode())],
)
def test_letters_that_an_encoding_lacks_become_escapes(tmp_path, encoding, shown):
    """F45: LANG=C, and a name that is no text at all."""
    ended, _ = done(tmp_path, subprocess.PIPE, encoding)
    assert ended.returncode == 0
    assert ended.stdout.splitlines()[-1] == shown


def test_the_streams_are_what_they_were_afterwards():
    before = sys.stdout, sys.stderr
    with contextlib.suppress(KeyError), forgiving():
        assert sys.stdout is not before[0]
        assert sys.stdout.fileno() == before[0].fileno()
        raise KeyError
    assert (sys.stdout, sys.stderr) == before

"""Train a few steps twice, each time in a new process, and find where the two part.

The process is told by its standard input what to train, and writes hashes into a file: of the data,
and after each step of the weights, of what the optimizer remembers, and of the metrics.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runner.foundation.errors import Misconfigured, RunnerError, no_exit
from runner.foundation.files import read_json, write_json

STEPS = 20
PARTS = ("weights", "optimizer", "metrics")


def once(record: Mapping[str, Any], trust: list[str]) -> dict[str, Any]:
    """Train a configuration, as recorded, in a new process; return what it found.

    `data` is a hash, `steps` are those of each part after each step, the first before any. Raises
    what the process raises.
    """
    home = str(Path(__file__).resolve().parents[2])
    known = [each for each in [os.environ.get("PYTHONPATH")] if each]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "found.json"
        done = subprocess.run(
            [sys.executable, "-P", "-m", "runner.execution.determinism", str(path)],
            input=json.dumps({"record": record, "trust": trust}),
            env={**os.environ, "PYTHONPATH": os.pathsep.join([home, *known])},
            start_new_session=True,  # Ctrl-C is this process's, which ends the other
            text=True,
            check=False,
        )
        found = read_json(path)
    if "error" in found:
        error = RunnerError(found["error"])
        error.exit_code = found["exit_code"]
        raise error
    if done.returncode or not found:
        raise RunnerError(f"the process that trained ended with exit code {done.returncode}")
    return found


def parted(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, int | None]:
    """Return for the data and each part the first step after which two findings differ, or None."""
    steps = list(zip(first["steps"], second["steps"], strict=False))
    last = None if len(first["steps"]) == len(second["steps"]) else len(steps)

    def first_of(part: str) -> int | None:
        return next((at for at, (a, b) in enumerate(steps) if a.get(part) != b.get(part)), last)

    data = None if first["data"] == second["data"] else 0
    return {"data": data, **{part: first_of(part) for part in PARTS}}


# The process that trains


def main(path: Path) -> int:
    """Train what the standard input says; write hashes, or what went wrong; return exit code."""
    asked = json.load(sys.stdin)
    try:
        with no_exit():
            found = _found(asked)
    except RunnerError as error:
        found = {"error": str(error), "exit_code": error.exit_code}
    write_json(path, found)
    return 0


def _found(asked: Mapping[str, Any]) -> dict[str, Any]:
    from runner import config
    from runner.assemble.fingerprint import fingerprint
    from runner.assemble.settings import Settings
    from runner.assemble.speed import settled
    from runner.compose import values
    from runner.execution.hooks import advancing

    if asked["trust"]:
        sys.path.append(str(Path.cwd()))  # behind all others, as the command has it
    problems: list[str] = []
    resolved = values.resolved(asked["record"], problems)
    if problems:
        raise Misconfigured(problems)
    settings = config.check(resolved, Settings, trust=asked["trust"])
    run = settled(settings, lambda text: None)
    assert run.begun is not None, "it is settled"
    state, step, _ = run.begun
    advance = advancing(run, step)
    steps = [_hashes(state.pack(), None)]
    while state.step < min(STEPS, run.clock.total):
        loss = advance(state).loss
        steps.append(_hashes(state.pack(), loss))
    splits = [name for name in ("train", "valid") if len(run.data.splits[name])]
    steps[-1]["metrics"] = _hash([loss, *map(run.evaluate, splits)])
    return {"data": run.data.checksum(), "steps": steps, "fingerprint": fingerprint(run)}


def _hashes(packed: Mapping[str, Any], loss: Any) -> dict[str, str]:
    others = [packed[name] for name in ("slots", "averages", "schedule")]
    return {part: _hash(content) for part, content in
            zip(PARTS, (packed["model"], others, loss), strict=True)}  # fmt: skip


def _hash(content: Any) -> str:
    digest = hashlib.sha256()
    _digest(content, digest)
    return digest.hexdigest()[:16]


def _digest(content: Any, digest: Any) -> None:
    """Let a hash take in nested content, tensors bit by bit."""
    import torch

    if isinstance(content, torch.Tensor):
        digest.update(repr((content.dtype, tuple(content.shape))).encode())
        digest.update(content.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    elif isinstance(content, Mapping):
        for name, each in content.items():
            digest.update(repr(name).encode())
            _digest(each, digest)
    elif isinstance(content, list | tuple):
        for each in content:
            _digest(each, digest)
    else:
        digest.update(repr(content).encode())


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

"""Every command of the README runs: cut short in the fast tier, as written in the slow one."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
LINES = [line for block in re.findall(r"```sh\n(.*?)```", README, re.S)
         for line in block.splitlines()]  # fmt: skip
COMMANDS = [line for line in LINES if line.startswith("runner ")]
# What is run elsewhere: the two set-up commands by .ci/run, which also runs this suite; the bench
# in tests/test_bench.py; the user's own option needs files of the user's, which
# tests/cli/test_train.py makes.
ELSEWHERE = ("python3 -m venv", "pip install", "scripts/bench", "runner --config-dir")
LOOKS = ("list", "show", "--help", "runs", "diff", "evaluate", "resume", "env", "report",
         "diagnose")  # fmt: skip


def fashion_mnist_is_here() -> bool:
    from runner.components.dataset.images import DEBIAN_FASHION_MNIST

    return DEBIAN_FASHION_MNIST.is_dir()


def make_tiny_fashion_mnist(folder: Path) -> None:
    import torch

    generator = torch.Generator().manual_seed(0)
    for part, count in (("train", 300), ("t10k", 60)):
        images = torch.randint(0, 256, (count * 784,), generator=generator, dtype=torch.uint8)
        labels = torch.arange(count, dtype=torch.uint8) % 10
        header = [count.to_bytes(4, "big"), (28).to_bytes(4, "big"), (28).to_bytes(4, "big")]
        content = b"\0\0\x08\x03" + b"".join(header) + images.numpy().tobytes()
        (folder / f"{part}-images-idx3-ubyte").write_bytes(content)
        content = b"\0\0\x08\x01" + header[0] + labels.numpy().tobytes()
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(content)


def test_every_line_is_accounted_for() -> None:
    assert len(COMMANDS) >= 20
    assert set(EXPECTED) <= set(LINES)
    for line in LINES:
        assert line.startswith(("runner ", *ELSEWHERE)), line


@pytest.mark.parametrize("line", [line for line in COMMANDS if not line.startswith(ELSEWHERE)])
def test_a_command_cut_short(runner, line: str, tmp_path: Path) -> None:
    words = shlex.split(line)[1:]
    if words[0] not in LOOKS:
        longer = ("trainer=", "dataset.subset=")
        words = [word for word in words if not word.startswith(longer)] + ["trainer=quick"]
        if "fashion" in line:
            make_tiny_fashion_mnist(tmp_path)
            words.append(f"dataset.root={tmp_path}")
    elif words[0] in ("runs", "diff", "evaluate") or words == ["report", "last"]:
        assert runner("trainer=quick", "name=wide").code == 0
    elif words[0] == "diagnose":
        assert runner("trainer=quick", f"name={words[1]}").code == 0
    elif words[0] == "report":
        sweep = ["-m", "seeds=2", "trainer=quick", f"name={words[1]}"]
        assert runner(*sweep).code == 0
    if "--help" in words:
        with pytest.raises(SystemExit, match=r"^0$"):
            runner(*words)
        return
    done = runner(*words)
    assert done.code == 0, done.err


DEEP = "architecture.hidden=[100,100,100,100,100,100,100,100,100,100] activation=tanh"
EXPECTED = {  # test accuracy, from and to
    f"runner {DEEP} initializer=normal_small name=deep": (0, 0.2),
    "runner dataset=fashion_mnist architecture=mlp": (0.88, 1),
    "runner experiment=fashion_cnn": (0.90, 1),
    "runner dataset=annulus architecture=linear": (0.70, 0.76),  # the share of the larger class
    "runner dataset=annulus architecture=mlp": (0.95, 1),
    "runner dataset=mnist1d architecture=mlp optimizer=adam optimizer.lr=0.01": (0.65, 0.71),
    "runner dataset=mnist1d architecture=cnn": (0.91, 0.97),
}


JOBS = 18  # of the sweep


@pytest.mark.slow
@pytest.mark.parametrize(
    "line",
    [
        line
        for line in COMMANDS
        if line.split()[1].partition("=")[2] or "[" in line or " -m " in line
    ],
)
def test_a_command_as_written(runner, line: str) -> None:
    import json

    if " -m " in line:
        done = runner(*shlex.split(line)[1:])
        tables = [each.read_text().splitlines() for each in Path("outputs").glob("*/*/results.csv")]
        assert [len(table) for table in tables] == ([] if "--dry-run" in line else [1 + JOBS])
        assert done.code == (0 if "fashion" not in line or fashion_mnist_is_here() else 6)
        return
    if "fashion" in line and not fashion_mnist_is_here():
        done = runner(*shlex.split(line)[1:])
        assert done.code == 3
        assert "dataset-fashion-mnist" in done.err
        return
    done = runner(*shlex.split(line)[1:])
    assert done.code == 0, done.err
    (summary,) = Path().rglob("summary.json")
    content = json.loads(summary.read_text())
    low, high = EXPECTED.get(line, (0.5, 1))
    quick = "trainer=quick" in line
    assert quick or low <= content.get("test", content["train"]).get("accuracy", 1.0) <= high
    assert line in EXPECTED or "fashion" not in line

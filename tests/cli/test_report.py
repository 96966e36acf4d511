"""`runner report`: on real runs laid out as a sweep, as one process and without torch."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RATES = [0.1, 0.01]


def python(*words: str) -> None:
    """Run Python in a process of its own; its exit code has to be 0."""
    subprocess.run([sys.executable, *words], check=True, timeout=120, stdout=subprocess.DEVNULL,
                   env={**os.environ, "PYTHONPATH": str(ROOT)})  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train two small runs and lay them out as the jobs of a sweep."""
    root = tmp_path_factory.mktemp("trained")
    sweep, jobs = root / "default/rates", {}
    for at, rate in enumerate(RATES):
        words = ["trainer=quick", f"optimizer.lr={rate}", f"output_root={root / 'runs'}",
                 "tensorboard=false", "threads=1", "compile=false", f"name=lr{rate}"]  # fmt: skip
        python("-m", "runner", *words)
        (run,) = (root / "runs/default").glob(f"*-lr{rate}-*")
        shutil.copytree(run, sweep / f"lr{rate}")
        jobs[f"{at}"] = {"directory": f"lr{rate}", "swept": {"optimizer.lr": rate}}
    plan = {"name": "rates", "swept": ["optimizer.lr"], "created": 1e12, "jobs": jobs}
    (sweep / "sweep.json").write_text(json.dumps(plan))
    return root


@pytest.fixture
def outputs(trained: Path) -> Path:
    """A copy of it where commands look."""
    shutil.copytree(trained / "default", Path("outputs/default"))
    return Path("outputs/default/rates")


@pytest.mark.parametrize("word", ["outputs/default/rates", "last", "rat", "rates"])
def test_a_sweep_is_found_as_runs_are(runner, outputs, word) -> None:
    done = runner("report", word)
    assert done.code == 0
    assert "jobs    2: 2 finished" in done.out
    summaries = {rate: json.loads((outputs / f"lr{rate}/summary.json").read_text())
                 for rate in RATES}  # fmt: skip
    values = {rate: each["best"]["value"] for rate, each in summaries.items()}
    (best,) = [line.split() for line in done.out.splitlines() if line.startswith("*  ")]
    assert float(best[1]) == max(values, key=values.__getitem__)
    assert float(best[3]) == pytest.approx(max(values.values()), abs=1e-4)
    rows = list(csv.DictReader((outputs / "results.csv").read_text().splitlines()))
    assert [float(row["test/loss"]) for row in rows] == [
        summaries[rate]["test"]["loss"] for rate in RATES
    ]
    assert [row["seed"] for row in rows] == ["0", "0"]


def test_forms_to_paste(runner, outputs) -> None:
    latex = runner("report", "rates", "--latex")
    assert latex.out.startswith("% \\usepackage{booktabs}\n\\begin{tabular}{lrrr}")
    assert latex.out.endswith("\\end{tabular}\n")
    rows = list(csv.DictReader(runner("report", "rates", "--csv").out.splitlines()))
    assert [row["optimizer.lr"] for row in rows] == ["0.1", "0.01"]
    assert (outputs / "results.csv").is_file()


def test_figures(runner, outputs) -> None:
    done = runner("report", "rates", "--figures", "--csv")
    assert done.code == 0
    printed = {Path(line) for line in done.err.splitlines()}
    assert printed == set((outputs / "figures").iterdir())
    assert len(printed) == 4
    assert len(done.out.splitlines()) == 3, "what is piped is the table alone"
    run = runner("report", str(outputs / "lr0.1"), "--figures")
    assert "best weights of step" in run.out
    assert f"page    {outputs / 'lr0.1/report.html'}" in run.out
    assert (outputs / "lr0.1/figures/curves.png").is_file()


def test_a_page_of_a_run_says_what_was_changed(runner, outputs) -> None:
    done = runner("report", "rates/lr0.1")
    assert (done.code, done.err) == (0, "")
    text = (outputs / "lr0.1/report.html").read_text()
    marked = re.findall(r"<mark>(.*?)</mark>", text)
    assert {"optimizer.lr: 0.1", "tensorboard: false", "threads: 1"} < {*marked}
    assert "trainer.steps: 20" not in marked, "trainer=quick is what was changed"
    assert "runner trainer=quick optimizer.lr=0.1" in text
    assert "it is a job of a sweep" not in text


def test_options_that_are_gone_leave_a_page_without_marks(runner, outputs) -> None:
    path = outputs / "lr0.1/overrides.yaml"
    path.write_text(path.read_text().replace("optimizer: momentum", "optimizer: mine"))
    assert runner("report", "rates/lr0.1").code == 0
    text = (outputs / "lr0.1/report.html").read_text()
    assert "optimizer.lr: 0.1" in text
    assert "<mark>" not in text


@pytest.mark.parametrize("name", ["jinja2", "matplotlib"])
def test_without_the_extra_it_is_named_and_all_else_is_said(
    runner, outputs, monkeypatch, name
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    done = runner("report", "rates/lr0.1")
    assert done.code == 0
    assert "best weights of step" in done.out
    assert done.err == f"a page needs {name}: pip install 'runner[reports]'\n"
    assert not (outputs / "lr0.1/report.html").exists()


def test_no_page_is_written_beside_a_link(runner, outputs) -> None:
    (outputs / "lr0.1/error.txt").symlink_to("/etc/hostname")
    done = runner("report", "rates/lr0.1")
    assert done.code == 0
    assert "best weights of step" in done.out
    assert done.err.startswith("warning: no page: outputs/default/rates/lr0.1/error.txt: a link")
    assert not (outputs / "lr0.1/report.html").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing"], "no run 'nothing' (1 runs in outputs)"),
        (["outputs/default"], "neither a sweep (sweep.json) nor a run (status.json); "
                              "the sweeps in it: rates"),
        (["rates/lr0.1", "--latex"], "is a single run: --latex and --csv are tables of sweeps"),
        (["rates", "--latex", "--csv"], "not allowed with argument"),
        (["rates", "seed=1"], "seed: a report takes only output_root="),
        (["rates", "--figure"], "did you mean '--figures'?"),
    ],
)  # fmt: skip
def test_mistakes(runner, outputs, words, said) -> None:
    done = runner("report", *words)
    assert done.code == 2
    assert said in done.err


def test_a_table_never_imports_torch_or_hydra(outputs) -> None:
    script = """
import sys
from runner import cli
for words in (["rates"], ["rates", "--latex"], ["rates", "--csv"], ["rates", "--verbose"]):
    assert cli.run(["report", *words]) == 0, words
    heavy = {"torch", "hydra", "omegaconf", "numpy", "tensorboard", "matplotlib"} & set(sys.modules)
    assert not heavy, (words, heavy)
assert cli.run(["report", "rates", "--figures"]) == 0
assert not {"torch", "hydra", "omegaconf", "pandas"} & set(sys.modules)
assert cli.run(["report", "rates/lr0.1"]) == 0
assert "torch" not in sys.modules
"""
    python("-c", script)

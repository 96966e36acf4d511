"""A run that goes on with other values: what it takes, what it says, what it refuses."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from resuming import (
    begin,
    composed,
    cut,
    differences,
    quickened,
    record,
    recorded_once,
    rewrite,
    started,
    terminal,
)

from runner.assemble import fingerprint as fingerprints
from runner.execution import launch as launching
from runner.recording import directory
from runner.training import checkpoints

# 1079 training rows: 8 steps in an epoch, 32 in the run.
PLAIN = ("architecture.hidden=[16]", "trainer.batch_size=128", "trainer.epochs=4",
         "trainer.log_every=8steps", "threads=1", "device=cpu", "compile=trace",
         "tensorboard=false", "optimizer.lr=0.1")  # fmt: skip
CONSTANT = (*PLAIN, "schedule=constant")


@pytest.fixture(autouse=True, scope="module")
def _quick() -> Iterator[None]:
    with quickened():
        yield


@pytest.fixture(scope="module")
def uncut(tmp_path_factory):
    return recorded_once(tmp_path_factory)


def cut_at(root: Path, after: int = 11, overrides: tuple[str, ...] = PLAIN) -> Path:
    with cut(after):
        begin(overrides, root)
    return started(root)


def snapshot(folder: Path) -> dict[Path, tuple[bytes, int]]:
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def loaded(folder: Path) -> dict[str, Any]:
    return checkpoints.load(folder / directory.CHECKPOINTS, pytest.fail)


def edit(folder: Path, old: str, new: str) -> None:
    path = folder / directory.CONFIG
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


# ---- what a checkpoint knows ------------------------------------------------------------------


def test_a_checkpoint_knows_what_it_is_of(tmp_path):
    content = loaded(cut_at(tmp_path))
    assert content["config"]["optimizer.lr"] == 0.1
    assert content["config"]["architecture.hidden"] == [16]
    assert content["config"]["schedule._target_"].endswith(".cosine")
    assert content["config"]["name"] is None
    assert content["started"] == directory.status(started(tmp_path))["started"]
    found = content["fingerprint"]
    assert [found[name] for name in ("torch", "threads", "device", "step", "trained")] == [
        str(torch.__version__), 1, "cpu", "traced", "alone"]  # fmt: skip
    assert found["processor"]
    assert found["kernels"] == torch.backends.cpu.get_cpu_capability()


def test_no_environment_value_is_in_a_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setenv("CANARY", "tweety")
    folder = cut_at(tmp_path, overrides=(*PLAIN, "name=${oc.env:CANARY}"))
    assert loaded(folder)["config"]["name"] == "${oc.env:CANARY}"
    assert b"tweety" not in checkpoints.listed(folder / directory.CHECKPOINTS)[0].read_bytes()


def test_a_checkpoint_of_the_former_format_goes_on(tmp_path, uncut):
    folder = cut_at(tmp_path)
    content = loaded(folder)
    for name in ("config", "fingerprint", "started"):
        del content[name]
    for name in ("skipped", "unmoved", "rollbacks"):
        del content["state"][name]
    rewrite(folder / directory.CHECKPOINTS, {**content, "format": 1})
    shown = terminal()
    launching.resume(composed(PLAIN)[0], folder, shown)
    assert "not bit-exact" not in shown.console.file.getvalue()
    assert differences(folder, uncut(PLAIN)) == []
    assert loaded(folder)["format"] == checkpoints.FORMAT == 2


# ---- what differs so that bits may ------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "then", "line"),
    [("threads", 2, "threads 2 -> 1"), ("torch", "2.0.0", "torch 2.0.0 -> {torch}"),
     ("device", "cuda NVIDIA H200", "device cuda NVIDIA H200 -> cpu"),
     ("kernels", "AVX1", "kernels AVX1 -> {kernels}"),
     ("step", "compiled", "step compiled -> traced"),
     ("trained", "as lanes", "trained as lanes -> alone")],
)  # fmt: skip
def test_what_bits_depend_on_is_told(tmp_path, uncut, name, then, line):
    """F19: said in a line, kept in the status, through further resumes too."""
    folder = cut_at(tmp_path)
    content = loaded(folder)
    now = content["fingerprint"]
    rewrite(folder / directory.CHECKPOINTS, {**content, "fingerprint": {**now, name: then}})
    shown = terminal()
    with cut(4):
        launching.resume(composed(PLAIN)[0], folder, shown)
    told = line.format(**now)
    assert f"\nnot bit-exact: {told}\n" in shown.console.file.getvalue()
    assert directory.status(folder)["not_bit_exact"] == [told]
    again = terminal()
    launching.resume(composed(PLAIN)[0], folder, again)
    assert "not bit-exact" not in again.console.file.getvalue()
    assert directory.status(folder)["not_bit_exact"] == [told]
    assert differences(folder, uncut(PLAIN)) == []


def test_another_number_of_threads(tmp_path, runner):
    """F19, F15: the number is taken, told and recorded."""
    folder = cut_at(tmp_path)
    done = runner("resume", str(folder), "threads=2")
    assert done.code == 0, done.err
    assert "\nnot bit-exact: threads 1 -> 2\n" in done.out
    status = directory.status(folder)
    assert [status["state"], status["not_bit_exact"]] == ["finished", ["threads 1 -> 2"]]
    assert loaded(folder)["fingerprint"]["threads"] == 2
    assert yaml.safe_load((folder / directory.CONFIG).read_text())["threads"] == 2
    torch.set_num_threads(1)


def test_a_traced_step_has_the_bits_of_the_plain_one(tmp_path, runner, uncut):
    """F19: a resume that is exact says nothing."""
    folder = cut_at(tmp_path)
    done = runner("resume", str(folder), "compile=false")
    assert done.code == 0, done.err
    assert "not bit-exact" not in done.out
    assert "not_bit_exact" not in directory.status(folder)
    assert loaded(folder)["fingerprint"]["step"] == "plain"
    assert differences(folder, uncut(PLAIN)) == []


def test_differences_of_what_is_unknown():
    now = {"torch": "2", "step": "plain"}
    assert fingerprints.differences({}, now) == []
    assert fingerprints.differences({"torch": "2"}, now) == ["step unknown -> plain"]


# ---- other values -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "lines"),
    [(["optimizer.lr=0.01"], ["optimizer.lr: 0.1 -> 0.01"]),
     (["architecture.hidden=[32]"], ["architecture.hidden: [16] -> [32]"]),
     (["dataset=wine"], ["dataset._target_: runner.components.dataset."]),
     (["trainer.batch_size=64", "seed=1"], ["trainer.batch_size: 128 -> 64", "seed: 0 -> 1"]),
     (["stopping=early"], ["stopping._target_:", "stopping.patience: absent -> "]),
     (["objective=valid/loss"], ["objective: auto -> valid/loss"]),
     (["trainer.evaluate_every=4steps"], ["trainer.evaluate_every: 1epochs -> 4steps"]),
     (["trainer.epochs=3", "precision=float64"],
      ["trainer.epochs: 4 -> 3", "precision: float32 -> float64", "the run would be shorter"])],
    ids="+".join,
)  # fmt: skip
def test_what_changes_the_result_is_refused(tmp_path, runner, words, lines):
    """F15: exit 2 with every old and new value, and the way to allow them; nothing is changed."""
    folder = cut_at(tmp_path)
    before = snapshot(folder)
    done = runner("resume", str(folder), *words)
    assert done.code == 2
    assert "Traceback" not in done.err
    assert all(f"\n    {line}" in done.err for line in lines), done.err
    keys = [line.partition(":")[0] for line in lines if ": " in line and " -> " in line]
    assert all(key in re.search(r"resume\.allow=\[(.*)\]", done.err)[1] for key in keys)
    assert "step 11 was reached with other values" in done.err
    assert snapshot(folder) == before


def test_an_edited_record_is_a_change(tmp_path, runner):
    """F15: whether a value was typed or written into config.yaml is the same."""
    folder = cut_at(tmp_path)
    edit(folder, "lr: 0.1", "lr: 0.05")
    done = runner("resume", str(folder))
    assert done.code == 2
    assert "optimizer.lr: 0.1 -> 0.05" in done.err
    assert runner("resume", str(folder), "optimizer.lr=0.1").code == 0
    assert yaml.safe_load((folder / directory.CONFIG).read_text())["optimizer"]["lr"] == 0.1


def test_what_is_allowed_is_recorded(tmp_path, runner, uncut):
    """F15: the new values stand in config.yaml, and when they changed in overrides.yaml."""
    folder = cut_at(tmp_path)
    words = ["optimizer.lr=0.01", "trainer.log_every=4steps"]
    done = runner("resume", str(folder), *words, "resume.allow=[optimizer.lr]")
    assert done.code == 0, done.err
    assert "\nchanged optimizer.lr: 0.1 -> 0.01\n" in done.out
    assert differences(folder, uncut(PLAIN)) != []
    config = yaml.safe_load((folder / directory.CONFIG).read_text())
    assert [config["optimizer"]["lr"], config["trainer"]["log_every"]] == [0.01, "4steps"]
    assert "resume" not in config
    recorded = yaml.safe_load((folder / directory.OVERRIDES).read_text())
    assert recorded["overrides"] == list(PLAIN)
    assert recorded["resumed"] == [
        {"step": 11, "changed": {"optimizer.lr": [0.1, 0.01],
                                 "trainer.log_every": ["8steps", "4steps"]}}]  # fmt: skip
    content = loaded(folder)
    assert content["config"]["optimizer.lr"] == 0.01
    assert content["step"] == 32
    again = runner("resume", str(folder))
    assert (again.code, "already finished (step 32)" in again.out) == (0, True)


def test_an_allowed_change_is_allowed_for_good(tmp_path, runner):
    """F15: a run that dies before its next save goes on with the new values unasked."""
    folder = cut_at(tmp_path)
    with cut(1, kill=True):
        runner("resume", str(folder), "optimizer.lr=0.01", "resume.allow=[optimizer]")
    content = loaded(folder)
    assert (content["step"], content["config"]["optimizer.lr"]) == (11, 0.01)
    done = runner("resume", str(folder))
    assert done.code == 0, done.err
    assert "changed" not in done.out


def test_an_option_may_be_changed(tmp_path, runner):
    """F15: a whole group by another option, and its values."""
    folder = cut_at(tmp_path)
    words = ["clipping=norm", "clipping.norm.limit=0.25", "resume.allow=[clipping]"]
    done = runner("resume", str(folder), *words)
    assert done.code == 0, done.err
    assert "changed clipping.norm.limit: absent -> 0.25" in done.out
    config = yaml.safe_load((folder / directory.CONFIG).read_text())
    assert config["clipping"]["norm"]["limit"] == 0.25
    assert yaml.safe_load((folder / directory.OVERRIDES).read_text())["choices"]["clipping"] == (
        "norm"
    )


def test_names_places_and_rows_may_change(tmp_path, runner, uncut):
    """F15: harmless keys."""
    folder = cut_at(tmp_path)
    words = ["name=other", "trainer.log_every=5steps", "trainer.save_every=3steps",
             "tensorboard=true", "summary=true"]  # fmt: skip
    done = runner("resume", str(folder), *words)
    assert done.code == 0, done.err
    assert "not bit-exact" not in done.out
    whole = uncut(PLAIN)
    assert record(folder)["summary"] == whole["summary"]
    weights = {key: each for key, each in record(folder)["state"].items() if "window" not in key}
    assert weights == {key: each for key, each in whole["state"].items() if "window" not in key}


def test_where_a_run_saves_matters_to_one_that_goes_back_there(tmp_path, runner):
    """F15: the period of saving is then no harmless key."""
    folder = cut_at(tmp_path, overrides=(*PLAIN, "trainer.on_nonfinite=rollback"))
    words = ["resume", str(folder), "trainer.save_every=3steps"]
    refused = runner(*words)
    assert refused.code == 2
    assert "\n    trainer.save_every: null -> 3steps" in refused.err
    assert runner(*words, "resume.allow=[trainer.save_every]").code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [(["optimizer.lrr=1"], "optimizer.lrr: unknown key"),
     (["optimizer.lr=-1"], "optimizer.lr: expected a number > 0, got -1"),
     (["optimizer=adm"], "did you mean 'adam'?"),
     (["seeds=3"], "seeds: belongs to a sweep"),
     (["experiment=fashion_cnn"], "experiment: is where a run begins"),
     (["resume.allow=[optimizer.lrr]"],
      "resume.allow: unknown key 'optimizer.lrr'; did you mean 'optimizer.lr'?"),
     (["resume.alow=[seed]"], "resume.alow: unknown key; did you mean 'resume.allow'?"),
     (["resume=auto"], "resume: belongs to train"), (["run_dir=x"], "run_dir: belongs to train"),
     (["resume.allow="], "resume.allow: missing value after '='")],
    ids=lambda each: each[0] if isinstance(each, list) else "",
)  # fmt: skip
def test_mistakes(tmp_path, runner, words, message):
    folder = cut_at(tmp_path)
    before = snapshot(folder)
    done = runner("resume", str(folder), *words)
    assert (done.code, "Traceback" in done.err) == (2, False)
    assert message in done.err
    assert snapshot(folder) == before


# ---- longer -----------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [11, 32, None], ids=str)
@pytest.mark.parametrize("words", [["trainer.epochs=8"], ["trainer.steps=64"]], ids="".join)
def test_a_run_is_extended(tmp_path, runner, uncut, after, words):
    """F17: cut or finished, it becomes the longer run, bit for bit."""
    folder = cut_at(tmp_path, after, CONSTANT) if after else begin(CONSTANT, tmp_path)
    done = runner("resume", str(folder), *words)
    assert done.code == 0, done.err
    assert "not bit-exact" not in done.out
    longer = tuple(each.replace("epochs=4", "epochs=8") for each in CONSTANT)
    assert differences(folder, uncut(longer)) == []
    assert directory.status(folder)["step"] == 64


@pytest.mark.parametrize(
    ("more", "reason"),
    [((), "schedule cosine goes by the length of training: at step 1 its factor was "),
     (("schedule=constant", "trainer.evaluate_every=25%"), "trainer.evaluate_every=25%: a share"),
     (("schedule=constant", "schedule.warmup=10%"), "schedule.warmup=10%: a share"),
     (("schedule=multi_step", "schedule.milestones=[25%,75%]"), ": a share of the length")],
    ids=["cosine", "evaluations", "warm-up", "milestones"],
)  # fmt: skip
def test_a_run_that_hangs_on_its_length(tmp_path, runner, uncut, more, reason):
    """F17: exit 2 with the reason; allowed all the same if the user says so."""
    folder = begin((*PLAIN, *more), tmp_path)
    before = snapshot(folder)
    refused = runner("resume", str(folder), "trainer.epochs=5")
    assert refused.code == 2
    assert "trainer.epochs: 4 -> 5" in refused.err
    assert reason in refused.err
    assert "resume.allow=[trainer.epochs]" in refused.err
    assert snapshot(folder) == before
    done = runner("resume", str(folder), "trainer.epochs=5", "resume.allow=[trainer.epochs]")
    assert done.code == 0, done.err
    assert directory.status(folder)["step"] == 40


def test_a_schedule_that_hangs_on_its_length_later_only(tmp_path, runner, uncut):
    """F17: while the factor is the same under both lengths, nothing has been decided by them."""
    overrides = (*PLAIN, "schedule=linear", "schedule.warmup=4steps")
    folder = cut_at(tmp_path, 4, overrides)
    assert runner("resume", str(folder), "trainer.epochs=5").code == 0
    longer = tuple(each.replace("epochs=4", "epochs=5") for each in overrides)
    assert differences(folder, uncut(longer)) == []


def test_the_row_of_the_former_end_is_told(tmp_path, runner):
    """F17, F19: an evaluation that the longer run would not have had."""
    overrides = (*CONSTANT, "trainer.evaluate_every=5steps")
    folder = begin(overrides, tmp_path)
    done = runner("resume", str(folder), "trainer.epochs=5")
    assert done.code == 0, done.err
    line = "a row and an evaluation at step 32, the end until now"
    assert f"not bit-exact: {line}\n" in done.out
    assert directory.status(folder)["not_bit_exact"] == [line]


def test_a_run_is_not_shortened_behind_where_it_is(tmp_path, runner):
    folder = cut_at(tmp_path, overrides=CONSTANT)
    words = ["trainer.epochs=1", "resume.allow=[trainer.epochs]"]
    done = runner("resume", str(folder), *words)
    assert done.code == 2
    assert "trainer.epochs: 8 steps are asked for, and the run is at step 11 already" in done.err


STOPS = (*CONSTANT, "stopping=early", "stopping.patience=1", "stopping.min_delta=1")  # at step 16


def test_a_run_that_its_stopping_rule_has_ended(tmp_path, runner, uncut):
    """F17: more epochs change nothing, another rule does."""
    folder = begin(STOPS, tmp_path)
    assert directory.status(folder)["step"] == 16
    done = runner("resume", str(folder), "trainer.epochs=8")
    assert done.code == 2
    assert "ended at step 16 by its stopping rule" in done.err
    words = ["stopping=none", "resume.allow=[stopping]"]
    assert runner("resume", str(folder), *words).code == 0
    whole = uncut(CONSTANT)
    assert record(folder)["metrics"] == whole["metrics"]


def test_a_run_that_the_clock_has_ended(tmp_path, runner):
    """F17: more minutes are more steps."""
    overrides = (*CONSTANT, "trainer.minutes=1e-9")
    folder = begin(overrides, tmp_path)
    assert directory.status(folder)["step"] == 1
    done = runner("resume", str(folder), "trainer.epochs=5")
    assert done.code == 2
    assert "ended at step 1 by the clock; change trainer.minutes too" in done.err
    done = runner("resume", str(folder), "trainer.minutes=10")
    assert done.code == 0, done.err
    assert directory.status(folder)["step"] == 32
    assert "not bit-exact: a row and an evaluation at step 1," in done.out


@pytest.mark.parametrize("words", [[], ["name=other"], ["threads=2"], ["resume.allow=[seed]"]])
def test_a_finished_run_without_change(tmp_path, runner, words):
    """F16: no file changes, whatever harmless is asked."""
    folder = begin(PLAIN, tmp_path)
    before = snapshot(folder)
    done = runner("resume", str(folder), *words)
    assert (done.code, done.err) == (0, "")
    assert done.out == f"{folder}: already finished (step 32)\n"
    assert snapshot(folder) == before


def test_a_finished_run_that_is_to_be_another(tmp_path, runner):
    """F15, F16: refused; allowed too where nothing is left to train with it."""
    folder = begin(PLAIN, tmp_path)
    before = snapshot(folder)
    refused = runner("resume", str(folder), "optimizer.lr=0.01")
    assert (refused.code, "optimizer.lr: 0.1 -> 0.01" in refused.err) == (2, True)
    allowed = runner("resume", str(folder), "optimizer.lr=0.01", "resume.allow=[optimizer.lr]")
    assert (allowed.code, "the run is finished (step 32)" in allowed.err) == (2, True)
    assert snapshot(folder) == before


def test_a_finished_run_without_checkpoints(tmp_path, runner):
    """F16, F05: finished is finished; what is to be trained on needs one."""
    folder = begin(CONSTANT, tmp_path)
    for path in checkpoints.listed(folder / directory.CHECKPOINTS):
        path.unlink()
    assert "already finished (step 32)" in runner("resume", str(folder)).out
    assert runner("resume", str(folder), "trainer.epochs=8").code == 5


# ---- checkpoints of others --------------------------------------------------------------------


def foreign(root: Path, folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Put what `change` makes of a checkpoint of another run in the place of a run's own."""
    with cut(13):
        begin((*PLAIN[1:], "optimizer=adam", "architecture.hidden=[24]"), root / "other")
    content = loaded(started(root / "other"))
    rewrite(folder / directory.CHECKPOINTS, change(content))


@pytest.mark.parametrize(
    ("change", "messages"),
    [(lambda content: content,
      ["of another run, begun 20", "architecture.hidden: [24] -> [16]", "optimizer._target_: "]),
     (lambda content: content["state"]["model"], ["weights alone (", "knows 1 and 2"]),
     (lambda content: {**content, "format": 9},
      ["format 9, written by a newer version; this version knows 1 and 2"]),
     (lambda content: {**content, "state": 3}, ["not a checkpoint: what is under state"])],
    ids=["B55-another", "B55-weights", "B55-newer", "B55-odd"],
)  # fmt: skip
def test_a_checkpoint_that_is_not_this_runs(tmp_path, runner, change, messages):
    """B55, F06: exit 5, what it is and which formats are known; nothing is touched."""
    folder = cut_at(tmp_path / "own")
    foreign(tmp_path, folder, change)
    before = snapshot(folder)
    done = runner("resume", str(folder))
    assert done.code == 5
    assert "Traceback" not in done.err
    assert all(message in done.err for message in messages), done.err
    assert snapshot(folder) == before


def test_a_checkpoint_of_another_run_is_passed_over(tmp_path, uncut):
    """B55: the run's own one stands in, with a warning."""
    folder = cut_at(tmp_path / "own")
    own = {path: path.read_bytes() for path in checkpoints.listed(folder / directory.CHECKPOINTS)}
    foreign(tmp_path, folder, lambda content: content)
    for path, data in own.items():
        path.write_bytes(data)
    shown = terminal()
    launching.resume(composed(PLAIN)[0], folder, shown)
    assert re.search(r"warning: step-13-\w+\.pt: of another run", shown.console.file.getvalue())
    assert differences(folder, uncut(PLAIN)) == []


def test_shapes_that_do_not_fit(tmp_path, runner):
    """B56: the first five tensors that differ, and the values of both configurations."""
    folder = cut_at(tmp_path)
    before = snapshot(folder)
    words = ["architecture.hidden=[24,8]", "resume.allow=[architecture]"]
    done = runner("resume", str(folder), *words)
    assert done.code == 5
    assert len([line for line in done.err.splitlines() if " in the checkpoint, " in line]) == 5
    assert (
        "the checkpoint is for architecture.hidden=[16], the configuration has [24,8]" in done.err
    )
    assert snapshot(folder) == before


@pytest.mark.parametrize("size", [0, 1234])
def test_a_cut_checkpoint_says_how_much_of_it_is_there(tmp_path, runner, size):
    """F03, F06: both numbers of bytes, where the whole is known."""
    folder = cut_at(tmp_path)
    newest = checkpoints.listed(folder / directory.CHECKPOINTS)[0]
    whole = newest.stat().st_size
    assert directory.status(folder)["sizes"][newest.name] == whole
    newest.write_bytes(newest.read_bytes()[:size])
    done = runner("resume", str(folder))
    assert done.code == 0, done.err
    what = f"size 1234 of {whole} bytes" if size else "not a checkpoint: it is empty"
    assert f"warning: {newest.name}: {what}; using step 8\n" in done.out or (
        f"warning: {newest.name}: {what}; using step 0\n" in done.out
    )


def test_sizes_are_of_what_is_there(tmp_path):
    """F03: as many as there are checkpoints, through further saves."""
    folder = cut_at(tmp_path, 17, (*PLAIN, "trainer.save_every=4steps"))
    sizes = directory.status(folder)["sizes"]
    there = {path.name: path.stat().st_size
             for path in checkpoints.listed(folder / directory.CHECKPOINTS)}  # fmt: skip
    assert sizes == there
    assert len(there) == 2


def test_json_of_the_status(tmp_path):
    status = json.loads((cut_at(tmp_path) / directory.STATUS).read_text())
    assert set(status) == {"state", "started", "step", "epoch", "exit_code", "message", "sizes"}


def test_what_was_no_choice_once_is_what_was_done(tmp_path, runner):
    """A run recorded before there was a choice goes on as it was."""
    plain = tuple("compile=false" if each == "compile=trace" else each for each in PLAIN)
    folder = cut_at(tmp_path, overrides=plain)
    content = loaded(folder)
    for name in ("config", "fingerprint", "started"):
        del content[name]
    rewrite(folder / directory.CHECKPOINTS, {**content, "format": 1})
    edit(folder, "compile: false\n", "")
    edit(folder, "  on_nonfinite: stop\n", "")
    done = runner("resume", str(folder))
    assert done.code == 0, done.err
    assert "changed" not in done.out
    assert yaml.safe_load((folder / directory.CONFIG).read_text())["compile"] is False

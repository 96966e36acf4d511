"""The recorder: rows, times and events side by side, and lengths that a checkpoint can note."""

import contextlib
import io
import json
import resource
import sys
from types import SimpleNamespace

import pytest
import torch
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from runner.foundation.errors import Unrecorded, Unwritable
from runner.recording import directory
from runner.recording import recorder as recording
from runner.recording.console import Terminal
from runner.recording.recorder import UNWRITTEN, Recorder, Stopwatch
from runner.recording.tensorboard import Events


@pytest.fixture
def opened(tmp_path):
    """Open recorders in one run directory, closed at the end."""
    found = []
    (tmp_path / "config.yaml").write_text("seed: 0\noptimizer: {_target_: a.sgd, lr: 0.5}\n")
    (tmp_path / "overrides.yaml").write_text("choices: {optimizer: sgd}\n")
    directory.set_status(tmp_path, state="running", started=123.0)

    def recorder(lengths=None, tensorboard=True, swept=None):
        terminal = Terminal(Console(file=io.StringIO(), width=1000))
        found.append(Recorder(tmp_path, terminal, tensorboard, lengths, swept))
        found[-1].start(10, SimpleNamespace(step=0, seen=0))
        return found[-1]

    yield recorder
    for each in found:
        each.close()


def record(recorder, step, **row):
    named = {key.replace("_", "/"): value for key, value in row.items()}
    recorder.record(
        SimpleNamespace(step=step, seen=4 * step), {"step": step, "epoch": step / 4, **named}
    )


def rows(tmp_path, name):
    return [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]


def test_a_row_goes_to_metrics_timing_and_events(tmp_path, opened):
    recorder = opened()
    record(recorder, 2, train_loss=0.5, lr=0.1)
    record(recorder, 3, valid_loss=0.25)
    recorder.record(SimpleNamespace(step=4, seen=16), {})
    recorder.write()
    assert rows(tmp_path, "metrics.jsonl") == [
        {"step": 2, "epoch": 0.5, "train/loss": 0.5, "lr": 0.1},
        {"step": 3, "epoch": 0.75, "valid/loss": 0.25},
    ]
    (timing,) = rows(tmp_path, "timing.jsonl")
    assert timing["step"] == 2
    assert timing["samples_per_second"] == pytest.approx(8 / timing["seconds"])
    read = EventAccumulator(str(tmp_path)).Reload()
    assert read.Tags()["scalars"] == ["train/loss", "lr", "valid/loss"]
    assert [(each.step, each.value) for each in read.Scalars("valid/loss")] == [(3, 0.25)]


def test_rows_that_follow_each_other_fast_are_written_together(tmp_path, opened, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(recording.time, "monotonic", lambda: clock[0])
    recorder, written = opened(), []
    for step in range(1, 7):
        record(recorder, step, train_loss=1.0)
        written.append(len(rows(tmp_path, "metrics.jsonl")))
        clock[0] += 0.2
    assert written == [1, 1, 1, 4, 4, 4]
    recorder.stop()
    assert [row["step"] for row in rows(tmp_path, "metrics.jsonl")] == [1, 2, 3, 4, 5, 6]
    assert [row["step"] for row in rows(tmp_path, "timing.jsonl")] == [1, 2, 3, 4, 5, 6]


def test_no_row_holds_what_a_clock_decides(tmp_path, opened):
    record(opened(), 2, train_loss=0.5)
    assert set(rows(tmp_path, "metrics.jsonl")[0]) == {"step", "epoch", "train/loss"}


@pytest.mark.parametrize("tensorboard", [True, False])
def test_lengths_cut_every_log_back(tmp_path, opened, tensorboard):
    first = opened(tensorboard=tensorboard)
    record(first, 1, train_loss=1.0)
    lengths = first.lengths()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert lengths["metrics"] == len(before["metrics.jsonl"])
    assert ("events" in lengths) is tensorboard
    record(first, 2, train_loss=2.0)
    opened(lengths, tensorboard)
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert after == before
    assert any("tfevents" in name for name in after) is tensorboard


def test_describe_records_environment_settings_and_pictures(tmp_path, opened):
    opened().describe(torch.rand(3, 1, 4, 4), {"device": "cpu", "threads": 1})
    environment = json.loads((tmp_path / "environment.json").read_text())
    assert environment["device"] == "cpu"
    assert environment["versions"]["torch"] == torch.__version__
    read = EventAccumulator(str(tmp_path)).Reload()
    assert read.Tags()["images"] == ["train/images"]
    assert "config" in read.Tags()["tensors"]
    assert read.PluginTagToContent("hparams").keys() == {"_hparams_/session_start_info"}


def test_describe_without_pictures_and_without_tensorboard(tmp_path, opened):
    opened(tensorboard=False).describe(None, {"device": "cpu"})
    assert json.loads((tmp_path / "environment.json").read_text())["device"] == "cpu"
    assert list(tmp_path.glob("*tfevents*")) == []


def test_finish_sums_up(tmp_path, opened):
    recorder = opened()
    recorder.describe(None, {})
    for step in (1, 2, 3):
        record(recorder, step, train_loss=1.0)
    summary = recorder.finish({"test": {"accuracy": 0.5}, "steps": 3}, {"accuracy": 0.5}, 3)
    timing = rows(tmp_path, "timing.jsonl")
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    assert summary["test"] == {"accuracy": 0.5}
    assert summary["seconds"] == sum(row["seconds"] for row in timing)
    speeds = sorted(row["samples_per_second"] for row in timing)
    assert summary["samples_per_second"] == speeds[1]
    assert summary["versions"]["torch"] == torch.__version__
    (point,) = EventAccumulator(str(tmp_path)).Reload().Scalars("test/accuracy")
    assert (point.step, point.value) == (3, 0.5)


def test_a_run_too_short_for_a_row_has_no_speed(opened):
    summary = opened().finish({}, {}, 0)
    assert (summary["seconds"], summary["samples_per_second"]) == (0, None)


def test_seconds_of_a_resumed_run_count_both_parts(tmp_path, opened):
    first = opened()
    record(first, 1, train_loss=1.0)
    second = opened(first.lengths())
    second.stopwatch.before = 3.0  # until the checkpoint, which may come after the last row
    second.start(10, SimpleNamespace(step=1, seen=4))
    record(second, 2, train_loss=1.0)
    summary = second.finish({}, {}, 2)
    timing = rows(tmp_path, "timing.jsonl")
    assert [row["step"] for row in timing] == [1, 2]
    assert summary["seconds"] == 3.0 + timing[-1]["seconds"]


def test_looking_and_saving_are_not_training(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("runner.recording.recorder.time.perf_counter", lambda: now[0])
    stopwatch = Stopwatch()
    stopwatch.before = 5.0
    for training, looking in ((2.0, 7.0), (3.0, 50.0)):
        stopwatch.go()
        now[0] += training
        stopwatch.rest()
        stopwatch.rest()
        now[0] += looking
    assert stopwatch.total() == 10.0


@contextlib.contextmanager
def full():
    """Let no file be larger than 20 bytes: what is longer already does not grow."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def warnings(recorder):
    text = recorder.terminal.console.file.getvalue()
    return [line for line in text.splitlines() if line.startswith("warning: ")]


def logs(tmp_path):
    """Return what is in the logs that no clock decides."""
    points = EventAccumulator(str(tmp_path)).Reload().Scalars("train/loss")
    steps = [row["step"] for row in rows(tmp_path, "timing.jsonl")]
    return (tmp_path / "metrics.jsonl").read_bytes(), steps, [(p.step, p.value) for p in points]


def test_rows_that_a_full_disk_does_not_take_come_later_in_order(tmp_path, opened):
    """F07: training goes on, each log is told of once, and in the end nothing is missing."""
    recorder = opened()
    record(recorder, 1, train_loss=1.0)
    with full():
        for step in (2, 3, 4):
            record(recorder, step, train_loss=1 / step)
            recorder.write()
    assert [line.split(" (")[0].rpartition("/")[2][:10] for line in warnings(recorder)] == [
        "metrics.js",
        "timing.jso",
        "events.out",
    ]
    assert all(line.endswith("tried again with what follows") for line in warnings(recorder))
    record(recorder, 5, train_loss=1 / 5)
    summary = recorder.finish({}, {}, 5)
    metrics, steps, points = logs(tmp_path)
    assert [json.loads(line)["step"] for line in metrics.splitlines()] == [1, 2, 3, 4, 5]
    assert steps == [1, 2, 3, 4, 5]
    assert points == [(step, pytest.approx(1 / step)) for step in (1, 2, 3, 4, 5)]
    assert summary["seconds"] == sum(row["seconds"] for row in rows(tmp_path, "timing.jsonl"))


def test_what_cannot_be_written_at_the_end_is_named_and_the_summary_stands(tmp_path, opened):
    """F07: each log with its path, and what else was not saved."""
    recorder = opened()
    record(recorder, 1, train_loss=1.0)
    with full():
        record(recorder, 2, train_loss=0.5)
        with pytest.raises(Unrecorded) as caught:
            recorder.finish({"steps": 2}, {"loss": 0.5}, 2, unsaved=lambda: ["step-2.pt: no"])
    assert caught.value.exit_code == 8
    assert caught.value.summary["steps"] == 2
    assert caught.value.summary["seconds"] > 0
    names = ["metrics.jsonl", "timing.jsonl", "tfevents", "step-2.pt: no", "summary.json"]
    reasons = caught.value.reasons
    assert all(name in reason for name, reason in zip(names, reasons, strict=True))
    assert not (tmp_path / "summary.json").exists()


@pytest.mark.parametrize("written_before_the_end", [True, False])
def test_a_checkpoint_knows_what_the_disk_has_not_taken(tmp_path, opened, written_before_the_end):
    """F07, F09: a save need not wait for a log, and the resumed logs are the uncut ones."""
    first = opened()
    record(first, 1, train_loss=1.0)
    with full():
        record(first, 2, train_loss=0.5)
        lengths = first.lengths()
        sizes = [(tmp_path / name).stat().st_size for name in ("metrics.jsonl", "timing.jsonl")]
    assert [lengths["metrics"], lengths["timing"]] == sizes
    assert set(lengths["unwritten"]) == {"metrics", "timing", "events"}
    if written_before_the_end:
        record(first, 3, train_loss=0.25)
        first.write()
    else:
        for log in (first.metrics, first.timing, first.events.log):
            log.waiting.clear()  # as they are lost when a process is killed
    second = opened(lengths)
    record(second, 3, train_loss=0.25)
    second.write()
    metrics, steps, points = logs(tmp_path)
    assert [json.loads(line)["step"] for line in metrics.splitlines()] == [1, 2, 3]
    assert steps == [1, 2, 3]
    assert points == [(1, 1.0), (2, 0.5), (3, 0.25)]
    assert UNWRITTEN not in second.lengths()


def broken(*given):
    raise TypeError("a bug")


@pytest.mark.parametrize("method", ["scalars", "text", "hparams", "images"])
def test_a_bug_in_an_encoding_costs_points_and_nothing_else(tmp_path, opened, monkeypatch, method):
    """F09: one warning; exit 8 in the end, with everything else written."""
    monkeypatch.setattr(Events, method, broken)
    recorder = opened()
    recorder.describe(torch.rand(3, 1, 4, 4), {})
    for step in (1, 2, 3):
        record(recorder, step, train_loss=1.0)
    with pytest.raises(Unrecorded, match="TensorBoard lacks points: TypeError") as caught:
        recorder.finish({}, {"loss": 0.5}, 3)
    assert len(caught.value.reasons) == len(warnings(recorder)) == 1
    assert str(tmp_path) in caught.value.reasons[0]
    assert [row["step"] for row in rows(tmp_path, "metrics.jsonl")] == [1, 2, 3]
    assert (tmp_path / "summary.json").exists()


def test_without_a_tensorboard_that_works_a_run_goes_on(tmp_path, opened, monkeypatch):
    """F09: the import fails; a checkpoint keeps what is known of an event file of before."""
    lengths = opened().lengths()
    monkeypatch.setitem(sys.modules, "runner.recording.tensorboard", None)
    recorder = opened(lengths)
    recorder.describe(None, {})
    record(recorder, 1, train_loss=1.0)
    assert recorder.lengths()["events"] == lengths["events"]
    with pytest.raises(Unrecorded, match="TensorBoard lacks points: ModuleNotFound"):
        recorder.finish({}, {}, 1)
    assert len(warnings(recorder)) == 1
    assert [row["step"] for row in rows(tmp_path, "metrics.jsonl")] == [1]


def test_a_job_of_a_sweep_does_not_fail_for_its_points(tmp_path, opened, monkeypatch):
    """F09: its results are its metrics; of the points it is warned."""
    monkeypatch.setattr(Events, "scalars", broken)
    recorder = opened(swept={"seed": 1})
    record(recorder, 1, train_loss=1.0)
    assert recorder.finish({"steps": 1}, {}, 1)["steps"] == 1
    assert len(warnings(recorder)) == 1


def test_an_event_file_that_vanishes_fails_no_save(tmp_path, opened):
    """F09, F10: one of the other logs does."""
    recorder = opened()
    record(recorder, 1, train_loss=1.0)
    recorder.events.log.path.unlink()
    recorder.sync()
    with pytest.raises(Unrecorded, match="tfevents"):
        recorder.finish({}, {}, 1)
    (tmp_path / "metrics.jsonl").unlink()
    with pytest.raises(Unwritable, match=r"metrics\.jsonl: cannot write: No such file"):
        recorder.sync()


def test_an_event_file_that_is_gone_at_the_resume_is_begun_anew(tmp_path, opened):
    first = opened()
    record(first, 1, train_loss=1.0)
    lengths = first.lengths()
    first.events.log.path.unlink()
    second = opened(lengths)
    record(second, 2, train_loss=0.5)
    second.write()
    (warning,) = warnings(second)
    assert "the event file is gone" in warning
    assert logs(tmp_path)[2] == [(2, 0.5)]

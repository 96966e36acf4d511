"""The recorder: rows, times and events side by side, and lengths that a checkpoint can note."""

import io
import json
from types import SimpleNamespace

import pytest
import torch
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from runner.recording import directory
from runner.recording import recorder as recording
from runner.recording.console import Terminal
from runner.recording.recorder import Recorder, Stopwatch


@pytest.fixture
def opened(tmp_path):
    """Open recorders in one run directory, closed at the end."""
    found = []
    (tmp_path / "config.yaml").write_text("seed: 0\noptimizer: {_target_: a.sgd, lr: 0.5}\n")
    (tmp_path / "overrides.yaml").write_text("choices: {optimizer: sgd}\n")
    directory.set_status(tmp_path, state="running", started=123.0)

    def recorder(lengths=None, tensorboard=True):
        terminal = Terminal(Console(file=io.StringIO(), width=200))
        found.append(Recorder(tmp_path, terminal, tensorboard, lengths))
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
    second.start(10, SimpleNamespace(step=1, seen=4))
    record(second, 2, train_loss=1.0)
    summary = second.finish({}, {}, 2)
    timing = rows(tmp_path, "timing.jsonl")
    assert [row["step"] for row in timing] == [1, 2]
    assert summary["seconds"] == sum(row["seconds"] for row in timing)


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

"""The event file, read back by TensorBoard's own readers."""

import io
import re

import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
from tensorboard.plugins.custom_scalar import metadata as custom_scalar
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.plugins.hparams import metadata
from tensorboard.util import tensor_util
from torch import nn

from runner.foundation.errors import UnusableCheckpoint
from runner.recording import tensorboard
from runner.recording.graph import traced
from runner.recording.tensorboard import Events


@pytest.fixture
def opened(tmp_path):
    """Open event files in one folder, closed at the end."""
    found = []

    def events(length=None):
        found.append(Events(tmp_path, length))
        return found[-1]

    yield events
    for each in found:
        each.log.close()


def accumulated(folder) -> EventAccumulator:
    return EventAccumulator(str(folder)).Reload()


def values(folder) -> dict:
    """Return every value of the one event file, by tag."""
    (path,) = folder.glob("events.out.tfevents.*")
    events = LegacyEventFileLoader(str(path)).Load()
    return {value.tag: value for event in events for value in event.summary.value}


def test_scalars_have_their_tags_and_steps(tmp_path, opened):
    events = opened()
    for step in (7, 8, 14):
        events.scalars({"train/loss": 1 / step, "lr": 0.5}, step)
    events.scalars({"valid/accuracy": 0.25}, 8)
    read = accumulated(tmp_path)
    assert read.Tags()["scalars"] == ["train/loss", "lr", "valid/accuracy"]
    losses = [(point.step, point.value) for point in read.Scalars("train/loss")]
    assert losses == [(step, pytest.approx(1 / step)) for step in (7, 8, 14)]
    assert [(point.step, point.value) for point in read.Scalars("valid/accuracy")] == [(8, 0.25)]


def test_the_file_is_named_as_tensorboard_expects(tmp_path, opened):
    opened()
    (path,) = tmp_path.glob("*tfevents*")
    assert path.name.startswith("events.out.tfevents.")
    (first,) = LegacyEventFileLoader(str(path)).Load()
    assert first.file_version == "brain.Event:2"
    assert first.wall_time > 1e9


def test_scalars_that_are_not_finite_can_be_read(tmp_path, opened):
    opened().scalars({"loss": float("nan"), "norm": float("inf")}, 3)
    read = accumulated(tmp_path)
    assert str(read.Scalars("loss")[0].value) == "nan"
    assert read.Scalars("norm")[0].value == float("inf")


@pytest.mark.parametrize(("count", "rows"), [(3, 1), (8, 1), (9, 2), (40, 4)])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_decode(tmp_path, opened, channels, count, rows):
    images = torch.rand(count, channels, 6, 5, generator=torch.Generator().manual_seed(0))
    opened().images("train/images", images)
    (stored,) = accumulated(tmp_path).Images("train/images")
    decoded = Image.open(io.BytesIO(stored.encoded_image_string))
    decoded.load()
    size = (8 * (5 * 3 + 2), rows * (6 * 3 + 2))
    assert decoded.size == (stored.width, stored.height) == size
    assert decoded.mode == {1: "L", 3: "RGB"}[channels]


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_picture_decodes(tmp_path, opened, mode):
    opened().image("test/confusion", Image.new(mode, (7, 3)), 12)
    (stored,) = accumulated(tmp_path).Images("test/confusion")
    assert (stored.step, stored.width, stored.height) == (12, 7, 3)
    assert Image.open(io.BytesIO(stored.encoded_image_string)).mode == mode


def test_curves_that_belong_together_stand_in_one_chart(tmp_path, opened):
    """Read as TensorBoard's page reads them: the layout's own message, patterns matched."""
    events = opened()
    events.layout({"metrics": {"loss": "(train|valid|test)/loss$", "top5": "(train|valid)/top5$"}})
    events.scalars({"train/loss": 1.0, "valid/loss": 1.0, "valid/loss2": 1.0, "lr": 1.0}, 1)
    read = accumulated(tmp_path)
    known = read.SummaryMetadata(custom_scalar.CONFIG_SUMMARY_TAG)
    assert known.plugin_data.plugin_name == custom_scalar.PLUGIN_NAME
    (stored,) = read.Tensors(custom_scalar.CONFIG_SUMMARY_TAG)
    layout = Layout.FromString(tensor_util.make_ndarray(stored.tensor_proto).item())
    (category,) = layout.category
    assert category.title == "metrics"
    assert [chart.title for chart in category.chart] == ["loss", "top5"]
    (pattern,) = category.chart[0].multiline.tag
    shown = [tag for tag in read.Tags()["scalars"] if re.match(pattern, tag)]
    assert shown == ["train/loss", "valid/loss"]


def test_a_graph_is_read_back(tmp_path, opened):
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    opened().graph(traced(model, torch.zeros(3, 2, 2)))
    nodes = {node.name: node for node in accumulated(tmp_path).Graph().node}
    assert list(nodes) == ["input", "0_Flatten", "1_Linear", "output"]
    assert nodes["1_Linear"].input == ["0_Flatten"]


def test_text(tmp_path, opened):
    opened().text("config", "```yaml\nseed: 0 # é\n```")
    content = tensor_util.make_ndarray(values(tmp_path)["config"].tensor).item()
    assert content.decode() == "```yaml\nseed: 0 # é\n```"
    assert values(tmp_path)["config"].metadata.plugin_data.plugin_name == "text"


def test_hparams_are_a_row_of_the_table(tmp_path, opened):
    settings = {"optimizer": "adam", "lr": 0.01, "epochs": 3, "nesterov": True,
                "hidden": [64, 32], "steps": None}  # fmt: skip
    opened().hparams(settings, "1432-adam-3f2a", 123.0)
    value = values(tmp_path)[metadata.SESSION_START_INFO_TAG]
    assert value.metadata.plugin_data.plugin_name == metadata.PLUGIN_NAME
    info = metadata.parse_session_start_info_plugin_data(value.metadata.plugin_data.content)
    read = {name: getattr(each, each.WhichOneof("kind")) for name, each in info.hparams.items()}
    assert read == {"optimizer": "adam", "lr": 0.01, "epochs": 3.0, "nesterov": True,
                    "hidden": "[64, 32]", "steps": "None"}  # fmt: skip
    assert type(read["nesterov"]) is bool
    assert info.group_name == "1432-adam-3f2a"
    assert info.start_time_secs == 123.0


def test_resuming_doubles_no_step(tmp_path, opened):
    events = opened()
    for step in (1, 2):
        events.scalars({"loss": float(step)}, step)
    length = events.log.length()
    for step in (3, 4):
        events.scalars({"loss": -1.0}, step)
    again = opened(length)
    for step in (3, 4, 5):
        again.scalars({"loss": float(step)}, step)
    assert len(list(tmp_path.glob("*tfevents*"))) == 1
    points = [(point.step, point.value) for point in accumulated(tmp_path).Scalars("loss")]
    assert points == [(step, float(step)) for step in range(1, 6)]


def test_a_point_cut_in_its_middle_hides_no_other(tmp_path, opened):
    """F39: what a killed process left is cut back before the next one writes."""
    events = opened()
    events.scalars({"loss": 1.0}, 1)
    length = events.log.length()
    events.log.write(b"\x18\x00\x00half a record")
    opened(length).scalars({"loss": 2.0}, 2)
    assert [point.step for point in accumulated(tmp_path).Scalars("loss")] == [1, 2]


def test_where_the_event_file_is_gone_a_new_one_is_begun(tmp_path, opened):
    assert not opened().missing
    for path in tmp_path.glob("*tfevents*"):
        path.unlink()
    events = opened(40)
    events.scalars({"loss": 1.0}, 2)
    assert events.missing
    assert [point.step for point in accumulated(tmp_path).Scalars("loss")] == [2]


def test_an_event_file_that_was_cut_is_noticed(opened):
    opened()
    with pytest.raises(UnusableCheckpoint, match="bytes, the checkpoint saw 4000"):
        opened(4000)


@pytest.mark.parametrize("name", ["events.out.tfevents.1.other", "events.out.tfevents.9.other"])
def test_an_event_file_of_another_program_is_left_alone(tmp_path, opened, name):
    """F40: wherever its name stands among ours."""
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(tmp_path / "other")) as writer:
        writer.add_scalar("runner", 1.0, 1)
    (foreign,) = (tmp_path / "other").iterdir()
    foreign.rename(tmp_path / name)
    before = (tmp_path / name).read_bytes()
    events = opened()
    events.scalars({"loss": 1.0}, 1)
    again = opened(events.log.length())
    assert again.log.path == events.log.path
    again.scalars({"loss": 2.0}, 2)
    assert (tmp_path / name).read_bytes() == before


@pytest.mark.parametrize("later", [True, False])
def test_a_clock_that_went_backwards_doubles_no_point(tmp_path, opened, monkeypatch, later):
    """F38: the file is from the future, by its name and by what stands in it."""
    clock = [2e9 if later else 1e9]
    monkeypatch.setattr(tensorboard.time, "time", lambda: clock[0])
    events = opened()
    for step in (1, 2):
        events.scalars({"loss": float(step)}, step)
    length = events.log.length()
    events.scalars({"loss": -1.0}, 3)  # a row that no checkpoint knows of
    events.log.path.rename(tmp_path / f"events.out.tfevents.{3_000_000_000 if later else 1}.host")
    clock[0] = 1e9 if later else 2e9
    again = opened(length)
    for step in (3, 4):
        again.scalars({"loss": float(step)}, step)
    assert len(list(tmp_path.glob("*tfevents*"))) == 1
    points = [(point.step, point.value) for point in accumulated(tmp_path).Scalars("loss")]
    assert points == [(step, float(step)) for step in (1, 2, 3, 4)]

"""Torchvision: imported also where only a GPU build of it stands beside a CPU build of torch."""

import sys
from types import SimpleNamespace

import pytest
import torch

from runner.foundation import vision


def test_data_sets_and_models_work():
    module = vision.torchvision()
    image, label = module.datasets.FakeData(size=3, image_size=(3, 8, 8))[1]
    assert image.size == (8, 8)
    assert 0 <= int(label) < 10
    assert module.models.squeezenet1_0(num_classes=4).classifier[1].out_channels == 4


def test_a_second_call_gives_the_same_module():
    assert vision.torchvision() is vision.torchvision() is sys.modules["torchvision"]


def forbidden(*_):
    pytest.fail("an operator was declared")


def test_nothing_is_declared_where_the_import_passes(monkeypatch):
    found = SimpleNamespace(__name__="torchvision")
    monkeypatch.setattr(vision, "_import", lambda: found)
    monkeypatch.setattr(torch.library, "Library", forbidden)
    assert vision.torchvision() is found


def test_another_error_of_the_import_is_not_hidden(monkeypatch):
    def fail():
        raise RuntimeError("something else is broken")

    monkeypatch.setattr(vision, "_import", fail)
    monkeypatch.setattr(torch.library, "Library", forbidden)
    with pytest.raises(RuntimeError, match="something else is broken"):
        vision.torchvision()

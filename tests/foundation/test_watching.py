"""What rules that watch a run share: a metric by name, and a choice lane by lane."""

import pytest
import torch

from runner.foundation.watching import logged, where

ROW = {"train/loss": 0.5, "valid/accuracy": 0.9}


def test_a_logged_metric_is_found_and_another_named_with_what_is_near():
    assert logged(ROW, "train/loss", "stopping") == 0.5
    near = r"did you mean 'train/loss'\? \(logged are train/loss, valid/accuracy\)"
    with pytest.raises(ValueError, match=rf"schedule.metric: 'train/los' is not logged; {near}"):
        logged(ROW, "train/los", "schedule")


@pytest.mark.parametrize("condition", [True, False])
def test_one_model_chooses_as_python_does(condition):
    assert where(condition, "yes", "no") == ("yes" if condition else "no")


def test_lanes_choose_each_for_itself():
    condition = torch.tensor([True, False, True])
    chosen = where(condition, torch.tensor([1.0, 2.0, 3.0]), 0)
    assert chosen.tolist() == [1.0, 0.0, 3.0]
    assert chosen.dtype is torch.float64

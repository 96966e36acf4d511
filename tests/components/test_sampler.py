"""Samplers: which rows an epoch visits, how often, and what that depends on."""

from dataclasses import make_dataclass
from functools import partial

import pytest
import torch
from omegaconf import OmegaConf

from runner.config import Node, build, check
from runner.foundation import rng
from runner.foundation.errors import Misconfigured
from runner.foundation.options import own_folder

FOLDER = own_folder() / "sampler"
OPTIONS = sorted(path.stem for path in FOLDER.glob("*.yaml"))
SCHEMA = make_dataclass("Schema", [("sampler", Node)], kw_only=True)
ROWS, BATCH = 103, 10
CLASSES = torch.arange(ROWS) * 7 % 4

# steps in an epoch with drop_last, rows a batch, whether epochs differ
REFERENCES = {
    "minibatch": (10, 10, True),
    "full_batch": (1, ROWS, False),
    "single": (ROWS, 1, True),
    "with_replacement": (10, 10, True),
    "bootstrap": (10, 10, True),
    "disjoint_chop": (2, 10, True),
    "sorted_by_class": (10, 10, False),
    "consecutive": (10, 10, False),
}


def sampler(option, y=CLASSES, batch=BATCH, drop_last=True, **changes):
    content = OmegaConf.to_container(OmegaConf.load(FOLDER / f"{option}.yaml"))
    node = check({"sampler": content | changes}, SCHEMA).sampler
    return build(node, y, batch, drop_last)


def rows(sampler, epoch=0, seed=0):
    return list(sampler.rows(epoch, partial(rng.generator, seed)))


def test_every_option_has_a_reference():
    assert OPTIONS
    assert set(REFERENCES) == set(OPTIONS)


@pytest.mark.parametrize("option", OPTIONS)
def test_an_epoch_has_as_many_batches_as_it_says_each_full(option):
    made = sampler(option)
    steps, size, differ = REFERENCES[option]
    batches = rows(made)
    assert made.steps == len(batches) == steps
    assert {len(batch) for batch in batches} == {size}
    assert all(0 <= int(batch.min()) <= int(batch.max()) < ROWS for batch in batches)
    again, later = rows(sampler(option)), rows(made, epoch=1)
    assert all(map(torch.equal, batches, again))
    assert all(map(torch.equal, batches, later)) is not differ


@pytest.mark.parametrize(
    "option", ["minibatch", "full_batch", "single", "sorted_by_class", "consecutive"]
)
def test_without_replacement_every_row_comes_once(option):
    visited = torch.cat(rows(sampler(option, drop_last=False)))
    assert torch.equal(visited.sort().values, torch.arange(ROWS))


def test_drop_last_leaves_out_the_smaller_batch_alone():
    sizes = [len(batch) for batch in rows(sampler("minibatch", drop_last=False))]
    assert sizes == [10] * 10 + [3]


def test_with_replacement_draws_as_binomially_as_it_should():
    counts = torch.zeros(ROWS)
    made = sampler("with_replacement", drop_last=False)
    for epoch in range(200):
        for batch in rows(made, epoch):
            counts += torch.bincount(batch, minlength=ROWS)
    mean = 200 * 11 * BATCH / ROWS
    assert counts.mean() == pytest.approx(mean)
    assert float(counts.var()) == pytest.approx(mean, rel=0.5)


def test_a_bootstrap_keeps_its_rows_for_the_run_and_leaves_out_a_third():
    y = torch.zeros(20_000, dtype=torch.int64)
    made = sampler("bootstrap", y=y, batch=1000)
    first, second = (torch.cat(rows(made, epoch)).sort().values for epoch in (0, 1))
    assert torch.equal(first, second)
    assert len(first.unique()) / len(y) == pytest.approx(1 - 1 / torch.e, abs=0.01)
    other = torch.cat(rows(made, seed=1)).sort().values
    assert not torch.equal(first, other)


def test_parts_are_disjoint_and_together_everything_whatever_the_seed_of_the_run():
    parts = [
        torch.cat(rows(sampler("disjoint_chop", drop_last=False, part=part), seed=part))
        for part in range(5)
    ]
    assert torch.equal(torch.cat(parts).sort().values, torch.arange(ROWS))
    with pytest.raises(Misconfigured, match="sampler: part 5 of 5: expected 0 to 4"):
        sampler("disjoint_chop", part=5)
    with pytest.raises(Misconfigured, match="103 training rows cannot be cut into 200 parts"):
        sampler("disjoint_chop", parts=200)


def test_sorted_rows_go_from_class_to_class_and_from_low_to_high():
    visited = torch.cat(rows(sampler("sorted_by_class", drop_last=False)))
    assert torch.equal(CLASSES[visited], CLASSES.sort().values)
    numbers = torch.randn(ROWS, 1, generator=torch.Generator().manual_seed(0))
    visited = torch.cat(rows(sampler("sorted_by_class", y=numbers, drop_last=False)))
    assert torch.equal(numbers[visited], numbers.sort(0).values)


def test_consecutive_rows_stay_in_their_order():
    visited = torch.cat(rows(sampler("consecutive", drop_last=False)))
    assert torch.equal(visited, torch.arange(ROWS))


@pytest.mark.parametrize("option", ["minibatch", "with_replacement", "bootstrap"])
def test_a_batch_that_no_epoch_fills_is_refused(option):
    with pytest.raises(Misconfigured, match=r"trainer\.batch_size 104 is more than the 103 rows"):
        sampler(option, batch=ROWS + 1)
    assert sampler(option, batch=ROWS + 1, drop_last=False).steps == 1


@pytest.mark.parametrize("option", OPTIONS)
def test_the_global_generator_is_left_alone(option):
    before = torch.random.get_rng_state()
    rows(sampler(option))
    assert torch.equal(torch.random.get_rng_state(), before)

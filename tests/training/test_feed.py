"""Batches: each epoch a permutation of the rows, a function of (seed, epoch) and of no history."""

import random
from functools import partial

import pytest
import torch

from runner.components import sampler
from runner.foundation import rng
from runner.training import feed

X = torch.arange(23.0)[:, None] * torch.tensor([1.0, 10.0])
Y = torch.arange(23)


def batches(seed: int = 0, batch_size: int = 5, drop_last: bool = True, augment=None):
    order = sampler.minibatch(Y, batch_size, drop_last)
    return feed.batches(X, Y, *order, partial(rng.generator, seed), augment)


def rows(batch, steps) -> list[list[int]]:
    return [batch(step)[1].tolist() for step in steps]


@pytest.mark.parametrize(("drop_last", "per_epoch"), [(True, 4), (False, 5)])
@pytest.mark.parametrize("epoch", [0, 1, 7])
def test_an_epoch_is_a_permutation(drop_last, per_epoch, epoch):
    steps = range(epoch * per_epoch, (epoch + 1) * per_epoch)
    drawn = rows(batches(drop_last=drop_last), steps)
    flat = [row for batch in drawn for row in batch]
    assert len(set(flat)) == len(flat) == (20 if drop_last else 23)
    assert {len(batch) for batch in drawn[:4]} == {5}
    assert flat != sorted(flat)
    if not drop_last:
        assert sorted(flat) == list(range(23))
        assert len(drawn[-1]) == 3


def test_every_row_comes_in_time_when_the_last_batch_is_dropped():
    assert {row for batch in rows(batches(), range(80)) for row in batch} == set(range(23))


def test_inputs_and_targets_stay_together():
    x, y = batches()(2)
    assert torch.equal(x, X[y])
    assert x.data_ptr() != X.data_ptr()


def test_a_batch_does_not_depend_on_what_was_asked_before():
    steps = list(range(40))
    in_turn = dict(zip(steps, rows(batches(), steps), strict=True))
    random.Random(0).shuffle(steps)
    assert dict(zip(steps, rows(batches(), steps), strict=True)) == in_turn
    assert rows(batches(), [17]) == [in_turn[17]]


def test_epochs_and_seeds_differ():
    first = rows(batches(), range(4))
    assert rows(batches(), range(4, 8)) != first
    assert rows(batches(seed=1), range(4)) != first


def test_the_order_does_not_depend_on_the_global_generator():
    torch.manual_seed(1)
    first = rows(batches(), range(4))
    torch.manual_seed(2)
    before = torch.random.get_rng_state()
    assert rows(batches(), range(4)) == first
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_batch_size_cuts_the_same_permutation():
    small = rows(batches(batch_size=5), range(4))
    assert rows(batches(batch_size=10), range(2)) == [small[0] + small[1], small[2] + small[3]]


def test_augmentation_sees_the_step():
    seen = []

    def augment(step, x, y):
        seen.append(step)
        return -x, y

    augmented, plain = batches(augment=augment), batches()
    for step in (3, 9):
        assert torch.equal(augmented(step)[0], -plain(step)[0])
    assert seen == [3, 9]


@pytest.mark.parametrize(("batch_size", "sizes"), [(10, [10, 10, 3]), (23, [23]), (100, [23])])
def test_in_order_gives_every_row_once(batch_size, sizes):
    blocks = feed.in_order(X, Y, batch_size)
    assert [len(y) for _, y in blocks] == sizes
    assert torch.equal(torch.cat([x for x, _ in blocks]), X)
    assert torch.equal(torch.cat([y for _, y in blocks]), Y)

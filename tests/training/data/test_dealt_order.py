"""Runs of neighbours: each row once, at most so many of a run in a batch, and the same two meet again as by chance."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from training.data.dealt_order import DealtOrder
from training.data.order import BlockOrder

SHARD = 64


def plain_runs(rows: list[int], shard_rows: int, run_rows: int, offset: int) -> list[set[int]]:
    """Rows of one shard whose places, moved on by `offset`, are in the same `run_rows` places."""
    found: dict[tuple[int, int], set[int]] = {}
    for row in rows:
        found.setdefault((row // shard_rows, (row % shard_rows + offset) // run_rows), set()).add(row)
    return list(found.values())


@settings(max_examples=80, deadline=None)
@given(
    count=st.integers(1, 300), seed=st.integers(0, 2**40), epoch=st.integers(0, 500), run_rows=st.integers(1, 80),
    batch_rows=st.integers(1, 50), apart=st.integers(1, 20), data=st.data(),
)  # fmt: skip
def test_every_row_once_and_no_batch_has_too_many_of_a_run(
    count: int, seed: int, epoch: int, run_rows: int, batch_rows: int, apart: int, data: st.DataObject
) -> None:
    rows = np.array(sorted(data.draw(st.sets(st.integers(0, 400), min_size=1, max_size=count))))
    order = DealtOrder(rows, SHARD, run_rows, seed, batch_rows, apart)
    drawn, runs = order.of(epoch), order.runs(epoch)
    assert sorted(drawn.tolist()) == rows.tolist()
    cut = [set(rows[runs == number].tolist()) for number in range(runs[-1] + 1)]
    assert any(cut == plain_runs(rows.tolist(), SHARD, run_rows, offset) for offset in range(run_rows))
    size = min(batch_rows, len(rows))
    batches = len(rows) // size
    for batch in drawn[: batches * size].reshape(batches, size).tolist():
        assert max(len(run & set(batch)) for run in cut) <= -(-run_rows // min(apart, batches))


@pytest.mark.parametrize(("run_rows", "apart"), [(8, 8), (16, 4), (64, 8)])
def test_a_run_is_used_up_within_its_window(run_rows: int, apart: int) -> None:
    """So that what was read of a shard need not be kept, or read again, for longer than a window."""
    batch_rows, rows = 16, np.arange(64 * SHARD)
    order = DealtOrder(rows, SHARD, run_rows, 3, batch_rows, apart)
    place = np.empty(len(rows), np.int64)
    place[order.of(0)] = np.arange(len(rows)) // batch_rows
    spans = [np.ptp(place[order.runs(0) == number]) for number in range(order.runs(0)[-1] + 1)]
    assert np.mean(np.array(spans) < 2 * apart) > 0.8  # the others lie on the border of two windows
    assert max(spans) < 4 * apart


def meetings(order: DealtOrder | BlockOrder, batch_rows: int, epochs: int) -> NDArray[np.int64]:
    """The batch of each row, (epochs, rows)."""
    result = np.empty((epochs, len(order.rows)), np.int64)
    for epoch in range(epochs):
        result[epoch, order.of(epoch)] = np.arange(len(order.rows)) // batch_rows
    return result


def again(batches: NDArray[np.int64], near: int) -> float:
    """Of pairs at most `near` rows apart that met in an epoch, how many meet in the next one."""
    met, both = 0, 0
    for distance in range(1, near):
        same = batches[:, :-distance] == batches[:, distance:]
        met, both = met + int(same[:-1].sum()), both + int((same[:-1] & same[1:]).sum())
    return both / met


def test_the_same_two_meet_again_as_in_a_free_shuffle() -> None:
    rows, batch_rows = np.arange(16_384), 64
    free = (batch_rows - 1) / (len(rows) - 1)
    dealt = meetings(DealtOrder(rows, 512, 8, 0, batch_rows, 8), batch_rows, 6)
    blocks = meetings(BlockOrder(np.split(rows, len(rows) // 64), 0, 8), batch_rows, 6)
    assert again(dealt, 64) < 10 * free < again(blocks, 64) / 2
    spread = again(meetings(DealtOrder(rows, 512, 64, 0, batch_rows, 16), batch_rows, 6), 64)
    assert spread < 4 / 64  # at most four of a run of 64 in a batch, each time others


def test_blocks_are_in_the_order_of_earlier_releases() -> None:
    """Which a run goes on in that began with it; written out here."""
    blocks = [np.arange(start, min(start + 5, 23)) for start in range(0, 23, 5)]
    random = np.random.default_rng([7, 2])
    drawn = random.permutation(5)
    first = random.permutation(np.concatenate([blocks[index] for index in drawn[:3]]))
    second = random.permutation(np.concatenate([blocks[index] for index in drawn[3:]]))
    assert BlockOrder(blocks, 7, 3).of(2).tolist() == [*first, *second]


def test_any_two_meet_about_as_often() -> None:
    """Near ones in runs of their own, and far ones: no pair is fixed, none is kept apart for ever."""
    rows, batch_rows, epochs = np.arange(96), 8, 3000
    batches = meetings(DealtOrder(rows, 32, 4, 1, batch_rows, 4), batch_rows, epochs)
    counts = {pair: int((batches[:, pair[0]] == batches[:, pair[1]]).sum()) for pair in combinations((0, 3, 5, 40), 2)}
    expected = epochs * (batch_rows - 1) / (len(rows) - 1)
    far = [counts[pair] for pair in ((0, 40), (3, 40), (5, 40), (0, 5))]
    assert all(0.7 * expected < count < 1.3 * expected for count in far), counts
    assert 0.4 * expected < counts[0, 3] < expected and 0.2 * expected < counts[3, 5] < expected

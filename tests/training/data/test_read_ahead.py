"""What is fetched ahead: every row in time, whole runs at once, and no more than was said."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from training.data.chip_reader import ChipReader
from training.data.dealt_order import DealtOrder
from training.data.order import BlockOrder
from training.data.read_ahead import AT_ONCE, ReadAhead

SHARD_ROWS = 40


class Told:
    """A reader that keeps what it is asked to fetch."""

    def __init__(self) -> None:
        self.runs: list[list[int]] = []

    def chip(self, row: int, scratch: NDArray[Any]) -> NDArray[Any]:
        raise AssertionError(row)

    def fetched(self, rows: Sequence[int]) -> ChipReader:
        self.runs.append(list(rows))
        return Just(rows)


class Just(Told):
    """What has some rows at hand."""

    def __init__(self, rows: Sequence[int]) -> None:
        self.rows = set(rows)


def taken(reader: Told, jobs: list[list[int]], spread: int) -> None:
    """Take every row of every job; each must be at hand."""
    with closing(ReadAhead({"a": reader}, SHARD_ROWS, iter(jobs), spread)) as ahead:
        for rows in jobs:
            ahead.advance(len(rows))
            for row in rows:
                fetched = ahead.take(row).reader("a")
                assert isinstance(fetched, Just) and row in fetched.rows


@settings(max_examples=60, deadline=None)
@given(jobs=st.lists(st.lists(st.integers(0, 200), min_size=1, max_size=12), max_size=30), spread=st.integers(1, 90))
def test_every_row_is_at_hand_when_it_is_taken(jobs: list[list[int]], spread: int) -> None:
    """Also rows that come again soon, as in epochs of a small corpus; of one shard each."""
    reader = Told()
    taken(reader, jobs, spread)
    assert sorted(row for run in reader.runs for row in run) == sorted(row for rows in jobs for row in rows)
    assert all(len({row // SHARD_ROWS for row in run}) == 1 and run == sorted(set(run)) for run in reader.runs)


def shuffled(blocks: int, rows: int, mix: int, batch: int) -> list[list[int]]:
    """Two epochs of the trainer's order, in batches."""
    order = BlockOrder([np.arange(start * rows, (start + 1) * rows) for start in range(blocks)], 0, mix)
    result = np.concatenate([order.of(epoch) for epoch in range(2)]).tolist()
    return [result[start : start + batch] for start in range(0, len(result), batch)]


def test_blocks_come_whole_whatever_the_batch() -> None:
    for batch in (3, 16, 70):
        reader = Told()
        taken(reader, shuffled(blocks=24, rows=8, mix=4, batch=batch), spread=32)
        assert len(reader.runs) <= 2 * 24


def test_runs_that_are_dealt_out_come_whole() -> None:
    """Each has a chip in each of eight batches, so that a window is as long as they are."""
    reader, order = Told(), DealtOrder(np.arange(960), 240, 8, seed=0, batch_rows=12, apart=8)
    rows = order.of(0).tolist()
    taken(reader, [rows[start : start + 12] for start in range(0, 960, 12)], spread=96)
    assert len(reader.runs) <= 1.1 * len(np.unique(order.runs(0)))  # Where a window ends, a run may be in two.


def test_no_more_is_fetched_ahead_than_was_said() -> None:
    reader, jobs = Told(), shuffled(blocks=100, rows=8, mix=4, batch=16)
    with closing(ReadAhead({"a": reader}, SHARD_ROWS, iter(jobs), 32)) as ahead:
        for number, rows in enumerate(jobs):
            ahead.advance(len(rows))
            runs = [ahead.take(row) for row in rows]
            assert all(run.reader("a") for run in runs)
            fetched = sum(len(run) for run in reader.runs)
            assert 16 * (number + 1) <= fetched <= 16 * (number + 1) + 64


def test_runs_are_fetched_at_once() -> None:
    """Each waits for all others to begin, of two layers."""
    together = threading.Barrier(AT_ONCE, timeout=30)

    class Waiting(Told):
        def fetched(self, rows: Sequence[int]) -> ChipReader:
            together.wait()
            return Just(rows)

    far_apart = [[row * SHARD_ROWS for row in range(AT_ONCE // 2)]]
    with closing(ReadAhead({"a": Waiting(), "b": Waiting()}, SHARD_ROWS, iter(far_apart), 1)) as ahead:
        ahead.advance(AT_ONCE // 2)
        runs = [ahead.take(row) for row in far_apart[0]]
        assert all(run.reader(name) for run in runs for name in "ab")
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("loader-ahead")]

"""An order in which neighbours are read together but not trained on together, and meet anew by chance in each epoch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class DealtOrder:
    """Every row once per epoch. Runs of neighbours are drawn anew, and dealt out to batches like cards.

    `rows` (rows,) int64 are ascending. A run has up to `run_rows` neighbours in a shard of `shard_rows`; in each epoch
    the runs begin at another offset and are in another order. The runs of at least `apart` batches of `batch_rows` are
    dealt together, a row to each batch in turn, so that a batch has at most ceil(run_rows / apart) rows of one run.
    Rows that fill no batch end the epoch. An epoch of fewer than `apart` batches deals to those that it has.
    """

    rows: Rows
    shard_rows: int
    run_rows: int
    seed: int
    batch_rows: int
    apart: int

    def of(self, epoch: int) -> Rows:
        """The manifest rows of an epoch in training order, (rows,) int64."""
        random = self._random(epoch)
        drawn = self._runs_in_random_order(random)
        size = min(self.batch_rows, len(drawn))
        edges = _edges(len(drawn) // size, self.apart) * size
        windows = [_dealt(window, size, random) for window in np.split(drawn[: edges[-1]], edges[1:-1])]
        return np.concatenate([*windows, drawn[edges[-1] :]])

    def runs(self, epoch: int) -> Rows:
        """The number of the run of each of `rows` in an epoch, ascending, (rows,) int64."""
        return self._runs(self._random(epoch))

    def _random(self, epoch: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, epoch])

    def _runs(self, random: np.random.Generator) -> Rows:
        offset = random.integers(self.run_rows)
        shard, place = np.divmod(self.rows, self.shard_rows)
        pieces = shard * (self.shard_rows // self.run_rows + 2) + (place + offset) // self.run_rows
        return np.cumsum(np.diff(pieces, prepend=pieces[0]) != 0)

    def _runs_in_random_order(self, random: np.random.Generator) -> Rows:
        """The rows of one run after those of another, both in random order."""
        runs = self._runs(random)
        places = random.permutation(runs[-1] + 1)[runs]
        return self.rows[np.argsort(places + random.random(len(runs)))]


def _edges(batches: int, apart: int) -> Rows:
    """Where windows of at least `apart` batches begin and end, if there are as many; counted in batches, from 0."""
    windows = max(1, batches // apart)
    return np.arange(windows + 1) * batches // windows


def _dealt(rows: Rows, batch_rows: int, random: np.random.Generator) -> Rows:
    """`rows`, a whole number of batches: one to each batch in turn, and those of a batch in random order."""
    batches = rows.reshape(batch_rows, -1).T
    return random.permuted(batches, axis=1).reshape(-1)

"""The order in which rows are trained on: a function of (seed, epoch) and of the rows only."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from training.config import PretrainConfig
from training.data.dealt_order import DealtOrder


@dataclass(frozen=True)
class Position:
    """Position in an epoch: shard and manifest row of the next sample, independent of the number of processes."""

    epoch: int
    shard: int
    row: int


class Order(Protocol):
    """Every row once per epoch."""

    @property
    def rows(self) -> NDArray[np.int64]:
        """The manifest rows, (rows,) int64, ascending."""

    def of(self, epoch: int) -> NDArray[np.int64]:
        """The manifest rows of an epoch in training order, (rows,) int64."""


def order_of(blocks: Sequence[NDArray[np.int64]], shard_rows: int, config: PretrainConfig, batch_size: int) -> Order:
    """The order that a configuration asks for, of the rows of `blocks_of`."""
    if config.order == "blocks":
        return BlockOrder(blocks, config.seed, config.mix_blocks)
    apart = -(-config.read_rows // config.companions)
    return DealtOrder(np.concatenate(blocks), shard_rows, config.read_rows, config.seed, batch_size, apart)


class BlockOrder:
    """Every row once per epoch: blocks in random order, the rows of `mix` blocks at a time shuffled together.

    A block has neighbouring rows, the same ones in every epoch: they meet in a batch again and again. Runs of earlier
    releases go on in this order.
    """

    def __init__(self, blocks: Sequence[NDArray[np.int64]], seed: int, mix: int) -> None:
        self._blocks, self._seed, self._mix = tuple(blocks), seed, mix
        self.rows = np.concatenate(blocks)  # ascending

    def of(self, epoch: int) -> NDArray[np.int64]:
        """The manifest rows of an epoch in training order, (rows,) int64."""
        random = np.random.default_rng([self._seed, epoch])
        blocks = [self._blocks[index] for index in random.permutation(len(self._blocks))]
        groups = [np.concatenate(blocks[start : start + self._mix]) for start in range(0, len(blocks), self._mix)]
        return np.concatenate([random.permutation(rows) for rows in groups])


def finished_shards(corpus: Corpus, names: Sequence[str]) -> frozenset[int]:
    """Indices of the shards that are finished for all of `names` now."""
    return frozenset.intersection(*(corpus.finished(name) for name in names))


def shards_of(corpus: Corpus, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """The index of the shard of each of the manifest `rows`, (rows,) int64; shards may differ in length."""
    starts = np.array([shard.start for shard in corpus.shards], dtype=np.int64)
    return np.searchsorted(starts, rows, side="right") - 1


def blocks_of(
    corpus: Corpus, shards: Collection[int], read_rows: int, left_out: Sequence[int] | NDArray[np.int64] = ()
) -> list[NDArray[np.int64]]:
    """The train rows of `shards`, in blocks of at most `read_rows` neighbouring rows of one shard, (rows,) int64 each.

    Without the manifest rows `left_out`. The list is empty when these shards have no train rows. Raises `Fatal` for a
    corpus without train rows.
    """
    train = corpus.manifest.rows_of("train")
    if not len(train):
        raise Fatal(f"the corpus in {corpus.folder} has no train rows; sample more locations or change the split.")
    train = np.setdiff1d(train, np.asarray(left_out, dtype=np.int64), assume_unique=True)
    spans = [
        (start, min(start + read_rows, shard.stop))
        for shard in corpus.shards if shard.index in shards
        for start in range(shard.start, shard.stop, read_rows)
    ]  # fmt: skip
    result = [train[np.searchsorted(train, start) : np.searchsorted(train, stop)] for start, stop in spans]
    return [block for block in result if len(block)]

"""From shards to batches: the order follows from (seed, epoch), and batch `step` is a pure function of `step`."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from training.config import PretrainConfig
from training.layer import Layer, groups_of
from training.masking import crop_yx, visible_patches


@dataclass(frozen=True)
class Batch:
    """`values` and `valid` by modality, (batch, bands[, y, x]) each; `visible` (batch, y, x) per patch.

    Continuous values are float32 and normalised, classes int64 indices. `rows` are the manifest rows.
    """

    values: dict[str, Tensor]
    valid: dict[str, Tensor]
    visible: Tensor
    rows: tuple[int, ...]

    def to(self, device: torch.device) -> Batch:
        """The same batch on `device`."""
        values = {name: one.to(device, non_blocking=True) for name, one in self.values.items()}
        valid = {name: one.to(device, non_blocking=True) for name, one in self.valid.items()}
        return Batch(values, valid, self.visible.to(device, non_blocking=True), self.rows)


class Feed:
    """Batches of the train rows of the shards in which every one of `layers` is finished.

    An epoch is every such row once: blocks of neighbouring rows in an order of their own, rows shuffled inside
    each block, cut into batches; what does not fill a last batch waits for another epoch. The manifest is
    shuffled already, so a block is a random sample of the corpus.
    """

    def __init__(self, corpus: Corpus, layers: Sequence[Layer], config: PretrainConfig) -> None:
        self._corpus, self._layers, self._config = corpus, tuple(layers), config
        self._blocks = _blocks(corpus, [layer.name for layer in layers], config.read_rows)
        self._first_rows = np.array([block[0] for block in self._blocks])
        self._groups = {layer.name: groups_of(corpus, layer) for layer in layers}
        self._held: tuple[int, dict[str, NDArray[Any]]] = (-1, {})
        self.batch_size = min(config.batch_size, len(self.rows))
        self.steps_per_epoch = len(self.rows) // self.batch_size
        self.order = lru_cache(maxsize=2)(self._order)

    @property
    def rows(self) -> NDArray[np.int64]:
        """The manifest rows that are trained on, ascending."""
        return np.concatenate(self._blocks)

    def _order(self, epoch: int) -> NDArray[np.int64]:
        """The manifest rows of an epoch in the order in which they are trained on."""
        random = np.random.default_rng([self._config.seed, epoch])
        blocks = [self._blocks[index] for index in random.permutation(len(self._blocks))]
        return np.concatenate([random.permutation(block) for block in blocks])

    def batches(self, first: int, stop: int) -> Generator[Batch]:
        """Batches `first` to `stop` (exclusive), prepared ahead by a thread of its own."""
        return _ahead((self.batch(step) for step in range(first, stop)), self._config.read_ahead)

    def batch(self, step: int) -> Batch:
        """The batch of one step, counted from the run's start."""
        epoch, place = divmod(step, self.steps_per_epoch)
        rows = self.order(epoch)[place * self.batch_size : (place + 1) * self.batch_size]
        stored = self._gather(epoch, rows)
        prepared = {layer.name: layer.values(stored[layer.name], self._groups[layer.name][rows])
                    for layer in self._layers}  # fmt: skip
        return Batch(
            {name: torch.from_numpy(values) for name, (values, _) in prepared.items()},
            {name: torch.from_numpy(valid) for name, (_, valid) in prepared.items()},
            torch.from_numpy(self._visible(epoch, rows)),
            tuple(int(row) for row in rows),
        )

    def _visible(self, epoch: int, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        side, keep = self._config.side, self._config.visible_patches
        return np.stack([visible_patches(self._config.seed, epoch, int(row), side, keep) for row in rows])

    def _gather(self, epoch: int, rows: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """Stored values of `rows`, cropped; the rows of a block are neighbours here, so each is read once."""
        parts = [self._cropped(epoch, block, list(members)) for block, members in groupby(rows, self._block_of)]
        return {layer.name: np.concatenate([part[layer.name] for part in parts]) for layer in self._layers}

    def _block_of(self, row: np.int64) -> int:
        return int(np.searchsorted(self._first_rows, row, side="right")) - 1

    def _cropped(self, epoch: int, block: int, rows: list[np.int64]) -> dict[str, NDArray[Any]]:
        stored, start = self._read(block), int(self._blocks[block][0])
        corners = [self._corner(epoch, int(row)) for row in rows]
        found = {}
        for layer in self._layers:
            chips = [stored[layer.name][int(row) - start] for row in rows]
            if layer.pixel:
                chips = [self._crop(*one) for one in zip(chips, corners, strict=True)]
            found[layer.name] = np.stack(chips)
        return found

    def _corner(self, epoch: int, row: int) -> tuple[int, int]:
        return crop_yx(self._config.seed, epoch, row, self._corpus.manifest.size_px, self._config.image_px)

    def _crop(self, chip: NDArray[Any], corner_yx: tuple[int, int]) -> NDArray[Any]:
        (y, x), size = corner_yx, self._config.image_px
        return chip[:, y : y + size, x : x + size]

    def _read(self, block: int) -> dict[str, NDArray[Any]]:
        """All stored values between the block's first and last row; the last block read is held."""
        if self._held[0] != block:
            span = slice(int(self._blocks[block][0]), int(self._blocks[block][-1]) + 1)
            self._held = block, {layer.name: self._corpus.read(layer.name, span) for layer in self._layers}
        return self._held[1]


def _blocks(corpus: Corpus, names: Sequence[str], read_rows: int) -> list[NDArray[np.int64]]:
    """The train rows of the finished shards, in runs of at most `read_rows` neighbours that share a shard."""
    train = corpus.manifest.rows_of("train")
    if not len(train):
        raise Fatal(f"the corpus in {corpus.folder} has no train rows; sample more locations or change the split.")
    unfinished = set(corpus.missing(names))
    spans = [
        (start, min(start + read_rows, shard.stop))
        for shard in corpus.shards if shard not in unfinished
        for start in range(shard.start, shard.stop, read_rows)
    ]  # fmt: skip
    found = [train[np.searchsorted(train, start) : np.searchsorted(train, stop)] for start, stop in spans]
    blocks = [block for block in found if len(block)]
    if not blocks:
        raise Fatal(
            f"no shard with train rows in {corpus.folder} is finished for all of {', '.join(names)}; "
            "run `geocorpus export` first."
        )
    return blocks


def _ahead(batches: Iterator[Batch], depth: int) -> Generator[Batch]:
    """The same batches, up to `depth` of them prepared while the caller works; errors surface in their turn."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="feed")
    try:
        waiting = deque(pool.submit(next, batches, None) for _ in range(depth))
        while (batch := waiting.popleft().result()) is not None:
            waiting.append(pool.submit(next, batches, None))
            yield batch
    finally:
        pool.shutdown(cancel_futures=True)

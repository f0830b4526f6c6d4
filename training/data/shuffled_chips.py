"""A corpus for anybody's training loop: an iterable dataset of PyTorch, shuffled by blocks, anew each epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import IterableDataset, get_worker_info

from pipeline.errors import Fatal
from training.data.order import Order


class Chips(Protocol):
    """What makes samples of rows."""

    def sample(self, row: int) -> dict[str, Any]: ...

    def batch(self, rows: Sequence[int]) -> dict[str, Any]: ...


class ShuffledChips(IterableDataset[dict[str, Any]]):
    """Every chip once an epoch, whatever the number of workers and processes; made by `ChipDataset.shuffled`.

    The order is that of (seed, epoch): blocks in random order, some at a time shuffled together. Processes and, within
    them, workers take consecutive parts of it, so that each reads blocks of its own. Processes get equally many chips:
    the up to `ranks - 1` that are left over wait for another epoch. `set_epoch` before each epoch gives it an order
    of its own.
    """

    def __init__(
        self,
        chips: Chips,
        blocks: Sequence[NDArray[np.int64]],
        seed: int,
        mix_blocks: int,
        part: tuple[int, int],
    ) -> None:
        rank, ranks = part
        if mix_blocks < 1 or seed < 0:
            raise Fatal(f"mix_blocks must be at least 1 and seed at least 0, not {mix_blocks} and {seed}.")
        if not 0 <= rank < ranks:
            raise Fatal(f"there is no process {rank} of {ranks}; ranks count from 0.")
        self._chips, self._blocks, self._seed, self._mix = chips, tuple(blocks), seed, mix_blocks
        self._rank, self._ranks = rank, ranks
        # In shared memory, so that workers that outlive an epoch hear of the next.
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()

    @property
    def chips_per_epoch(self) -> int:
        """How many samples an epoch has in this process, all its workers together."""
        return sum(len(block) for block in self._blocks) // self._ranks

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next iteration; also for workers that live already."""
        self._epoch[0] = epoch

    def order(self) -> NDArray[np.int64]:
        """The rows of this process in the coming epoch, in their order, before workers divide them."""
        rows = Order(self._blocks, self._seed, self._mix).of(int(self._epoch[0]))
        return rows[self._rank * self.chips_per_epoch : (self._rank + 1) * self.chips_per_epoch]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Samples as `ChipDataset` gives them; in a worker, its part of them."""
        return map(self._chips.sample, self._part())

    def batches(self, size: int) -> ShuffledBatches:
        """The same chips, `size` at a time, for a `DataLoader` with `batch_size=None`, whose own collation would copy.

        The last batch of each worker may be smaller. Raises `Fatal` for a size below 1.
        """
        if size < 1:
            raise Fatal(f"a batch has at least 1 chip, not {size}.")
        return ShuffledBatches(self, size)

    def batches_here(self, size: int) -> Iterator[dict[str, Any]]:
        """Batches of the part that this process, or this worker of it, has of the coming epoch."""
        rows = self._part()
        return (self._chips.batch(rows[start : start + size]) for start in range(0, len(rows), size))

    def _part(self) -> list[int]:
        worker, rows = get_worker_info(), self.order()
        part = rows if worker is None else np.array_split(rows, worker.num_workers)[worker.id]
        return [int(row) for row in part]


class ShuffledBatches(IterableDataset[dict[str, Any]]):
    """Batches of `chips`, decoded into their place; made by `ShuffledChips.batches`."""

    def __init__(self, chips: ShuffledChips, size: int) -> None:
        self.chips, self._size = chips, size

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next iteration; also for workers that live already."""
        self.chips.set_epoch(epoch)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self.chips.batches_here(self._size)

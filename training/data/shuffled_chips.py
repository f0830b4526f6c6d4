"""A corpus for anybody's training loop: an iterable dataset of PyTorch, shuffled by blocks, anew each epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import IterableDataset, get_worker_info

from pipeline.errors import Fatal
from training.data.order import Order


class ShuffledChips(IterableDataset[dict[str, Any]]):
    """Every chip once an epoch, whatever the number of workers and processes; made by `ChipDataset.shuffled`.

    The order is that of (seed, epoch): blocks in random order, some at a time shuffled together. Processes and, within
    them, workers take consecutive parts of it, so that each reads blocks of its own. Processes get equally many chips:
    the up to `ranks - 1` that are left over wait for another epoch. `set_epoch` before each epoch gives it an order
    of its own.
    """

    def __init__(
        self,
        sample: Callable[[int], dict[str, Any]],
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
        self._sample, self._blocks, self._seed, self._mix = sample, tuple(blocks), seed, mix_blocks
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
        worker = get_worker_info()
        rows = self.order() if worker is None else np.array_split(self.order(), worker.num_workers)[worker.id]
        return map(self._sample, rows.tolist())

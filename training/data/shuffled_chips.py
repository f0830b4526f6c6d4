"""A corpus for anybody's training loop: an iterable dataset of PyTorch, in another order each epoch."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import IterableDataset, get_worker_info

from pipeline import arguments
from pipeline.errors import Fatal
from training.data.order import Order
from training.data.stream import default_workers


class Chips(Protocol):
    """What makes samples of rows; safe for many threads once it is open."""

    def open(self) -> None: ...

    def sample(self, row: int) -> dict[str, Any]: ...

    def batch(self, rows: Sequence[int]) -> dict[str, Any]: ...


class ShuffledChips(IterableDataset[dict[str, Any]]):
    """Every chip once an epoch, whatever the number of workers and processes; made by `ChipDataset.shuffled`.

    The order is that of `DealtOrder`, a function of seed and epoch. Processes and, within them, workers take
    consecutive parts of it, so that each reads runs of its own. Processes get equally many chips:
    the up to `ranks - 1` that are left over wait for another epoch. `set_epoch` before each epoch gives it an order
    of its own.
    """

    def __init__(self, chips: Chips, order: Order, part: tuple[int, int]) -> None:
        rank, ranks = arguments.whole_number("rank", part[0]), arguments.whole_number("ranks", part[1], 1)
        if not 0 <= rank < ranks:
            raise Fatal(f"there is no process {rank} of {ranks}; ranks count from 0.")
        self._chips, self._order = chips, order
        self._rank, self._ranks = rank, ranks
        # In shared memory, so that workers that outlive an epoch hear of the next.
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()

    @property
    def chips_per_epoch(self) -> int:
        """How many samples an epoch has in this process, all its workers together."""
        return len(self._order.rows) // self._ranks

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next iteration; also for workers that live already."""
        self._epoch[0] = epoch

    def order(self) -> NDArray[np.int64]:
        """The rows of this process in the coming epoch, in their order, before workers divide them."""
        rows = self._order.of(int(self._epoch[0]))
        return rows[self._rank * self.chips_per_epoch : (self._rank + 1) * self.chips_per_epoch]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Samples as `ChipDataset` gives them; in a worker, its part of them."""
        return map(self._chips.sample, self._part())

    def batches(self, size: int, threads: int = 0) -> ShuffledBatches:
        """The same chips, `size` at a time, decoded ahead by threads (0: one per core) or by a loader's workers.

        For a `DataLoader` with `batch_size=None`, whose own collation would copy. The last batch of a process, or of
        each worker, may be smaller. Raises `Fatal` for a size below 1 or threads below 0.
        """
        size = arguments.whole_number("the size of a batch", size, 1)
        return ShuffledBatches(self, size, arguments.whole_number("threads", threads, 0))

    def makers(self, size: int) -> Iterator[Callable[[], dict[str, Any]]]:
        """What makes each batch of the part that this process, or this worker of it, has of the coming epoch."""
        rows = self._part()
        self._chips.open()
        return (partial(self._chips.batch, rows[start : start + size]) for start in range(0, len(rows), size))

    def _part(self) -> list[int]:
        worker, rows = get_worker_info(), self.order()
        part = rows if worker is None else np.array_split(rows, worker.num_workers)[worker.id]
        return [int(row) for row in part]


class ShuffledBatches(IterableDataset[dict[str, Any]]):
    """Batches of `chips`, decoded into their place; made by `ShuffledChips.batches`."""

    def __init__(self, chips: ShuffledChips, size: int, threads: int) -> None:
        self.chips, self._size, self._threads = chips, size, threads

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next iteration; also for workers that live already."""
        self.chips.set_epoch(epoch)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        makers = self.chips.makers(self._size)
        if get_worker_info() is not None:
            return (make() for make in makers)  # One thread a worker: the loader has as many as it wants.
        return _ahead(makers, self._threads or default_workers())


def _ahead(makers: Iterator[Callable[[], dict[str, Any]]], threads: int) -> Iterator[dict[str, Any]]:
    """What `makers` make, in their order, while the caller works with what came before."""
    pool = ThreadPoolExecutor(threads, thread_name_prefix="chips")
    try:
        pending = deque(pool.submit(make) for make in islice(makers, threads + 1))
        while pending:
            made = pending.popleft().result()
            pending.extend(pool.submit(make) for make in islice(makers, 1))
            yield made
    finally:
        pool.shutdown(cancel_futures=True)

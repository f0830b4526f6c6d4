"""The processes that train together: rank and size, and the collective operations in use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed

from training.rank_slice import RankSlice

# Long enough for a rank that reads a slow disk; a rank that dies closes its connections at once.
_TIMEOUT = timedelta(minutes=30)


@dataclass(frozen=True)
class DistributedContext:
    """Process `rank` of `count`, and `local_rank` of `local_world_size` on this machine.

    A single process does no communication.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    local_world_size: int = 1

    @classmethod
    def from_environment(cls) -> DistributedContext:
        """From the environment that `torchrun` or `training.runtime.launch` sets."""
        rank, local_rank = (int(os.environ.get(name, 0)) for name in ("RANK", "LOCAL_RANK"))
        count, local_world_size = (int(os.environ.get(name, 1)) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
        return cls(rank, count, local_rank, local_world_size)

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and reports progress."""
        return self.rank == 0

    @contextmanager
    def joined(self, device: torch.device) -> Iterator[None]:
        """Connected to the other processes: tensors on GPUs by NCCL, those on the host by gloo."""
        if self.count == 1:
            yield
            return
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        distributed.init_process_group(backend, timeout=_TIMEOUT)
        try:
            yield
        finally:
            distributed.destroy_process_group()

    def rank_slice(self, batch_size: int, micro_batch: int) -> RankSlice:
        """This process's part of batches of `batch_size`, in micro-batches of at most `micro_batch` chips (0: one).

        None is empty: where `micro_batch` is 1 and processes have unequal parts, some micro-batches have two chips.
        """
        largest = -(-batch_size // self.count)
        wanted = -(-largest // micro_batch) if micro_batch else 1
        return RankSlice(self.rank, self.count, max(1, min(wanted, batch_size // self.count)))

    def summed(self, values: Tensor) -> Tensor:
        """`values` summed over all processes, in place."""
        if self.count > 1:
            distributed.all_reduce(values)
        return values

    def gathered(self, own: Tensor, rows: int) -> list[Tensor]:
        """The parts (rows of the process, ...) of every process, of a batch of `rows` that `RankSlice` divides.

        No gradient goes through. Raises `ValueError` where `own` has not the rows that are this process's.
        """
        sizes = [_rows_of(rank, self.count, rows) for rank in range(self.count)]
        if len(own) != sizes[self.rank]:
            raise ValueError(f"process {self.rank} has {len(own)} rows of a batch of {rows}, not {sizes[self.rank]}")
        sent = own.to(torch.uint8) if own.dtype == torch.bool else own
        padded = torch.cat([sent, sent.new_zeros((max(sizes) - len(sent), *sent.shape[1:]))])
        received = [torch.empty_like(padded) for _ in sizes]
        distributed.all_gather(received, padded)
        return [item[:size].to(own.dtype) for item, size in zip(received, sizes, strict=True)]

    def broadcast(self, value: Any) -> Any:
        """The `value` of the first process; small and picklable."""
        if self.count == 1:
            return value
        values = [value]
        distributed.broadcast_object_list(values, src=0)
        return values[0]

    def any(self, flag: bool) -> bool:
        """Whether any process says so, the same in all; this waits for the other hosts, but for no device."""
        return bool(self.summed(torch.tensor(float(flag)))) if self.count > 1 else flag

    def barrier(self) -> None:
        """Wait until every process has called this."""
        if self.count > 1:
            distributed.barrier()


def _rows_of(rank: int, count: int, rows: int) -> int:
    """How many rows of a batch are those of a process."""
    return sum(part.stop - part.start for part in RankSlice(rank, count).slices(rows))

"""The processes that train together: who this one is, and the few things that it asks the others."""

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

# A rank that reads a slow disk must not be taken for dead; one that died closes its connections at once.
_PATIENCE = timedelta(minutes=30)


@dataclass(frozen=True)
class DistributedContext:
    """Process `rank` of `count`, number `local_rank` of `local_world_size` on this machine. Alone, it asks nobody."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    local_world_size: int = 1

    @classmethod
    def from_environment(cls) -> DistributedContext:
        """As `torchrun`, or `training.runtime.launch`, tells it."""
        rank, local_rank = (int(os.environ.get(name, 0)) for name in ("RANK", "LOCAL_RANK"))
        count, local_world_size = (int(os.environ.get(name, 1)) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
        return cls(rank, count, local_rank, local_world_size)

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes and speaks."""
        return self.rank == 0

    @contextmanager
    def joined(self, device: torch.device) -> Iterator[None]:
        """Connected to the others: by NCCL between GPUs, by gloo between CPUs."""
        if self.count == 1:
            yield
            return
        backend = "nccl" if device.type == "cuda" else "gloo"
        distributed.init_process_group(backend, timeout=_PATIENCE)
        try:
            yield
        finally:
            distributed.destroy_process_group()

    def share(self, batch_size: int, most: int) -> RankSlice:
        """This process's part of batches of `batch_size`, in pieces of at most `most` chips (0: one piece)."""
        largest = -(-batch_size // self.count)
        return RankSlice(self.rank, self.count, -(-largest // most) if most else 1)

    def summed(self, values: Tensor) -> Tensor:
        """`values` summed over all processes, in place."""
        if self.count > 1:
            distributed.all_reduce(values)
        return values

    def agreed(self, choice: Any) -> Any:
        """What the first process chose; a small plain value."""
        if self.count == 1:
            return choice
        box = [choice]
        distributed.broadcast_object_list(box, src=0)
        return box[0]

    def wait(self) -> None:
        """Until every process is here."""
        if self.count > 1:
            distributed.barrier()

"""Rows that the processes of a run divide among them, outside of its steps, and what comes of it in all of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.runtime.distributed_context import DistributedContext


@dataclass(frozen=True)
class SharedRows:
    """Manifest `rows` (rows,) int64, in parts of at most `micro_batch` (0: one part a process)."""

    rows: NDArray[np.int64]
    context: DistributedContext
    micro_batch: int

    @classmethod
    def of(cls, rows: NDArray[np.int64], context: DistributedContext, micro_batch: int) -> SharedRows:
        """Of fewer rows than processes, each process has all."""
        return cls(rows, context if len(rows) >= context.count else DistributedContext(), micro_batch)

    @property
    def parts(self) -> list[NDArray[np.int64]]:
        """The parts of this process."""
        rank_slice = self.context.rank_slice(len(self.rows), self.micro_batch)
        return [self.rows[part] for part in rank_slice.slices(len(self.rows))]

    def summed(self, own: Tensor) -> Tensor:
        """What this process has of a sum over all rows, summed over the processes, in place."""
        return self.context.summed(own)

    def gathered(self, own: Tensor) -> Tensor:
        """The values of all rows in order, (rows, ...), of those of this process."""
        if self.context.count == 1:
            return own
        return torch.cat(self.context.gathered(own.contiguous(), len(self.rows)))

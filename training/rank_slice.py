"""The part of every global batch that one process computes; the samples do not depend on the number of processes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RankSlice:
    """The part of process `rank` of `world_size`, computed in `micro_batches` (gradient accumulation).

    The rows of a global batch have a fixed order. Each process takes a contiguous slice of them, and each micro-batch a
    contiguous slice of that.
    """

    rank: int = 0
    world_size: int = 1
    micro_batches: int = 1

    def slices(self, batch_size: int) -> list[slice]:
        """The micro-batches of this process in a batch of `batch_size` rows; their sizes differ by at most one row."""
        count = self.world_size * self.micro_batches
        edges = [part * batch_size // count for part in range(count + 1)]
        own = range(self.rank * self.micro_batches, (self.rank + 1) * self.micro_batches)
        return [slice(edges[part], edges[part + 1]) for part in own]


WHOLE_BATCH = RankSlice()

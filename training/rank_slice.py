"""Which part of every global batch a process computes: any number of processes sees the same samples."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RankSlice:
    """The part of process `rank` of `world`, taken in `pieces` one after the other (gradient accumulation).

    A global batch has its rows in a fixed order; each process takes a run of them, and each piece a run of those.
    """

    rank: int = 0
    world: int = 1
    pieces: int = 1

    def slices(self, batch_size: int) -> list[slice]:
        """The process's pieces of a batch of `batch_size` rows, in order; they differ by one row at most."""
        parts = self.world * self.pieces
        edges = [part * batch_size // parts for part in range(parts + 1)]
        mine = range(self.rank * self.pieces, (self.rank + 1) * self.pieces)
        return [slice(edges[part], edges[part + 1]) for part in mine]


WHOLE_BATCH = RankSlice()

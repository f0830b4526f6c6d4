"""The constraints on a location: no overlap of footprints, excluded footprints, and the buffer between splits."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sampling.exclusion import Exclusion
from sampling.footprints import OccupancyIndex
from sampling.settled import Settled
from sampling.splits import SplitRule

OVERLAP = "overlaps an earlier footprint"
EXCLUDED = "too near to an excluded footprint"
BUFFER = "in the buffer between splits"


@dataclass(frozen=True)
class Constraints:
    """`side_m` is the side of a footprint; footprints of different splits are at least `buffer_m` apart.

    `settled` are the places to which others are added.
    """

    side_m: float = 1280.0
    may_overlap: bool = False
    exclusion: Exclusion | None = None
    splits: SplitRule | None = None
    buffer_m: float = 0.0
    settled: Settled = field(default_factory=Settled)

    @property
    def half_gap_m(self) -> float:
        """The least distance of a location from the border of its split: half the buffer and half a diagonal, metres.

        Two locations of different splits are then at least `buffer_m` and a footprint's diagonal apart, and their
        footprints `buffer_m`.
        """
        return half_gap_m(self.buffer_m, self.side_m)

    def refusals(self, lonlat: NDArray[Any]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
        """Each reason that applies, with the mask (n,) bool of the points (n, 2), degrees, that it refuses.

        Raises `Fatal` when split cells are too small for the buffer.
        """
        if self.exclusion is not None:
            yield EXCLUDED, self.exclusion.holds(lonlat)
        if self.splits is not None and self.buffer_m > 0:
            near = self._loose.within(2 * self.half_gap_m, lonlat, self.splits.of(lonlat))
            yield BUFFER, near | self.splits.in_buffer(lonlat, self.half_gap_m)

    @cached_property
    def _loose(self) -> Settled:
        return Settled() if self.splits is None else self.settled.loose(self.splits, self.half_gap_m)

    def ground(self) -> OccupancyIndex:
        """The ground that is left beside the places that are settled."""
        index = OccupancyIndex(self.side_m)
        index.occupy(self.settled.lonlat)
        return index


def half_gap_m(buffer_m: float, side_m: float) -> float:
    """Half of what lies between two locations of different splits, metres; see `Constraints.half_gap_m`."""
    return (buffer_m + side_m * math.sqrt(2) + 20.0) / 2

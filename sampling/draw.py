"""Draws places for every stratum that keep clear of each other: what is chosen for n stays chosen for any more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import Fatal
from sampling.allocation import Allocation, allocate
from sampling.candidates import SPARE, Stream, candidate_count
from sampling.constraints import OVERLAP, Constraints
from sampling.footprints import OccupancyIndex
from sampling.regions import Regions
from sampling.weights import Weights

# Sizes that are filled one after the other, whatever is asked for: what a smaller corpus took, a larger one keeps.
_STEPS = (1.0, 1.2, 2.0, 3.0, 4.0, 6.0, 8.0)
_LARGEST = 10**10
# A stratum is full when of so many candidates less than this share finds room.
_WINDOW, _FULL_SHARE = 256, 0.05
_SURPLUS = 1.05
_LARGEST_FACTOR = 20.0


def sizes() -> Iterator[int]:
    """1000, 10 000, then seven steps in every power of ten."""
    yield from (1000, 10_000)
    power = 100_000
    while power < _LARGEST:
        yield from (round(power * step) for step in _STEPS)
        power *= 10


@dataclass(frozen=True)
class Drawn:
    """Candidates in order of preference within each stratum: `row` (n,) of the region and `lonlat` (n, 2).

    `allocation` says how many of each stratum are to be filled; `refused` counts by reason, for each region, candidates
    that were passed over before the last one taken (all that were tried where a region is full); `full` (regions,)
    marks strata that had no room for their share, which went to others.
    """

    row: NDArray[np.int64]
    lonlat: NDArray[np.float64]
    allocation: Allocation
    refused: dict[str, NDArray[np.int64]]
    full: NDArray[np.bool_]


def draw(regions: Regions, weights: Weights, n: int, seed: int, constraints: Constraints, overdraw: float) -> Drawn:
    """Over-drawn places for `n` locations; no two footprints overlap and all keep the `constraints`.

    For every stratum there is one list of places, fixed by (regions, weights, seed, terms); n only says how much of its
    beginning is taken. A larger n thus keeps every place of a smaller one, unless rounding gives a stratum one less.
    Raises `Fatal` for an overdraw below 1 and for regions without room for `n`.
    """
    if overdraw < 1:
        raise Fatal(f"overdraw must be at least 1, not {overdraw}.")
    field_ = _Field(regions, weights, seed, constraints)
    for size in sizes():
        field_.fill(size)
        allocation = allocate(regions, n, weights, field_.room(overdraw))
        wanted = np.array([candidate_count(quota.count, overdraw) for quota in allocation.quotas])
        if (field_.full | (field_.taken >= wanted)).all():
            return field_.result(allocation, wanted)
    raise Fatal(f"{n} locations are more than can be drawn; ask for fewer.")


@dataclass
class _Field:
    """The state of filling strata: what was tried, taken and refused in each, and the ground they share."""

    regions: Regions
    weights: Weights
    seed: int
    constraints: Constraints
    taken: NDArray[np.int64] = field(init=False)
    full: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        frame = self.regions.frame
        self._streams = [
            Stream(polygon, self.seed, stratum)
            for polygon, stratum in zip(frame.geometry.array, frame["stratum"], strict=True)
        ]
        self._occupancy = None if self.constraints.may_overlap else OccupancyIndex(self.constraints.side_m)
        # Pieces of what was taken and, by reason, of what was refused; a serial number counts a stratum's candidates.
        self._rows: list[NDArray[np.int32]] = []
        self._serials: list[NDArray[np.int32]] = []
        self._places: list[NDArray[np.float64]] = []
        self._refused: dict[str, list[tuple[NDArray[np.int32], NDArray[np.int32]]]] = {}
        count = len(self.regions)
        self._tried = np.zeros(count, dtype=np.int32)
        self.taken = np.zeros(count, dtype=np.int64)
        self.full = ~self.weights.used
        # Of the present window, and of the last round: how many were tried and how many found room.
        self._window = np.zeros((2, count), dtype=np.int64)
        self._last = np.ones((2, count), dtype=np.int64)

    def room(self, overdraw: float) -> NDArray[np.int64]:
        """Most places that each stratum may be given, spares set aside; no limit while it is not full."""
        held = np.maximum(np.floor(self.taken / overdraw).astype(np.int64), np.minimum(self.taken, 1))
        return np.where(self.full, held, np.iinfo(np.int64).max // (2 * len(held)))

    def fill(self, size: int) -> None:
        """Bring every stratum to its quota of `size` and some spare, in rounds, until those left over are full.

        What a full stratum cannot hold goes to the others at once.
        """
        known = -1
        while True:
            if known != (known := int(self.full.sum())):
                target = self._target(size)
            lacking = np.where(self.full, 0, np.maximum(target - self.taken, 0))
            if not lacking.any():
                break
            self._round(lacking)

    def _target(self, size: int) -> NDArray[np.int64]:
        room = self.room(1.0)
        possible = min(size, int(np.minimum(room, size)[self.weights.used].sum()))
        if not possible:
            return np.zeros(len(room), dtype=np.int64)
        return np.array([quota.count + SPARE for quota in allocate(self.regions, possible, self.weights, room).quotas])

    def _round(self, lacking: NDArray[np.int64]) -> None:
        rate = (self._last[1] + 1) / (self._last[0] + 1)
        count = np.ceil(lacking * np.minimum(_SURPLUS / rate, _LARGEST_FACTOR)).astype(np.int64)
        rows = np.flatnonzero(count)
        places = np.concatenate([self._streams[row].take(int(count[row])) for row in rows])
        row = np.repeat(rows, count[rows]).astype(np.int32)
        rank = np.arange(len(row)) - np.repeat(np.cumsum(count[rows]) - count[rows], count[rows])
        # Strata take turns, each at its own pace, so that none is served before its neighbour.
        order = np.lexsort((row, (rank + 0.5) / count[row]))
        serial = (self._tried[row] + rank).astype(np.int32)
        self._tried += count.astype(np.int32)
        result = self._admit(row[order], serial[order], places[order])
        self._count(count, np.bincount(result, minlength=len(count)))

    def _admit(
        self, row: NDArray[np.int32], serial: NDArray[np.int32], places: NDArray[np.float64]
    ) -> NDArray[np.int32]:
        """Take what the terms and the ground allow; the region (m,) of each."""
        kept = np.ones(len(row), dtype=bool)
        for reason, wrong in self.constraints.refusals(places):
            self._refuse(reason, row[kept & wrong], serial[kept & wrong])
            kept &= ~wrong
        if self._occupancy is not None:
            free = self._occupancy.claim(places[kept])
            self._refuse(OVERLAP, row[kept][~free], serial[kept][~free])
            kept[kept] = free
        self._rows.append(row[kept])
        self._serials.append(serial[kept])
        self._places.append(places[kept])
        return row[kept]

    def _refuse(self, reason: str, row: NDArray[np.int32], serial: NDArray[np.int32]) -> None:
        self._refused.setdefault(reason, []).append((row, serial))

    def _refused_before(self, last: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
        """By reason, how many candidates of each region were refused before its serial number `last`."""
        result = {}
        for reason, parts in self._refused.items():
            row, serial = (np.concatenate(item) for item in zip(*parts, strict=True))
            result[reason] = np.bincount(row[serial < last[row]], minlength=len(last))
        return result

    def _count(self, tried: NDArray[np.int64], found: NDArray[np.int64]) -> None:
        self.taken += found
        self._last = np.where(tried > 0, [tried, found], self._last)
        self._window += [tried, found]
        over = self._window[0] >= _WINDOW
        self.full |= over & (self._window[1] < _FULL_SHARE * self._window[0])
        self._window[:, over] = 0

    def result(self, allocation: Allocation, wanted: NDArray[np.int64]) -> Drawn:
        """The first `wanted` of each stratum, stratum by stratum."""
        row, places = np.concatenate(self._rows), np.concatenate(self._places)
        order = np.argsort(row, kind="stable")
        ranks = np.arange(len(row)) - np.searchsorted(row[order], row[order])
        chosen = order[ranks < wanted[row[order]]]
        last = np.zeros(len(wanted), dtype=np.int64)
        np.maximum.at(last, row[chosen], np.concatenate(self._serials)[chosen])
        last[self.full] = np.iinfo(np.int64).max
        due = allocate(self.regions, allocation.total, self.weights)
        less = [given.count < share.count for given, share in zip(allocation.quotas, due.quotas, strict=True)]
        refused = self._refused_before(last)
        return Drawn(row[chosen].astype(np.int64), places[chosen], allocation, refused, self.full & np.array(less))

"""Draw locations for every stratum without overlaps; locations chosen for n stay chosen for any larger n."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import Fatal
from sampling.allocation import Allocation, allocate, without
from sampling.candidates import SPARE, Stream, candidate_count
from sampling.constraints import OVERLAP, Constraints
from sampling.regions import Regions
from sampling.weights import Weights

# The same sizes are filled one after the other for every n, so that a larger corpus keeps the locations of a smaller.
_STEPS = (1.0, 1.2, 2.0, 3.0, 4.0, 6.0, 8.0)
_LARGEST = 10**10
# A stratum is full when less than this fraction of so many candidates is accepted.
_WINDOW, _FULL_FRACTION = 256, 0.05
_SURPLUS = 1.05
_LARGEST_FACTOR = 20.0


def sizes() -> Iterator[int]:
    """1000, 10 000, then seven sizes in every power of ten."""
    yield from (1000, 10_000)
    power = 100_000
    while power < _LARGEST:
        yield from (round(power * step) for step in _STEPS)
        power *= 10


@dataclass(frozen=True)
class Drawn:
    """Candidates in order of preference within each stratum: `row` (n,) of the region and `lonlat` (n, 2), degrees.

    `allocation` holds the quotas. `refused` counts by reason, for each region, the candidates refused before the last
    accepted one (all of them if a region is full). `full` (regions,) marks strata without room for their quota, which
    went to others.
    """

    row: NDArray[np.int64]
    lonlat: NDArray[np.float64]
    allocation: Allocation
    refused: dict[str, NDArray[np.int64]]
    full: NDArray[np.bool_]


def draw(regions: Regions, weights: Weights, n: int, seed: int, constraints: Constraints, overdraw: float) -> Drawn:
    """Candidates for `n` locations, `overdraw` times as many; they keep the `constraints` and do not overlap.

    Every stratum has one sequence of candidates, fixed by (regions, weights, seed, constraints); n only decides how
    many of the first are taken. A larger n thus keeps every location of a smaller one, unless rounding gives a stratum
    one less. Where places are settled, `n` is the number of all, and those that are lacking are drawn: the settled ones
    count towards the quota of their stratum. Raises `Fatal` for an overdraw below 1 and for regions without room for
    `n`.
    """
    if overdraw < 1:
        raise Fatal(f"overdraw must be at least 1, not {overdraw}.")
    drawing = _Drawing(regions, weights, seed, constraints)
    elsewhere = len(constraints.settled) - int(drawing.held.sum())
    for size in sizes():
        drawing.fill(size)
        allocation = allocate(regions, n - elsewhere, weights, drawing.room(overdraw), drawing.held)
        wanted = np.array(
            [candidate_count(quota.count, overdraw) for quota in without(allocation, drawing.held).quotas]
        )
        if (drawing.full | (drawing.taken >= wanted)).all():
            return drawing.result(allocation, wanted)
    raise Fatal(f"{n} locations are more than can be drawn; ask for fewer.")


@dataclass
class _Drawing:
    """The state of filling strata: candidates tried, accepted and refused in each, and the occupied footprints."""

    regions: Regions
    weights: Weights
    seed: int
    constraints: Constraints
    taken: NDArray[np.int64] = field(init=False)
    held: NDArray[np.int64] = field(init=False)  # settled in each of the strata in use
    full: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        frame = self.regions.frame
        self._streams = [
            Stream(polygon, self.seed, stratum)
            for polygon, stratum in zip(frame.geometry.array, frame["stratum"], strict=True)
        ]
        self._occupancy = None if self.constraints.may_overlap else self.constraints.ground()
        # One array per round, of accepted and, by reason, of refused candidates. Serials count a stratum's candidates.
        self._rows: list[NDArray[np.int32]] = []
        self._serials: list[NDArray[np.int32]] = []
        self._lonlats: list[NDArray[np.float64]] = []
        self._refused: dict[str, list[tuple[NDArray[np.int32], NDArray[np.int32]]]] = {}
        count = len(self.regions)
        self._tried = np.zeros(count, dtype=np.int32)
        self.taken = np.zeros(count, dtype=np.int64)
        self.held = np.where(self.weights.used, self.constraints.settled.per_region(self.regions), 0)
        self._unmet = self.held.copy()  # settled ones that probably come first in the sequence of their stratum
        self.full = ~self.weights.used
        # Candidates tried and accepted, in the present window and in the last round.
        self._window = np.zeros((2, count), dtype=np.int64)
        self._last = np.ones((2, count), dtype=np.int64)

    def room(self, overdraw: float) -> NDArray[np.int64]:
        """The most locations that each stratum can get, without spares; no limit for a stratum that is not full."""
        new = np.maximum(np.floor(self.taken / overdraw).astype(np.int64), np.minimum(self.taken, 1))
        return np.where(self.full, self.held + new, np.iinfo(np.int64).max // (2 * len(new)))

    def fill(self, size: int) -> None:
        """Fill every stratum to its quota of `size` plus spares, in rounds, until the unfilled strata are full.

        The excess of a full stratum goes to the others at once.
        """
        known = -1
        while True:
            if known != (known := int(self.full.sum())):
                target = self._target(size)
            lacking = np.where(self.full, 0, np.maximum(target - self.held - self.taken, 0))
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
        count += np.where(lacking, self._unmet, 0)
        rows = np.flatnonzero(count)
        lonlat = np.concatenate([self._streams[row].take(int(count[row])) for row in rows])
        row = np.repeat(rows, count[rows]).astype(np.int32)
        rank = np.arange(len(row)) - np.repeat(np.cumsum(count[rows]) - count[rows], count[rows])
        # The candidates of all strata are interleaved in proportion, so that no stratum takes its neighbour's room.
        order = np.lexsort((row, (rank + 0.5) / count[row]))
        serial = (self._tried[row] + rank).astype(np.int32)
        self._tried += count.astype(np.int32)
        known = self.constraints.settled.knows(lonlat)
        # What comes before a settled place was decided when that was chosen, and says nothing about room now.
        latest = np.full(len(count), -1, dtype=np.int64)
        np.maximum.at(latest, row[known], rank[known])
        met = np.bincount(row[known], minlength=len(count))
        self._unmet = np.where(count > 0, np.where(met > 0, np.maximum(self._unmet - met, 0), 0), self._unmet)
        order = order[~known[order]]
        fresh = rank[order] > latest[row[order]]
        accepted = self._accept(row[order], serial[order], lonlat[order])
        self.taken += np.bincount(row[order][accepted & ~fresh], minlength=len(count))
        self._count(*(np.bincount(row[order][each], minlength=len(count)) for each in (fresh, accepted & fresh)))

    def _accept(
        self, row: NDArray[np.int32], serial: NDArray[np.int32], lonlat: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """Accept the candidates that keep the constraints and find room: (n,) bool."""
        accepted = np.ones(len(row), dtype=bool)
        for reason, refused in self.constraints.refusals(lonlat):
            self._refuse(reason, row[accepted & refused], serial[accepted & refused])
            accepted &= ~refused
        if self._occupancy is not None:
            free = self._occupancy.claim(lonlat[accepted])
            self._refuse(OVERLAP, row[accepted][~free], serial[accepted][~free])
            accepted[accepted] = free
        self._rows.append(row[accepted])
        self._serials.append(serial[accepted])
        self._lonlats.append(lonlat[accepted])
        return accepted

    def _refuse(self, reason: str, row: NDArray[np.int32], serial: NDArray[np.int32]) -> None:
        self._refused.setdefault(reason, []).append((row, serial))

    def _refused_before(self, last: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
        """By reason, how many candidates of each region with a serial number below `last` were refused."""
        result = {}
        for reason, parts in self._refused.items():
            row, serial = (np.concatenate(item) for item in zip(*parts, strict=True))
            result[reason] = np.bincount(row[serial < last[row]], minlength=len(last))
        return result

    def _count(self, tried: NDArray[np.int64], accepted: NDArray[np.int64]) -> None:
        self.taken += accepted
        self._last = np.where(tried > 0, [tried, accepted], self._last)
        self._window += [tried, accepted]
        over = self._window[0] >= _WINDOW
        self.full |= over & (self._window[1] < _FULL_FRACTION * self._window[0])
        self._window[:, over] = 0

    def result(self, allocation: Allocation, wanted: NDArray[np.int64]) -> Drawn:
        """The first `wanted` candidates of each stratum, stratum by stratum; `allocation` is that of all places."""
        row, lonlat = np.concatenate(self._rows), np.concatenate(self._lonlats)
        order = np.argsort(row, kind="stable")
        ranks = np.arange(len(row)) - np.searchsorted(row[order], row[order])
        chosen = order[ranks < wanted[row[order]]]
        last = np.zeros(len(wanted), dtype=np.int64)
        np.maximum.at(last, row[chosen], np.concatenate(self._serials)[chosen])
        last[self.full] = np.iinfo(np.int64).max
        due = allocate(self.regions, allocation.total, self.weights)
        less = [given.count < share.count for given, share in zip(allocation.quotas, due.quotas, strict=True)]
        refused = self._refused_before(last)
        quotas = without(allocation, self.held)
        return Drawn(row[chosen].astype(np.int64), lonlat[chosen], quotas, refused, self.full & np.array(less))

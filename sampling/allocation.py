"""The number of locations of each stratum: proportional to weights, by largest remainders, with a sum of exactly n."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import durable
from pipeline.errors import Fatal
from sampling.regions import Regions
from sampling.weights import Weights, weigh


@dataclass(frozen=True)
class Quota:
    """The number of locations that one stratum must fill, and its name, biome and area for reports."""

    stratum: str
    count: int
    name: str = ""
    biome: int = 0
    biome_name: str = ""
    area_km2: float = 0.0


@dataclass(frozen=True)
class Allocation:
    """The quotas of all strata, in the order of the regions; a count may be 0."""

    quotas: tuple[Quota, ...]

    @property
    def total(self) -> int:
        """The number of locations of all strata."""
        return sum(quota.count for quota in self.quotas)

    @cached_property
    def counts(self) -> dict[str, int]:
        """Count by stratum."""
        return {quota.stratum: quota.count for quota in self.quotas}

    @property
    def empty_strata(self) -> tuple[Quota, ...]:
        """Strata without locations, because n is smaller than the number of strata of their biome."""
        return tuple(quota for quota in self.quotas if not quota.count)

    def per_biome(self) -> dict[int, int]:
        """Locations by BIOME_NUM, in ascending order."""
        biomes = sorted({quota.biome for quota in self.quotas})
        return {biome: sum(quota.count for quota in self.quotas if quota.biome == biome) for biome in biomes}

    def to_json(self) -> dict[str, Any]:
        """JSON values, from which `from_json` restores the allocation."""
        return {"total": self.total, "quotas": [asdict(quota) for quota in self.quotas]}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Allocation:
        """The inverse of `to_json`; raises KeyError or TypeError for other data."""
        return cls(tuple(Quota(**quota) for quota in data["quotas"]))


def without(allocation: Allocation, held: NDArray[np.int64]) -> Allocation:
    """What is left of the quotas, in the order of the regions, where so many places (regions,) are there already."""
    pairs = zip(allocation.quotas, held.tolist(), strict=True)
    return Allocation(tuple(replace(quota, count=max(0, quota.count - count)) for quota, count in pairs))


@dataclass(frozen=True)
class _Kept:
    """The content of `allocation.json`."""

    quotas: tuple[Quota, ...]


def write_allocation(path: Path, allocation: Allocation) -> None:
    """Publish as `allocation.json`; raises `Fatal` when it cannot be written."""
    durable.write_json(path, allocation.to_json())


def read_allocation(path: Path) -> Allocation:
    """Read `allocation.json`; raises `Fatal` when it is absent or damaged."""
    return Allocation(durable.read_as(path, _Kept, "delete it and run `geocorpus sample` again").quotas)


def allocate(
    regions: Regions,
    n: int,
    weights: Weights | None = None,
    room: NDArray[np.int64] | None = None,
    least: NDArray[np.int64] | None = None,
) -> Allocation:
    """Allocate `n` locations to groups by weight, and within a group to regions by weight (by default MMEarth's).

    Counts are rounded by largest remainders (Hamilton), so that they sum to `n` exactly. In a group that gets at least
    as many locations as it has regions, every region gets one. No region gets more than its `room` (regions,) int64:
    the excess goes to other regions of its group, then to other groups. None gets less than its `least` (regions,)
    int64, which may sum to `n` at most: others get less then. Raises `Fatal` when n is below 1 or above the total room.
    """
    if n < 1:
        raise Fatal(f"the number of locations must be at least 1, not {n}.")
    shares = weights or weigh(regions)
    most = np.full(len(regions), n, dtype=np.int64) if room is None else np.minimum(room, n)
    most = np.where(shares.used, most, 0)
    if most.sum() < n:
        raise Fatal(
            f"the regions have room for {most.sum()} footprints that do not overlap and keep clear of what is "
            f"excluded, not {n}; ask for fewer locations or add regions."
        )
    given = np.zeros(len(regions), dtype=np.int64) if least is None else np.where(shares.used, least, 0)
    return Allocation(tuple(_quotas(regions, _counts(shares, n, given, np.maximum(most, given)))))


def _counts(shares: Weights, n: int, least: NDArray[np.int64], most: NDArray[np.int64]) -> NDArray[np.int64]:
    counts = np.zeros(len(most), dtype=np.int64)
    low, high = (np.bincount(shares.group, each, len(shares.group_weight)).astype(np.int64) for each in (least, most))
    for group, total in enumerate(_bounded(largest_remainder, shares.group_weight, n, low, high)):
        of = np.flatnonzero((shares.group == group) & shares.used)
        counts[of] = _bounded(at_least_one_each, shares.member_weight[of], int(total), least[of], most[of])
    return counts


def _bounded(
    divide: Callable[[NDArray[Any], int], NDArray[np.int64]],
    weights: NDArray[Any],
    n: int,
    least: NDArray[np.int64],
    most: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Integers as of `_capped`, none below its `least`: a smaller one is set to it, and the rest is divided again."""
    held = np.zeros(len(weights), dtype=bool)
    while True:
        counts = np.where(held, least, 0)
        counts[~held] = _capped(divide, weights[~held], n - int(counts.sum()), most[~held])
        short = ~held & (counts < least)
        if not short.any():
            break
        held |= short
    room = np.where(weights > 0, most - counts, 0)
    left = np.where(room > 0, weights, 0.0)  # where the others are full, those that were held take the rest
    return np.asarray(counts + _capped(divide, left, n - int(counts.sum()), room))


def _capped(
    divide: Callable[[NDArray[Any], int], NDArray[np.int64]], weights: NDArray[Any], n: int, most: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Integers by `divide`, none above its `most`: a larger one is set to it, and the rest is divided again."""
    counts = np.zeros(len(weights), dtype=np.int64)
    free = weights > 0
    while free.any() and n > 0:
        counts[free] = divide(weights[free], n)
        over = free & (counts > most)
        if not over.any():
            break
        counts[over] = most[over]
        n -= int(most[over].sum())
        free &= ~over
        counts[free] = 0
    return counts


def _quotas(regions: Regions, counts: NDArray[np.int64]) -> list[Quota]:
    columns = ["stratum", "ECO_NAME", "BIOME_NUM", "BIOME_NAME", "area_km2"]
    records = regions.frame[columns].itertuples(index=False, name=None)
    return [
        Quota(stratum, int(count), name, int(biome), biome_name, round(float(area), 3))
        for (stratum, name, biome, biome_name, area), count in zip(records, counts, strict=True)
    ]


def largest_remainder(weights: NDArray[Any], n: int) -> NDArray[np.int64]:
    """Integers (k,) int64 that sum to `n`, proportional to `weights` (k,) float64, each rounded up or down.

    Between equal remainders the larger weight wins, then the lower index.
    """
    if not n:
        return np.zeros(len(weights), dtype=np.int64)
    shares = weights * (n / weights.sum())
    counts = np.floor(shares + 1e-9).astype(np.int64)
    # Rounded, so that floating-point errors do not decide between equal remainders.
    remainders = np.round(shares - counts, 9)
    order = np.lexsort((np.arange(len(weights)), -weights, -remainders))
    counts[order[: n - int(counts.sum())]] += 1
    return counts


def at_least_one_each(weights: NDArray[Any], n: int) -> NDArray[np.int64]:
    """Integers (k,) int64 by largest remainders of `weights` (k,) float64, each at least 1 if `n` is at least k.

    Shares below 1 are raised to 1, and the rest is divided among the others, until no share is below 1.
    """
    if n < len(weights):
        return largest_remainder(weights, n)
    counts = np.ones(len(weights), dtype=np.int64)
    free = np.ones(len(weights), dtype=bool)
    while free.any():
        left = n - int((~free).sum())
        small = free & (weights * left < weights[free].sum())
        if not small.any():
            counts[free] = largest_remainder(weights[free], left)
            break
        free &= ~small
    return counts


def table(allocation: Allocation) -> str:
    """The allocation as text: for each biome a line with its total, then a line per stratum."""
    lines = [f"{'places':>10}  {'km2':>12}  {'km2 a place':>11}  stratum"]
    for biome in sorted({quota.biome for quota in allocation.quotas}):
        members = [quota for quota in allocation.quotas if quota.biome == biome]
        count, area_km2 = sum(item.count for item in members), sum(item.area_km2 for item in members)
        lines += ["", _line(count, area_km2, members[0].biome_name or "all regions")]
        lines += [_line(item.count, item.area_km2, f"  {item.stratum}  {item.name}") for item in members]
    return "\n".join([*lines, "", f"{allocation.total:>10,}  locations in {len(allocation.quotas)} strata"])


def _line(count: int, area_km2: float, label: str) -> str:
    each = f"{area_km2 / count:,.1f}" if count and area_km2 else "-"
    return f"{count:>10,}  {area_km2:>12,.0f}  {each:>11}  {label}"

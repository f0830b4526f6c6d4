"""How many places each stratum gets: equal shares for biomes, then by area within a biome, summing to n exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import durable
from pipeline.errors import Fatal
from pipeline.location import Location
from sampling.regions import Regions


@dataclass(frozen=True)
class Quota:
    """What one stratum must fill: `count` places; its name, biome and area for reports."""

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
        """Places in all."""
        return sum(quota.count for quota in self.quotas)

    @cached_property
    def counts(self) -> dict[str, int]:
        """Count by stratum."""
        return {quota.stratum: quota.count for quota in self.quotas}

    @property
    def starved(self) -> tuple[Quota, ...]:
        """Strata that get nothing because n is smaller than the number of strata of their biome."""
        return tuple(quota for quota in self.quotas if not quota.count)

    def per_biome(self) -> dict[int, int]:
        """Places by BIOME_NUM, in order."""
        biomes = sorted({quota.biome for quota in self.quotas})
        return {biome: sum(quota.count for quota in self.quotas if quota.biome == biome) for biome in biomes}

    def to_json(self) -> dict[str, Any]:
        """Plain data; `from_json` gives the same allocation back."""
        return {"total": self.total, "quotas": [asdict(quota) for quota in self.quotas]}

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> Allocation:
        """What `to_json` wrote; raises KeyError or TypeError for anything else."""
        return cls(tuple(Quota(**quota) for quota in plain["quotas"]))


def write_allocation(path: Path, allocation: Allocation) -> None:
    """Publish as `allocation.json`."""
    durable.write_json(path, allocation.to_json())


def read_allocation(path: Path) -> Allocation:
    """Read `allocation.json`; raises `Fatal` when it is absent or damaged."""
    plain = durable.read_json(path)
    try:
        return Allocation.from_json(plain)
    except (KeyError, TypeError) as error:
        raise Fatal(f"{path} is damaged ({error}); delete it and run `geocorpus sample` again.") from error


def allocate(regions: Regions, n: int) -> Allocation:
    """Share `n` places: uniform over biomes, within a biome proportional to area (MMEarth, Nedungadi et al. 2024).

    Fractions are settled by largest remainders (Hamilton), so counts sum to `n` exactly. In a biome that gets at
    least as many places as it has regions, every region gets one. Raises `Fatal` when n is below 1.
    """
    if n < 1:
        raise Fatal(f"the number of locations must be at least 1, not {n}.")
    biome = np.asarray(regions.frame["BIOME_NUM"])
    area_km2 = np.asarray(regions.frame["area_km2"], dtype=np.float64)
    present = np.unique(biome)
    counts = np.zeros(len(regions), dtype=np.int64)
    for number, places in zip(present, largest_remainder(np.ones(len(present)), n), strict=True):
        members = np.flatnonzero(biome == number)
        counts[members] = nobody_starved(area_km2[members], int(places))
    return Allocation(tuple(_quotas(regions, counts)))


def _quotas(regions: Regions, counts: NDArray[np.int64]) -> list[Quota]:
    columns = ["stratum", "ECO_NAME", "BIOME_NUM", "BIOME_NAME", "area_km2"]
    records = regions.frame[columns].itertuples(index=False, name=None)
    return [
        Quota(stratum, int(count), name, int(biome), biome_name, round(float(area), 3))
        for (stratum, name, biome, biome_name, area), count in zip(records, counts, strict=True)
    ]


def largest_remainder(weights: NDArray[Any], n: int) -> NDArray[np.int64]:
    """Integers that sum to `n`, each within one of its proportional share; ties go to the heavier, then the earlier."""
    if not n:
        return np.zeros(len(weights), dtype=np.int64)
    shares = weights * (n / weights.sum())
    counts = np.floor(shares + 1e-9).astype(np.int64)
    # Rounded, so that the last bit of a float does not decide between equal remainders.
    remainders = np.round(shares - counts, 9)
    order = np.lexsort((np.arange(len(weights)), -weights, -remainders))
    counts[order[: n - int(counts.sum())]] += 1
    return counts


def nobody_starved(weights: NDArray[Any], n: int) -> NDArray[np.int64]:
    """Largest remainders in which everybody gets at least one, if `n` is enough for that.

    Shares below one are lifted to one; the others share what is left, until none of them falls below one.
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


def allocate_points(locations: Sequence[Location]) -> Allocation:
    """One place for each of the user's own points, which is its own stratum."""
    return Allocation(tuple(Quota(one.stratum, 1, one.id, one.biome, one.biome_name) for one in locations))

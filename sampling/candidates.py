"""Draws the places of each stratum: uniform on the ellipsoid, in an order that asking for more never changes."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from pipeline.errors import Fatal
from pipeline.location import Location, location_id
from sampling import authalic
from sampling.allocation import Allocation
from sampling.regions import Regions

SPARE = 8  # Small strata need more than a factor: one or two bad places must not exhaust them.
_DECIMALS = 7  # What `location_id` sees.
_MOST_TRIES = 20_000_000


def candidate_count(quota: int, overdraw: float) -> int:
    """How many candidates to draw for a quota; none for an empty one."""
    return max(math.ceil(quota * overdraw), quota + SPARE) if quota else 0


def draw(regions: Regions, allocation: Allocation, seed: int, overdraw: float) -> list[Location]:
    """Over-drawn candidates, stratum by stratum, in order of preference within each.

    The k-th candidate of a stratum depends on (seed, stratum, k) and its polygon alone. Raises `Fatal` for an
    overdraw below 1, a stratum that the regions lack, or one too thin to hit.
    """
    if overdraw < 1:
        raise Fatal(f"overdraw must be at least 1, not {overdraw}.")
    rows = {stratum: row for row, stratum in enumerate(regions.frame["stratum"])}
    strange = sorted(set(allocation.counts) - set(rows))
    if strange:
        raise Fatal(f"the allocation names {strange[0]!r}, which the regions lack; run `geocorpus sample` anew.")
    wanted = [(rows[name], candidate_count(quota, overdraw)) for name, quota in allocation.counts.items() if quota]
    return [location for row, count in wanted for location in _locations(regions, row, count, seed)]


def _locations(regions: Regions, row: int, count: int, seed: int) -> Iterator[Location]:
    region = regions.frame.iloc[row]
    stratum = region["stratum"]
    facts = (
        stratum, int(region["BIOME_NUM"]), region["BIOME_NAME"],
        int(region["ECO_ID"]), region["ECO_NAME"], region["REALM"],
    )  # fmt: skip
    for lon, lat in draw_in(region["geometry"], count, seed, stratum).tolist():
        yield Location(location_id(lon, lat), lon, lat, *facts)


def draw_in(polygon: shapely.Geometry, count: int, seed: int, stratum: str) -> NDArray[np.float64]:
    """The first `count` places (count, 2) of a stratum, lon and lat in degrees, uniform by area on the ellipsoid."""
    boxes = _Boxes.of(polygon)
    generator = np.random.default_rng(_entropy(seed, stratum))
    accepted: list[NDArray[np.float64]] = []
    found = tried = 0
    while found < count:
        batch = min(262_144, max(64, math.ceil(1.2 * (count - found) / boxes.hit_rate)))
        kept = boxes.accept(generator.random((batch, 3)))
        accepted.append(kept)
        found, tried = found + len(kept), tried + batch
        if tried > _MOST_TRIES:
            raise Fatal(f"stratum {stratum!r} is too thin to draw places in; mend or remove its polygon.")
    return np.concatenate(accepted)[:count] if accepted else np.empty((0, 2))


def _entropy(seed: int, stratum: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{stratum}".encode()).digest()[:16], "big")


@dataclass(frozen=True)
class _Boxes:
    """The parts of a polygon with their bounding boxes: a box is chosen by area, then a place in it, then tested.

    `lower` and `upper` are (parts, 2): longitude in degrees and authalic height. `cumulative` ends at 1.
    """

    parts: NDArray[Any]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    cumulative: NDArray[np.float64]
    hit_rate: float

    @classmethod
    def of(cls, polygon: shapely.Geometry) -> _Boxes:
        parts = shapely.get_parts(polygon)
        parts = parts[shapely.area(parts) > 0]
        shapely.prepare(parts)
        bounds = shapely.bounds(parts)
        lower = np.column_stack([bounds[:, 0], authalic.height_of(bounds[:, 1])])
        upper = np.column_stack([bounds[:, 2], authalic.height_of(bounds[:, 3])])
        shares = np.prod(upper - lower, axis=1)
        boxes_km2 = float(shares.sum()) / 720 * authalic.SURFACE_KM2
        hit_rate = float(authalic.areas_km2(parts).sum()) / boxes_km2
        return cls(parts, lower, upper, np.cumsum(shares) / shares.sum(), max(hit_rate, 1e-4))

    def accept(self, uniform: NDArray[np.float64]) -> NDArray[np.float64]:
        """Those of the tries (n, 3) in [0, 1) that fall into their part, as wrapped lon and lat (m, 2)."""
        part = np.minimum(np.searchsorted(self.cumulative, uniform[:, 0], side="right"), len(self.parts) - 1)
        place = self.lower[part] + uniform[:, 1:] * (self.upper - self.lower)[part]
        lonlat = np.round(np.column_stack([place[:, 0], authalic.latitude_of(place[:, 1])]), _DECIMALS)
        inside = lonlat[shapely.contains_xy(self.parts[part], lonlat[:, 0], lonlat[:, 1])]
        return np.column_stack([np.round((inside[:, 0] + 180) % 360 - 180, _DECIMALS), inside[:, 1]])

"""The candidates of each stratum: uniform on the ellipsoid, in an order that does not depend on how many are drawn."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from pipeline.errors import Fatal
from sampling import authalic

SPARE = 8  # Added because a factor alone gives small strata too few: one or two bad candidates would exhaust them.
_DECIMALS = 7  # As many as `location_id` uses.
_MOST_TRIES = 20_000_000


def candidate_count(quota: int, overdraw: float) -> int:
    """How many candidates to draw for a quota; 0 for a quota of 0."""
    return max(math.ceil(quota * overdraw), quota + SPARE) if quota else 0


class Stream:
    """The infinite sequence of candidates of a stratum, taken in parts.

    Candidate k depends on (seed, stratum, k) and the polygon alone, however many are taken at a time.
    """

    def __init__(self, polygon: shapely.Geometry, seed: int, stratum: str) -> None:
        self.polygon = polygon
        self.stratum = stratum
        self._generator = np.random.default_rng(_entropy(seed, stratum))
        self._left: NDArray[np.float64] = np.empty((0, 2))

    @cached_property
    def _boxes(self) -> _Boxes:
        return _Boxes.of(self.polygon)

    def take(self, count: int) -> NDArray[np.float64]:
        """The next `count` candidates (count, 2) float64, lon and lat in degrees, uniform by area on the ellipsoid.

        Raises `Fatal` for a polygon so thin that no random point falls into it.
        """
        accepted, accepted_count, tried = [self._left], len(self._left), 0
        while accepted_count < count:
            batch = min(262_144, max(64, math.ceil(1.2 * (count - accepted_count) / self._boxes.hit_rate)))
            accepted.append(self._boxes.accept(self._generator.random((batch, 3))))
            accepted_count, tried = accepted_count + len(accepted[-1]), tried + batch
            if tried > _MOST_TRIES and not accepted_count:
                raise Fatal(f"stratum {self.stratum!r} is too thin to draw places in; mend or remove its polygon.")
        lonlat = np.concatenate(accepted)
        self._left = lonlat[count:]
        return lonlat[:count]


def _entropy(seed: int, stratum: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{stratum}".encode()).digest()[:16], "big")


@dataclass(frozen=True)
class _Boxes:
    """The parts of a polygon with their bounding boxes: a box is chosen by area, then a point in it, which is tested.

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
        """The points (m, 2) float64, lon and lat in degrees, of random numbers (n, 3) that fall into their part."""
        part = np.minimum(np.searchsorted(self.cumulative, uniform[:, 0], side="right"), len(self.parts) - 1)
        point = self.lower[part] + uniform[:, 1:] * (self.upper - self.lower)[part]
        lonlat = np.round(np.column_stack([point[:, 0], authalic.latitude_of(point[:, 1])]), _DECIMALS)
        inside = lonlat[shapely.contains_xy(self.parts[part], lonlat[:, 0], lonlat[:, 1])]
        return np.column_stack([np.round((inside[:, 0] + 180) % 360 - 180, _DECIMALS), inside[:, 1]])

"""Train, validation and test by location: whole cells or bands belong to one split, with a buffer between them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import Fatal
from pipeline.manifest import SPLITS
from pipeline.radius_index import reach_deg
from pipeline.splitmix import GOLDEN, mixed
from sampling import authalic

_TOLERANCE = 1e-6
_METRES_PER_DEG = 111_320.0
_LONGEST_PATTERN = 100
_ROUNDS = 50  # of finding the fractions of cells; a few are enough
_WIDEST_EDGE = 0.25  # as `check_buffer` refuses more
# The corners, sides and centre of a box around a point. Cells are larger than the box, so it touches no other cells.
_BOX = tuple((east, north) for north in (-1, 0, 1) for east in (-1, 0, 1))
Fractions = tuple[float, float, float]


class SplitRule(Protocol):
    """A split for every point on Earth, and a test for points too near to another split."""

    def of(self, lonlat: NDArray[Any]) -> NDArray[np.str_]:
        """The split (n,) str of points (n, 2), degrees; it depends on the point alone."""

    def in_buffer(self, lonlat: NDArray[Any], distance_m: float) -> NDArray[np.bool_]:
        """Whether a point of another split may lie within `distance_m` of each point (n, 2), degrees: (n,) bool."""


@dataclass(frozen=True)
class CellSplits:
    """Equal-area cells of about `cell_deg` squared, assigned by a hash with `seed`.

    `fractions` (train, val, test) are those of the area that stays where `half_gap_m` is kept from the border of each
    split: a rare split has other splits on all sides and loses more of each cell, so it gets more cells. Raises `Fatal`
    for fractions that do not sum to 1 or a cell size outside 0 to 90 degrees.
    """

    fractions: Fractions
    seed: int
    cell_deg: float
    half_gap_m: float = 0.0

    def __post_init__(self) -> None:
        _check_fractions(self.fractions)
        if not 0 < self.cell_deg <= 90:
            raise Fatal(f"the cell size must lie between 0 and 90 degrees, not {self.cell_deg}.")

    def of(self, lonlat: NDArray[Any]) -> NDArray[np.str_]:
        """The split (n,) str of points (n, 2), degrees."""
        return np.asarray(SPLITS)[self._codes(cells(lonlat, self.cell_deg))]

    def _codes(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        edges = np.cumsum(self._of_cells)[:-1]
        return np.searchsorted(edges, hashed(numbers, self.seed), side="right")

    @cached_property
    def _of_cells(self) -> NDArray[np.float64]:
        """The fractions of cells that leave those of area as asked: the fixed point, as what a split loses is small."""
        asked = np.asarray(self.fractions, dtype=np.float64)
        cell_m = math.sqrt(authalic.SURFACE_KM2 / int(_columns_per_row(self.cell_deg).sum())) * 1000
        edge = min(self.half_gap_m / cell_m, _WIDEST_EDGE)
        fractions = asked
        for _ in range(_ROUNDS):
            fractions = asked / _kept_area(fractions, edge)
            fractions = fractions / fractions.sum()
        return fractions

    def in_buffer(self, lonlat: NDArray[Any], distance_m: float) -> NDArray[np.bool_]:
        """Whether the box of `distance_m` each way around a point (n, 2), degrees, touches a cell of another split.

        Near a pole, where a box may be wider than its neighbouring cells, it always counts as touching: (n,) bool.
        Raises `Fatal` when cells are too small for the buffer.
        """
        check_buffer(distance_m, self.cell_deg)
        lat_deg, lon_deg = box_deg(lonlat, distance_m)
        own = self._codes(cells(lonlat, self.cell_deg))
        columns = _columns_per_row(self.cell_deg)
        beside = np.clip(rows_of(lonlat[:, 1], self.cell_deg)[:, None] + [-1, 0, 1], 0, len(columns) - 1)
        touching = (lon_deg > 360 / columns[beside].max(axis=1)) | (np.abs(lonlat[:, 1]) + lat_deg >= 90)
        for east, north in _BOX:
            corner = lonlat + np.column_stack([east * lon_deg, np.full(len(lonlat), north * lat_deg)])
            corner[:, 1] = np.clip(corner[:, 1], -90, 90)
            touching |= self._codes(cells(corner, self.cell_deg)) != own
        return touching


def _kept_area(fractions: NDArray[np.float64], edge: float) -> NDArray[np.float64]:
    """The fraction of a cell's area that stays, by split, if its neighbours are drawn in `fractions`.

    Within `edge`, in sides of the cell, of a side the neighbour must be of the same split, and in a corner all three.
    """
    inner = 1 - 2 * edge
    return np.asarray(inner**2 + 4 * edge * inner * fractions + 4 * edge**2 * fractions**3)


@dataclass(frozen=True)
class BandSplits:
    """Parallel bands at an angle, in a repeated pattern, as in geetiles: 60 bands, in turn 3 train, 1 test and 1 val.

    Bands lie over `extent` (west, south, east, north in degrees; west above east crosses the antimeridian), with
    longitude and latitude scaled to 0..1, and follow each other in the direction `angle_rad` (0 is eastward). Raises
    `Fatal` for fractions that are no whole numbers of bands in a pattern of at most 100, and an extent without an area.
    """

    fractions: Fractions
    extent: tuple[float, float, float, float] = (-180.0, -90.0, 180.0, 90.0)
    bands: int = 60
    angle_rad: float = 0.9

    def __post_init__(self) -> None:
        _check_fractions(self.fractions)
        if self.bands < 1 or self._width <= 0 or self._height <= 0:
            raise Fatal(f"bands need an extent (west, south, east, north) with an area, not {self.extent}.")
        if not len(self.pattern):
            raise Fatal(f"{self.fractions} is no whole number of bands each; give shares such as 0.6, 0.2 and 0.2.")

    @property
    def _width(self) -> float:
        west, _, east, _ = self.extent
        return east - west if east > west else east - west + 360

    @property
    def _height(self) -> float:
        return self.extent[3] - self.extent[1]

    @cached_property
    def pattern(self) -> NDArray[np.int64]:
        """The split of each band of the pattern, as an index of SPLITS; train, then test, then val, as published."""
        for length in range(1, _LONGEST_PATTERN + 1):
            bands = np.array(self.fractions) * length
            if np.abs(bands - np.round(bands)).max() < _TOLERANCE * length:
                return np.repeat([0, 2, 1], np.round(bands).astype(np.int64)[[0, 2, 1]])
        return np.empty(0, dtype=np.int64)

    def of(self, lonlat: NDArray[Any]) -> NDArray[np.str_]:
        """The split (n,) str of points (n, 2), degrees; outside the extent the first or the last band continues."""
        return np.asarray(SPLITS)[self._codes(self._along(lonlat))]

    def holds(self, lonlat: NDArray[Any]) -> NDArray[np.bool_]:
        """Whether the extent holds each point (n, 2), degrees: (n,) bool."""
        west, south, _, north = self.extent
        in_width = (lonlat[:, 0] - west) % 360 <= self._width
        return np.asarray(in_width & (lonlat[:, 1] >= south) & (lonlat[:, 1] <= north))

    def _along(self, lonlat: NDArray[Any]) -> NDArray[np.float64]:
        """Position across the bands, in bands."""
        west, south, *_ = self.extent
        # Points west of the extent get a negative x, and not one beyond its eastern edge.
        slack = (360 - self._width) / 2
        x = ((lonlat[:, 0] - west + slack) % 360 - slack) / self._width
        y = (lonlat[:, 1] - south) / self._height
        return np.asarray(self._scaled(x, y))

    def _scaled(self, x: Any, y: Any) -> Any:
        cosine, sine = math.cos(self.angle_rad), math.sin(self.angle_rad)
        lowest = min(0, cosine) + min(0, sine)
        return (cosine * x + sine * y - lowest) / (abs(cosine) + abs(sine)) * self.bands

    def _codes(self, along: NDArray[Any]) -> NDArray[np.int64]:
        band = np.clip(np.floor(along), 0, self.bands - 1).astype(np.int64)
        return self.pattern[band % len(self.pattern)]

    def in_buffer(self, lonlat: NDArray[Any], distance_m: float) -> NDArray[np.bool_]:
        """Whether the box of `distance_m` each way around a point (n, 2), degrees, touches a band of another split."""
        lat_deg, lon_deg = box_deg(lonlat, distance_m)
        cosine, sine = abs(math.cos(self.angle_rad)), abs(math.sin(self.angle_rad))
        half = (cosine * lon_deg / self._width + sine * lat_deg / self._height) / (cosine + sine) * self.bands
        along = self._along(lonlat)
        own = self._codes(along)
        touching = (half > 1) | (self._from_seam(lonlat[:, 0]) <= lon_deg)
        return np.asarray(touching | (self._codes(along - half) != own) | (self._codes(along + half) != own))

    def _from_seam(self, lon_deg: NDArray[Any]) -> NDArray[np.float64]:
        """Degrees to the meridian opposite the extent, where the first band and the last one meet."""
        seam_deg = self.extent[0] - (360 - self._width) / 2
        return np.abs((lon_deg - seam_deg + 180) % 360 - 180)


def check_buffer(distance_m: float, cell_deg: float) -> None:
    """Raise `Fatal` when cells are so small that the buffers from both sides meet."""
    if 2 * distance_m > cell_deg * _METRES_PER_DEG / 2:
        raise Fatal(
            f"cells of {cell_deg:g} degrees leave no room for a buffer of {distance_m / 500:.3g} km with the "
            "footprints; enlarge split.cell_deg or lower split.buffer_m."
        )


def box_deg(lonlat: NDArray[Any], distance_m: float) -> tuple[float, NDArray[np.float64]]:
    """How far `distance_m` reaches from points (n, 2), degrees: of latitude, and of longitude (n,) at most."""
    lat_deg, _ = reach_deg(np.zeros(1), distance_m)
    _, lon_deg = reach_deg(lonlat[:, 1], distance_m)
    return lat_deg, lon_deg


def _check_fractions(fractions: Fractions) -> None:
    if len(fractions) != len(SPLITS) or min(fractions) < 0 or abs(sum(fractions) - 1) > _TOLERANCE:
        raise Fatal(f"split fractions must be three shares that sum to 1 (train, val, test), not {fractions}.")


def cells(lonlat: NDArray[Any], cell_deg: float) -> NDArray[np.int64]:
    """The number (n,) int64 of the equal-area cell of each point (n, 2), degrees.

    Rows of about `cell_deg` of latitude have as many cells as make them square on the ground; the row borders
    are then moved so that all cells have the same area (as in Leopardi 2006, A partition of the unit sphere).
    """
    columns = _columns_per_row(cell_deg)
    first = np.concatenate([[0], np.cumsum(columns)])
    row = rows_of(lonlat[:, 1], cell_deg)
    column = np.floor((lonlat[:, 0] + 180) % 360 / 360 * columns[row]).astype(np.int64)
    return np.asarray(first[row] + np.minimum(column, columns[row] - 1), dtype=np.int64)


def rows_of(lat_deg: NDArray[Any], cell_deg: float) -> NDArray[np.int64]:
    """The row (n,) int64 of cells that contains each latitude (n,), degrees, counted from the south."""
    columns = _columns_per_row(cell_deg)
    first = np.concatenate([[0], np.cumsum(columns)])
    cells_below = (authalic.height_of(lat_deg) + 1) / 2 * first[-1]
    return np.clip(np.searchsorted(first, cells_below, side="right") - 1, 0, len(columns) - 1)


def _columns_per_row(cell_deg: float) -> NDArray[np.int64]:
    rows = max(1, round(180 / cell_deg))
    middles_deg = (np.arange(rows) + 0.5) * (180 / rows) - 90
    around = np.round(360 / cell_deg * np.cos(np.radians(middles_deg)))
    return np.maximum(1, around).astype(np.int64)


def hashed(keys: NDArray[np.int64], seed: int) -> NDArray[np.float64]:
    """Numbers (n,) float64 uniform in [0, 1) from keys (n,) int64 and the seed: the finaliser of SplitMix64, twice.

    (Steele, Lea and Flood 2014.)
    """
    salt = mixed(np.array([seed % 2**64], dtype=np.uint64) + GOLDEN)
    return (mixed((keys.astype(np.uint64) ^ salt) + GOLDEN) >> np.uint64(11)).astype(np.float64) / 2**53

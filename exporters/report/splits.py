"""The splits in the report: their distances, overlaps of footprints, and their shares of each stratum."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from pipeline.manifest import SPLITS, Manifest
from pipeline.nearest_pair import smallest_distance_m
from pipeline.radius_index import east_north_m, pairs_by_part

# Neighbouring grids with a common edge touch; they overlap when they share a larger area.
_TOUCHING_M2 = 10.0
_COMPARED_AT_ONCE = 1 << 14  # pairs: as polygons they take ten kilobytes each
_RING = 5  # corners of a footprint, the first of them again at the end
OWN_POINTS = "own points"


@dataclass(frozen=True)
class Gap:
    """The smallest distance between chips of two splits, in metres on the ellipsoid."""

    first: str
    second: str
    centres_m: float
    edges_m: float


@dataclass(frozen=True)
class StratumShare:
    """The number of chips of one stratum, and the share of each split in them, in the order of `SPLITS`."""

    name: str
    biome: str
    count: int
    shares: tuple[float, ...]


def gaps(manifest: Manifest, centres: NDArray[np.float64]) -> list[Gap]:
    """One `Gap` per pair of splits with chips; `edges_m` is `centres_m` less a footprint's diagonal: a lower bound.

    `centres` are those of all footprints, as `centres_of` gives them.
    """
    splits = np.concatenate([_numbers(names) for (names,) in manifest.pieces("split")])
    lonlat = {name: centres[splits == number] for number, name in enumerate(SPLITS)}
    result = []
    for first, second in combinations([name for name in SPLITS if len(lonlat[name])], 2):
        metres = smallest_distance_m(lonlat[first], lonlat[second])
        result.append(Gap(first, second, metres, max(0.0, metres - _diagonal_m(manifest))))
    return result


def _numbers(names: NDArray[Any]) -> NDArray[np.int8]:
    """The place (n,) of each split in `SPLITS`."""
    return np.array([SPLITS.index(name) for name in names], dtype=np.int8)


def centres_of(manifest: Manifest) -> NDArray[np.float64]:
    """Centres of the footprints, (rows, 2) float64: lon in -180 to 180, lat, degrees."""
    centres = np.concatenate([shapely.get_coordinates(shapely.centroid(piece)) for piece in manifest.outlines()])
    centres[:, 0] = (centres[:, 0] + 180) % 360 - 180
    return centres


def _diagonal_m(manifest: Manifest) -> float:
    # 0.1 % more, because a metre of UTM may be longer on the ground.
    return float(np.hypot(manifest.size_px, manifest.size_px) * manifest.resolution_m * 1.001)


def overlapping_pairs(manifest: Manifest, centres: NDArray[np.float64]) -> int:
    """The number of pairs of chips with overlapping footprints; `centres` are those of `centres_of`.

    Squares of one grid are compared in it, others as polygons in a local plane of each pair.
    """
    count, apart = 0, []
    corners = _Corners.of(manifest)
    for pair in pairs_by_part(centres, _diagonal_m(manifest)):
        here = corners.crs[pair[0]] == corners.crs[pair[1]]
        count += int(np.sum(corners.shared_m2(pair[0][here], pair[1][here]) > _TOUCHING_M2))
        apart.append(np.stack(pair)[:, ~here])
    return count + _overlaps_between_zones(manifest, centres, np.concatenate([np.empty((2, 0), np.int64), *apart], 1))


@dataclass(frozen=True)
class _Corners:
    """The upper left corners of all footprints, `xy` (rows, 2) in metres of a grid, `crs` (rows,) a number for it."""

    xy: NDArray[np.float64]
    crs: NDArray[np.int16]
    side_m: float

    @classmethod
    def of(cls, manifest: Manifest) -> _Corners:
        numbers: dict[str, int] = {}
        xy, crs = np.empty((len(manifest), 2)), np.empty(len(manifest), dtype=np.int16)
        start = 0
        for x, y, names in manifest.pieces("origin_x_m", "origin_y_m", "crs"):
            rows = slice(start, start := start + len(x))
            xy[rows] = np.column_stack([x, y])
            crs[rows] = [numbers.setdefault(name, len(numbers)) for name in names]
        return cls(xy, crs, manifest.size_px * manifest.resolution_m)

    def shared_m2(self, first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.float64]:
        """What the footprints of these rows (n,) share with those (n,), all pairs of one grid each."""
        sides_m = np.maximum(0, self.side_m - np.abs(self.xy[first] - self.xy[second]))
        return np.asarray(sides_m.prod(axis=1))


def _overlaps_between_zones(manifest: Manifest, centres: NDArray[np.float64], pairs: NDArray[np.int64]) -> int:
    """How many of these pairs (2, n) of rows overlap; only their footprints are made."""
    rows, number = np.unique(pairs, return_inverse=True)
    outlines, numbers = np.concatenate(list(manifest.outlines(rows))), number.reshape(pairs.shape)
    starts = range(0, pairs.shape[1], _COMPARED_AT_ONCE)
    parts = [slice(start, start + _COMPARED_AT_ONCE) for start in starts]
    return sum(_overlaps(outlines[numbers[0, at]], outlines[numbers[1, at]], centres[pairs[0, at]]) for at in parts)


def _overlaps(shapes: NDArray[Any], others: NDArray[Any], centres: NDArray[np.float64]) -> int:
    """How many of these polygons (n,) overlap the other one of their pair; `centres` (n, 2) are their own."""
    rings = [shapely.get_coordinates(each).reshape(-1, _RING, 2) for each in (shapes, others)]
    shared_m2 = shapely.area(shapely.intersection(*(_in_plane(each, centres) for each in rings)))
    return int(np.sum(shared_m2 > _TOUCHING_M2))


def _in_plane(rings: NDArray[Any], centres: NDArray[Any]) -> NDArray[Any]:
    corners = rings.shape[1]
    metres = east_north_m(np.repeat(centres, corners, axis=0), rings.reshape(-1, 2))
    return np.asarray(shapely.polygons(metres.reshape(-1, corners, 2)))


def stratum_shares(manifest: Manifest) -> list[StratumShare]:
    """Every stratum with chips, by biome and name. The user's own points are one line: once each was a stratum."""
    counts: dict[tuple[str, str], Counter[str]] = {}
    for columns in manifest.pieces("biome_name", "ecoregion_name", "stratum", "split"):
        for (biome, region, stratum, split), count in Counter(zip(*columns, strict=True)).items():
            counts.setdefault((biome, _stratum_name(region, stratum)), Counter())[split] += count
    return [
        StratumShare(name, biome, split.total(), tuple(split[each] / split.total() for each in SPLITS))
        for (biome, name), split in sorted(counts.items())
    ]


def _stratum_name(region: str, stratum: str) -> str:
    return OWN_POINTS if stratum == "points" or stratum.startswith("point-") else region or stratum


def distance_text(metres: float) -> str:
    """Metres below 1 km, kilometres above, three digits."""
    if metres < 1000:
        return f"{metres:.0f} m"
    return f"{metres / 1000:.3g} km" if metres < 1e6 else f"{metres / 1000:,.0f} km"

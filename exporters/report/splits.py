"""The splits in the report: their distances, overlaps of footprints, and their shares of each stratum."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from pipeline.manifest import SPLITS, Manifest
from pipeline.radius_index import east_north_m, pairs_within, smallest_distance_m

# Neighbouring grids with a common edge touch; they overlap when they share a larger area.
_TOUCHING_M2 = 10.0


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


def gaps(manifest: Manifest) -> list[Gap]:
    """One `Gap` per pair of splits with chips; `edges_m` is `centres_m` less a footprint's diagonal: a lower bound."""
    lonlat = _lonlat(manifest)
    result = []
    for first, second in combinations(SPLITS, 2):
        rows = [manifest.rows_of(name) for name in (first, second)]
        if min(map(len, rows)):
            metres = smallest_distance_m(lonlat[rows[0]], lonlat[rows[1]])
            result.append(Gap(first, second, metres, max(0.0, metres - _diagonal_m(manifest))))
    return result


def _lonlat(manifest: Manifest) -> NDArray[np.float64]:
    """Centres of the footprints, (rows, 2) float64: lon in -180 to 180, lat, degrees."""
    centres = shapely.get_coordinates(shapely.centroid(manifest.outlines()))
    centres[:, 0] = (centres[:, 0] + 180) % 360 - 180
    return centres


def _diagonal_m(manifest: Manifest) -> float:
    # 0.1 % more, because a metre of UTM may be longer on the ground.
    return float(np.hypot(manifest.size_px, manifest.size_px) * manifest.resolution_m * 1.001)


def overlapping_pairs(manifest: Manifest) -> int:
    """The number of pairs of chips with overlapping footprints, tested in a local plane of each pair."""
    outlines = shapely.get_coordinates(manifest.outlines()).reshape(len(manifest), -1, 2)
    centres = _lonlat(manifest)
    first, second = pairs_within(centres, _diagonal_m(manifest))
    polygons = [_in_plane(outlines[rows], centres[first]) for rows in (first, second)]
    shared_m2 = shapely.area(shapely.intersection(*polygons))
    return int(np.sum(shared_m2 > _TOUCHING_M2))


def _in_plane(rings: NDArray[Any], centres: NDArray[Any]) -> NDArray[Any]:
    corners = rings.shape[1]
    metres = east_north_m(np.repeat(centres, corners, axis=0), rings.reshape(-1, 2))
    return np.asarray(shapely.polygons(metres.reshape(-1, corners, 2)))


def stratum_shares(manifest: Manifest) -> list[StratumShare]:
    """Every stratum with chips, by biome and name. The user's own points, each its own stratum, are one line."""
    frame = pd.DataFrame({name: manifest.column(name) for name in ("biome_name", "ecoregion_name", "stratum", "split")})
    own = frame["stratum"].str.startswith("point-")
    frame["name"] = frame["ecoregion_name"].where(frame["ecoregion_name"] != "", frame["stratum"])
    frame.loc[own, "name"] = "own points"
    table = pd.crosstab([frame["biome_name"], frame["name"]], frame["split"])
    table = table.reindex(columns=list(SPLITS), fill_value=0)
    return [
        StratumShare(str(name), str(biome), int(row.sum()), tuple((row / row.sum()).tolist()))
        for (biome, name), row in table.iterrows()
    ]


def distance_text(metres: float) -> str:
    """Metres below 1 km, kilometres above, three digits."""
    if metres < 1000:
        return f"{metres:.0f} m"
    return f"{metres / 1000:.3g} km" if metres < 1e6 else f"{metres / 1000:,.0f} km"

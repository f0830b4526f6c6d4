"""A sampled point on Earth, and the GeoParquet table of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import geopandas as gpd
import pandas as pd

from pipeline import durable
from pipeline.errors import Fatal

NO_CODE = 0  # RESOLVE numbers biomes from 1 and ecoregions from 1, so 0 says "not known".


@dataclass(frozen=True)
class Location:
    """A point in degrees (WGS84) with the region it was drawn from.

    `biome` and `ecoregion` are RESOLVE's BIOME_NUM and ECO_ID; `NO_CODE` where not known.
    `stratum` names the quota that the point fills; within a stratum, points are in order of preference.
    """

    id: str
    lon: float
    lat: float
    stratum: str = ""
    biome: int = NO_CODE
    biome_name: str = ""
    ecoregion: int = NO_CODE
    ecoregion_name: str = ""
    realm: str = ""

    @property
    def lonlat(self) -> tuple[float, float]:
        """Longitude and latitude in degrees."""
        return self.lon, self.lat


def location_id(lon: float, lat: float) -> str:
    """A stable name for a point: 13 hexadecimal digits of the hash of its coordinates at 1e-7 degrees (1 cm)."""
    return hashlib.sha256(f"{lon:.7f},{lat:.7f}".encode()).hexdigest()[:13]


def locations_frame(locations: Sequence[Location]) -> gpd.GeoDataFrame:
    """The GeoParquet columns of `locations`, geometry in EPSG:4326."""
    names = [field.name for field in fields(Location)]
    frame = pd.DataFrame([asdict(one) for one in locations], columns=names)
    points = gpd.points_from_xy(frame["lon"], frame["lat"])
    return gpd.GeoDataFrame(frame, geometry=points, crs="EPSG:4326")


def write_locations(path: Path, locations: Sequence[Location]) -> None:
    """Publish `locations` as GeoParquet, in their order."""
    frame = locations_frame(locations)
    durable.publish(path, lambda temporary: frame.to_parquet(temporary, index=False))


def read_locations(path: Path) -> list[Location]:
    """Locations in file order; raises `Fatal` when the file is absent or lacks a column."""
    if not path.exists():
        raise Fatal(f"{path} does not exist; run `geocorpus sample` first.")
    frame = gpd.read_parquet(path)
    return list(_rows(frame, path))


def _rows(frame: pd.DataFrame, path: Path) -> Iterator[Location]:
    names = [field.name for field in fields(Location)]
    absent = [name for name in names if name not in frame.columns]
    if absent:
        raise Fatal(f"{path} lacks the columns {', '.join(absent)}; was it written by `geocorpus sample`?")
    for record in frame[names].itertuples(index=False):
        yield Location(*record)


def by_stratum(locations: Iterable[Location]) -> dict[str, list[Location]]:
    """Locations grouped by stratum, order kept."""
    groups: dict[str, list[Location]] = {}
    for location in locations:
        groups.setdefault(location.stratum, []).append(location)
    return groups

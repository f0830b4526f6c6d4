"""A table of the user's own points; each point becomes a location in a stratum of its own."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.errors import Fatal
from pipeline.location import NO_CODE, Location, location_id
from sampling.regions import Regions, lookup, read_vector

_TABLES = (".csv", ".tsv", ".txt", ".parquet", ".pq")
_LON = ("lon", "longitude", "long", "lng", "lon_deg", "x")
_LAT = ("lat", "latitude", "lat_deg", "y")


def read_points(path: Path, regions: Regions | None = None) -> list[Location]:
    """Locations in the order of the table; biome and ecoregion are looked up if `regions` are given.

    Takes CSV, TSV, Parquet or any vector file: point geometry in a known CRS, or columns of degrees such as
    lon/lat, longitude/latitude, lng/lat, x/y. Raises `Fatal` that names the file, and the row if a row is wrong.
    """
    lonlat = read_lonlat(path)
    rows = lookup(regions, lonlat) if regions else np.full(len(lonlat), -1)
    return [_location(lon, lat, regions, row) for (lon, lat), row in zip(lonlat.tolist(), rows.tolist(), strict=True)]


def read_lonlat(path: Path) -> NDArray[np.float64]:
    """The points of a table (n, 2) float64, lon and lat in degrees with 7 decimals (1 cm).

    Takes the same files and raises `Fatal` for the same reasons as `read_points`.
    """
    lonlat = np.round(_lonlat(path), 7)
    _check(lonlat, path)
    return lonlat


def read_names(path: Path) -> list[str]:
    """The names of the points from the column `name`, or "point 1", "point 2", ... without such a column.

    Raises `Fatal` for a file that is absent or cannot be read.
    """
    frame = _table(path) if path.suffix.lower() in _TABLES else read_vector(path)
    column = next((item for item in frame.columns if str(item).strip().lower() == "name"), None)
    return [f"point {row + 1}" for row in range(len(frame))] if column is None else frame[column].astype(str).tolist()


def _lonlat(path: Path) -> NDArray[np.float64]:
    frame = _table(path) if path.suffix.lower() in _TABLES else read_vector(path)
    if frame.empty:
        raise Fatal(f"{path} has no points; give at least one.")
    columns = _coordinate_columns(frame)
    if isinstance(frame, gpd.GeoDataFrame):
        return _from_geometry(frame, path)
    if columns is None:
        known = ", ".join(str(name) for name in frame.columns)
        raise Fatal(f"{path} lacks columns lon and lat; it has {known}.")
    numbers = [pd.to_numeric(frame[name], errors="coerce") for name in columns]
    return np.column_stack([np.asarray(column, dtype=np.float64) for column in numbers])


def _table(path: Path) -> pd.DataFrame:
    if not path.exists():
        raise Fatal(f"{path} does not exist; check the path.")
    try:
        return _read_table(path)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise Fatal(f"{path} cannot be read as a table ({reason}).") from error


def _read_table(path: Path) -> pd.DataFrame:
    if path.suffix.lower() not in (".parquet", ".pq"):
        return pd.read_csv(path, sep=_separator(path))
    try:
        return gpd.read_parquet(path)
    except ValueError:
        return pd.read_parquet(path)


def _separator(path: Path) -> str:
    with path.open(encoding="utf-8", errors="replace") as stream:
        header = stream.readline()
    return max((",", "\t", ";"), key=header.count)


def _coordinate_columns(frame: pd.DataFrame) -> tuple[str, str] | None:
    lowered = {str(name).strip().lower(): name for name in frame.columns}
    lon = next((lowered[name] for name in _LON if name in lowered), None)
    lat = next((lowered[name] for name in _LAT if name in lowered), None)
    return None if lon is None or lat is None else (lon, lat)


def _from_geometry(frame: gpd.GeoDataFrame, path: Path) -> NDArray[np.float64]:
    if frame.crs is None:
        raise Fatal(f"{path} has no CRS, so its coordinates mean nothing; set it, for example to EPSG:4326.")
    others = np.flatnonzero(np.asarray(frame.geom_type != "Point"))
    if len(others):
        raise Fatal(f"row {others[0] + 1} of {path} is no point ({frame.geom_type.iloc[others[0]]}); give points.")
    points = frame.geometry.to_crs("EPSG:4326")
    return np.column_stack([points.x, points.y])


def _check(lonlat: NDArray[np.float64], path: Path) -> None:
    lon, lat = lonlat.T
    for wrong, problem in (
        (~np.isfinite(lonlat).all(axis=1), "has no coordinates"),
        (np.abs(lat) > 90, "has a latitude outside -90 to 90"),
        (np.abs(lon) > 180, "has a longitude outside -180 to 180"),
    ):
        rows = np.flatnonzero(wrong)
        if len(rows):
            raise Fatal(f"row {rows[0] + 1} of {path} {problem} ({len(rows)} such rows); correct or remove it.")
    _, first, again = np.unique(lonlat, axis=0, return_index=True, return_inverse=True)
    repeated = np.flatnonzero(first[again.ravel()] != np.arange(len(lonlat)))
    if len(repeated):
        row = repeated[0]
        raise Fatal(f"rows {first[again.ravel()[row]] + 1} and {row + 1} of {path} are the same place; remove one.")


def _location(lon: float, lat: float, regions: Regions | None, row: int) -> Location:
    name = location_id(lon, lat)
    stratum = f"point-{name}"
    if regions is None or row < 0:
        return Location(name, lon, lat, stratum, NO_CODE, "", NO_CODE, "", "")
    region = regions.frame.iloc[row]
    biome, ecoregion = int(region["BIOME_NUM"]), int(region["ECO_ID"])
    return Location(
        name, lon, lat, stratum, biome, region["BIOME_NAME"], ecoregion, region["ECO_NAME"], region["REALM"]
    )

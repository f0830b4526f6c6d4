"""A table of the owner's places: where they are, what else it says about them, and splits and dates of their own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from pipeline.errors import Fatal
from pipeline.manifest import SPLITS
from pipeline.own_columns import OUTLINE, OUTLINE_NAME, PREFIX
from sampling.own_dates import dated
from sampling.own_names import kept_names
from sampling.own_table import OwnTable
from sampling.regions import repaired

_LON = ("lon", "longitude", "long", "lng", "lon_deg", "x")
_LAT = ("lat", "latitude", "lat_deg", "y")
_AREAS = (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON)
_METRES = 1000  # degrees are never so many


@dataclass(frozen=True)
class Points:
    """The owner's places in the order of the table: `lonlat` (n, 2), degrees with 7 decimals (1 cm).

    `own` has all other columns, under the names that they keep. `split` (n,) is the owner's own, or None. `notes` are
    sentences about what a person should know.
    """

    lonlat: NDArray[np.float64]
    own: pa.Table
    split: NDArray[np.str_] | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.lonlat)


def read_points(path: Path) -> Points:
    """The places of a table: points, or the centres of polygons, whose outlines are kept.

    Takes CSV, TSV, Parquet or any vector file: geometry in a known CRS, or columns of degrees such as lon/lat,
    longitude/latitude, lng/lat, x/y. Raises `Fatal` that names the file, and the row if a row is wrong.
    """
    table = OwnTable.read(path)
    lonlat, columns = _placed(table)
    _check(lonlat, path)
    columns, split = _without_split(columns, path)
    columns = dated(columns, path)
    names = kept_names(columns.column_names)
    notes = [f"column {old} of {path} is kept as {new}: the manifest has a column {old} itself."
             for old, new in names.items() if old != new]  # fmt: skip
    notes += [f"column {name} of {path} is left out: values of its type cannot be kept." for name in table.left_out]
    return Points(lonlat, columns.rename_columns(list(names.values())), split, tuple(notes))


def read_lonlat(path: Path) -> NDArray[np.float64]:
    """The places of a table (n, 2) float64, lon and lat in degrees; takes and refuses what `read_points` does."""
    lonlat, _ = _placed(OwnTable.read(path))
    _check(lonlat, path)
    return lonlat


def read_names(path: Path) -> list[str]:
    """The names of the points from the column `name`, or "point 1", "point 2", ... without such a column.

    Raises `Fatal` for a file that is absent or cannot be read.
    """
    table = OwnTable.read(path)
    column = table.named("name")
    if column is None:
        return [f"point {row + 1}" for row in range(len(table))]
    return [str(name) for name in table.columns.column(column).to_pylist()]


def _placed(table: OwnTable) -> tuple[NDArray[np.float64], pa.Table]:
    """Where the places are, and the columns that do not say so."""
    if table.geometry is not None:
        return _of_geometry(table, table.geometry)
    lon, lat = table.named(*_LON), table.named(*_LAT)
    if lon is None or lat is None:
        known = ", ".join(table.columns.column_names)
        raise Fatal(f"{table.path} lacks columns lon and lat; it has {known}.")
    degrees = [pd.to_numeric(table.columns.column(name).to_pandas(), errors="coerce") for name in (lon, lat)]
    lonlat: NDArray[np.float64] = np.column_stack([np.asarray(each, dtype=np.float64) for each in degrees])
    return np.round(lonlat, 7), table.columns.drop_columns([lon, lat])


def _of_geometry(table: OwnTable, geometry: NDArray[Any]) -> tuple[NDArray[np.float64], pa.Table]:
    there = ~(shapely.is_missing(geometry) | shapely.is_empty(geometry))
    kind = shapely.get_type_id(geometry)
    areas = np.isin(kind, _AREAS) & there
    others = np.flatnonzero(there & ~areas & (kind != shapely.GeometryType.POINT))
    if len(others):
        name = geometry[others[0]].geom_type
        raise Fatal(f"row {others[0] + 1} of {table.path} is a {name}; give points or polygons.")
    lonlat: NDArray[np.float64] = np.full((len(geometry), 2), np.nan)
    points = there & ~areas
    lonlat[points] = shapely.get_coordinates(geometry[points])
    if not areas.any():
        return np.round(lonlat, 7), table.columns
    outlines = np.full(len(geometry), None, dtype=object)
    outlines[areas] = repaired(geometry[areas])
    lonlat[areas] = _centres(outlines[areas])
    wkb = pa.array(shapely.to_wkb(outlines).tolist(), OUTLINE)
    return np.round(lonlat, 7), _renamed_outline(table.columns).append_column(OUTLINE_NAME, wkb)


def _renamed_outline(columns: pa.Table) -> pa.Table:
    """The columns, none of which is called as the outlines are."""
    return columns.rename_columns(
        [f"{PREFIX}{name}" if name == OUTLINE_NAME else name for name in columns.column_names]
    )


def _centres(outlines: NDArray[Any]) -> NDArray[np.float64]:
    """Lon and lat (n, 2), degrees: the centroid, or a point inside where that lies outside."""
    centre = shapely.centroid(outlines)
    outside = ~shapely.contains(outlines, centre)
    centre[outside] = shapely.point_on_surface(outlines[outside])
    lonlat = shapely.get_coordinates(centre)
    lonlat[:, 0] = (lonlat[:, 0] + 180) % 360 - 180
    return lonlat


def _check(lonlat: NDArray[np.float64], path: Path) -> None:
    lon, lat = lonlat.T
    for wrong, problem in (
        (~np.isfinite(lonlat).all(axis=1), "has no coordinates"),
        (np.abs(lat) > 90, "has a latitude outside -90 to 90"),
        (np.abs(lon) > 180, "has a longitude outside -180 to 180"),
    ):
        rows = np.flatnonzero(wrong)
        if len(rows):
            raise Fatal(f"row {rows[0] + 1} of {path} {problem} ({len(rows)} such rows); {_remedy(lonlat)}.")
    _, first, again = np.unique(lonlat, axis=0, return_index=True, return_inverse=True)
    repeated = np.flatnonzero(first[again.ravel()] != np.arange(len(lonlat)))
    if len(repeated):
        row = repeated[0]
        raise Fatal(f"rows {first[again.ravel()[row]] + 1} and {row + 1} of {path} are the same place; remove one.")


def _remedy(lonlat: NDArray[np.float64]) -> str:
    """What to do about wrong coordinates, from how they look."""
    lon, lat = lonlat[np.isfinite(lonlat).all(axis=1)].T
    if np.abs(lat).max(initial=0) > _METRES and np.median(np.maximum(np.abs(lon), np.abs(lat))) > _METRES:
        return "these look like metres of a projected CRS: give degrees, or a vector file that names its CRS"
    beyond = int((np.abs(lat) > 90).sum())
    if beyond and np.abs(lat).max() <= 180 and np.abs(lon).max() <= 90:
        return f"lon and lat look exchanged, as |lat| > 90 in {beyond} of {len(lat)} rows: exchange them, or correct it"
    return "correct or remove it"


def _without_split(columns: pa.Table, path: Path) -> tuple[pa.Table, NDArray[np.str_] | None]:
    """The columns without `split`, and the splits (n,)."""
    name = next((name for name in columns.column_names if name.lower() == "split"), None)
    if name is None:
        return columns, None
    split = [str(cell or "").strip().lower() for cell in columns.column(name).to_pylist()]
    wrong = next((row for row, each in enumerate(split) if each not in SPLITS), None)
    if wrong is not None:
        given = columns.column(name)[wrong].as_py()
        remedy = f"write one of {', '.join(SPLITS)} in every row, or rename the column"
        raise Fatal(f"row {wrong + 1} of {path} has split {given!r}; {remedy}.")
    return columns.drop_columns([name]), np.asarray(split)

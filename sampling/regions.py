"""The region table that defines the strata: read it, check it, repair it, and note what was left out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from pipeline import durable
from pipeline.errors import Fatal
from sampling import authalic

COLUMNS = ("ECO_NAME", "BIOME_NUM", "BIOME_NAME", "REALM", "ECO_ID")
BIOMES = range(1, 15)
# RESOLVE files Rock and Ice under biome 11 (Tundra) but names that biome "N/A".
_NO_BIOME = ("", "N/A", "NA", "NONE", "NAN", "ROCK AND ICE")
_OUTLINE_DEG = 0.1


@dataclass(frozen=True)
class Regions:
    """Ecoregions, one row each, in order of ECO_ID.

    `frame` has RESOLVE's five columns (codes as integers), `stratum`, `area_km2` on the ellipsoid, and valid
    polygons in EPSG:4326 (a longitude may exceed 180 where a region crosses the antimeridian). `notes` are sentences
    about what was repaired or left out.
    """

    frame: gpd.GeoDataFrame
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.frame)


def stratum_of(ecoregion: int) -> str:
    """The stratum's name for a RESOLVE ECO_ID."""
    return f"eco-{ecoregion:03d}"


def read_region_file(path: Path, column: str = "") -> Regions:
    """Regions from any vector file that GeoPandas reads; raises `Fatal` that names the file and what it lacks.

    `column` is an additional column to keep, for strata of the user's own.
    """
    return prepare_regions(read_vector(path), str(path), column)


def read_vector(path: Path) -> gpd.GeoDataFrame:
    """A vector file as a GeoDataFrame; raises `Fatal` when it is absent, unreadable, empty or without geometry."""
    if not path.exists():
        raise Fatal(f"{path} does not exist; check the path.")
    try:
        frame = gpd.read_parquet(path) if path.suffix.lower() in (".parquet", ".pq") else gpd.read_file(path)
    except (OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise Fatal(f"{path} cannot be read as a vector file ({reason}).") from error
    if not isinstance(frame, gpd.GeoDataFrame):
        raise Fatal(f"{path} has no geometry; give a vector file such as GeoPackage, GeoJSON, Shapefile or GeoParquet.")
    return frame


def prepare_regions(frame: gpd.GeoDataFrame, source: str, column: str = "") -> Regions:
    """Check, reproject, repair and dissolve a table with RESOLVE's columns; `source` names it in messages.

    Raises `Fatal` for missing columns, a missing CRS, an empty table or one without a usable region.
    """
    more = (column,) if column and column not in COLUMNS else ()
    _check_table(frame, source, (*COLUMNS, *more))
    notes: list[str] = []
    usable = _with_codes(frame.to_crs("EPSG:4326"), notes, (*COLUMNS, *more))
    merged = _one_row_each(_with_repaired_geometry(usable, notes), more)
    return _with_area(merged, notes, f"{source} has no region with an area and a biome from 1 to 14; "
                      "check BIOME_NUM and the geometry.")  # fmt: skip


def prepare_areas(frame: gpd.GeoDataFrame, source: str, column: str = "") -> Regions:
    """Regions from any table of areas, for strategies that need no biomes: each row is a region.

    RESOLVE's columns are filled in if they are absent. Raises `Fatal` when the CRS or `column` is missing, the table is
    empty, or no polygon has an area.
    """
    if all(name in frame.columns for name in COLUMNS):
        return prepare_regions(frame, source, column)
    _check_table(frame, source, (column,) if column else ())
    notes: list[str] = []
    named = _named_areas(frame.to_crs("EPSG:4326"), column)
    repaired_areas = _with_repaired_geometry(named, notes)
    return _with_area(repaired_areas, notes, f"{source} has no polygon with an area; check the geometry.")


def _named_areas(frame: gpd.GeoDataFrame, column: str) -> gpd.GeoDataFrame:
    """One region per row, numbered from 1, outside every biome."""
    numbers = np.arange(1, len(frame) + 1)
    names = frame["name"].astype(str) if "name" in frame.columns else [f"area {number}" for number in numbers]
    columns = {
        "ECO_NAME": list(names), "BIOME_NUM": 0, "BIOME_NAME": "", "REALM": "", "ECO_ID": numbers,
        "stratum": [f"area-{number:05d}" for number in numbers],
    }  # fmt: skip
    if column:
        columns[column] = list(frame[column])
    return gpd.GeoDataFrame(columns, geometry=np.asarray(frame.geometry.array), crs=frame.crs)


def _with_repaired_geometry(frame: gpd.GeoDataFrame, notes: list[str]) -> gpd.GeoDataFrame:
    frame["geometry"] = _repair(np.asarray(frame.geometry.array), notes)
    return frame


def _with_area(merged: gpd.GeoDataFrame, notes: list[str], refusal: str) -> Regions:
    """The regions with an area above 0, which is computed here; raises `Fatal(refusal)` for none."""
    merged["area_km2"] = authalic.areas_km2(np.asarray(merged.geometry.array))
    positive = merged[merged["area_km2"] > 0].reset_index(drop=True)
    if len(positive) < len(merged):
        notes.append(f"{_counted(len(merged) - len(positive))} without an area left out.")
    if positive.empty:
        raise Fatal(refusal)
    return Regions(positive, tuple(notes))


def _check_table(frame: gpd.GeoDataFrame, source: str, needed: tuple[str, ...]) -> None:
    absent = [name for name in needed if name not in frame.columns]
    if absent:
        theirs = "RESOLVE's " if set(COLUMNS) <= set(needed) else ""
        raise Fatal(f"{source} lacks the columns {', '.join(absent)}; regions need {theirs}{', '.join(needed)}.")
    if frame.empty:
        raise Fatal(f"{source} has no regions; give a file with at least one polygon.")
    if frame.crs is None:
        raise Fatal(f"{source} has no CRS, so its coordinates mean nothing; set it, for example to EPSG:4326.")


def _with_codes(frame: gpd.GeoDataFrame, notes: list[str], columns: tuple[str, ...]) -> gpd.GeoDataFrame:
    codes = {name: pd.to_numeric(frame[name], errors="coerce") for name in ("BIOME_NUM", "ECO_ID")}
    named = ~_upper(frame["BIOME_NAME"]).isin(_NO_BIOME) & ~_upper(frame["ECO_NAME"]).isin(_NO_BIOME)
    usable = codes["BIOME_NUM"].isin(list(BIOMES)) & codes["ECO_ID"].notna() & named
    if not usable.all():
        names = sorted({str(name) for name in frame["ECO_NAME"][~usable]})
        notes.append(f"{_counted(int((~usable).sum()))} without a biome left out: {_shortened(names)}.")
    result = gpd.GeoDataFrame(frame.loc[usable, list(columns)], geometry=frame.geometry[usable])
    for name, values in codes.items():
        result[name] = values[usable].astype(np.int64)
    for name in ("ECO_NAME", "BIOME_NAME", "REALM"):
        result[name] = result[name].fillna("").astype(str)
    return result


def _upper(column: pd.Series) -> pd.Series:
    return column.fillna("").astype(str).str.strip().str.upper()


def _counted(count: int) -> str:
    return "1 region" if count == 1 else f"{count} regions"


def _shortened(names: list[str], most: int = 5) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def repaired(geometry: NDArray[Any]) -> NDArray[Any]:
    """Geometries (n,) in degrees, with polygons unwrapped at the antimeridian and made valid.

    Lines and points that the repair of a polygon gives are dropped; other geometries stay as they are.
    """
    areal = np.isin(shapely.get_type_id(geometry), (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON))
    result = geometry.copy()
    result[areal] = _repair(geometry[areal], [])
    return result


def _repair(geometry: NDArray[Any], notes: list[str]) -> NDArray[Any]:
    """Polygons with rings unwrapped at the antimeridian and made valid, without lines or points."""
    crossing = _crosses(geometry)
    if crossing.any():
        geometry = geometry.copy()
        geometry[crossing] = [_unwrapped(item) for item in geometry[crossing]]
        beyond = int((np.abs(shapely.bounds(geometry[crossing])[:, [0, 2]]) > 180).any(axis=1).sum())
        notes += [f"{_counted(beyond)} jumping across the antimeridian unwrapped."] if beyond else []
    broken = ~shapely.is_valid(geometry) & ~shapely.is_missing(geometry)
    if broken.any():
        geometry = geometry.copy()
        geometry[broken] = [_made_valid(item) for item in geometry[broken]]
        notes.append(f"{_counted(int(broken.sum()))} with invalid rings repaired.")
    return geometry


def _made_valid(geometry: shapely.Geometry) -> shapely.Geometry:
    """A valid geometry without the area of any hole, in whichever part it is listed: GEOS alone makes land of a hole
    outside its own shell.
    """
    holes = [hole for part in shapely.get_parts(geometry) for hole in part.interiors]
    shells = shapely.MultiPolygon([shapely.Polygon(part.exterior) for part in shapely.get_parts(geometry)])
    water = [_valid(shapely.Polygon(hole)) for hole in holes]
    land = shapely.difference(_valid(shells), shapely.union_all(water))
    return _valid(land)


def _valid(geometry: shapely.Geometry) -> shapely.Geometry:
    return shapely.make_valid(geometry, method="structure", keep_collapsed=False)


def _crosses(geometry: NDArray[Any]) -> NDArray[np.bool_]:
    """Which geometries have an edge longer than 180 degrees of longitude, and so cross the antimeridian."""
    coordinates, owner = shapely.get_coordinates(shapely.get_rings(shapely.get_parts(geometry)), return_index=True)
    jumps = (np.abs(np.diff(coordinates[:, 0])) > 180) & (np.diff(owner) == 0)
    parts, of_part = shapely.get_parts(geometry, return_index=True)
    _, of_ring = shapely.get_rings(parts, return_index=True)
    result = np.zeros(len(geometry), dtype=bool)
    result[of_part[of_ring[owner[:-1][jumps]]]] = True
    return result


def _unwrapped(geometry: shapely.Geometry) -> shapely.Geometry:
    return shapely.union_all([_unwrapped_polygon(part) for part in shapely.get_parts(geometry)])


def _unwrapped_polygon(polygon: shapely.Polygon) -> shapely.Polygon:
    shell = _unwrapped_ring(polygon.exterior)
    holes = [_shifted_into(shell, _unwrapped_ring(hole)) for hole in polygon.interiors]
    return _made_valid(shapely.Polygon(shell, holes))


def _unwrapped_ring(ring: shapely.LinearRing) -> NDArray[np.float64]:
    """A ring with continuous longitudes; a ring around a pole or a box around the whole Earth stays as it is."""
    lonlat = shapely.get_coordinates(ring)
    lon = np.unwrap(lonlat[:, 0], period=360)
    if abs(lon[-1] - lon[0]) > 180 or np.ptp(lon) == 0:
        return lonlat
    return np.column_stack([lon, lonlat[:, 1]])


def _shifted_into(shell: NDArray[Any], hole: NDArray[Any]) -> NDArray[Any]:
    turns = np.round((shell[:, 0].mean() - hole[:, 0].mean()) / 360)
    return hole + np.array([360 * turns, 0])


def _one_row_each(frame: gpd.GeoDataFrame, more: tuple[str, ...]) -> gpd.GeoDataFrame:
    """One row per ECO_ID, in ascending order; services deliver a large region in several rows."""
    if frame["ECO_ID"].duplicated().any():
        frame = frame.dissolve(by="ECO_ID", aggfunc="first").reset_index()
    ordered = frame.sort_values("ECO_ID").reset_index(drop=True)
    ordered["stratum"] = [stratum_of(code) for code in ordered["ECO_ID"]]
    return ordered[[*COLUMNS, *more, "stratum", "geometry"]]


def lookup(regions: Regions, lonlat: NDArray[Any]) -> NDArray[np.int64]:
    """Row (n,) int64 of the region that contains each point (n, 2), degrees; -1 if none does."""
    parts, owner = shapely.get_parts(np.asarray(regions.frame.geometry.array), return_index=True)
    tree = shapely.STRtree(parts)
    result = np.full(len(lonlat), -1, dtype=np.int64)
    for turn_deg in (0.0, 360.0):
        points = shapely.points(lonlat[:, 0] + turn_deg, lonlat[:, 1])
        which, part = tree.query(points, predicate="intersects")
        # The first match in row order wins, so that a point on a shared border always gets the same region.
        order = np.argsort(owner[part], kind="stable")[::-1]
        result[which[order]] = owner[part[order]]
    return result


def write_regions(path: Path, regions: Regions) -> None:
    """Publish the outlines as GeoParquet, simplified for drawing (about 0.1 degrees).

    Raises `Fatal` when the file cannot be written.
    """
    frame = regions.frame.copy()
    frame["geometry"] = frame.geometry.simplify(_OUTLINE_DEG)
    durable.publish(path, lambda temporary: frame.to_parquet(temporary, index=False))

"""Discs around points such as cities or field plots, as regions to draw from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import Geod

from pipeline.errors import Fatal
from sampling.points import read_lonlat, read_names
from sampling.regions import Regions, prepare_areas

_CORNERS = 90
_GEOD = Geod(ellps="WGS84")


def read_discs(path: Path, radius_km: float) -> Regions:
    """A disc of `radius_km` around each point of a table (see `read_lonlat`), as regions.

    Raises `Fatal` for a table that cannot be used, or a radius outside 0 to 5000 km.
    """
    if not 0 < radius_km <= 5000:
        raise Fatal(f"sampling.radius_km must lie between 0 and 5000, not {radius_km}.")
    return discs(read_lonlat(path), radius_km, str(path), read_names(path))


def discs(lonlat: NDArray[Any], radius_km: float, source: str, names: list[str] | None = None) -> Regions:
    """Geodesic discs around points (n, 2) float64, degrees, as polygons with 90 corners; raises `Fatal` for no points.

    `source` names the table in messages.
    """
    outlines = [_disc(lon, lat, radius_km) for lon, lat in lonlat.tolist()]
    columns = {"name": names} if names else {}
    return prepare_areas(gpd.GeoDataFrame(columns, geometry=outlines, crs="EPSG:4326"), source)


def _disc(lon_deg: float, lat_deg: float, radius_km: float) -> shapely.Polygon:
    bearings = np.linspace(0, 360, _CORNERS, endpoint=False)
    same = np.ones(_CORNERS)
    lon, lat, _ = _GEOD.fwd(same * lon_deg, same * lat_deg, bearings, same * radius_km * 1000)
    pole_deg = 90.0 if lat_deg > 0 else -90.0
    *_, to_pole_m = _GEOD.inv(lon_deg, lat_deg, lon_deg, pole_deg)
    if to_pole_m < radius_km * 1000:
        return _cap(np.asarray(lon), np.asarray(lat), pole_deg)
    return shapely.Polygon(np.column_stack([np.unwrap(lon, period=360), lat]))


def _cap(lon: NDArray[Any], lat: NDArray[Any], pole_deg: float) -> shapely.Polygon:
    """A disc that contains a pole: everything poleward of its rim, from 180 W to 180 E."""
    order = np.argsort(lon)
    around = np.concatenate([lon[order[-1:]] - 360, lon[order], lon[order[:1]] + 360])
    rim = np.concatenate([lat[order[-1:]], lat[order], lat[order[:1]]])
    ends = np.interp([-180.0, 180.0], around, rim)
    inner = (lon[order] > -180) & (lon[order] < 180)
    ring = np.column_stack([lon[order][inner], lat[order][inner]])
    return shapely.Polygon([(-180, pole_deg), (-180, ends[0]), *ring, (180, ends[1]), (180, pole_deg)])

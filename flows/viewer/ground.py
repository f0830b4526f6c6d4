"""Where places lie on the explorer's map, and the outlines below them, in the Equal Earth projection."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray

from exporters.report.map import REGIONS
from pipeline.equal_earth import HALF_WIDTH, equal_earth
from pipeline.errors import Fatal
from pipeline.manifest import Manifest

_SIMPLER_DEG = 0.2
Line = list[list[float]]


def positions(manifest: Manifest) -> NDArray[np.float32]:
    """x and y (2, rows) float32 of all places; x is from -1 to 1, and y has the same scale."""
    lonlat = np.column_stack([manifest.column("lon"), manifest.column("lat")])
    return (equal_earth(lonlat).T / HALF_WIDTH).astype(np.float32, order="C")


def outlines(folder: Path) -> list[Line]:
    """Lines of [x, y] as `positions` gives them: the globe's edge, and the regions where their table is there.

    Raises `Fatal` when the regions cannot be read.
    """
    lat = np.linspace(-90, 90, 61)
    globe = np.concatenate([np.column_stack([lat * 0 + 180, lat]), np.column_stack([lat * 0 - 180, lat[::-1]])])
    return [_line(ring) for ring in (np.concatenate([globe, globe[:1]]), *_regions(folder / REGIONS))]


def _line(lonlat: NDArray[np.float64]) -> Line:
    return np.round(equal_earth(lonlat) / HALF_WIDTH, 5).tolist()


def _regions(path: Path) -> list[NDArray[np.float64]]:
    if not path.exists():
        return []
    try:
        shapes = gpd.read_parquet(path, columns=["geometry"]).geometry
    except (OSError, ValueError) as error:
        raise Fatal(f"{path} cannot be read ({error}); delete it, and the map is drawn without outlines.") from error
    edges = shapely.get_parts(shapes.simplify(_SIMPLER_DEG).boundary.to_numpy())
    rings = [shapely.get_coordinates(edge) for edge in edges]
    return [ring for ring in rings if len(ring) > 4]

"""Where a grid lies, in the ways in which readers of Zarr look for it: each of them knows one, and none knows all."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from numpy.typing import NDArray
from pyproj import CRS

from exporters.formats.stac_chips import authority_code
from pipeline.grid import Grid

SPATIAL_REF = "spatial_ref"
# Zarr conventions are known by uuid. rioxarray 0.23 goes by names that end in a colon, so each is given twice.
_CONVENTIONS = {"proj": "f17cb550-5864-4468-aeb7-f3180cfb622f", "spatial": "689b58e2-cf7b-45e0-9fff-9cfc0883d6b4"}


def convention_attributes(grid: Grid) -> dict[str, Any]:
    """The Zarr conventions `proj` and `spatial`, for a group and for each array of pixels in it."""
    names = [(name + end, uuid) for name, uuid in _CONVENTIONS.items() for end in ("", ":")]
    return {
        "zarr_conventions": [{"name": name, "uuid": uuid} for name, uuid in names],
        **_named_crs(grid.crs),
        "spatial:dimensions": ["y", "x"],
        "spatial:transform": list(grid.transform),
        "spatial:transform_type": "affine",
        "spatial:shape": list(grid.shape_yx),
        "spatial:bbox": list(grid.bounds_xy),
        "spatial:registration": "pixel",
    }


def pixel_attributes(grid: Grid) -> dict[str, Any]:
    """For an array of pixels: the conventions, CF's grid mapping (GDAL from 3.9), and GDAL's own CRS (before)."""
    return convention_attributes(grid) | {"grid_mapping": SPATIAL_REF, "_CRS": {"wkt": _crs(grid.crs).to_wkt()}}


def mapping_attributes(grid: Grid) -> dict[str, Any]:
    """CF's grid mapping with the affine map as GDAL and rioxarray write it there."""
    scale_x, shear_x, left, shear_y, scale_y, top = grid.transform
    wkt = _crs(grid.crs).to_wkt()
    order = (left, scale_x, shear_x, top, shear_y, scale_y)
    return {**_crs(grid.crs).to_cf(), SPATIAL_REF: wkt, "GeoTransform": " ".join(map(repr, order))}


def centres(grid: Grid) -> dict[str, tuple[NDArray[Any], dict[str, str]]]:
    """Coordinates of the centres of pixels, metres, with CF's attributes: x from west, y from north."""
    return {axis: (values, _axis(axis)) for axis, values in zip("yx", grid.centres_yx, strict=True)}


def _axis(axis: str) -> dict[str, str]:
    return {"standard_name": f"projection_{axis}_coordinate", "axis": axis.upper(), "units": "m"}


def _named_crs(crs: str) -> dict[str, Any]:
    code = authority_code(crs)
    return {"proj:code": code} if code else {"proj:wkt2": _crs(crs).to_wkt()}


@lru_cache(maxsize=256)
def _crs(crs: str) -> CRS:
    return CRS.from_user_input(crs)

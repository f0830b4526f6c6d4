"""Projections as values, and the algorithms that make and describe them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sandbox.raster import grids
from sandbox.raster.grids import LONLAT
from sandbox.raster.stored import Projection
from sandbox.registry import algorithm


def projection_of(crs: Any, transform: Any = None) -> Projection:
    """A projection from a CRS code or a projection, and optionally the six numbers of a transform."""
    base = crs if isinstance(crs, Projection) else Projection(_code(crs), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0))
    if not transform:
        return base
    first, second, third, fourth, fifth, sixth = (float(number) for number in transform)
    return replace(base, transform=(first, second, third, fourth, fifth, sixth))


def _code(crs: Any) -> str:
    code = str(crs)
    if code.upper() in ("CRS:84", "OGC:CRS84"):
        return LONLAT
    grids.crs_of(code)
    return code.upper() if code.upper().startswith("EPSG:") else code


@algorithm("Projection")
def projection(crs: Any, transform: Any, transform_wkt: str | None) -> Projection:
    return projection_of(crs, transform)


@algorithm("Projection.atScale")
def at_scale(value: Projection, meters: float) -> Projection:
    factor = meters / grids.nominal_scale_m(value)
    a, b, c, d, e, f = value.transform
    return replace(value, transform=(a * factor, b * factor, c, d * factor, e * factor, f))


@algorithm("Projection.crs")
def crs(value: Projection) -> str:
    return value.crs


@algorithm("Projection.nominalScale")
def nominal_scale(value: Projection) -> float:
    return grids.nominal_scale_m(value)


@algorithm("Projection.scale")
def scale(value: Projection, x: float, y: float) -> Projection:
    a, b, c, d, e, f = value.transform
    return replace(value, transform=(a * x, b * y, c, d * x, e * y, f))


@algorithm("Projection.translate")
def translate(value: Projection, x: float, y: float) -> Projection:
    a, b, c, d, e, f = value.transform
    return replace(value, transform=(a, b, a * x + b * y + c, d, e, d * x + e * y + f))


@algorithm("Projection.wkt")
def wkt(value: Projection) -> str:
    return str(grids.crs_of(value.crs).to_wkt("WKT1_GDAL"))


@algorithm("Projection.transform")
def transform(value: Projection) -> str:
    a, b, c, d, e, f = value.transform
    rows = [("elt_0_0", a), ("elt_0_1", b), ("elt_0_2", c), ("elt_1_0", d), ("elt_1_1", e), ("elt_1_2", f)]
    parameters = "".join(f', \n  PARAMETER["{name}", {number!r}]' for name, number in rows)
    return f'PARAM_MT["Affine", \n  PARAMETER["num_row", 3], \n  PARAMETER["num_col", 3]{parameters}]'

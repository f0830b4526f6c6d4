"""GDAL and PROJ: their versions, and whether they find their data."""

from __future__ import annotations

import os

from flows.doctor.finding import Finding

_REMEDY = "unset GDAL_DATA, PROJ_DATA and PROJ_LIB, which may point at another installation's"


def check_gdal() -> Finding:
    """rasterio's GDAL and PROJ, tried on a UTM zone."""
    import rasterio
    from rasterio.errors import CRSError
    from rasterio.warp import transform

    facts = {"gdal": rasterio.__gdal_version__, "proj": rasterio.__proj_version__, **_pointers()}
    try:
        transform("EPSG:4326", "EPSG:32633", [15.0], [0.0])
    except CRSError as error:
        return Finding("problem", f"GDAL does not find PROJ's data ({_line(error)}); {_REMEDY}.", facts)
    return Finding("ok", f"GDAL {facts['gdal']} with PROJ {facts['proj']}{_said(facts)}", facts)


def check_proj() -> Finding:
    """pyproj's own PROJ, tried on the same zone."""
    import pyproj
    from pyproj.exceptions import CRSError, DataDirError, ProjError

    facts = {"pyproj": pyproj.__version__, "proj": pyproj.proj_version_str, **_pointers()}
    try:
        pyproj.Transformer.from_crs("EPSG:4326", "EPSG:32633", always_xy=True).transform(15.0, 0.0)
    except (CRSError, DataDirError, ProjError) as error:
        return Finding("problem", f"pyproj does not find PROJ's data ({_line(error)}); {_REMEDY}.", facts)
    return Finding("ok", f"PROJ {facts['proj']} of pyproj {facts['pyproj']}{_said(facts)}", facts)


def _pointers() -> dict[str, str]:
    """The environment variables that set where GDAL and PROJ look for their data."""
    return {name: os.environ[name] for name in ("GDAL_DATA", "PROJ_DATA", "PROJ_LIB") if os.environ.get(name)}


def _said(facts: dict[str, str]) -> str:
    names = [name for name in facts if name.isupper()]
    return f", data by {', '.join(names)}" if names else ""


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200].rstrip(".")

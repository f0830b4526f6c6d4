"""GeoTIFF and Cloud Optimized GeoTIFF, for QGIS, GDAL and whatever is built on it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from exporters.formats.format import Format, Options
from exporters.formats.raster_folder import RasterFolder, rasters_left
from exporters.formats.selection import Selection
from pipeline.errors import unknown_name
from pipeline.progress import Progress

_COMPRESSIONS = ("deflate", "lzw", "none", "zstd")
_OPTIONS = {"compress": "deflate (the default, read by everything), lzw, zstd or none"}


def _write(driver: str, selection: Selection, target: Path, options: Options, progress: Progress) -> str:
    compress = options.get("compress", "deflate")
    if compress not in _COMPRESSIONS:
        raise unknown_name("compression", compress, _COMPRESSIONS)
    return RasterFolder(selection, target, driver, compress.upper()).write(progress)


GEOTIFF = Format(
    "geotiff", "A folder of GeoTIFFs, one per chip and layer, with VRTs and STAC", partial(_write, "GTiff"), _OPTIONS,
    takes_computed=True, leaves=rasters_left,
)  # fmt: skip
COG = Format(
    "cog", "The same as Cloud Optimized GeoTIFFs", partial(_write, "COG"), _OPTIONS,
    takes_computed=True, leaves=rasters_left,
)  # fmt: skip

"""Zarr for GIS tools: version 2, which GDAL reads from 3.8 on, where the shards of a corpus need 3.13."""

from __future__ import annotations

from pathlib import Path

from numcodecs import Zlib, Zstd

from exporters.formats.format import Format, Options
from exporters.formats.selection import Selection
from exporters.formats.unsharded.chip_groups import ChipGroups, groups_left
from exporters.formats.unsharded.layer_arrays import LayerArrays, arrays_left
from pipeline.errors import unknown_name
from pipeline.progress import Progress

# Not blosc: the GDAL of rasterio's wheels has it from 3.10 on, that of Debian 12 not at all.
_COMPRESSORS = {"zlib": Zlib(5), "zstd": Zstd(3), "none": None}
_WRITERS: dict[str, type[ChipGroups] | type[LayerArrays]] = {"chip": ChipGroups, "layer": LayerArrays}


def _write(selection: Selection, target: Path, options: Options, progress: Progress) -> str:
    by, compress = options.get("by", "chip"), options.get("compress", "zlib")
    if by not in _WRITERS:
        raise unknown_name("way of grouping", by, _WRITERS)
    if compress not in _COMPRESSORS:
        raise unknown_name("compression", compress, _COMPRESSORS)
    return _WRITERS[by](selection, target, _COMPRESSORS[compress]).write(progress)


def _left(folder: Path) -> set[str]:
    return groups_left(folder) | arrays_left(folder)


FORMAT = Format(
    "zarr",
    "A Zarr store (version 2, no shards) that GDAL 3.8 and QGIS read",
    _write,
    {
        "by": "chip (the default: a georeferenced group each) or layer (one array along all chips)",
        "compress": "zlib (the default), zstd or none",
    },
    takes_computed=True,
    leaves=_left,
)

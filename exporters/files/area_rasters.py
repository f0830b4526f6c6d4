"""Rasters over an area as the values of a layer: bands by their names, in the layer's units, on any grid within it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from exporters.files.open_raster import OpenRaster, opened
from exporters.files.raster import RasterBands, read_mosaic
from pipeline.errors import Fatal
from pipeline.grid import Grid
from pipeline.modality import Modality

_ENDINGS = (".tif", ".tiff", ".vrt")


@dataclass(frozen=True)
class AreaRasters:
    """The bands of `modality` in one file or several side by side; `scale` and `offset` make their numbers physical."""

    modality: Modality
    sources: tuple[RasterBands, ...]
    scale: float
    offset: float

    @classmethod
    def of(cls, modality: Modality, paths: Sequence[str]) -> AreaRasters:
        """Rasters at `paths`, of which a folder stands for the GeoTIFFs in it.

        Whole numbers in a file without a scale are those that the layer stores. Raises `Fatal` for what is no raster,
        and for one without the layer's bands.
        """
        files = [file for path in paths for file in files_at(path)]
        sources = tuple(RasterBands(file, _bands(modality, opened(file)), _nodata(modality)) for file in files)
        plain = all(_holds_stored(opened(file)) for file in files)
        return cls(modality, sources, *((modality.scale, modality.offset) if plain else (1.0, 0.0)))

    def grid(self) -> Grid:
        """The pixels of the first file, over all files that have the same; raises `Fatal` for turned or uneven ones."""
        first = opened(self.sources[0].path)
        a, b, left, d, e, top = first.lattice.transform
        if b or d or a <= 0 or abs(a + e) > 1e-9 * a:
            uneven = f"has pixels of {a:.6g} by {-e:.6g}, which are not square" if not (b or d) else "is turned"
            raise Fatal(
                f"{first.path} {uneven}, and a map needs square pixels with north up; warp it with gdalwarp first."
            )
        spans = [_span(first, opened(source.path)) for source in self.sources]
        west, north, east, south = (
            pick(span[axis] for span in spans if span is not None) for axis, pick in enumerate((min, min, max, max))
        )
        crs = first.dataset.crs.to_string()
        if first.dataset.crs.is_geographic:
            raise Fatal(f"{first.path} has pixels in degrees, not metres; warp it to UTM with gdalwarp first.")
        return Grid(crs, (left + west * a, top - north * a), (south - north, east - west), a)

    def read(self, grid: Grid) -> NDArray[np.float64]:
        """Values (bands, y, x) on a grid, in the layer's units; NaN where there are no data, and beside the files."""
        return read_mosaic(self.sources, grid, self.modality.resampling) * self.scale + self.offset


def files_at(path: str) -> list[str]:
    """A file, or the rasters in a folder in the order of their names; raises `Fatal` for a folder without."""
    folder = Path(path)
    if "://" in path or not folder.is_dir():
        return [path]
    files = sorted(str(file) for file in folder.iterdir() if file.suffix.lower() in _ENDINGS)
    if not files:
        raise Fatal(f"{path} holds no GeoTIFFs; name another folder, or files.")
    return files


def _bands(modality: Modality, raster: OpenRaster) -> tuple[int, ...]:
    """The numbers of the layer's bands: by name, or in order where a file has as many and names none."""
    names, wanted = raster.band_names, modality.band_names
    if all(name in names for name in wanted):
        return tuple(names.index(name) + 1 for name in wanted)
    if not any(names) and len(raster.data_bands) == len(wanted):
        return raster.data_bands
    has = ", ".join(name for name in names if name) or f"{raster.band_count} bands without names"
    raise Fatal(
        f"{raster.path} has {has}, and layer {modality.name!r} needs {', '.join(wanted)}; call its bands so (GDAL's "
        "descriptions), or leave one out with --without."
    )


def _nodata(modality: Modality) -> float | None:
    return None if np.isnan(modality.nodata) else float(modality.fill)


def _holds_stored(raster: OpenRaster) -> bool:
    file = raster.dataset
    whole = all(np.dtype(kind).kind in "iu" for kind in file.dtypes)
    return whole and all(scale == 1 for scale in file.scales) and not any(file.offsets)


def _span(first: OpenRaster, other: OpenRaster) -> tuple[int, int, int, int] | None:
    """Left, top, right, bottom of a file in pixels of another; None where it has other pixels."""
    shift = first.lattice.shift(other.lattice, other.shape_yx)
    if shift is None:
        return None
    return shift[0], shift[1], shift[0] + other.shape_yx[1], shift[1] + other.shape_yx[0]

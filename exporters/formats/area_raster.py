"""A map of an area as one GeoTIFF, written stripe by stripe, with names, colours and nodata of its layer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.windows import Window

from exporters.formats.chip_raster import layer_tags
from exporters.formats.class_table import colour_map, side_file
from pipeline.grid import Grid
from pipeline.modality import Modality


@dataclass(frozen=True)
class AreaRaster:
    """A layer on the grid of an area."""

    modality: Modality
    grid: Grid

    def write(self, path: Path, stripes: Iterable[tuple[int, NDArray[Any]]], rows_at_once: int) -> None:
        """Write stripes from the top: the first row of each, and values (bands, rows, width) as the layer stores them.

        Most stripes have `rows_at_once` rows.
        """
        height, width = self.grid.shape_yx
        profile = {
            "driver": "GTiff", "dtype": self.modality.dtype, "count": len(self.modality.bands), "height": height,
            "width": width, "crs": self.grid.crs, "transform": rasterio.Affine(*self.grid.transform),
            "nodata": self.modality.fill.item(), "compress": "DEFLATE", "blockysize": max(1, min(rows_at_once, height)),
            "predictor": 3 if self.modality.dtype.startswith("float") else 2, "interleave": "band",
            "photometric": "MINISBLACK", "alpha": "NO", "BIGTIFF": "IF_SAFER",
        }  # fmt: skip
        with rasterio.open(path, "w", **profile) as file:
            self._describe(file)
            for top, values in stripes:
                file.write(values, window=Window(0, top, width, values.shape[1]))

    def side_file(self) -> str | None:
        """The text of the file beside it that names its classes; None without classes."""
        return side_file(self.modality) if self.modality.categories else None

    def _describe(self, file: Any) -> None:
        file.descriptions = self.modality.band_names
        file.units = [band.units for band in self.modality.bands]
        file.update_tags(**layer_tags(self.modality))
        for number, band in enumerate(self.modality.bands, 1):
            file.update_tags(number, name=band.name, long_name=band.long_name or band.name)
        if colours := colour_map(self.modality):
            file.write_colormap(1, colours)
        else:
            count = len(self.modality.bands)
            file.colorinterp = [ColorInterp.gray] + [ColorInterp.undefined] * (count - 1)

"""One layer of one chip as a GeoTIFF: values as stored, with all that a reader needs to take them for what they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.io import MemoryFile

from exporters.formats.chip_facts import chip_facts
from exporters.formats.class_table import colour_map, side_file
from pipeline.chip import Chip
from pipeline.grid import Grid
from pipeline.modality import Modality

# GDAL writes no float16 before 3.11; float32 holds each of its values.
_WIDENED = {"float16": "float32"}
# Without these GDAL takes the fourth of four bytes for a mask.
_PLAIN_BANDS = {"photometric": "MINISBLACK", "alpha": "NO", "interleave": "band"}
_BLOCK_PX = (128, 512)  # the smallest block that GDAL's COG has, and its usual one


@dataclass(frozen=True)
class ChipRaster:
    """How a layer becomes files: by a GDAL `driver`, "GTiff" or "COG", with its `compress` ("DEFLATE", "ZSTD", ...)."""

    modality: Modality
    driver: str
    compress: str

    @property
    def dtype(self) -> str:
        """The dtype of the files: the stored one, or the next wider where GDAL has none such."""
        return _WIDENED.get(self.modality.dtype, self.modality.dtype)

    def write(self, path: Path, chip: Chip, stored: NDArray[Any]) -> None:
        """Write stored values (bands[, y, x]); a layer of one value per chip is one pixel of the chip's size."""
        pixels = stored.reshape(len(stored), *(stored.shape[1:] or (1, 1))).astype(self.dtype, copy=False)
        if self.driver == "GTiff":
            self._write_geotiff(path, chip, pixels)
        else:
            self._write_cog(path, chip, pixels)
        if self.modality.categories:
            path.with_name(path.name + ".aux.xml").write_text(side_file(self.modality), encoding="utf-8")

    def _write_geotiff(self, path: Path | str, chip: Chip, pixels: NDArray[Any]) -> None:
        bands, height, width = pixels.shape
        profile = {
            "dtype": self.dtype, "count": bands, "height": height, "width": width, "crs": chip.grid.crs,
            "transform": transform_of(chip.grid, self.modality), "nodata": self.modality.fill.item(),
        }  # fmt: skip
        packing = self._packing(predictor=3 if pixels.dtype.kind == "f" else 2)
        with rasterio.open(path, "w", driver="GTiff", **profile, **packing, **_PLAIN_BANDS) as file:
            file.write(pixels)
            self._describe(file, chip)

    def _write_cog(self, path: Path, chip: Chip, pixels: NDArray[Any]) -> None:
        """As a copy, which is how GDAL makes COGs; what rasterio copies from itself has no nodata of 64 bits."""
        smallest, largest = _BLOCK_PX
        block_px = min(largest, max(smallest, -(-max(pixels.shape[1:]) // 16) * 16))
        with MemoryFile(ext=".tif") as memory:
            self._write_geotiff(memory.name, chip, pixels)
            rasterio.shutil.copy(memory.name, path, driver="COG", blocksize=block_px, **self._packing(predictor="YES"))

    def _packing(self, predictor: int | str) -> dict[str, Any]:
        return {"compress": self.compress} | ({} if self.compress == "NONE" else {"predictor": predictor})

    def _describe(self, file: Any, chip: Chip) -> None:
        bands = self.modality.bands
        file.descriptions = [band.name for band in bands]
        file.units = [band.units for band in bands]
        file.scales = [self.modality.scale] * len(bands)
        file.offsets = [self.modality.offset] * len(bands)
        if colours := colour_map(self.modality):
            file.write_colormap(1, colours)
        else:
            file.colorinterp = [ColorInterp.gray] + [ColorInterp.undefined] * (len(bands) - 1)
        file.update_tags(**layer_tags(self.modality), **{key: str(value) for key, value in chip_facts(chip).items()})
        for number, band in enumerate(bands, 1):
            file.update_tags(number, name=band.name, long_name=band.long_name or band.name)


def transform_of(grid: Grid, modality: Modality) -> rasterio.Affine:
    """From (column, row) of a layer's file to metres of the CRS."""
    height, width = (1, 1) if modality.extent == "pixel" else grid.shape_yx
    (left, top), resolution_m = grid.origin_xy, grid.resolution_m
    return rasterio.Affine(resolution_m * width, 0.0, left, 0.0, -resolution_m * height, top)


def layer_tags(modality: Modality) -> Mapping[str, str]:
    """What a layer is, as tags; a class with code 10 is the tag "class_10"."""
    tags = {
        "layer": modality.name, "title": modality.title, "time_rule": modality.time_rule,
        "reference": modality.reference, "assets": " ".join(modality.assets),
    }  # fmt: skip
    tags |= modality.licence.attributes() if modality.licence else {}
    classes = {f"class_{category.code}": category.name for category in modality.categories}
    return {key: value for key, value in tags.items() if value} | classes

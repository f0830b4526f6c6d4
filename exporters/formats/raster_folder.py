"""A selection as a folder of rasters: a file per chip and layer, a VRT per layer and CRS, and a STAC collection."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.formats import stac_chips
from exporters.formats.chip_raster import ChipRaster
from exporters.formats.leavings import object_in
from exporters.formats.mosaic import Tile, mosaic
from exporters.formats.raster_names import (
    CATALOGUES,
    MOSAICS,
    catalog_path,
    chip_name,
    item_path,
    mosaic_path,
    part_name,
    raster_path,
)
from exporters.formats.selection import Selection
from pipeline.chip import Chip
from pipeline.progress import Progress

_COLLECTION = "collection.json"
_MEDIA_TYPES = {
    "GTiff": "image/tiff; application=geotiff",
    "COG": "image/tiff; application=geotiff; profile=cloud-optimized",
}
# Bands of chips in a VRT, half a kilobyte of XML each, which GDAL reads whole before it opens the first.
_MOST_SOURCES = 200_000


@dataclass(frozen=True)
class RasterFolder:
    """What is written, where, and with which GDAL `driver` and compression."""

    selection: Selection
    folder: Path
    driver: str
    compress: str

    def write(self, progress: Progress) -> str:
        """Write everything; returns a line about it. Raises `Fatal` for a shard that is not finished or damaged."""
        progress.start("rasters", len(self.selection) * len(self.selection.layers))
        for raster in self._rasters():
            self._write_layer(raster, progress)
        mosaics = list(self._write_mosaics(progress))
        self._write_stac(mosaics)
        count = len(self.selection) * len(self.selection.layers)
        return f"{count} files of {len(self.selection)} chips, {len(mosaics)} VRTs, and collection.json for STAC."

    def _rasters(self) -> list[ChipRaster]:
        modalities = (self.selection.corpus.modality(name) for name in self.selection.layers)
        return [ChipRaster(modality, self.driver, self.compress) for modality in modalities]

    def _write_layer(self, raster: ChipRaster, progress: Progress) -> None:
        for rows, values in self.selection.blocks(raster.modality.name):
            for chip, stored in zip(self._chips(rows), values, strict=True):
                raster.write(self._path(raster_path(raster.modality.name, chip)), chip, stored)
            progress.advance(len(rows))

    def _write_mosaics(self, progress: Progress) -> Iterator[str]:
        crs = self.selection.corpus.manifest.column("crs")[self.selection.rows]
        for name in sorted(set(crs.tolist())):
            chips = list(self._chips(self.selection.rows[crs == name]))
            for raster in self._rasters():
                if len(chips) * len(raster.modality.bands) > _MOST_SOURCES:
                    progress.say(
                        f"no VRT of {raster.modality.name} in {name}: its chips and bands are too many for one."
                    )
                    continue
                path = mosaic_path(raster.modality.name, name)
                tiles = [Tile(f"../{raster_path(raster.modality.name, chip)}", chip.grid) for chip in chips]
                with self._path(path).open("w", encoding="utf-8") as file:
                    file.writelines(mosaic(raster, tiles))
                yield path

    def _write_stac(self, mosaics: list[str]) -> None:
        layers, parts, extent = [raster.modality for raster in self._rasters()], [], stac_chips.Extent()
        for part, rows in groupby(self.selection.rows.tolist(), part_name):
            names = []
            for chip in self._chips(np.asarray(list(rows))):
                item = stac_chips.item(chip, layers, _MEDIA_TYPES[self.driver])
                extent.add(item)
                names.append(chip_name(chip))
                self._write_json(item_path(chip), item)
            self._write_json(catalog_path(part), stac_chips.part_catalog(part, names))
            parts.append(part)
        self._write_json(_COLLECTION, stac_chips.collection(parts, mosaics, extent, layers))

    def _chips(self, rows: NDArray[np.int64]) -> Iterator[Chip]:
        return (self.selection.corpus.manifest[int(row)] for row in rows)

    def _write_json(self, path: str, content: dict[str, Any]) -> None:
        self._path(path).write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")

    def _path(self, path: str) -> Path:
        full = self.folder / path
        full.parent.mkdir(parents=True, exist_ok=True)
        return full


def rasters_left(folder: Path) -> set[str]:
    """What `RasterFolder` left in a folder: beside the records a folder for each layer, all of which an item has."""
    about = object_in(folder / _COLLECTION)
    if about.get("id") != stac_chips.COLLECTION_ID or not str(about.get("description")).startswith(stac_chips.BEGINS):
        return set()
    item = object_in(next((folder / CATALOGUES).glob("*/*.json"), folder / CATALOGUES))
    return {_COLLECTION, CATALOGUES, MOSAICS, *item.get("assets", ())}

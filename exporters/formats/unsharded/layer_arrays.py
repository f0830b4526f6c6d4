"""An array per layer along `chip`, as in the corpus itself but without shards, for tools that take a corpus whole."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from exporters.formats.leavings import object_in
from exporters.formats.selection import Selection
from exporters.formats.unsharded.arrays import Arrays, layer_attributes, widened
from pipeline.layout import TITLE
from pipeline.metadata import read_metadata
from pipeline.modality import Modality
from pipeline.progress import Progress

_AXIS = "chip"
_CHUNK_ROWS = {"pixel": 16, "image": 4096}  # of 13 bands of 128 px in uint16, 7 MB
_SHARED = ("Conventions", "title", "coordinates")  # of the attributes of the corpus; the others are of its lay-out


@dataclass(frozen=True)
class LayerArrays:
    """What is written, into which folder, and the codec that packs it."""

    selection: Selection
    folder: Path
    compressor: Any

    def write(self, progress: Progress) -> str:
        """Write all arrays; returns a line about it. Raises `Fatal` for a shard that is not finished or damaged."""
        count = len(self.selection)
        progress.start("chips of layers", count * len(self.selection.layers))
        arrays = Arrays(zarr.create_group(self.folder, zarr_format=2), self.compressor)
        self._write_coordinates(arrays)
        for name in self.selection.layers:
            self._write_layer(arrays, self.selection.corpus.modality(name), progress)
        zarr.consolidate_metadata(arrays.group.store_path)
        return f"{len(self.selection.layers)} arrays of {count} chips."

    def _write_coordinates(self, arrays: Arrays) -> None:
        """What the corpus says of its chips, for the rows that are chosen: of its manifest, as the store of a layer
        that is computed has other grids.
        """
        corpus = self.selection.corpus
        attributes = read_metadata(corpus.store, "")["attributes"]
        arrays.group.update_attributes({key: value for key, value in attributes.items() if key in _SHARED})
        for item in corpus.layout.coordinates:
            values = np.concatenate(list(item.blocks(corpus.manifest)))[self.selection.rows]
            arrays.put(item.name, [_AXIS], values, item.attributes)

    def _write_layer(self, arrays: Arrays, modality: Modality, progress: Progress) -> None:
        arrays.put_band_names(modality)
        inner = modality.shape(self.selection.corpus.manifest.size_px)
        rows_at_once = min(len(self.selection), _CHUNK_ROWS[modality.extent])
        dtype = widened(modality)
        dimensions = [_AXIS, modality.band_axis, *("y", "x")[: len(inner) - 1]]
        array = arrays.empty(
            modality.name, dimensions, (len(self.selection), *inner), (rows_at_once, *inner), dtype,
            layer_attributes(modality), dtype.type(modality.nodata),
        )  # fmt: skip
        for start in range(0, len(self.selection), rows_at_once):
            rows = self.selection.rows[start : start + rows_at_once]
            array[start : start + len(rows)] = self.selection.layer(modality.name).values(rows).astype(dtype)
            progress.advance(len(rows))


def arrays_left(folder: Path) -> set[str]:
    """What `LayerArrays` left in a folder: the arrays that its consolidated metadata names."""
    if object_in(folder / ".zattrs").get("title") != TITLE:
        return set()
    listed = object_in(folder / ".zmetadata").get("metadata", {})
    return {".zgroup", ".zattrs", ".zmetadata", *(key.partition("/")[0] for key in listed)}

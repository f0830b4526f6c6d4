"""A group per chip, on a grid of its own that GIS tools know: `<thousand>/<chip>`, an array per layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from exporters.formats.chip_facts import chip_facts
from exporters.formats.leavings import object_in
from exporters.formats.raster_names import chip_name, part_name
from exporters.formats.selection import BLOCK_ROWS, Selection
from exporters.formats.unsharded.arrays import Arrays, layer_attributes, widened
from exporters.formats.unsharded.georeference import (
    SPATIAL_REF,
    centres,
    convention_attributes,
    mapping_attributes,
    pixel_attributes,
)
from pipeline.chip import Chip
from pipeline.modality import Modality
from pipeline.progress import Progress

_ROOT = {".zgroup", ".zattrs"}
_FACTS = {"row", "id", "zarr_conventions"}  # of a chip's group
Layers = Sequence[tuple[Modality, NDArray[Any]]]


@dataclass(frozen=True)
class ChipGroups:
    """What is written, into which folder, and the codec that packs it."""

    selection: Selection
    folder: Path
    compressor: Any

    def write(self, progress: Progress) -> str:
        """Write all groups; returns a line about it. Raises `Fatal` for a shard that is not finished or damaged."""
        progress.start("groups", len(self.selection))
        root = zarr.create_group(self.folder, zarr_format=2, attributes={"Conventions": "CF-1.11"})
        for chip, layers in self._chips():
            self._write_chip(root.require_group(part_name(chip.row)), chip, layers)
            progress.advance()
        return f"{len(self.selection)} groups of {len(self.selection.layers)} layers, <thousand>/<chip>/<layer>."

    def _chips(self) -> Iterator[tuple[Chip, Layers]]:
        """Chips with the stored values (bands[, y, x]) of all layers, in the order of the manifest."""
        corpus = self.selection.corpus
        modalities = [corpus.modality(name) for name in self.selection.layers]
        for rows in np.split(self.selection.rows, range(BLOCK_ROWS, len(self.selection), BLOCK_ROWS)):
            blocks = [self.selection.layer(modality.name).values(rows) for modality in modalities]
            for row, *values in zip(rows, *blocks, strict=True):
                yield corpus.manifest[int(row)], list(zip(modalities, values, strict=True))

    def _write_chip(self, part: zarr.Group, chip: Chip, layers: Layers) -> None:
        about = {"Conventions": "CF-1.11", "coordinates": SPATIAL_REF}
        group = part.create_group(
            chip_name(chip), attributes=about | convention_attributes(chip.grid) | chip_facts(chip)
        )
        arrays = Arrays(group, self.compressor)
        for axis, (values, attributes) in centres(chip.grid).items():
            arrays.put(axis, [axis], values, attributes)
        arrays.put(SPATIAL_REF, [], np.array(0, np.int64), mapping_attributes(chip.grid))
        for modality, stored in layers:
            arrays.put_band_names(modality)
            _put_layer(arrays, chip, modality, stored)
        zarr.consolidate_metadata(group.store_path)


def _put_layer(arrays: Arrays, chip: Chip, modality: Modality, stored: NDArray[Any]) -> None:
    dtype, attributes = widened(modality), layer_attributes(modality)
    pixel = modality.extent == "pixel"
    if pixel:
        attributes |= pixel_attributes(chip.grid)
    dimensions = [modality.band_axis, *(("y", "x") if pixel else ())]
    arrays.put(modality.name, dimensions, stored.astype(dtype), attributes, dtype.type(modality.nodata))


def groups_left(folder: Path) -> set[str]:
    """What `ChipGroups` left in a folder: the groups of thousands, with the facts of chips in them."""
    parts = [path for path in folder.glob("[0-9]*") if path.name.isdecimal()] if (folder / ".zgroup").is_file() else []
    ours = {path.name for path in parts if object_in(next(path.glob("*/.zattrs"), path)).keys() >= _FACTS}
    return _ROOT | ours if ours else set()

"""Datasets of the file as our layers store them: bands in their order, in their units, dtype and nodata."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.formats.importer import Block
from exporters.formats.mmearth_v001.datasets import (
    BIOME,
    CANOPY,
    CLIMATE,
    ECOREGION,
    LAND_COVER,
    RADAR,
    RELIEF,
    Dataset,
)
from exporters.formats.mmearth_v001.regions import BIOME_CODES, regions
from exporters.formats.mmearth_v001.tile_file import TileFile
from exporters.formats.mmearth_v001.tile_table import TileTable
from pipeline.encoding import is_rounded, stored_limits
from pipeline.modality import Modality
from pipeline.shard import Shard

_AT_ONCE = 2  # tiles, so that what is between the file and the block stays in the cache
NO_CLASS = "no class is set"
# Values beside the declared nodata that are no data. 127 is what HDF5 made of the converter's 255.
_NO_DATA_BESIDE: Mapping[Dataset, tuple[int, ...]] = {LAND_COVER: (0,), CANOPY: (127,)}
_NEVER_MASKED = (RELIEF, CANOPY)  # 0 stands for nodata, and for level ground
_CLASS_CODES: Mapping[Dataset, tuple[int, ...]] = {
    BIOME: BIOME_CODES, ECOREGION: tuple(region.ecoregion for region in regions()),
}  # fmt: skip
_WHOLE_NUMBERS = "whole numbers, and 0 where there is none, as in MMEarth v001"
_THIRTEEN_MONTHS = "the month before and of the anchor; the year is the 13 months that end with the anchor's"


def layer_of(dataset: Dataset, known: Modality, is_own: bool, is_exact: bool) -> Modality:
    """The layer that a dataset becomes: the `known` one of its name, told apart where its values mean something else.

    With `is_exact`, a layer that would round published real numbers keeps them in the file's dtype.
    """
    layer = known
    if dataset in _NEVER_MASKED:
        layer = replace(layer, title=f"{layer.title} ({_WHOLE_NUMBERS})")
    if dataset == CLIMATE and not is_own:
        layer = replace(layer, time_rule=_THIRTEEN_MONTHS)
    if is_exact and np.dtype(dataset.dtype).kind == "f" and is_rounded(layer):
        layer = layer.in_units(dataset.dtype)
    return layer


@dataclass(frozen=True)
class LayerBlocks:
    """Reads layers of `file`, by the datasets of their names; `table` says what is absent."""

    file: TileFile
    table: TileTable

    def read(self, layer: Modality, shard: Shard) -> Block:
        """The values of a shard of a layer. Raises `Fatal` for damage."""
        dataset = next(item for item in self.file.datasets if item.name == layer.name)
        block = np.empty((len(shard), *layer.shape(self.file.size_px)), dtype=layer.dtype)
        for start in range(shard.start, shard.stop, _AT_ONCE):
            stop = min(start + _AT_ONCE, shard.stop)
            values = self.file.read(dataset, start, stop)
            block[start - shard.start : stop - shard.start] = self._stored(dataset, layer, values, start)
        return Block(block, self._missing(dataset, layer, shard, block))

    def _stored(self, dataset: Dataset, layer: Modality, values: NDArray[Any], start: int) -> NDArray[Any]:
        if dataset.classes:
            return _class_codes(dataset, layer, values)
        order = [dataset.layer_bands.index(name) for name in layer.band_names]
        if order != list(range(values.shape[1])):
            values = values[:, order]
        return _encoded(dataset, layer, values, self._valid(dataset, values, start))

    def _valid(self, dataset: Dataset, values: NDArray[Any], start: int) -> NDArray[np.bool_]:
        valid = np.isfinite(values) if values.dtype.kind == "f" else np.ones(values.shape, dtype=bool)
        for value in _NO_DATA_BESIDE.get(dataset, ()):
            valid &= values != value
        if dataset in _NEVER_MASKED:
            return valid & (values >= 0) if dataset == CANOPY else valid
        if np.isfinite(dataset.nodata):
            valid &= values != dataset.nodata
        if dataset == RADAR:  # what Earth Engine masks was exported as 0
            own = self.table.is_own[start : start + len(values)].reshape(-1, *(1,) * (values.ndim - 1))
            valid &= own | (values != 0)
        return np.asarray(valid)

    def _missing(self, dataset: Dataset, layer: Modality, shard: Shard, block: NDArray[Any]) -> dict[int, str]:
        missing = self.table.absent(dataset, shard.start, shard.stop)
        if dataset.classes:
            none = np.flatnonzero((block == layer.fill).all(axis=1))
            missing |= {shard.start + int(at): NO_CLASS for at in none}
        return missing


def _encoded(dataset: Dataset, layer: Modality, values: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[Any]:
    """Stored values by the rule of `pipeline.encoding`; no value that both dtypes hold in the same unit is computed."""
    same_unit = dataset.scale == layer.scale and layer.offset == 0
    if same_unit and np.can_cast(values.dtype, layer.dtype):
        return _filled(layer, values.astype(layer.dtype, copy=False), valid)
    scaled = np.where(valid, values, 0) if same_unit else _rescaled(dataset, layer, values, valid)
    if is_rounded(layer):
        scaled = np.clip(np.round(scaled), *stored_limits(layer))
    return _filled(layer, scaled.astype(layer.dtype), valid)


def _rescaled(dataset: Dataset, layer: Modality, values: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    physical = np.where(valid, values, 0).astype(np.float64) * dataset.scale
    return np.asarray((physical - layer.offset) / layer.scale)


def _filled(layer: Modality, stored: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[Any]:
    return stored if valid.all() else np.where(valid, stored, layer.fill)


def _class_codes(dataset: Dataset, layer: Modality, one_hot: NDArray[Any]) -> NDArray[Any]:
    """Codes (tiles, 1) from one-hot (tiles, classes); nodata where none is set, or more than one."""
    codes = np.asarray(_CLASS_CODES[dataset])[one_hot.argmax(axis=1)]
    return np.where((one_hot != 0).sum(axis=1) == 1, codes, layer.fill).astype(layer.dtype)[:, None]

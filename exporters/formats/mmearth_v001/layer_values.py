"""Values of a layer as a dataset of the file has them: its bands in their order, in its units, dtype and nodata."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from exporters.formats.mmearth_v001.datasets import Dataset
from pipeline.errors import Fatal
from pipeline.layer_rows import LayerRows
from pipeline.modality import Modality

Masked = tuple[NDArray[Any], NDArray[np.bool_]]  # values of the file and where they are data, of one shape


class Source(Protocol):
    """What fills a dataset; any thread may ask it."""

    @property
    def dataset(self) -> Dataset:
        """The dataset that is filled."""

    def values(self, rows: NDArray[np.int64]) -> Masked:
        """Of manifest rows (k,): (k, bands[, size_px, size_px]) in the file's dtype, and where they are data."""


@dataclass(frozen=True)
class LayerSource:
    """A layer of the corpus."""

    dataset: Dataset
    layer: LayerRows
    encoding: Encoding

    def values(self, rows: NDArray[np.int64]) -> Masked:
        """As `Source` says; raises `Fatal` for a shard that is not finished or is damaged."""
        return self.encoding.encoded(self.layer.values(rows))


@dataclass(frozen=True)
class Encoding:
    """From stored values of a `modality` to those of a dataset, tiles of `size_px` in the middle of chips."""

    dataset: Dataset
    modality: Modality
    size_px: int

    def encoded(self, stored: NDArray[Any]) -> Masked:
        """Stored (k, bands[, y, x]) in the file's dtype, fractions rounded; what it cannot hold becomes its limit."""
        order = [self.modality.band_names.index(name) for name in self.dataset.layer_bands]
        chosen = _centre(stored[:, order], self.size_px)
        valid = self.modality.valid(chosen)
        values = chosen if self._is_as_stored() else _cast(self._in_units(chosen, valid), self.dataset.dtype)
        return np.where(valid, values, self.dataset.fill).astype(self.dataset.dtype, copy=False), valid

    def _is_as_stored(self) -> bool:
        same_units = self.modality.scale == self.dataset.scale and self.modality.offset == 0
        return same_units and np.can_cast(self.modality.dtype, self.dataset.dtype)

    def _in_units(self, stored: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.float64]:
        factor = self.modality.scale / self.dataset.scale
        values = stored.astype(np.float64) * factor + self.modality.offset / self.dataset.scale
        return np.where(valid, values, 0.0)


@dataclass(frozen=True)
class NoSource:
    """A layer that is not there: nodata everywhere."""

    dataset: Dataset
    size_px: int

    def values(self, rows: NDArray[np.int64]) -> Masked:
        """As `Source` says."""
        shape = (len(rows), *self.dataset.shape(self.size_px))
        return np.full(shape, self.dataset.fill), np.zeros(shape, dtype=bool)


def refuse_other(dataset: Dataset, modality: Modality) -> None:
    """Raise `Fatal` for a layer that has the dataset's name and means something else: bands, units, codes or extent."""
    units = dict(zip(modality.band_names, (band.units for band in modality.bands), strict=True))
    for name, unit in zip(dataset.layer_bands, dataset.units, strict=True):
        if name not in units:
            raise _other(dataset, f"has no band {name}")
        if units[name] != unit:
            raise _other(dataset, f"has {name} in {units[name]!r}, not in {unit!r}")
    if modality.extent != dataset.extent:
        raise _other(dataset, f"is of {modality.extent} level")
    if dataset.codes and not set(modality.codes) <= set(dataset.codes):
        raise _other(dataset, f"has the class {min(set(modality.codes) - set(dataset.codes))}")


def _other(dataset: Dataset, what: str) -> Fatal:
    return Fatal(f"the layer {dataset.name} {what}, so it is not MMEarth's; leave it out with --layer.")


def _centre(values: NDArray[Any], size_px: int) -> NDArray[Any]:
    if values.ndim == 2:
        return values
    top, left = ((side - size_px) // 2 for side in values.shape[2:])
    return values[:, :, top : top + size_px, left : left + size_px]


def _cast(values: NDArray[np.float64], dtype: str) -> NDArray[Any]:
    """To the nearest value that the dtype has."""
    if np.dtype(dtype).kind == "f":
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    return np.clip(np.rint(values), limits.min, limits.max).astype(dtype)

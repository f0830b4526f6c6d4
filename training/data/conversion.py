"""Stored values of one chip for anybody's training loop: as they are, in physical units, or as class indices."""

from __future__ import annotations

from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import unknown_name
from pipeline.modality import Modality
from training.layer import Layer

Values = Literal["physical", "stored"]


class Conversion(Protocol):
    """Fills `values` (bands[, y, x]) in `dtype`, and `valid` (bool), from all stored bands of a chip."""

    dtype: np.dtype[Any]

    def __call__(self, stored: NDArray[Any], values: NDArray[Any], valid: NDArray[np.bool_]) -> None: ...


def conversion_of(layer: Layer, values: Values) -> Conversion:
    """What makes values and their mask of the chosen bands of `layer`.

    With "stored", values keep the stored dtype and nodata. With "physical", continuous layers are float32 in the bands'
    units and 0 where there is no data; layers with classes are int64 indices of their class table and -1 where there
    is none. Raises `Fatal` for another word.
    """
    if values not in get_args(Values):
        raise unknown_name("kind of values", values, get_args(Values))
    if values == "stored":
        return _Stored(layer)
    return _Classes(layer) if layer.classes else _Physical(layer)


class _Stored:
    def __init__(self, layer: Layer) -> None:
        self._modality, self._bands = layer.modality, _selection(layer)
        self.dtype = np.dtype(layer.modality.dtype)

    def __call__(self, stored: NDArray[Any], values: NDArray[Any], valid: NDArray[np.bool_]) -> None:
        values[...] = stored[self._bands]
        _mark(self._modality, values, valid)


class _Physical:
    dtype = np.dtype(np.float32)

    def __init__(self, layer: Layer) -> None:
        self._modality, self._bands = layer.modality, _selection(layer)
        # Wide numbers would lose digits in single precision before they are scaled; those that fit lose none.
        self._fits = np.can_cast(layer.modality.dtype, np.float32)

    def __call__(self, stored: NDArray[Any], values: NDArray[Any], valid: NDArray[np.bool_]) -> None:
        modality, chosen = self._modality, stored[self._bands]
        _mark(modality, chosen, valid)
        if self._fits:
            np.multiply(chosen, np.float32(modality.scale), out=values)
            if modality.offset != 0:
                values += np.float32(modality.offset)
        else:
            values[...] = chosen.astype(np.float64) * modality.scale + modality.offset
        if not valid.all():
            values[~valid] = 0


class _Classes:
    """Class indices of codes: of bytes through a table, of wider codes by search."""

    dtype = np.dtype(np.int64)

    def __init__(self, layer: Layer) -> None:
        self._layer, self._bands = layer, _selection(layer)
        self._table: NDArray[Any] | None = None
        if np.dtype(layer.modality.dtype).itemsize == 1:
            every = np.arange(256, dtype=np.uint8)
            indices = Layer(layer.modality, (0,), {}).values(every.view(layer.modality.dtype)[:, None], ())[0]
            self._table = indices[:, 0]

    def __call__(self, stored: NDArray[Any], values: NDArray[Any], valid: NDArray[np.bool_]) -> None:
        if self._table is None:
            values[...] = self._layer.values(stored[None], ())[0][0]
        else:
            np.take(self._table, stored[self._bands].view(np.uint8), out=values, mode="clip")
        np.greater_equal(values, 0, out=valid)


def _mark(modality: Modality, stored: NDArray[Any], valid: NDArray[np.bool_]) -> None:
    """`Modality.valid` into memory that is there."""
    if np.isnan(modality.nodata):
        np.logical_not(np.isnan(stored, out=valid), out=valid)
    else:
        np.not_equal(stored, modality.fill, out=valid)


def _selection(layer: Layer) -> slice | list[int]:
    """The chosen bands, as a slice where they are neighbours: that needs no copy."""
    first, last = layer.bands[0], layer.bands[-1]
    return slice(first, last + 1) if layer.bands == tuple(range(first, last + 1)) else list(layer.bands)

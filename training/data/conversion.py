"""Stored values of one chip as tensors for anybody's training loop: as they are, in physical units, or as classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.errors import unknown_name
from training.layer import Layer

Values = Literal["physical", "stored"]
Conversion = Callable[[NDArray[Any]], tuple[Tensor, Tensor]]


def conversion_of(layer: Layer, values: Values) -> Conversion:
    """What makes (values, valid) of the chosen bands of `layer`, (bands[, y, x]) each, out of all stored bands.

    `valid` is bool. With "stored", values keep the stored dtype and nodata. With "physical", continuous layers are
    float32 in the bands' units and 0 where there is no data; layers with classes are int64 indices of their class
    table and -1 where there is none. Raises `Fatal` for another word.
    """
    if values not in get_args(Values):
        raise unknown_name("kind of values", values, get_args(Values))
    if values == "stored":
        return _Stored(layer)
    return _Classes(layer) if layer.classes else _Physical(layer)


class _Stored:
    def __init__(self, layer: Layer) -> None:
        self._layer, self._bands = layer, _selection(layer)

    def __call__(self, stored: NDArray[Any]) -> tuple[Tensor, Tensor]:
        chosen = np.array(stored[self._bands])  # a copy: the next chip is decoded into the same memory
        return torch.from_numpy(chosen), torch.from_numpy(self._layer.modality.valid(chosen))


class _Physical:
    def __init__(self, layer: Layer) -> None:
        self._layer, self._bands = layer, _selection(layer)
        # Wide integers lose digits in single precision before they are scaled; the others lose none.
        wide = np.dtype(layer.modality.dtype).itemsize > 2 and np.dtype(layer.modality.dtype).kind in "iu"
        self._dtype = np.dtype(np.float64 if wide or layer.modality.dtype == "float64" else np.float32)

    def __call__(self, stored: NDArray[Any]) -> tuple[Tensor, Tensor]:
        modality, chosen = self._layer.modality, stored[self._bands]
        valid = modality.valid(chosen)
        values = chosen.astype(self._dtype)
        if modality.scale != 1:
            values *= self._dtype.type(modality.scale)
        if modality.offset != 0:
            values += self._dtype.type(modality.offset)
        if not valid.all():
            values[~valid] = 0
        return torch.from_numpy(values.astype(np.float32, copy=False)), torch.from_numpy(valid)


class _Classes:
    """Class indices of codes: of bytes through a table, of wider codes by search."""

    def __init__(self, layer: Layer) -> None:
        self._layer, self._bands = layer, _selection(layer)
        self._table: NDArray[Any] | None = None
        if np.dtype(layer.modality.dtype).itemsize == 1:
            every = np.arange(256, dtype=np.uint8)
            indices = Layer(layer.modality, (0,), {}).values(every.view(layer.modality.dtype)[:, None], ())[0]
            self._table = indices[:, 0]

    def __call__(self, stored: NDArray[Any]) -> tuple[Tensor, Tensor]:
        if self._table is None:
            indices, valid = (one[0] for one in self._layer.values(stored[None], ()))
        else:
            indices = self._table[stored[self._bands].view(np.uint8)]
            valid = indices >= 0
        return torch.from_numpy(indices), torch.from_numpy(valid)


def _selection(layer: Layer) -> slice | list[int]:
    """The chosen bands, as a slice where they are neighbours: that needs no copy."""
    first, last = layer.bands[0], layer.bands[-1]
    return slice(first, last + 1) if layer.bands == tuple(range(first, last + 1)) else list(layer.bands)

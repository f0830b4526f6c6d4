"""From stored values to the values that the net sees, on the training device: `Layer.values` for tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from training.batch import Batch, Raw
from training.data.symmetry import SIGNED, turned
from training.layer import IGNORED, Layer

Normalise = Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor]]


class Preparation:
    """Makes a `Batch` of a `Raw` batch on `device`; on a CPU bit-identical to `Layer.values` of the turned values."""

    def __init__(self, layers: Sequence[Layer], device: torch.device) -> None:
        self._parts: dict[str, Normalise] = {
            layer.name: _Classes(layer, device) if layer.classes else _Numbers(layer, device) for layer in layers
        }
        self._pixel = {layer.name for layer in layers if layer.pixel}

    def __call__(self, raw: Raw) -> Batch:
        """The batch with values and validity of every layer."""
        stored = {name: self._turned(name, raw) for name in self._parts}
        parts = {name: part(stored[name], raw.groups.get(name)) for name, part in self._parts.items()}
        values = {name: item for name, (item, _) in parts.items()}
        return Batch(values, {name: valid for name, (_, valid) in parts.items()}, raw.visible, raw.rows, raw.keys)

    def _turned(self, name: str, raw: Raw) -> Tensor:
        """The stored values of a layer, flipped and turned as `raw` says; those without pixels are as they are."""
        stored = raw.stored[name]
        return turned(stored, raw.symmetries) if len(raw.symmetries) and name in self._pixel else stored


class _Numbers:
    """Normalises with the moments of each row's group; 0 (the mean) where there is no data."""

    def __init__(self, layer: Layer, device: torch.device) -> None:
        self._standardiser = layer.standardiser.moved(lambda table: torch.from_numpy(table).to(device))
        self._fill = torch.from_numpy(np.array([layer.modality.fill])).to(device)
        self._inside = None if layer.inside is None else torch.from_numpy(layer.inside).to(device)
        self._nodata_is_nan = bool(np.isnan(layer.modality.nodata))

    def __call__(self, stored: Tensor, groups: Tensor | None) -> tuple[Tensor, Tensor]:
        # A layer without `statistics_by` has one group for all rows, or none before any shard is finished: index 0.
        chosen = groups if groups is not None else torch.zeros(1, dtype=torch.int64, device=stored.device)
        valid = self._is_data(stored).logical_and_(self._standardiser.known(stored, chosen))
        values = stored.to(torch.float32, copy=True)  # In place below: allocation costs more than the arithmetic.
        if self._inside is not None:
            valid = valid.logical_and((values >= self._inside[0]).logical_and_(values <= self._inside[1]))
        return self._standardiser.standardise(values, chosen).masked_fill_(~valid, 0.0), valid

    def _is_data(self, stored: Tensor) -> Tensor:
        if self._nodata_is_nan:
            return ~stored.isnan()
        kind = SIGNED.get(stored.dtype, stored.dtype)
        return stored.view(kind) != self._fill.view(kind)


class _Classes:
    """Class indices of codes, `IGNORED` for codes of no class; by lookup table for one-byte codes, else by search."""

    def __init__(self, layer: Layer, device: torch.device) -> None:
        codes = np.array(layer.modality.codes, dtype=np.int64)
        order = np.argsort(codes)
        self._known, self._order = (torch.from_numpy(item).to(device) for item in (codes[order], order))
        self._table: Tensor | None = None
        if np.dtype(layer.modality.dtype).itemsize == 1:
            every = np.arange(256, dtype=np.uint8).view(layer.modality.dtype)
            self._table = self._search(torch.from_numpy(every).to(device))

    def __call__(self, stored: Tensor, groups: Tensor | None) -> tuple[Tensor, Tensor]:
        if self._table is None:
            indices = self._search(stored)
        else:
            indices = self._table[stored.view(torch.uint8).to(torch.int64)]
        return indices, indices != IGNORED

    def _search(self, stored: Tensor) -> Tensor:
        codes = stored.to(torch.int64)
        index = torch.searchsorted(self._known[:-1].contiguous(), codes)
        return torch.where(self._known[index] == codes, self._order[index], IGNORED)

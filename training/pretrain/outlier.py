"""The stored value of a batch that is least like data: no number at all, or far outside of its layer's valid range."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf, isfinite

import numpy as np

from training.batch import Raw
from training.data.outside import FAR, widths_outside
from training.layer import Layer


@dataclass(frozen=True)
class Outlier:
    """Stored `value` of `layer` in manifest `row`, so many `widths` of the valid range outside of it.

    They are infinite for what is no number.
    """

    layer: Layer
    row: int
    value: float
    widths: float

    @property
    def is_number(self) -> bool:
        """Whether the value is a number."""
        return isfinite(self.value)

    @property
    def what(self) -> str:
        """What is wrong, as a clause."""
        name = self.layer.name
        if not self.is_number:
            return f"modality {name!r} holds values that are no numbers ({self.value:g} in row {self.row})"
        low, high = self.layer.modality.valid_range or (-inf, inf)
        there = f"{self.value:g} in row {self.row}"
        return f"modality {name!r} holds {there}, far outside of its valid range {low:g} to {high:g}"

    @property
    def remedy(self) -> str:
        """What helps, as a clause."""
        hide = "set pretrain.hide_outside = true" if self.is_number else "mark them as nodata in the corpus"
        return f"{hide}, or leave the row out with pretrain.leave_out"


def worst_outlier(raw: Raw, layers: Sequence[Layer]) -> Outlier | None:
    """The worst value of a batch that is data, of layers without classes; None where all are as they may be."""
    found = [item for layer in layers if not layer.classes for item in _of_layer(raw, layer)]
    return max(found, key=lambda item: item.widths, default=None)


def _of_layer(raw: Raw, layer: Layer) -> Iterable[Outlier]:
    """Of every chip the worst value, if it is far outside."""
    for row, stored in zip(raw.rows, raw.stored[layer.name].numpy(), strict=True):
        data = stored[layer.modality.valid(stored)].astype(np.float64)
        for value in _extremes(data):
            widths = widths_outside(layer.modality, value) if isfinite(value) else inf
            if widths > FAR:
                yield Outlier(layer, row, value, widths)


def _extremes(data: np.ndarray) -> Sequence[float]:
    """The least and the greatest value; one that is no number in place of both, where there is one."""
    if not data.size:
        return ()
    broken = data[~np.isfinite(data)]
    return (float(broken[0]),) if broken.size else (float(data.min()), float(data.max()))

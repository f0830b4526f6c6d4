"""The stored value of a batch that is least like data: no number at all, or far outside of its layer's valid range."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf, isfinite

import numpy as np

from training.batch import Raw
from training.data.outside import FAR, range_in_words, widths_outside
from training.layer import Layer


@dataclass(frozen=True)
class Outlier:
    """Stored `value` of a stored `band` of `layer` in manifest `row`, `widths` of the valid range outside of it.

    They are infinite for what is no number.
    """

    layer: Layer
    band: int
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
        there = f"{self.value:g} in row {self.row}"
        return f"modality {name!r} holds {there}, far outside of {range_in_words(self.layer.modality, self.band)}"

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
    """Of every band of every chip the worst value, if it is far outside."""
    for row, chip in zip(raw.rows, raw.stored[layer.name].numpy(), strict=True):
        for band, stored in zip(layer.bands, chip, strict=True):
            values = np.atleast_1d(stored)
            data = values[layer.modality.valid(values)].astype(np.float64)
            for value in _extremes(data):
                widths = widths_outside(layer.modality.ranges[band], value) if isfinite(value) else inf
                if widths > FAR:
                    yield Outlier(layer, band, row, value, widths)


def _extremes(data: np.ndarray) -> Sequence[float]:
    """The least and the greatest value; one that is no number in place of both, where there is one."""
    if not data.size:
        return ()
    broken = data[~np.isfinite(data)]
    return (float(broken[0]),) if broken.size else (float(data.min()), float(data.max()))

"""The moments of a data set in place of those of the corpus on which an encoder was trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import Fatal
from pipeline.modality import Display
from pipeline.statistics import EVERYTHING
from training.layer import Layer
from training.model.normalisation import Normalisation
from training.standardiser import Moments

MeanStd = tuple[NDArray[np.float32], NDArray[np.float32]]


def own_moments(normalisation: Normalisation, images: Iterable[Mapping[str, NDArray[Any]]]) -> Normalisation:
    """The same inputs for images in numbers of their own, whose mean and deviation per band are taken over `images`.

    `images` are given in parts: (rows, bands, y, x) by layer, with the bands of `band_names` in that order; NaN is no
    data. The result takes such arrays as stored numbers, float32, whatever the encoder was trained on: another level,
    another scale, 8 bits. Layers of classes stay as they are. Raises `Fatal` for a band without any number.
    """
    sums: dict[str, NDArray[np.float64]] = {}
    for part in images:
        for name, array in part.items():
            sums[name] = sums.get(name, np.zeros((3, array.shape[1]))) + _sums(array)
    return with_moments(normalisation, {name: _mean_std(name, table) for name, table in sums.items()})


def with_moments(normalisation: Normalisation, moments: Mapping[str, MeanStd]) -> Normalisation:
    """The same inputs for images in numbers of their own, float32 with NaN for no data, with given `moments` by layer.

    `moments` are mean and deviation, (bands,) each. Layers of classes, and those without an entry, stay as they are.
    """
    return Normalisation(tuple(_own(layer, moments.get(layer.name)) for layer in normalisation.layers))


def _own(layer: Layer, moments: MeanStd | None) -> Layer:
    if moments is None or layer.classes:
        return layer
    modality = replace(
        layer.modality.without_ranges_of_bands(), dtype="float32", nodata=float("nan"), scale=1.0, offset=0.0,
        valid_range=None, statistics_by=None, display=Display(),
    )  # fmt: skip
    mean, std = (np.asarray(part, dtype=np.float32) for part in moments)
    own = Moments(mean, np.where(std > 0, std, np.float32(1)), np.ones(len(mean), dtype=np.bool_))
    return replace(layer, modality=modality, groups={EVERYTHING: own}, hide_outside=False)


def _sums(array: NDArray[Any]) -> NDArray[np.float64]:
    values = array.astype(np.float64)
    known = np.isfinite(values)
    values = np.where(known, values, 0)
    return np.stack([part.sum(axis=(0, 2, 3)) for part in (known, values, values**2)]).astype(np.float64)


def _mean_std(name: str, table: NDArray[np.float64]) -> MeanStd:
    count, total, squares = table
    if not count.all():
        raise Fatal(f"band {int(count.argmin())} of {name!r} has no data in these images; leave it out of the inputs.")
    mean = total / count
    return mean.astype(np.float32), np.sqrt(np.maximum(squares / count - mean**2, 0)).astype(np.float32)

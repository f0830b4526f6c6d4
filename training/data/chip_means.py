"""One number per chip of a layer: the share of some classes, or the mean of a band."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.corpus import Corpus
from pipeline.modality import Modality
from training.data.centre import read_centre

_READ_ROWS = 512


def class_shares(
    corpus: Corpus, name: str, codes: Collection[int], rows: NDArray[np.int64], image_px: int
) -> NDArray[np.float64]:
    """The share of pixels with one of `codes` among those with any class, (rows,) float64, NaN where none has one.

    Of the centres, `image_px` wide, of the chips in manifest `rows`, ascending, in a layer that has classes.
    """

    def share(modality: Modality, stored: NDArray[Any]) -> NDArray[np.float64]:
        flat = stored.reshape(len(stored), -1)
        known = np.isin(flat, modality.codes).sum(axis=1)
        return np.where(known > 0, np.isin(flat, list(codes)).sum(axis=1) / np.maximum(known, 1), np.nan)

    return np.concatenate([share(*item) for item in _parts(corpus, name, rows, image_px)])


def band_means(corpus: Corpus, name: str, rows: NDArray[np.int64], image_px: int) -> NDArray[np.float64]:
    """Means of all bands in their units, (rows, bands) float64, NaN where a band has no data; see `class_shares`."""
    return np.concatenate([means_of(*item) for item in _parts(corpus, name, rows, image_px)])


def means_of(modality: Modality, stored: NDArray[Any]) -> NDArray[np.float64]:
    """Means in units (rows, bands) float64 of stored values (rows, bands[, y, x]), NaN where a band has no data."""
    values = modality.physical(stored).reshape(*stored.shape[:2], -1)
    known = np.isfinite(values)
    count = known.sum(axis=2)
    return np.where(count > 0, np.where(known, values, 0).sum(axis=2) / np.maximum(count, 1), np.nan)


def _parts(
    corpus: Corpus, name: str, rows: NDArray[np.int64], image_px: int
) -> Iterator[tuple[Modality, NDArray[Any]]]:
    modality = corpus.modality(name)
    for part in np.split(rows, range(_READ_ROWS, len(rows), _READ_ROWS)):
        yield modality, read_centre(corpus, name, part, image_px)

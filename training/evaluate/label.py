"""Labels for probes: one value per chip of any modality, its commonest class or its means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.modality import Modality
from training.data.centre import read_centre

_READ_ROWS = 512


@dataclass(frozen=True)
class Labels:
    """`values` of the manifest `rows` that have any: class indices int64 (rows,), or physical float64 (rows, bands)."""

    rows: NDArray[np.int64]
    values: NDArray[Any]

    def of(self, rows: NDArray[np.int64]) -> Labels:
        """Those of the labelled among `rows`."""
        kept = np.isin(self.rows, rows)
        return Labels(self.rows[kept], self.values[kept])


def labels_of(corpus: Corpus, name: str, rows: NDArray[np.int64], image_px: int) -> Labels:
    """What modality `name` says of the centre of every chip in `rows`, ascending.

    Classes: the commonest among its pixels, the first of equals. Numbers: the mean per band over the pixels with
    data; bands that most chips lack are left out. Chips without data in what remains have no label. Raises `Fatal`
    for an unknown modality, or one without data in these rows.
    """
    modality = corpus.modality(name)
    read = _commonest if modality.categories else _means
    parts = np.array_split(rows, range(_READ_ROWS, len(rows), _READ_ROWS)) if len(rows) else []
    result = [read(modality, read_centre(corpus, name, part, image_px)) for part in parts]
    values = np.concatenate(result) if result else np.zeros((0, 1))
    kept = np.isfinite(values).mean(axis=0) >= 0.5
    there = np.isfinite(values[:, kept]).all(axis=1)
    if not kept.any() or not there.any():
        raise Fatal(f"modality {name!r} has no data to probe in these rows; choose another label.")
    chosen = values[there][:, kept]
    return Labels(rows[there], chosen[:, 0].astype(np.int64) if modality.categories else chosen)


def _commonest(modality: Modality, stored: NDArray[Any]) -> NDArray[np.float64]:
    """Class indices (rows, 1), NaN where no pixel has a class."""
    counts = np.stack([(stored == code).reshape(len(stored), -1).sum(axis=1) for code in modality.codes], axis=1)
    return np.where(counts.any(axis=1), counts.argmax(axis=1).astype(np.float64), np.nan)[:, None]


def _means(modality: Modality, stored: NDArray[Any]) -> NDArray[np.float64]:
    """Mean physical value (rows, bands), NaN where a band has no data."""
    values = modality.physical(stored).reshape(*stored.shape[:2], -1)
    known = np.isfinite(values)
    count = known.sum(axis=2)
    return np.where(count > 0, np.where(known, values, 0).sum(axis=2) / np.maximum(count, 1), np.nan)

"""Labels of chips: of any modality, the commonest class or the band means; or a column that the owner brought."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.corpus import Corpus
from pipeline.errors import Fatal, unknown_name
from pipeline.modality import Modality
from training.data.centre import read_centre
from training.data.chip_means import means_of
from training.data.own_label import OwnLabel

_READ_ROWS = 512


@dataclass(frozen=True)
class Labels:
    """`values` of the labelled manifest `rows` (int64): class indices (rows,) int64, or units (rows, bands) float64."""

    rows: NDArray[np.int64]
    values: NDArray[Any]

    def of(self, rows: NDArray[np.int64]) -> Labels:
        """The labels of those manifest rows that are in `rows`."""
        selected = np.isin(self.rows, rows)
        return Labels(self.rows[selected], self.values[selected])


def labels_of(corpus: Corpus, name: str, rows: NDArray[np.int64], image_px: int) -> Labels:
    """Labels from modality `name` for the centre of every chip in manifest `rows`, ascending.

    Classes: the commonest among the pixels, the first in a tie. Numbers: the mean per band over the pixels with data;
    bands without data in most chips are left out. Chips without data in the remaining bands have no label. A name that
    no modality has is a column of the owner's, whose cells are the labels. Raises `Fatal` for an unknown name, or one
    without data in these rows.
    """
    own = own_label(corpus, name)
    return _of_modality(corpus, name, rows, image_px) if own is None else _of_column(own, name, rows)


def own_label(corpus: Corpus, name: str) -> OwnLabel | None:
    """The owner's column of that name; None for a modality. Raises `Fatal` for a name that is neither."""
    if name in corpus.modalities:
        return None
    if name not in corpus.manifest.own_columns:
        raise unknown_name("label", name, [*corpus.modalities, *corpus.manifest.own_columns])
    return OwnLabel.of(corpus.manifest, name)


def _of_column(label: OwnLabel, name: str, rows: NDArray[np.int64]) -> Labels:
    labelled = rows[label.known[rows]]
    if not len(labelled):
        raise Fatal(f"column {name!r} is empty in these rows; choose another label.")
    values = label.values[labelled]
    return Labels(labelled, values if label.classes else values[:, None])


def _of_modality(corpus: Corpus, name: str, rows: NDArray[np.int64], image_px: int) -> Labels:
    modality = corpus.modality(name)
    read = _commonest if modality.categories else means_of
    parts = np.array_split(rows, range(_READ_ROWS, len(rows), _READ_ROWS)) if len(rows) else []
    result = [read(modality, read_centre(corpus, name, part, image_px)) for part in parts]
    values = np.concatenate(result) if result else np.zeros((0, 1))
    selected = np.isfinite(values).mean(axis=0) >= 0.5
    labelled = np.isfinite(values[:, selected]).all(axis=1)
    if not selected.any() or not labelled.any():
        raise Fatal(f"modality {name!r} has no data to probe in these rows; choose another label.")
    chosen = values[labelled][:, selected]
    return Labels(rows[labelled], chosen[:, 0].astype(np.int64) if modality.categories else chosen)


def _commonest(modality: Modality, stored: NDArray[Any]) -> NDArray[np.float64]:
    """Class indices (rows, 1) float64, NaN where no pixel has a class."""
    counts = np.stack([(stored == code).reshape(len(stored), -1).sum(axis=1) for code in modality.codes], axis=1)
    return np.where(counts.any(axis=1), counts.argmax(axis=1).astype(np.float64), np.nan)[:, None]

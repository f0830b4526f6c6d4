"""Stored values of the centres of chips, for uses without random crops."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.corpus import Corpus


def read_centre(corpus: Corpus, name: str, rows: NDArray[np.int64], image_px: int) -> NDArray[Any]:
    """The centres of the chips in manifest `rows` (ascending): (rows, bands[, image_px, image_px]), stored dtype."""
    parts = [
        corpus.read(name, slice(int(span[0]), int(span[-1]) + 1))[span - span[0]] for span in _shard_spans(corpus, rows)
    ]
    values = np.concatenate(parts)
    if corpus.modality(name).extent != "pixel":
        return values
    first = (corpus.manifest.size_px - image_px) // 2
    return values[:, :, first : first + image_px, first : first + image_px]


def _shard_spans(corpus: Corpus, rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """`rows` split by shard."""
    shards = rows // corpus.shard_rows
    yield from np.split(rows, np.flatnonzero(np.diff(shards)) + 1)

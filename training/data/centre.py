"""The middles of chips as they are stored: what is looked at where nothing is drawn by lot."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.corpus import Corpus


def read_centre(corpus: Corpus, name: str, rows: NDArray[np.int64], image_px: int) -> NDArray[Any]:
    """Stored values (rows, bands[, image_px, image_px]) of manifest `rows`, ascending: the middle of every chip."""
    parts = [corpus.read(name, slice(int(run[0]), int(run[-1]) + 1))[run - run[0]] for run in _runs(corpus, rows)]
    whole = np.concatenate(parts)
    if corpus.modality(name).extent != "pixel":
        return whole
    first = (corpus.manifest.size_px - image_px) // 2
    return whole[:, :, first : first + image_px, first : first + image_px]


def _runs(corpus: Corpus, rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """`rows` in pieces that share a shard."""
    shards = rows // corpus.shard_rows
    yield from np.split(rows, np.flatnonzero(np.diff(shards)) + 1)

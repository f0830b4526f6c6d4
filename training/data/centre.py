"""Stored values of the centres of chips, for uses without random crops; only the chips asked for are read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.corpus import Corpus
from training.data.order import shards_of
from training.data.reader import open_reader


def read_centre(corpus: Corpus, name: str, rows: NDArray[np.int64], image_px: int) -> NDArray[Any]:
    """The centres of the chips in manifest `rows` (ascending): (rows, bands[, image_px, image_px]), stored dtype.

    Raises `Fatal` for rows that are not exported, and for a damaged shard.
    """
    if corpus.modality(name).extent == "pixel":
        return _pixels(corpus, name, rows, image_px)
    return np.concatenate(
        [corpus.read(name, slice(int(span[0]), int(span[-1]) + 1))[span - span[0]] for span in _by_shard(corpus, rows)]
    )


def _pixels(corpus: Corpus, name: str, rows: NDArray[np.int64], image_px: int) -> NDArray[Any]:
    modality, size_px = corpus.modality(name), corpus.manifest.size_px
    scratch = np.empty(modality.shape(size_px), np.dtype(modality.dtype))
    values = np.empty((len(rows), len(scratch), image_px, image_px), scratch.dtype)
    first, reader = (size_px - image_px) // 2, open_reader(corpus, name, 1)
    inside = slice(first, first + image_px)
    filled = iter(values)
    for span in _by_shard(corpus, rows):
        at_hand = reader.fetched(span.tolist())
        for row, into in zip(span.tolist(), filled, strict=False):
            into[...] = at_hand.chip(row, scratch)[:, inside, inside]
    return values


def _by_shard(corpus: Corpus, rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """`rows` split by shard."""
    yield from np.split(rows, np.flatnonzero(np.diff(shards_of(corpus, rows))) + 1)

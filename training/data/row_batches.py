"""Batches of given rows in their order, read as in training: for uses without an order, crops or masks of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from training.batch import Raw
from training.data.decode import Decoder
from training.data.device_prefetcher import DevicePrefetcher
from training.data.read_ahead import ReadAhead
from training.data.stream import Job, Stream, default_workers
from training.layer import Layer, group_indices_of

_AHEAD = 3  # batches that are decoded while one is in use
_SPAN_ROWS = 32


def row_batches(
    corpus: Corpus,
    layers: Sequence[Layer],
    jobs: Sequence[NDArray[np.int64]],
    image_px: int,
    device: torch.device,
) -> Stream:
    """A batch of the centres of chips for each of `jobs`, manifest rows (rows,) int64, on `device`; close the stream.

    `layers` have pixels; their values are normalised with their own moments. Batches have no masks. Raises `Fatal` for
    a row that there is not; the stream does for one that is not exported, and for a damaged shard.
    """
    _refuse_unknown(corpus, jobs)
    decoder = Decoder(corpus, layers, (), _SPAN_ROWS)
    most = max((len(rows) for rows in jobs), default=0)
    ahead = decoder.read_ahead((rows.tolist() for rows in jobs), (_AHEAD + 1) * max(1, most))
    groups = {item.name: group_indices_of(corpus, item) for item in layers if item.modality.statistics_by}
    first = (corpus.manifest.size_px - image_px) // 2
    fill = partial(_fill, decoder, ahead, first)
    made = (_job(rows, groups, ahead, fill) for rows in jobs)
    prefetcher = DevicePrefetcher(layers, device)
    return Stream(made, decoder.shapes(most, image_px), prefetcher, default_workers(), _AHEAD, ahead.close)


def _refuse_unknown(corpus: Corpus, jobs: Sequence[NDArray[np.int64]]) -> None:
    count = len(corpus.manifest)
    for rows in jobs:
        if len(rows) and not 0 <= rows.min() <= rows.max() < count:
            raise Fatal(f"the rows of {corpus.folder} are 0 to {count - 1}; ask for those.")


def _job(rows: NDArray[np.int64], groups: Mapping[str, NDArray[np.int64]], ahead: ReadAhead, fill: Any) -> Job:
    chosen = {name: torch.from_numpy(of_layer[rows]) for name, of_layer in groups.items()}
    ahead.advance(len(rows))
    raw = Raw({}, chosen, torch.zeros(0, dtype=torch.bool), tuple(rows.tolist()))
    return Job(raw, partial(fill, raw.rows))


def _fill(
    decoder: Decoder, ahead: ReadAhead, first: int, rows: Sequence[int], into: Mapping[str, NDArray[Any]], span: slice
) -> None:
    arrays = {name: array[span] for name, array in into.items()}
    corners_yx = np.full((len(rows[span]), 2), first)
    decoder.pixels(arrays, rows[span], corners_yx, ahead)

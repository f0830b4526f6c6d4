"""The mode of a stack of label images that the catalogue can count together (stored.Poll).

Nearest-neighbour resampling commutes with counting, so native counts are resampled to the grid, not the labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sandbox.functions.images import ImageBand, StoredPixels, nearest_indices
from sandbox.functions.scope import Scope
from sandbox.raster import grids
from sandbox.raster.grids import PixelGrid
from sandbox.raster.resample import Pixels
from sandbox.raster.stored import Poll, Projection, Vote

_SOME_LEVEL = 1  # a poll counts native pixels alone
Counts = NDArray[np.unsignedinteger[Any]]


def polled_mode(bands: Sequence[ImageBand], grid: PixelGrid, scope: Scope) -> Pixels | None:
    """The most frequent label (uint8, the smallest of equals) and a bool mask, both (height, width).

    None when the bands cannot be counted together and must be read.
    """
    polls = _polls(bands)
    if not polls:
        return None
    total: Counts | None = None
    for poll, (native, voters) in polls.items():
        counts = _counts_on(grid, scope, native, poll, voters)
        if counts is None:
            return None
        total = counts if total is None else _added(total, counts)
    return None if total is None else _commonest(total)


def _polls(bands: Sequence[ImageBand]) -> dict[Poll, tuple[Projection, list[Any]]]:
    """Each poll with its lattice and its voters; empty if a band has no vote."""
    result: dict[Poll, tuple[Projection, list[Any]]] = {}
    for band in bands:
        source = band.compute
        vote: Vote | None = getattr(source.band, "vote", None) if isinstance(source, StoredPixels) else None
        if vote is None:
            return {}
        result.setdefault(vote.poll, (band.projection, []))[1].append(vote.voter)
    return result


def _counts_on(grid: PixelGrid, scope: Scope, native: Projection, poll: Poll, voters: Sequence[Any]) -> Counts | None:
    window = grids.window_on(native, grid)
    if window is not None:
        return poll.counts(voters, window)
    if scope.level(grid, native, _SOME_LEVEL) > 0:
        return None
    nearest = nearest_indices(native, grid, scope)
    if nearest is None:
        return None
    counts = poll.counts(voters, nearest[0])
    return counts.reshape(len(counts), -1).take(nearest[1], axis=1)


def _added(left: Counts, right: Counts) -> Counts:
    """The sum as uint32."""
    more, fewer = (left, right) if len(left) >= len(right) else (right, left)
    total = more.astype(np.uint32)
    total[: len(fewer)] += fewer
    return total


def _commonest(counts: Counts) -> Pixels:
    best = np.zeros(counts.shape[1:], np.uint8)
    most = counts[0].copy()
    for label in range(1, len(counts)):
        best[counts[label] > most] = label
        np.maximum(most, counts[label], out=most)
    return best, most > 0

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
Counted = tuple[NDArray[np.uint8], NDArray[np.unsignedinteger[Any]]]


def polled_mode(bands: Sequence[ImageBand], grid: PixelGrid, scope: Scope) -> Pixels | None:
    """The most frequent label (uint8, the smallest of equals) and a bool mask, both (height, width).

    None when the bands cannot be counted together and must be read.
    """
    every: list[Counted] = []
    for poll, (native, voters) in _polls(bands).items():
        counted = _counted_on(grid, scope, native, poll, voters)
        if counted is None:
            return None
        every.extend(counted)
    return _commonest(_joined(every)) if every else None


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


def _counted_on(
    grid: PixelGrid, scope: Scope, native: Projection, poll: Poll, voters: Sequence[Any]
) -> Sequence[Counted] | None:
    window = grids.window_on(native, grid)
    if window is not None:
        return poll.counts(voters, window)
    if scope.level(grid, native, _SOME_LEVEL) > 0:
        return None
    nearest = nearest_indices(native, grid, scope)
    if nearest is None:
        return None
    counted = poll.counts(voters, nearest[0])
    return [(labels.take(nearest[1]), counts.take(nearest[1])) for labels, counts in counted]


def _joined(every: Sequence[Counted]) -> list[Counted]:
    """The same with uint32 counts; pairs of the same labels, as of two tiles of one zone, as their sum."""
    result: list[Counted] = []
    for labels, counts in every:
        same = [total for known, total in result if np.array_equal(known, labels)]
        if same:
            np.add(same[0], counts, out=same[0])
        else:
            result.append((labels, counts.astype(np.uint32)))
    return result


def _commonest(every: Sequence[Counted]) -> Pixels:
    best = np.zeros(every[0][0].shape, np.uint32)
    for labels, counts in every:
        total = counts + sum(more * (others == labels) for others, more in every if others is not labels)
        # The number of votes before the label, so that of equals the smallest is the greatest.
        np.maximum(best, total * np.uint32(256) + (255 - labels), out=best)
    known = best > 255
    return np.where(known, 255 - best.astype(np.uint8), np.uint8(0)), known

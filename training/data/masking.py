"""Mask and crop of every sample, as functions of (seed, epoch, manifest row) only.

All rows of a batch are hashed at once: a generator object per row would cost more than a tenth of its decoding.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.splitmix import GOLDEN, mixed

Rows = Sequence[int] | NDArray[np.int64]

_CROP, _MASK, _METHOD, _SYMMETRY = range(4)  # Separate random streams, so that crop and mask are independent.


def visible_patches(seed: int, epoch: int, rows: Rows, side: int, keep: int) -> NDArray[np.bool_]:
    """Masks (rows, side, side) bool with exactly `keep` patches True, one mask for all modalities of a sample."""
    ranks = _numbers(seed, epoch, rows, _MASK, side * side).argsort(axis=1)
    visible = np.zeros(ranks.shape, dtype=np.bool_)
    np.put_along_axis(visible, ranks[:, :keep], True, axis=1)
    return visible.reshape(-1, side, side)


def crops_yx(seed: int, epoch: int, rows: Rows, size_px: int, image_px: int) -> NDArray[np.int64]:
    """Top and left corners (rows, 2) int64 of crops of `image_px` in chips of `size_px`, uniformly distributed."""
    choices = np.uint64(size_px - image_px + 1)
    return (_numbers(seed, epoch, rows, _CROP, 2) % choices).astype(np.int64)


def symmetries(seed: int, epoch: int, rows: Rows, kinds: int) -> NDArray[np.int64]:
    """Which flip or turn each row gets, (rows,) int64 below `kinds`, see `data.symmetry`."""
    return (_numbers(seed, epoch, rows, _SYMMETRY, 1)[:, 0] % np.uint64(kinds)).astype(np.int64)


def draw_keys(seed: int, epoch: int, rows: Rows) -> NDArray[np.int64]:
    """A number per row (rows,) int64, from which a method derives its own draws, see `model.draws`."""
    return _numbers(seed, epoch, rows, _METHOD, 1)[:, 0].view(np.int64)


def _numbers(seed: int, epoch: int, rows: Rows, purpose: int, count: int) -> NDArray[np.uint64]:
    """`count` uniform 64-bit numbers for each row, (rows, count) uint64."""
    key = np.random.SeedSequence([seed, epoch, purpose]).generate_state(1, np.uint64)
    states = mixed(mixed(np.asarray(rows, dtype=np.uint64) * GOLDEN) ^ key)
    return mixed(states[:, None] + np.arange(1, count + 1, dtype=np.uint64) * GOLDEN)

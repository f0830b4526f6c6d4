"""Which patches a sample hides and where it is cropped: functions of (seed, epoch, manifest row) and nothing else.

Rows are hashed, all of a batch at once: a generator object per row would cost more than a tenth of its decoding.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.splitmix import GOLDEN, mixed

Rows = Sequence[int] | NDArray[np.int64]

_CROP, _MASK = 0, 1  # Streams apart, so that the crop does not decide the mask.


def visible_patches(seed: int, epoch: int, rows: Rows, side: int, keep: int) -> NDArray[np.bool_]:
    """Masks (rows, side, side) with exactly `keep` patches True; all modalities of a sample share its mask."""
    ranks = _numbers(seed, epoch, rows, _MASK, side * side).argsort(axis=1)
    visible = np.zeros(ranks.shape, dtype=np.bool_)
    np.put_along_axis(visible, ranks[:, :keep], True, axis=1)
    return visible.reshape(-1, side, side)


def crops_yx(seed: int, epoch: int, rows: Rows, size_px: int, image_px: int) -> NDArray[np.int64]:
    """Top and left (rows, 2) of crops of `image_px` inside chips of `size_px`; every place is as likely."""
    places = np.uint64(size_px - image_px + 1)
    return (_numbers(seed, epoch, rows, _CROP, 2) % places).astype(np.int64)


def _numbers(seed: int, epoch: int, rows: Rows, purpose: int, count: int) -> NDArray[np.uint64]:
    """`count` uniform 64-bit numbers for each row, (rows, count)."""
    key = np.random.SeedSequence([seed, epoch, purpose]).generate_state(1, np.uint64)
    states = mixed(mixed(np.asarray(rows, dtype=np.uint64) * GOLDEN) ^ key)
    return mixed(states[:, None] + np.arange(1, count + 1, dtype=np.uint64) * GOLDEN)

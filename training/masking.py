"""Which patches a sample hides and where it is cropped: functions of (seed, epoch, manifest row) and nothing else."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_CROP, _MASK = 0, 1  # Streams apart, so that the crop does not decide the mask.


def visible_patches(seed: int, epoch: int, row: int, side: int, keep: int) -> NDArray[np.bool_]:
    """A mask (side, side) with exactly `keep` patches True; all modalities of the sample share it."""
    visible = np.zeros(side * side, dtype=np.bool_)
    visible[_stream(seed, epoch, row, _MASK).permutation(side * side)[:keep]] = True
    return visible.reshape(side, side)


def crop_yx(seed: int, epoch: int, row: int, size_px: int, image_px: int) -> tuple[int, int]:
    """Top and left of a crop of `image_px` inside a chip of `size_px`; every place is as likely."""
    y, x = _stream(seed, epoch, row, _CROP).integers(0, size_px - image_px + 1, size=2)
    return int(y), int(x)


def _stream(seed: int, epoch: int, row: int, purpose: int) -> np.random.Generator:
    return np.random.default_rng([seed, epoch, row, purpose])

"""An area cut into tiles that overlap, and their answers put together without seams: each counts most in its middle."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Corner = tuple[int, int]
Compute = Callable[[Sequence[Corner]], NDArray[np.float32]]
_AT_ONCE = 16  # tiles of a batch


@dataclass(frozen=True)
class Tiling:
    """Tiles of `tile` cells a side, a new one every `stride` cells, over `shape_yx` cells; the last end at the border.

    A cell is what has an answer of its own: a pixel, or a patch of pixels.
    """

    shape_yx: tuple[int, int]
    tile: int
    stride: int

    @classmethod
    def of(cls, shape_yx: tuple[int, int], tile: int, overlap: float) -> Tiling:
        """With about the share `overlap` of a tile, from 0 to less than 1, in common with the next."""
        return cls(shape_yx, tile, max(1, round(tile * (1 - overlap))))

    def starts(self, length: int) -> list[int]:
        """Where tiles begin along an edge of `length` cells; a single tile reaches beyond a shorter edge."""
        last = max(0, length - self.tile)
        return [*range(0, last, self.stride), last]

    @property
    def count(self) -> int:
        """How many tiles there are."""
        return len(self.starts(self.shape_yx[0])) * len(self.starts(self.shape_yx[1]))

    @property
    def weights(self) -> NDArray[np.float32]:
        """How much each cell of a tile counts, (tile, tile): falling to its edges in a straight line."""
        ramp = np.minimum(np.arange(self.tile) + 1, self.tile - np.arange(self.tile)).astype(np.float32)
        return np.outer(ramp, ramp) / ramp.max() ** 2

    def blended(self, compute: Compute, bands: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Stripes of the area from its top: the first row of cells, and values (bands, rows, width); NaN for none.

        `compute` gives the answers (tiles, bands, tile, tile) of tiles with these corners (y, x) in cells; NaN in all
        bands is no answer. A stripe is given as soon as no further tile touches it.
        """
        height, width = self.shape_yx
        tops = self.starts(height)
        sums = _Sums.empty(bands, self.tile, max(width, self.tile))
        for top, following in zip(tops, [*tops[1:], top_after(tops, self.tile)], strict=True):
            lefts = self.starts(width)
            for part in (lefts[start : start + _AT_ONCE] for start in range(0, len(lefts), _AT_ONCE)):
                for left, values in zip(part, compute([(top, left) for left in part]), strict=True):
                    sums.add(left, values, self.weights)
            stripe = sums.taken(following - top)
            yield top, stripe[:, : height - top, :width]


def top_after(tops: Sequence[int], tile: int) -> int:
    """Where the last tile ends."""
    return tops[-1] + tile


@dataclass
class _Sums:
    """Sums of weighted answers (bands, tile, width), and of their weights (tile, width)."""

    total: NDArray[np.float32]
    weight: NDArray[np.float32]

    @classmethod
    def empty(cls, bands: int, tile: int, width: int) -> _Sums:
        return cls(np.zeros((bands, tile, width), np.float32), np.zeros((tile, width), np.float32))

    def add(self, left: int, values: NDArray[np.float32], weights: NDArray[np.float32]) -> None:
        here = slice(left, left + values.shape[-1])
        known = np.where(np.isnan(values).any(axis=0), np.float32(0), weights)
        self.total[:, :, here] += np.nan_to_num(values) * known
        self.weight[:, here] += known

    def taken(self, rows: int) -> NDArray[np.float32]:
        """The means of the upper `rows`; what is below moves up."""
        with np.errstate(invalid="ignore", divide="ignore"):
            result = self.total[:, :rows] / self.weight[:rows]
        for sums in (self.total, self.weight):
            kept = sums[..., rows:, :].copy()
            sums[...] = 0
            sums[..., : kept.shape[-2], :] = kept
        return result

"""Flips and quarter turns of square chips on their device, by indexing: every layer of a chip alike."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

# How many of the eight symmetries of a square a setting draws from. Their numbers are bits: 1 flips left and right, 2
# up and down, 4 exchanges x and y before that. So the first four are the flips, and 0 changes nothing.
KINDS = {"none": 1, "flips": 4, "dihedral": 8}
_LEFT_RIGHT, _UP_DOWN, _EXCHANGE = 1, 2, 4

# torch compares and indexes no unsigned integers but bytes; equal bits are equal numbers.
SIGNED = {torch.uint16: torch.int16, torch.uint32: torch.int32, torch.uint64: torch.int64}


def turned(values: Tensor, symmetries: Tensor) -> Tensor:
    """`values` (rows, bands, y, x), y = x, with each row as its number in `symmetries` (rows,) int64 says."""
    flat = values.view(SIGNED.get(values.dtype, values.dtype)).flatten(2)
    sources = _sources(values.shape[-1], values.device)[symmetries]
    moved = flat.gather(2, sources[:, None].expand_as(flat))
    return moved.view(values.dtype).view_as(values)


@lru_cache(maxsize=8)
def _sources(edge: int, device: torch.device) -> Tensor:
    """For each symmetry and each pixel, where its value comes from: (8, edge * edge) int64."""
    pixels = torch.arange(edge * edge, device=device).view(edge, edge)
    return torch.stack([_moved(pixels, symmetry).flatten() for symmetry in range(KINDS["dihedral"])])


def _moved(pixels: Tensor, symmetry: int) -> Tensor:
    result = pixels.T if symmetry & _EXCHANGE else pixels
    axes = [axis for axis, bit in ((1, _LEFT_RIGHT), (0, _UP_DOWN)) if symmetry & bit]
    return result.flip(axes)

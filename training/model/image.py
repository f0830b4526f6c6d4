"""The input image of an encoder from normalised values: numbers unchanged, classes one-hot, layers stacked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from training.layer import Layer


def image_of(layers: Sequence[Layer], values: Mapping[str, Tensor], valid: Mapping[str, Tensor]) -> Tensor:
    """The image (rows, channels, y, x) float32 of `values` and `valid` (rows, bands, y, x) by layer.

    Channels are in the order of `layers`. Invalid numbers must be 0 already, which is their mean; invalid classes are 0
    in every channel. A layer with `presence` has one channel more: 1 in images with any valid value of it, 0 in others;
    with "bands" one more for each of its bands, which says so of the band.
    """
    parts = [part for layer in layers for part in _channels(layer, values[layer.name], valid[layer.name])]
    stacked = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
    return stacked.contiguous(memory_format=torch.channels_last)


def _channels(layer: Layer, values: Tensor, valid: Tensor) -> Iterator[Tensor]:
    yield _one_hot(layer, values, valid) if layer.classes else values
    if layer.planes:
        there = valid.unflatten(1, (len(layer.planes), -1)).flatten(2).any(dim=2)
        yield there[:, :, None, None].float().expand(-1, -1, *values.shape[2:])


def _one_hot(layer: Layer, indices: Tensor, valid: Tensor) -> Tensor:
    """Class indices (rows, bands, y, x) int64 as (rows, bands * classes, y, x) float32 of zeros and ones."""
    ones = functional.one_hot(indices.clamp(min=0), layer.classes) * valid[..., None]
    return ones.permute(0, 1, 4, 2, 3).flatten(1, 2).float()

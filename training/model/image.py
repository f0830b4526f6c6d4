"""From normalised values to what an encoder looks at: numbers as they are, classes one-hot, layer after layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from training.layer import Layer


def image_of(layers: Sequence[Layer], values: Mapping[str, Tensor], valid: Mapping[str, Tensor]) -> Tensor:
    """The image (rows, channels, y, x) of `values` and `valid` (rows, bands, y, x) by layer, in the order of `layers`.

    Numbers that are not valid must be 0 already, which is their mean; classes that are not are zeros in every channel.
    """
    parts = [_one_hot(layer, values[layer.name], valid[layer.name]) if layer.classes else values[layer.name]
             for layer in layers]  # fmt: skip
    return torch.cat(parts, dim=1).contiguous(memory_format=torch.channels_last)


def _one_hot(layer: Layer, indices: Tensor, valid: Tensor) -> Tensor:
    """Class indices (rows, bands, y, x) as (rows, bands * classes, y, x) of zeros and ones."""
    ones = functional.one_hot(indices.clamp(min=0), layer.classes) * valid[..., None]
    return ones.permute(0, 1, 4, 2, 3).flatten(1, 2).float()

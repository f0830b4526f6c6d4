"""A batch as the loader hands it over, in stored integers, and as the net takes it, in normalised numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Raw:
    """`stored` by modality: (rows, chosen bands[, y, x]), cropped, in the stored dtype.

    `groups` by modality, of those with statistics by group: (rows,) int64 places in the layer's groups, one past the
    last for a group without statistics. `visible` (rows, y, x) per patch. `rows` are the manifest rows.
    """

    stored: Mapping[str, Tensor]
    groups: Mapping[str, Tensor]
    visible: Tensor
    rows: tuple[int, ...]

    def to(self, device: torch.device) -> Raw:
        """The same on `device`; what is pinned is copied while the host goes on."""
        return Raw(
            _moved(self.stored, device), _moved(self.groups, device), _to_device(self.visible, device), self.rows
        )


@dataclass(frozen=True)
class Batch:
    """`values` and `valid` by modality, (batch, bands[, y, x]) each; `visible` (batch, y, x) per patch.

    Continuous values are float32 and normalised, classes int64 indices. `rows` are the manifest rows.
    """

    values: dict[str, Tensor]
    valid: dict[str, Tensor]
    visible: Tensor
    rows: tuple[int, ...]

    def to(self, device: torch.device) -> Batch:
        """The same batch on `device`."""
        return Batch(
            _moved(self.values, device), _moved(self.valid, device), _to_device(self.visible, device), self.rows
        )

    def tensors(self) -> Iterator[Tensor]:
        """Every tensor in it."""
        yield from (*self.values.values(), *self.valid.values(), self.visible)


def _moved(tensors: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    return {name: _to_device(tensor, device) for name, tensor in tensors.items()}


def _to_device(tensor: Tensor, device: torch.device) -> Tensor:
    return tensor.to(device, non_blocking=True)

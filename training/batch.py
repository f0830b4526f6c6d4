"""A batch in stored numbers, as the loader decodes it, and in normalised numbers, as the net takes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Raw:
    """`stored` by modality: (rows, chosen bands[, y, x]), cropped, in the stored dtype.

    `groups` by modality, only for modalities with statistics by group: (rows,) int64 indices into the layer's groups;
    the index after the last one stands for a group without statistics. `visible` is (rows, y, x) bool, one value per
    patch. `rows` are the manifest rows.
    """

    stored: Mapping[str, Tensor]
    groups: Mapping[str, Tensor]
    visible: Tensor
    rows: tuple[int, ...]

    def to(self, device: torch.device) -> Raw:
        """The same on `device`; pinned tensors are copied asynchronously."""
        return Raw(
            _moved(self.stored, device), _moved(self.groups, device), _to_device(self.visible, device), self.rows
        )


@dataclass(frozen=True)
class Batch:
    """`values` and `valid` (bool) by modality, both (batch, bands[, y, x]); `visible` (batch, y, x) bool, per patch.

    Continuous values are float32 and normalised; classes are int64 indices. `rows` are the manifest rows.
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
        """Every tensor of the batch."""
        yield from (*self.values.values(), *self.valid.values(), self.visible)


def _moved(tensors: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    return {name: _to_device(tensor, device) for name, tensor in tensors.items()}


def _to_device(tensor: Tensor, device: torch.device) -> Tensor:
    return tensor.to(device, non_blocking=True)

"""A batch in stored numbers, as the loader decodes it, and in normalised numbers, as the net takes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor


def no_keys() -> Tensor:
    """The keys of a batch for which nothing is drawn."""
    return torch.zeros(0, dtype=torch.int64)


@dataclass(frozen=True)
class Raw:
    """`stored` by modality: (rows, chosen bands[, y, x]), cropped, in the stored dtype.

    `groups` by modality, only for modalities with statistics by group: (rows,) int64 indices into the layer's groups;
    the index after the last one stands for a group without statistics. `visible` is (rows, y, x) bool, one value per
    patch. `rows` are the manifest rows. `keys` as in `Batch`. `symmetries` (rows,) int64 say how chips are to be
    flipped and turned, see `training.data.symmetry`; they are empty where none is.
    """

    stored: Mapping[str, Tensor]
    groups: Mapping[str, Tensor]
    visible: Tensor
    rows: tuple[int, ...]
    keys: Tensor = field(default_factory=no_keys)
    symmetries: Tensor = field(default_factory=no_keys)

    def to(self, device: torch.device) -> Raw:
        """The same on `device`; pinned tensors are copied asynchronously."""
        visible, keys = _to_device(self.visible, device), _to_device(self.keys, device)
        stored, groups = _moved(self.stored, device), _moved(self.groups, device)
        return Raw(stored, groups, visible, self.rows, keys, _to_device(self.symmetries, device))

    def pinned(self) -> Raw:
        """The same in pinned memory, so that no copy to a GPU waits; what is pinned already stays where it is."""
        stored, groups = ({name: _pinned(item) for name, item in part.items()} for part in (self.stored, self.groups))
        visible, keys, symmetries = (_pinned(item) for item in (self.visible, self.keys, self.symmetries))
        return Raw(stored, groups, visible, self.rows, keys, symmetries)


@dataclass(frozen=True)
class Batch:
    """`values` and `valid` (bool) by modality, both (batch, bands[, y, x]); `visible` (batch, y, x) bool, per patch.

    Continuous values are float32 and normalised; classes are int64 indices. `rows` are the manifest rows.
    `keys` (batch,) int64 follow from (seed, epoch, row): what a method derives from them does not depend on processes
    or micro-batches. They are empty where nothing is to be drawn.
    """

    values: dict[str, Tensor]
    valid: dict[str, Tensor]
    visible: Tensor
    rows: tuple[int, ...]
    keys: Tensor = field(default_factory=no_keys)

    def to(self, device: torch.device) -> Batch:
        """The same batch on `device`."""
        visible, keys = _to_device(self.visible, device), _to_device(self.keys, device)
        return Batch(_moved(self.values, device), _moved(self.valid, device), visible, self.rows, keys)

    def tensors(self) -> Iterator[Tensor]:
        """Every tensor of the batch."""
        yield from (*self.values.values(), *self.valid.values(), self.visible, self.keys)


def _moved(tensors: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    return {name: _to_device(tensor, device) for name, tensor in tensors.items()}


def _pinned(tensor: Tensor) -> Tensor:
    return tensor if tensor.is_pinned() else tensor.pin_memory()


def _to_device(tensor: Tensor, device: torch.device) -> Tensor:
    return tensor.to(device, non_blocking=True)

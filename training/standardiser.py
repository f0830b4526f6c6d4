"""Standardises stored numbers by the mean and deviation of their group, and back, on NumPy arrays and on tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Array = TypeVar("Array", "NDArray[Any]", "Tensor")
Other = TypeVar("Other", "NDArray[Any]", "Tensor")


@dataclass(frozen=True)
class Moments:
    """Moments of the bands of one group, (bands,) each: `mean` and `std` float32, `has_data` bool; `std` is above 0.

    A band without data in the group is never valid in it.
    """

    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    has_data: NDArray[np.bool_]

    def to_dict(self) -> dict[str, list[Any]]:
        """JSON values; `from_dict` gives the same moments back."""
        return {"mean": self.mean.tolist(), "std": self.std.tolist(), "has_data": self.has_data.tolist()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Moments:
        """The moments that `to_dict` described."""
        mean, std = (np.array(data[name], dtype=np.float32) for name in ("mean", "std"))
        return cls(mean, std, np.array(data["has_data"], dtype=np.bool_))


def no_moments(bands: int) -> Moments:
    """The moments of a group without statistics: none of its values is valid."""
    return Moments(np.zeros(bands, np.float32), np.ones(bands, np.float32), np.zeros(bands, np.bool_))


@dataclass(frozen=True)
class Standardiser(Generic[Array]):
    """The moments of a layer's groups as tables (groups + 1, bands); the last row is for groups without statistics.

    `mean` and `std` are float32, `has_data` is bool. The methods take group indices, int64: (rows,), or (1,) for all
    rows.
    """

    mean: Array
    std: Array
    has_data: Array

    @staticmethod
    def of(groups: Mapping[str, Moments], bands: int) -> Standardiser[NDArray[Any]]:
        """Tables with one row per group, in the order of `groups`."""
        moments = [*groups.values(), no_moments(bands)]
        mean, std, has_data = (
            np.stack([getattr(each, part) for each in moments]) for part in ("mean", "std", "has_data")
        )
        return Standardiser(mean, std, has_data)

    def moved(self, move: Callable[[Array], Other]) -> Standardiser[Other]:
        """The same tables converted by `move`, such as to tensors on a device."""
        return Standardiser(move(self.mean), move(self.std), move(self.has_data))

    def standardise(self, values: Array, groups: Array) -> Array:
        """`values` (rows, bands[, y, x]) float32 in standard deviations from the mean; computed in place."""
        values -= _broadcast(self.mean, groups, values)
        values /= _broadcast(self.std, groups, values)
        return values

    def restore(self, values: Array, groups: Array) -> Array:
        """The inverse of `standardise`, in stored units, as a new array."""
        return values * _broadcast(self.std, groups, values) + _broadcast(self.mean, groups, values)

    def known(self, values: Array, groups: Array) -> Array:
        """Whether the group has statistics of the band: (rows or 1, bands[, 1, 1]) bool, broadcasts with `values`."""
        return _broadcast(self.has_data, groups, values)


def _broadcast(table: Array, groups: Array, values: Array) -> Array:
    """The rows of `table` at the indices `groups`, reshaped to broadcast with `values`."""
    return table[groups].reshape((len(groups), table.shape[1]) + (1,) * (values.ndim - 2))

"""Stored numbers in standard deviations from their group's mean, and back: on arrays and on tensors of any device."""

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
    """How the bands of one group are normalised, (bands,) each: `mean` and `std` float32, `std` above 0.

    A band without any data in the group is never valid there.
    """

    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    has_data: NDArray[np.bool_]

    def to_dict(self) -> dict[str, list[Any]]:
        """JSON values; `from_dict` gives the same moments back."""
        return {"mean": self.mean.tolist(), "std": self.std.tolist(), "has_data": self.has_data.tolist()}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Moments:
        """The moments that `to_dict` described."""
        mean, std = (np.array(plain[name], dtype=np.float32) for name in ("mean", "std"))
        return cls(mean, std, np.array(plain["has_data"], dtype=np.bool_))


def no_moments(bands: int) -> Moments:
    """Those of a group without statistics: nothing in it is data."""
    return Moments(np.zeros(bands, np.float32), np.ones(bands, np.float32), np.zeros(bands, np.bool_))


@dataclass(frozen=True)
class Standardiser(Generic[Array]):
    """The moments of a layer's groups as tables (groups + 1, bands), the last row for a group without statistics.

    Rows of a batch say their group by its index in the tables, int64, (rows,) or (1,) for all of them.
    """

    mean: Array
    std: Array
    has_data: Array

    @staticmethod
    def of(groups: Mapping[str, Moments], bands: int) -> Standardiser[NDArray[Any]]:
        """Of the groups in their order."""
        moments = [*groups.values(), no_moments(bands)]
        mean, std, has_data = (
            np.stack([getattr(each, part) for each in moments]) for part in ("mean", "std", "has_data")
        )
        return Standardiser(mean, std, has_data)

    def moved(self, move: Callable[[Array], Other]) -> Standardiser[Other]:
        """With other tables of the same numbers, such as tensors on a device."""
        return Standardiser(move(self.mean), move(self.std), move(self.has_data))

    def standardise(self, values: Array, groups: Array) -> Array:
        """`values` (rows, bands[, y, x]), float32, in standard deviations from the mean; overwrites them."""
        values -= _spread(self.mean, groups, values)
        values /= _spread(self.std, groups, values)
        return values

    def restore(self, values: Array, groups: Array) -> Array:
        """The inverse of `standardise`, in stored units; leaves `values` as they are."""
        return values * _spread(self.std, groups, values) + _spread(self.mean, groups, values)

    def known(self, values: Array, groups: Array) -> Array:
        """Where the group has statistics of the band, (rows or 1, bands[, 1, 1]) bool, for `values` of that shape."""
        return _spread(self.has_data, groups, values)


def _spread(table: Array, groups: Array, values: Array) -> Array:
    """The rows of `table` that `groups` name, laid out to go with `values`."""
    return table[groups].reshape((len(groups), table.shape[1]) + (1,) * (values.ndim - 2))

"""What reads chips of one layer, whatever lies behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from numpy.typing import NDArray


class ChipReader(Protocol):
    """Reads chips (bands, y, x) of one modality; safe for many threads."""

    def chip(self, row: int, scratch: NDArray[Any]) -> NDArray[Any]:
        """The stored values (bands, y, x) of a manifest row, in the stored dtype.

        `scratch` has their shape and dtype; the result is `scratch` or a view of a cached array. Do not write to it.
        Raises `Fatal` for a shard that is not finished or is damaged, `Transient` for a bucket that does not answer.
        """

    def fetched(self, rows: Sequence[int]) -> ChipReader:
        """A reader of these rows of one shard, ascending, which has them at hand: it waits for no disk and no network.

        Returns when they have come. Raises as `chip` does.
        """

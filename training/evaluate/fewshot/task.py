"""What is to be told of a chip: a number, or one of some classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_NO_CLASS = -1


@dataclass(frozen=True)
class Task:
    """`values` of rows, (rows,): float64 with NaN for none, or, with `classes`, their indices int64 with -1 for none.

    `note` is a sentence that belongs beside its scores, such as that an encoder has seen the labels already.
    """

    name: str
    values: NDArray[Any]
    classes: tuple[str, ...] = ()
    note: str = ""

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which rows have a label."""
        return np.asarray(self.values != _NO_CLASS if self.classes else np.isfinite(self.values))

    def of(self, rows: NDArray[np.integer]) -> Task:
        """The same task for some of the rows."""
        return Task(self.name, self.values[rows], self.classes, self.note)

"""Labels that the owner's table of places brought: a column of the manifest, as classes or as numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import Fatal
from pipeline.manifest import Manifest
from pipeline.own_columns import BOOLEAN, FLOAT, INTEGER, TEXT

_NO_CLASS = -1
_MOST_CLASSES = 1000


@dataclass(frozen=True)
class OwnLabel:
    """`values` (rows of the manifest,) are indices of `classes`, int64, -1 for none; without classes they are numbers,
    float64, NaN for none.
    """

    values: NDArray[Any]
    classes: tuple[str, ...] = ()

    @classmethod
    def of(cls, manifest: Manifest, name: str) -> OwnLabel:
        """A column: texts, booleans and whole numbers are classes, in their order; other numbers are numbers.

        Raises `Fatal` for a column of another kind, or one with more than a thousand classes.
        """
        kind = manifest.own_type(name)
        if kind == FLOAT:
            return cls(manifest.column(name).astype(np.float64))
        if kind not in (TEXT, BOOLEAN, INTEGER):
            raise Fatal(f"column {name!r} holds {kind} values, which are no label; choose classes or numbers.")
        return cls._of_classes(manifest.column(name), name)

    @classmethod
    def _of_classes(cls, cells: NDArray[Any], name: str) -> OwnLabel:
        known = np.array([cell is not None and cell == cell for cell in cells.tolist()], dtype=bool)
        classes, index = np.unique(cells[known], return_inverse=True)
        if len(classes) > _MOST_CLASSES:
            raise Fatal(
                f"column {name!r} has {len(classes)} different values, too many for classes; if they are numbers to "
                "predict, write them with a decimal point."
            )
        values = np.full(len(cells), _NO_CLASS, dtype=np.int64)
        values[known] = index
        return cls(values, tuple(_text(value) for value in classes.tolist()))

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which rows of the manifest have a label."""
        return np.asarray(self.values != _NO_CLASS if self.classes else np.isfinite(self.values))


def _text(value: Any) -> str:
    # Whole numbers with empty cells among them come as floats.
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)

"""Where chips are, and what their owner says about them, as plain values that a batch can hold."""

from __future__ import annotations

from typing import Any

import numpy as np
from pyproj import CRS

from pipeline.corpus import Corpus
from pipeline.manifest import Manifest
from pipeline.own_columns import FLOAT, INTEGER, OUTLINE

_NO_EPSG = 0


class ChipPlaces:
    """Row, longitude, latitude (degrees) and grid of every chip of a corpus.

    The grid is the EPSG code of its CRS (0 for one without), the outer corner of its upper left pixel in metres of that
    CRS, and the side of a pixel in metres. The columns are held in memory: 48 bytes a chip, and those of the owner.
    """

    def __init__(self, corpus: Corpus) -> None:
        column = corpus.manifest.column
        names = column("crs")
        codes = {name: CRS.from_user_input(name).to_epsg() or _NO_EPSG for name in set(names.tolist())}
        self._epsg = [codes[name] for name in names.tolist()]
        self._columns = {name: column(name) for name in ("lon", "lat", "origin_x_m", "origin_y_m", "resolution_m")}

        self._own = {name: values for name in corpus.manifest.own_columns if (values := _own(corpus.manifest, name))}

    def of(self, row: int) -> dict[str, Any]:
        """`row`, `lon`, `lat`, `epsg`, `origin_x_m`, `origin_y_m` and `resolution_m` of one chip.

        `own`, where the owner brought columns, has those but outlines: numbers (NaN where there is none; whole ones as
        floats if any is empty), and texts ("" for none; dates and booleans as texts).
        """
        numbers = {name: float(values[row]) for name, values in self._columns.items()}
        own = {"own": {name: values[row] for name, values in self._own.items()}} if self._own else {}
        return {"row": row, "epsg": self._epsg[row], **numbers, **own}


def _own(manifest: Manifest, name: str) -> list[Any]:
    """Values that PyTorch collates; none for an outline."""
    kind, cells = manifest.own_type(name), manifest.column(name)
    if kind == OUTLINE:
        return []
    if kind in (INTEGER, FLOAT):
        return list(cells.tolist())
    return ["" if _is_none(cell) else str(cell) for cell in cells]


def _is_none(cell: Any) -> bool:
    return cell is None or (isinstance(cell, np.datetime64) and bool(np.isnat(cell)))

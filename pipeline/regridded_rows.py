"""Rows of a manifest with other grids: the centres of the chips, in pixels that may be coarser."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.rows import Rows


@dataclass(frozen=True)
class CentreGrid:
    """Of a chip of `chip_px`, its centre of `centre_px` pixels a side, in pixels that are `factor` as wide.

    The centre begins at pixel (chip_px - centre_px) // 2; `factor` divides `centre_px`.
    """

    chip_px: int
    centre_px: int
    factor: int = 1

    def moved(self, table: pa.Table) -> pa.Table:
        """The same rows with `origin_x_m`, `origin_y_m`, `resolution_m`, `height_px` and `width_px` of these grids."""
        margin_m = pc.multiply(table.column("resolution_m"), float((self.chip_px - self.centre_px) // 2))
        side_px = pa.array([self.centre_px // self.factor] * len(table), pa.int64())
        grid: dict[str, Any] = {
            "origin_x_m": pc.add(table.column("origin_x_m"), margin_m),
            "origin_y_m": pc.subtract(table.column("origin_y_m"), margin_m),
            "resolution_m": pc.multiply(table.column("resolution_m"), float(self.factor)),
            "height_px": side_px, "width_px": side_px,
        }  # fmt: skip
        for name, cells in grid.items():
            table = table.set_column(table.column_names.index(name), name, cells)
        return table


class RegriddedRows:
    """Other rows with the grids that `grid` makes of theirs."""

    def __init__(self, rows: Rows, grid: CentreGrid) -> None:
        self._rows, self._grid = rows, grid
        self.count, self.schema = rows.count, rows.schema

    def part(self, start: int, stop: int) -> pa.Table:
        """A part of the others; raises `IndexError` for rows that there are not."""
        return self._grid.moved(self._rows.part(start, stop))

    def pieces(self, names: Sequence[str] = ()) -> Iterator[pa.Table]:
        """The pieces of the others; all columns are read, as grids follow from several."""
        for piece in self._rows.pieces():
            yield self._grid.moved(piece).select(list(names or self.schema.names))

    def column(self, name: str) -> pa.ChunkedArray:
        """One column whole."""
        return pa.concat_tables(self.pieces([name])).column(name)

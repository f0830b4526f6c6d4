"""Rows of other tables, in an order of one's own: what a selection and a merger of manifests are made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.rows import PIECE_ROWS, Rows, completed


class PickedRows:
    """Row i is row `rows[i]` of the table `tables[which[i]]`; in a column that a table lacks it has nothing.

    `which` and `rows` are (n,). Tables are read a few thousand rows at a time, in ascending order as far as can be.
    """

    def __init__(
        self, tables: Sequence[Rows], which: NDArray[np.integer], rows: NDArray[np.int64], schema: pa.Schema
    ) -> None:
        self._tables, self._which, self._rows = tuple(tables), which, rows
        self.count, self.schema = len(rows), schema

    def part(self, start: int, stop: int) -> pa.Table:
        """Gather some rows."""
        if not 0 <= start <= stop <= self.count:
            raise IndexError(f"rows {start} to {stop} of {self.count}")
        return self._part(self.schema, start, stop)

    def _part(self, schema: pa.Schema, start: int, stop: int) -> pa.Table:
        which, rows = self._which[start:stop], self._rows[start:stop]
        order = np.lexsort((rows, which))
        pieces = [
            completed(piece, schema)
            for number, table in enumerate(self._tables)
            for piece in _some(table, rows[order][which[order] == number], schema)
        ]
        gathered = pa.concat_tables([schema.empty_table(), *pieces])
        return gathered.take(pa.array(np.argsort(order))).combine_chunks()

    def pieces(self, names: Sequence[str] = ()) -> Iterator[pa.Table]:
        """All rows in order, gathered some thousands at a time."""
        schema = pa.schema([self.schema.field(name) for name in names or self.schema.names])
        starts = range(0, self.count, PIECE_ROWS)
        return (self._part(schema, start, min(start + PIECE_ROWS, self.count)) for start in starts)

    def column(self, name: str) -> pa.ChunkedArray:
        """Gather one column: those of the tables one behind the other, then put in order."""
        field, starts = self.schema.field(name), np.cumsum([0, *(table.count for table in self._tables)])
        columns = [
            table.column(name).cast(field.type) if name in table.schema.names else pa.nulls(table.count, field.type)
            for table in self._tables
        ]
        chunks = [chunk for column in columns for chunk in getattr(column, "chunks", [column])]
        return pa.chunked_array(chunks, field.type).take(pa.array(starts[self._which] + self._rows))


def _some(table: Rows, rows: NDArray[np.int64], schema: pa.Schema) -> Iterator[pa.Table]:
    """The columns of `schema` that a table has, of ascending rows, one stretch of `PIECE_ROWS` of it after another."""
    names = [name for name in schema.names if name in table.schema.names]
    borders = [0, *(np.flatnonzero(np.diff(rows // PIECE_ROWS)) + 1).tolist(), len(rows)]
    for begin, end in pairwise(borders):
        if end > begin:
            here = rows[begin:end]
            stretch = table.part(int(here[0]), int(here[-1]) + 1)
            yield stretch.select(names).take(pa.array(here - here[0]))

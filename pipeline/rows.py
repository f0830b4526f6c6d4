"""Rows of a table, a part at a time: held in memory, or left in a Parquet file until they are asked for."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.errors import Fatal

PIECE_ROWS = 8192  # a few megabytes, and a few milliseconds to decode
# What Arrow raises for bytes that are no table.
UNREADABLE = (OSError, ValueError, TypeError, MemoryError, pa.ArrowException)
# Decoded row groups that are kept: the shards in work at once lie in one or two.
_KEPT_GROUPS = 2
# Texts of which there are few, such as names of regions: four bytes a row.
TEXT_CODES = pa.dictionary(pa.int32(), pa.string())


class Rows(Protocol):
    """A table of `count` rows in a fixed order and schema; safe for many threads."""

    count: int
    schema: pa.Schema

    def part(self, start: int, stop: int) -> pa.Table:
        """Rows `start` (inclusive) to `stop` (exclusive); raises `IndexError` for rows that there are not."""

    def pieces(self, names: Sequence[str] = ()) -> Iterator[pa.Table]:
        """All rows in order, some thousands at a time: of these columns, or of all."""

    def column(self, name: str) -> pa.ChunkedArray:
        """One column whole."""


class HeldRows:
    """A table in memory."""

    def __init__(self, table: pa.Table) -> None:
        self.count = len(table)
        self.schema = table.schema
        self._table = table

    def part(self, start: int, stop: int) -> pa.Table:
        """A slice of the table."""
        if not 0 <= start <= stop <= self.count:
            raise IndexError(f"rows {start} to {stop} of {self.count}")
        return self._table.slice(start, stop - start)

    def pieces(self, names: Sequence[str] = ()) -> Iterator[pa.Table]:
        """The table, cut into pieces."""
        table = self._table.select(list(names or self._table.column_names))
        return (table.slice(start, PIECE_ROWS) for start in range(0, self.count, PIECE_ROWS))

    def column(self, name: str) -> pa.ChunkedArray:
        """One column of the table."""
        return self._table.column(name)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except UNREADABLE as error:
        raise Fatal(f"{path} is damaged ({error}); restore it from a copy.") from error


class FileRows:
    """The rows of a Parquet file, decoded by row group when they are asked for.

    The file stays open, so that what is read is what was opened. Columns are given in the types of `schema`.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path, self._file = path, pq.ParquetFile(path, memory_map=True)
        self.schema = schema
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, pa.Table] = OrderedDict()
        footer = self._file.metadata
        self._starts = [0]
        for group in range(footer.num_row_groups):
            self._starts.append(self._starts[-1] + footer.row_group(group).num_rows)
        self.count = self._starts[-1]

    @property
    def names(self) -> list[str]:
        """The file's columns."""
        return list(self._file.schema_arrow.names)

    @property
    def metadata(self) -> dict[bytes, bytes]:
        """What the file says about itself beside its columns."""
        return dict(self._file.schema_arrow.metadata or {})

    def part(self, start: int, stop: int) -> pa.Table:
        """Decode the row groups that hold these rows, unless they are the last ones asked for."""
        if not 0 <= start <= stop <= self.count:
            raise IndexError(f"rows {start} to {stop} of {self.count}")
        first, last = (bisect_right(self._starts, row) - 1 for row in (start, max(start, stop - 1)))
        groups = [self._group(index) for index in range(first, min(last, len(self._starts) - 2) + 1)]
        return pa.concat_tables(groups).slice(start - self._starts[first], stop - start)

    def _group(self, index: int) -> pa.Table:
        with self._lock:
            if index not in self._kept:
                self._kept[index] = self._decoded(index)
            self._kept.move_to_end(index)
            while len(self._kept) > _KEPT_GROUPS:
                self._kept.popitem(last=False)
            return self._kept[index]

    def _decoded(self, index: int) -> pa.Table:
        # Threads of Arrow's own would each keep buffers; a group takes milliseconds without.
        names = self.schema.names
        with _readable(self._path):
            return self._file.read_row_group(index, columns=names, use_threads=False).select(names).cast(self.schema)

    def pieces(self, names: Sequence[str] = ()) -> Iterator[pa.Table]:
        """All rows, by pieces of row groups; nothing of it is kept, and no other column is decoded."""
        schema = _chosen(self.schema, names)
        with _readable(self._path):
            batches = self._file.iter_batches(batch_size=PIECE_ROWS, columns=schema.names, use_threads=False)
        while (batch := self._next(batches)) is not None:
            yield pa.Table.from_batches([batch]).select(schema.names).cast(schema)

    def _next(self, batches: Iterator[pa.RecordBatch]) -> pa.RecordBatch | None:
        with self._lock, _readable(self._path):
            return next(batches, None)

    def column(self, name: str) -> pa.ChunkedArray:
        """Read one column of the file."""
        with self._lock, _readable(self._path):
            return self._file.read(columns=[name], use_threads=False).column(name).cast(self.schema.field(name).type)


@dataclass(frozen=True)
class Source:
    """Columns of `table`, each in one piece, and the number (n,) of its row that belongs to every row asked for."""

    table: pa.Table
    rows: NDArray[np.integer[Any]]


class GatheredRows:
    """Rows put together on demand from tables that lie side by side, each in an order of its own.

    Nothing is copied before it is asked for, so that neither joining tables nor reordering rows takes memory.
    """

    def __init__(self, sources: Sequence[Source], schema: pa.Schema) -> None:
        self._sources = tuple(sources)
        self.schema = schema
        self._of = {name: source for source in sources for name in source.table.column_names}
        self.count = len(sources[0].rows)

    def reordered(self, order: NDArray[np.int64]) -> Self:
        """Row i of the result is row `order[i]` of these."""
        return type(self)([Source(source.table, source.rows[order]) for source in self._sources], self.schema)

    def part(self, start: int, stop: int) -> pa.Table:
        """Gather some rows."""
        if not 0 <= start <= stop <= self.count:
            raise IndexError(f"rows {start} to {stop} of {self.count}")
        return self._part(self.schema, slice(start, stop))

    def _part(self, schema: pa.Schema, rows: slice) -> pa.Table:
        columns = [self._gathered(field.name, rows).cast(field.type) for field in schema]
        return pa.Table.from_arrays(columns, schema=schema)

    def _gathered(self, name: str, rows: slice) -> pa.ChunkedArray:
        source = self._of[name]
        return source.table.column(name).take(pa.array(source.rows[rows]))

    def pieces(self, names: Sequence[str] = ()) -> Iterator[pa.Table]:
        """All rows in order, gathered some thousands at a time."""
        schema = _chosen(self.schema, names)
        starts = range(0, self.count, PIECE_ROWS)
        return (self._part(schema, slice(start, min(start + PIECE_ROWS, self.count))) for start in starts)

    def column(self, name: str) -> pa.ChunkedArray:
        """Gather one column."""
        return self._gathered(name, slice(None)).cast(self.schema.field(name).type)


class FirstRows:
    """The first `count` of other rows."""

    def __init__(self, rows: Rows, count: int) -> None:
        self._rows = rows
        self.count, self.schema = count, rows.schema

    def part(self, start: int, stop: int) -> pa.Table:
        """A part of the others."""
        if not 0 <= start <= stop <= self.count:
            raise IndexError(f"rows {start} to {stop} of {self.count}")
        return self._rows.part(start, stop)

    def pieces(self, names: Sequence[str] = ()) -> Iterator[pa.Table]:
        """The pieces of the others, the last one cut."""
        left = self.count
        for piece in self._rows.pieces(names):
            if left > 0:
                yield piece.slice(0, left)
            left -= len(piece)

    def column(self, name: str) -> pa.ChunkedArray:
        """The beginning of a column."""
        return self._rows.column(name).slice(0, self.count)


class ChosenColumns:
    """Other rows with the columns of `schema` alone."""

    def __init__(self, rows: Rows, schema: pa.Schema) -> None:
        self._rows = rows
        self.count, self.schema = rows.count, schema

    def part(self, start: int, stop: int) -> pa.Table:
        """A part of the others."""
        return self._rows.part(start, stop).select(self.schema.names)

    def pieces(self, names: Sequence[str] = ()) -> Iterator[pa.Table]:
        """The pieces of the others."""
        return self._rows.pieces(names or self.schema.names)

    def column(self, name: str) -> pa.ChunkedArray:
        """One column of the others."""
        return self._rows.column(name)


class JoinedRows:
    """Rows, and others behind them, which have nothing in the columns that they lack."""

    def __init__(self, first: Rows, second: Rows) -> None:
        self._first, self._second = first, second
        self.count, self.schema = first.count + second.count, first.schema

    def part(self, start: int, stop: int) -> pa.Table:
        """A part of the one, of the other, or of both."""
        if not 0 <= start <= stop <= self.count:
            raise IndexError(f"rows {start} to {stop} of {self.count}")
        border = self._first.count
        if stop <= border:
            return self._first.part(start, stop)
        later = completed(self._second.part(max(start, border) - border, stop - border), self.schema)
        return pa.concat_tables([self._first.part(start, border), later]) if start < border else later

    def pieces(self, names: Sequence[str] = ()) -> Iterator[pa.Table]:
        """The pieces of the one, then those of the other."""
        schema = _chosen(self.schema, names)
        yield from self._first.pieces(names)
        known = [name for name in schema.names if name in self._second.schema.names]
        for piece in self._second.pieces(known or self._second.schema.names[:1]):
            yield completed(piece, schema)

    def column(self, name: str) -> pa.ChunkedArray:
        """One column of both."""
        first, kind = self._first.column(name), self.schema.field(name).type
        if name not in self._second.schema.names:
            return pa.chunked_array([*first.chunks, pa.nulls(self._second.count, kind)], kind)
        return pa.chunked_array([*first.chunks, *self._second.column(name).cast(kind).chunks], kind)


def _chosen(schema: pa.Schema, names: Sequence[str]) -> pa.Schema:
    """These fields of a schema, or all of them for none."""
    return pa.schema([schema.field(name) for name in names or schema.names])


def completed(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The columns of `schema`, empty where the table has none."""
    known = set(table.column_names)
    columns = [
        table.column(name).cast(kind) if name in known else pa.nulls(len(table), kind)
        for name, kind in zip(schema.names, schema.types, strict=True)
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def conformed(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The columns of `schema` in its types; raises `ValueError` where one does not fit."""
    return pa.Table.from_arrays([_as(table.column(field.name), field.type) for field in schema], schema=schema)


def _as(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    if kind != TEXT_CODES or column.type == TEXT_CODES:
        return column.cast(kind)
    return column.cast(pa.string()).dictionary_encode()


def in_one_piece(tables: list[pa.Table]) -> pa.Table:
    """Tables of one schema, one behind the other, each column a single chunk. Empties the list.

    Column by column, the largest first, so that at most one of them is there twice, and while least else is.
    """
    table = pa.concat_tables(tables)
    tables.clear()
    for index in sorted(range(table.num_columns), key=lambda index: -table.column(index).nbytes):
        column = table.column(index).unify_dictionaries().combine_chunks()
        table = table.set_column(index, table.schema.field(index), column)
        del column
        pa.default_memory_pool().release_unused()  # else the pieces that are gone would count as ours for long
    return table

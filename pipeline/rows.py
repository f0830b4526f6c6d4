"""Rows of a table, a part at a time: held in memory, or left in a Parquet file until they are asked for."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq

PIECE_ROWS = 8192  # a few megabytes, and a few milliseconds to decode
# Decoded row groups that are kept: the shards in work at once lie in one or two.
_KEPT_GROUPS = 2


class Rows(Protocol):
    """A table of `count` rows in a fixed order and schema; safe for many threads."""

    count: int

    def part(self, start: int, stop: int) -> pa.Table:
        """Rows `start` (inclusive) to `stop` (exclusive); raises `IndexError` for rows that there are not."""

    def pieces(self) -> Iterator[pa.Table]:
        """All rows in order, some thousands at a time."""

    def column(self, name: str) -> pa.ChunkedArray:
        """One column whole."""


class HeldRows:
    """A table in memory."""

    def __init__(self, table: pa.Table) -> None:
        self.count = len(table)
        self._table = table

    def part(self, start: int, stop: int) -> pa.Table:
        """A slice of the table."""
        if not 0 <= start <= stop <= self.count:
            raise IndexError(f"rows {start} to {stop} of {self.count}")
        return self._table.slice(start, stop - start)

    def pieces(self) -> Iterator[pa.Table]:
        """The table, cut into pieces."""
        return (self._table.slice(start, PIECE_ROWS) for start in range(0, self.count, PIECE_ROWS))

    def column(self, name: str) -> pa.ChunkedArray:
        """One column of the table."""
        return self._table.column(name)


class FileRows:
    """The rows of a Parquet file, decoded by row group when they are asked for.

    The file stays open, so that what is read is what was opened. Columns are given in the types of `schema`.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._file = pq.ParquetFile(path, memory_map=True)
        self._schema = schema
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
        names = self._schema.names
        return self._file.read_row_group(index, columns=names, use_threads=False).select(names).cast(self._schema)

    def pieces(self) -> Iterator[pa.Table]:
        """All rows, by pieces of row groups; nothing of it is kept."""
        names = self._schema.names
        batches = self._file.iter_batches(batch_size=PIECE_ROWS, columns=names, use_threads=False)
        while (batch := self._next(batches)) is not None:
            yield pa.Table.from_batches([batch]).select(names).cast(self._schema)

    def _next(self, batches: Iterator[pa.RecordBatch]) -> pa.RecordBatch | None:
        with self._lock:
            return next(batches, None)

    def column(self, name: str) -> pa.ChunkedArray:
        """Read one column of the file."""
        with self._lock:
            return self._file.read(columns=[name], use_threads=False).column(name).cast(self._schema.field(name).type)

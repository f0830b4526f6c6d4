"""A table of scores as CSV and as Parquet, and as lines of text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from pipeline import durable


@dataclass(frozen=True)
class Table:
    """Cells of text under `head`, with a `title` and, below, a `note`; the first column names the rows."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""

    def text(self) -> str:
        """Lines of text, columns as wide as they need to be, numbers at the right."""
        lines = [self.head, *self.rows]
        widths = [max(len(line[index]) for line in lines) for index in range(len(self.head))]
        body = ["  " + "  ".join(_aligned(cell, width, index) for index, (cell, width) in
                                 enumerate(zip(line, widths, strict=True))).rstrip() for line in lines]  # fmt: skip
        return "\n".join([self.title, *body, *([f"  {self.note}"] if self.note else [])])


def _aligned(cell: str, width: int, index: int) -> str:
    return cell.rjust(width) if index else cell.ljust(width)


def write_records(folder: Path, name: str, records: Sequence[Mapping[str, Any]]) -> None:
    """Publish `NAME.csv` and `NAME.parquet`; every record has the same keys, whose values are numbers or texts.

    NaN is an empty cell. Without records there are no files. Raises `Unwritable` where nothing can be written.
    """
    if not records:
        return
    table = pa.Table.from_pylist([{key: _cell(value) for key, value in item.items()} for item in records])
    durable.publish(folder / f"{name}.parquet", lambda path: pq.write_table(table, path, compression="zstd"))
    if not any(pa.types.is_list(kind) for kind in table.schema.types):
        durable.publish(folder / f"{name}.csv", lambda path: pc.write_csv(table, path))


def _cell(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value

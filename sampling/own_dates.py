"""Dates of the owner's places: `date`, or a range from `start` to `end`, which the anchoring obeys."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.errors import Fatal
from pipeline.locations import DATE_NAME, END_NAME, START_NAME
from pipeline.own_columns import DATE, TEXT, TIME


def dated(columns: pa.Table, path: Path) -> pa.Table:
    """The columns, with those that say when (`date`; or `start` and `end`, both included) as days under these names.

    A row may leave them empty. Raises `Fatal` for one that is no date, and for a range without one of its ends, that
    ends before it starts, or does not hold the row's date.
    """
    names = {name.lower(): name for name in columns.column_names}
    wanted = [DATE_NAME] if DATE_NAME in names else []
    wanted += [START_NAME, END_NAME] if {START_NAME, END_NAME} <= set(names) else []
    for name in wanted:
        at = columns.column_names.index(names[name])
        columns = columns.set_column(at, pa.field(name, DATE), _days(columns.column(at), name, path))
    _check_ranges(columns, path)
    return columns


def _days(column: pa.ChunkedArray, name: str, path: Path) -> pa.ChunkedArray:
    if column.type == DATE or column.null_count == len(column):
        return column.cast(DATE)
    if column.type == TIME:
        return column.cast(pa.timestamp("ms")).cast(DATE, safe=False)
    if column.type == TEXT and all(map(_is_day, column.unique().to_pylist())):
        return column.cast(DATE)
    row, given = next((row, value) for row, value in enumerate(column.to_pylist()) if not _is_day(value))
    raise Fatal(f"row {row + 1} of {path} has {name} {given!r}; write it as 2019-04-01, or rename the column.")


def _is_day(value: object) -> bool:
    try:
        pa.scalar(value, pa.string()).cast(DATE)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return False
    return True


def _check_ranges(columns: pa.Table, path: Path) -> None:
    date, start, end = (_column(columns, name) for name in (DATE_NAME, START_NAME, END_NAME))
    one_end = pc.xor(pc.is_null(start), pc.is_null(end))
    for wrong, problem in (
        (one_end, "has a start without an end, or the reverse; give both or none"),
        (pc.greater(start, end), "has an end before its start; exchange them"),
        (pc.or_kleene(pc.less(date, start), pc.greater(date, end)), "has a date outside its start and end; correct it"),
    ):
        _refuse(np.flatnonzero(np.asarray(wrong.fill_null(False))), problem, path)


def _column(columns: pa.Table, name: str) -> pa.ChunkedArray:
    there = name in columns.column_names and columns.schema.field(name).type == DATE
    both = name == DATE_NAME or {START_NAME, END_NAME} <= set(columns.column_names)
    return columns.column(name) if there and both else pa.chunked_array([pa.nulls(len(columns), DATE)])


def _refuse(rows: NDArray[np.int64] | Sequence[int], problem: str, path: Path) -> None:
    if len(rows):
        raise Fatal(f"row {rows[0] + 1} of {path} {problem}.")

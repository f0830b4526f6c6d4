"""The type of a column of text: what all of its cells can be read as."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.own_columns import BOOLEAN, DATE, FLOAT, INTEGER, TEXT, TIME

# Among numbers, dates or booleans these say that there is none; among texts, NA may be Namibia.
_NONE = pa.array(["na", "n/a", "nan", "null", "none"])
_WHOLE = r"^[+-]?(0|[1-9][0-9]*)$"  # 007 is a name
_NUMBER = r"^[+-]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_DAY = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
_MOMENT = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]+)?)?(Z|[+-][0-9]{2}:?[0-9]{2})?$"
_PATTERNS = {INTEGER: _WHOLE, FLOAT: _NUMBER, BOOLEAN: "(?i)^(true|false)$", DATE: _DAY, TIME: _MOMENT}


def typed(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column (n,) of text as integers, floats, booleans, dates (2019-04-01), times (UTC) or, else, text.

    Empty cells are null.
    """
    stripped = pc.utf8_trim_whitespace(text)
    cells = pc.if_else(pc.equal(stripped, ""), pa.scalar(None, TEXT), stripped)
    known = pc.if_else(pc.is_in(pc.utf8_lower(cells), _NONE), pa.scalar(None, TEXT), cells)
    for kind, pattern in _PATTERNS.items():
        if _all_match(known, pattern):
            column = _moments(known) if kind == TIME else _cast(known, kind)
            return cells if column is None else column
    return cells


def _cast(known: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray | None:
    try:
        return pc.ascii_ltrim(known, "+").cast(kind)
    except pa.ArrowInvalid:  # more digits than a whole number has, or a 30th of February: a name, not another number
        return None


def _all_match(known: pa.ChunkedArray, pattern: str) -> bool:
    return known.null_count < len(known) and bool(pc.all(pc.match_substring_regex(known, pattern)).as_py())


def _moments(known: pa.ChunkedArray) -> pa.ChunkedArray | None:
    try:
        moments = pd.to_datetime(known.to_pandas(), utc=True, format="ISO8601")
    except ValueError:
        return None
    return pa.chunked_array([pa.Array.from_pandas(moments.dt.floor("ms"))]).cast(TIME)

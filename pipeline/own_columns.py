"""Columns that the owner of a table of places brought: they travel with the places into the manifest, typed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

INTEGER, FLOAT, BOOLEAN, TEXT = pa.int64(), pa.float64(), pa.bool_(), pa.string()
DATE, TIME, OUTLINE = pa.date32(), pa.timestamp("ms", tz="UTC"), pa.binary()
OUTLINE_NAME = "outline"  # the column of polygons, in degrees, of which places are centres
PREFIX = "own_"  # before a name that is taken where the owner's column goes
# What tables of places, scenes and reasons call their columns, besides those of the manifest.
TAKEN_BESIDE = ("geometry", "row", "reason", "keep_with", "anchor_index", "ascending_index", "descending_index")
# Names the owner's columns in the file of a manifest: a column that somebody added to the file is none.
HEADER = b"geocorpus:own_columns"


def kind_of(given: pa.DataType) -> pa.DataType | None:
    """The type in which a column of a type is kept: integer, float, boolean, text, date, time or outline (WKB).

    None for a type that is none of these.
    """
    value = given.value_type if pa.types.is_dictionary(given) else given
    for kind, tests in _TESTS.items():
        if any(test(value) for test in tests):
            return kind
    return None


_TESTS = {
    INTEGER: (pa.types.is_integer,),
    FLOAT: (pa.types.is_floating, pa.types.is_decimal),
    BOOLEAN: (pa.types.is_boolean,),
    TEXT: (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view),
    DATE: (pa.types.is_date,),
    TIME: (pa.types.is_timestamp,),
    OUTLINE: (pa.types.is_binary, pa.types.is_large_binary),
}


def own_fields(schema: pa.Schema, others: Collection[str]) -> list[pa.Field]:
    """The fields not among the names `others` that can be kept, in their order and in the types of `kind_of`."""
    kinds = [(field.name, kind_of(field.type)) for field in schema if field.name not in others]
    return [pa.field(name, kind) for name, kind in kinds if kind is not None]


def named_in_header(schema: pa.Schema) -> list[str]:
    """The owner's columns of a manifest's file, as its header names them."""
    return list(json.loads((schema.metadata or {}).get(HEADER, b"[]")))


def header(names: Iterable[str]) -> dict[bytes, bytes]:
    """What names the owner's columns in a file; nothing without any, so that such files stay as they were."""
    listed = list(names)
    return {HEADER: json.dumps(listed).encode()} if listed else {}


class OwnDigest:
    """SHA-256 of the owner's columns: of names, types and every value, however the rows come in pieces."""

    def __init__(self, fields: Iterable[pa.Field]) -> None:
        self._columns = {field.name: (field.type, hashlib.sha256()) for field in fields}

    def add(self, piece: pa.Table) -> None:
        """The next rows."""
        for name, (kind, digest) in self._columns.items():
            # One value a line, floats in the shortest form that gives them back.
            values = json.dumps(_plain(piece.column(name), kind), separators=("\n", ":"))
            digest.update(f"{values[1:-1]}\n".encode() if len(piece) else b"")

    def over(self, others: str) -> str:
        """One digest over that of the other columns and these."""
        own = [[name, str(kind), digest.hexdigest()] for name, (kind, digest) in self._columns.items()]
        return hashlib.sha256(json.dumps([others, own]).encode()).hexdigest()


def _plain(column: pa.ChunkedArray, kind: pa.DataType) -> list[Any]:
    """Values that JSON holds: days and milliseconds since 1970 for dates and times."""
    if kind == OUTLINE:
        return [None if value is None else value.hex() for value in column.to_pylist()]
    number = {DATE: pa.int32(), TIME: pa.int64()}.get(kind)
    return list((column if number is None else column.cast(number)).to_pylist())


def as_array(column: pa.ChunkedArray) -> NDArray[Any]:
    """A column as NumPy knows it: with empty cells, whole numbers are floats with NaN, and booleans objects with None.

    Texts are objects, dates datetime64[D], and outlines WKB.
    """
    if column.type == OUTLINE or (column.type == BOOLEAN and column.null_count):
        return np.asarray(column.to_pylist(), dtype=object)
    return np.asarray(column)

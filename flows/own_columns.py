"""The owner's columns of places that a corpus is to gain, in the types in which the corpus has them."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pyarrow as pa

from flows.growth import Step
from pipeline.corpus_folder import MANIFEST
from pipeline.errors import Fatal
from pipeline.manifest import Manifest
from pipeline.own_columns import FLOAT, INTEGER, TEXT
from sampling.sample import Sample

# What a cell may become: a table that has the new places alone may hold whole numbers where others have fractions.
_SAME_VALUE = ((INTEGER, FLOAT), (FLOAT, INTEGER), (INTEGER, TEXT))


def fitted(step: Step, drawn: Sample) -> Sample:
    """The sample with the owner's columns in the types of the corpus, where no value changes by it.

    Raises `Fatal`, before the step is begun, for a column that the corpus lacks, and for one of another type.
    """
    if not step.number:
        return drawn
    manifest, table = Manifest.read(step.corpus / MANIFEST), drawn.table.copy(deep=False)
    for name in [name for name, kind in table.dtypes.items() if isinstance(kind, pd.ArrowDtype)]:
        if name not in manifest.own_columns:
            raise Fatal(
                f"the new places bring a column {name!r} that the corpus does not have, so that its chips would have "
                "nothing there; leave it out, or begin another folder."
            )
        column = _as(pa.chunked_array(pa.array(table[name])), str(name), manifest.own_type(str(name)))
        table[name] = pd.Series(column, index=table.index, dtype=pd.ArrowDtype(column.type))
    return replace(drawn, table=table)


def _as(column: pa.ChunkedArray, name: str, kind: pa.DataType) -> pa.ChunkedArray:
    """The column in another type, if every value is the same in it."""
    if column.null_count == len(column):
        return pa.chunked_array([pa.nulls(len(column), kind)])
    try:
        if column.type == kind or (column.type, kind) in _SAME_VALUE:
            return column.cast(kind)
    except pa.ArrowInvalid:  # 9.5 is no whole number
        pass
    raise Fatal(
        f"column {name!r} of the new places is of type {column.type}, and {kind} in the corpus; write its cells like "
        "those that are there, or begin another folder."
    )

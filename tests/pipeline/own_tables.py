"""Manifests with columns that an owner brought, one of every kind."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.manifest import SCHEMA, Manifest
from pipeline.own_columns import BOOLEAN, DATE, FLOAT, INTEGER, OUTLINE, TEXT, TIME
from pipeline.rows import GatheredRows, Source
from tests.pipeline.chips import make_manifest

KINDS = {
    "plot": INTEGER, "yield_t": FLOAT, "irrigated": BOOLEAN, "crop": TEXT, "sown": DATE, "seen": TIME, "field": OUTLINE,
}  # fmt: skip
VALUES: dict[str, list[Any]] = {
    "plot": [2**53 + 1, None, -7],
    "yield_t": [0.1 + 0.2, 1e10, None],
    "irrigated": [True, False, None],
    "crop": ["maize", 'a "b",\nc', None],
    "sown": [date(2019, 4, 1), None, date(1999, 12, 31)],
    "seen": [datetime(2019, 4, 1, 10, 5, 3, 7000, UTC), None, datetime(1969, 1, 1, tzinfo=UTC)],
    "field": [b"\x01\x02", None, b""],
}


def own_table(count: int) -> pa.Table:
    """So many rows of every kind of column, empty cells among them."""
    return pa.table(
        {name: pa.array([VALUES[name][row % 3] for row in range(count)], kind) for name, kind in KINDS.items()}
    )


def with_own(plain: Manifest, own: pa.Table, seed: int = 0) -> Manifest:
    """The same chips with these columns, frozen."""
    table = pa.concat_tables([plain._rows.part(0, len(plain))]).combine_chunks()
    rows = np.arange(len(plain))
    schema = pa.schema([*SCHEMA, *own.schema])
    return Manifest.freeze_rows(GatheredRows([Source(table, rows), Source(own.combine_chunks(), rows)], schema), seed)


def make_own_manifest(folder: Path, count: int, size_px: int = 16) -> Manifest:
    """As `make_manifest`, with columns of every kind."""
    manifest = with_own(make_manifest(folder, count, size_px), own_table(count))
    manifest.write(folder / "manifest.parquet")
    return manifest

"""The table of locations, from sampling to the manifest: texts as codes of a dictionary, a `Location` on demand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.errors import Fatal
from pipeline.location import Location
from pipeline.manifest import COLUMNS
from pipeline.own_columns import TAKEN_BESIDE, own_fields
from pipeline.rows import TEXT_CODES, conformed, in_one_piece

SPLIT = "split"
# Columns of the owner's that say when a place is wanted: days, both ends of a range included.
DATE_NAME, START_NAME, END_NAME = "date", "start", "end"
_NOT_OWN = (*COLUMNS, *TAKEN_BESIDE)
NAMES = tuple(field.name for field in fields(Location))
_NUMBERS = {"lon": pa.float64(), "lat": pa.float64(), "biome": pa.int64(), "ecoregion": pa.int64()}
# Ids are all different; of other texts there are few.
SCHEMA = pa.schema([(name, pa.string() if name == "id" else _NUMBERS.get(name, TEXT_CODES)) for name in NAMES])
_WITH_SPLIT = SCHEMA.append(pa.field(SPLIT, TEXT_CODES))
_PLAIN = pa.schema([(name, _NUMBERS.get(name, pa.string())) for name in _WITH_SPLIT.names])


@dataclass(frozen=True)
class Locations:
    """Locations in file order: `table` has the columns of `Location`, `split` once that is known, and the owner's.

    A row takes some 80 bytes, where a `Location` takes a thousand.
    """

    table: pa.Table

    @classmethod
    def of(cls, locations: Sequence[Location], split: str = "train") -> Locations:
        """From locations, all of one split."""
        records = [asdict(location) | {SPLIT: split} for location in locations]
        return cls(in_one_piece([conformed(pa.Table.from_pylist(records, _PLAIN), _WITH_SPLIT)]))

    @classmethod
    def read(cls, path: Path) -> Locations:
        """Read `locations.parquet`; raises `Fatal` when it is absent, unreadable or lacks a column."""
        if not path.exists():
            raise Fatal(f"{path} does not exist; run `geocorpus sample` first.")
        try:
            return cls(_read(path))
        except (OSError, ValueError) as error:
            remedy = "delete it and run `geocorpus sample`"
            raise Fatal(f"{path} cannot be read as GeoParquet ({error}); {remedy}.") from error

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, row: int) -> Location:
        return Location(**self.table.select(NAMES).slice(row, 1).to_pylist()[0])

    @cached_property
    def lonlat(self) -> NDArray[np.float64]:
        """Longitude and latitude (n, 2) in degrees."""
        return np.column_stack([np.asarray(self.table.column(name)) for name in ("lon", "lat")])

    def take(self, rows: NDArray[np.int64]) -> Locations:
        """Some of the rows, in this order."""
        return Locations(self.table.take(pa.array(rows)))

    def with_split(self, split: NDArray[np.str_]) -> Locations:
        """The same locations with the split (n,) of each."""
        codes = pa.array(split.tolist(), pa.string()).dictionary_encode()
        return Locations(self.table.append_column(_WITH_SPLIT.field(SPLIT), codes))

    @property
    def own(self) -> list[pa.Field]:
        """The fields of the columns that the owner's table of places brought."""
        return own_fields(self.table.schema, _NOT_OWN)

    @property
    def have_split(self) -> bool:
        """Whether the split of each location is known."""
        return SPLIT in self.table.column_names


def _read(path: Path) -> pa.Table:
    there = pq.read_schema(path)
    names = there.names
    absent = [name for name in NAMES if name not in names]
    if absent:
        raise Fatal(f"{path} lacks the columns {', '.join(absent)}; was it written by `geocorpus sample`?")
    known = _WITH_SPLIT if SPLIT in names else SCHEMA
    schema = pa.schema([*known, *own_fields(there, _NOT_OWN)])
    texts = [field.name for field in schema if field.type == TEXT_CODES]
    with pq.ParquetFile(path, read_dictionary=texts) as file:
        groups = range(file.num_row_groups)
        tables = [conformed(file.read_row_group(group, schema.names, use_threads=False), schema) for group in groups]
    return in_one_piece(tables) if tables else schema.empty_table()

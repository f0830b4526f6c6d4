"""A table of places as its owner keeps it: every column with a type, and the geometry if there is one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyogrio.raw import read_arrow

from pipeline.errors import Fatal
from pipeline.own_columns import DATE, TIME, kind_of
from sampling.typed_text import typed

_TEXTS, _PARQUETS = (".csv", ".tsv", ".txt"), (".parquet", ".pq")


@dataclass(frozen=True)
class OwnTable:
    """`columns` have the types of `pipeline.own_columns`; `geometry` (n,) is in EPSG:4326, or None without any.

    `left_out` names columns of types that cannot be kept, such as lists.
    """

    path: Path
    columns: pa.Table
    geometry: NDArray[Any] | None = None
    left_out: tuple[str, ...] = ()

    @classmethod
    def read(cls, path: Path) -> OwnTable:
        """Read CSV, TSV, Parquet, or any vector file; cells of text tables get the type that all of a column have.

        Raises `Fatal` for a file that is absent, cannot be read or has no rows, two columns of one name, and geometry
        without a CRS.
        """
        if not path.exists():
            raise Fatal(f"{path} does not exist; check the path.")
        try:
            table, geometry = _read(path)
        except (OSError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split()).rstrip(".")
            raise Fatal(
                f"{path} cannot be read as a table ({reason}); give CSV, TSV, Parquet or a vector file."
            ) from error
        if not len(table):
            raise Fatal(f"{path} has no points; give at least one.")
        return cls._of(path, table, None if geometry is None else _degrees(geometry, path))

    @classmethod
    def _of(cls, path: Path, table: pa.Table, geometry: NDArray[Any] | None) -> OwnTable:
        names = [name.strip() or f"column_{number}" for number, name in enumerate(table.column_names, 1)]
        repeated = next((name for name in names if names.count(name) > 1), None)
        if repeated is not None:
            raise Fatal(f"{path} has two columns {repeated!r}; rename one.")
        kinds = {name: kind_of(field.type) for name, field in zip(names, table.schema, strict=True)}
        kept = {
            name: _cast(column, kinds[name])
            for name, column in zip(names, table.columns, strict=True)
            if kinds[name] is not None
        }
        columns = pa.table(kept) if kept else table.select([])
        return cls(path, columns, geometry, tuple(name for name in names if name not in kept))

    def __len__(self) -> int:
        return len(self.columns) if self.geometry is None else len(self.geometry)

    def named(self, *names: str) -> str | None:
        """The column with one of these names, in any case; the first of them that there is."""
        lowered = {name.lower(): name for name in self.columns.column_names}
        return next((lowered[name] for name in names if name in lowered), None)


def _cast(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    if kind == TIME and column.type.tz is None:
        column = pc.assume_timezone(column, "UTC")
    return column.cast(kind, safe=kind not in (TIME, DATE))


def _read(path: Path) -> tuple[pa.Table, gpd.GeoSeries | None]:
    suffix = path.suffix.lower()
    if suffix in _TEXTS:
        return _read_text(path), None
    return _read_parquet(path) if suffix in _PARQUETS else _read_vector(path)


def _read_text(path: Path) -> pa.Table:
    separator = _separator(path)
    parse = pa_csv.ParseOptions(delimiter=separator, newlines_in_values=True)
    with pa_csv.open_csv(path, parse_options=parse) as stream:
        names = stream.schema.names
    # As text first: Arrow would read 007 as 7.
    as_text = pa_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()))
    table = pa_csv.read_csv(path, parse_options=parse, convert_options=as_text)
    return pa.Table.from_arrays([typed(column) for column in table.columns], names=names)


def _separator(path: Path) -> str:
    with path.open(encoding="utf-8", errors="replace") as stream:
        header = stream.readline()
    return max((",", "\t", ";"), key=header.count)


def _read_parquet(path: Path) -> tuple[pa.Table, gpd.GeoSeries | None]:
    schema = pq.read_schema(path)
    if b"geo" not in (schema.metadata or {}):
        return pq.read_table(path), None
    geometry = gpd.read_parquet(path).geometry
    return pq.read_table(path, columns=[name for name in schema.names if name != geometry.name]), geometry


def _read_vector(path: Path) -> tuple[pa.Table, gpd.GeoSeries | None]:
    about, table = read_arrow(path)
    name = about["geometry_name"] or "wkb_geometry"
    if name not in table.column_names:
        return table, None
    return table.drop_columns([name]), gpd.GeoSeries.from_wkb(table.column(name).to_pandas(), crs=about["crs"])


def _degrees(geometry: gpd.GeoSeries, path: Path) -> NDArray[Any]:
    if geometry.crs is None:
        raise Fatal(f"{path} has no CRS, so its coordinates mean nothing; set it, for example to EPSG:4326.")
    degrees: NDArray[Any] = geometry.to_crs("EPSG:4326").to_numpy()
    return degrees

"""A sampled point on Earth, and the writer of GeoParquet tables of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline import durable
from pipeline.geoparquet import WGS84, geo_header

NO_CODE = 0  # RESOLVE numbers biomes from 1 and ecoregions from 1, so 0 says "not known".


@dataclass(frozen=True)
class Location:
    """A point in degrees (WGS84) with the region it was drawn from.

    `biome` and `ecoregion` are RESOLVE's BIOME_NUM and ECO_ID; `NO_CODE` where not known.
    `stratum` names the quota that the point fills; within a stratum, points are in order of preference.
    """

    id: str
    lon: float
    lat: float
    stratum: str = ""
    biome: int = NO_CODE
    biome_name: str = ""
    ecoregion: int = NO_CODE
    ecoregion_name: str = ""
    realm: str = ""

    @property
    def lonlat(self) -> tuple[float, float]:
        """Longitude and latitude in degrees."""
        return self.lon, self.lat


def location_id(lon: float, lat: float) -> str:
    """A stable name for a point: 13 hexadecimal digits of the hash of its coordinates at 1e-7 degrees (1 cm)."""
    return hashlib.sha256(f"{lon:.7f},{lat:.7f}".encode()).hexdigest()[:13]


_PIECE_ROWS = 131_072
_POINT_WKB = np.dtype([("order", "u1"), ("kind", "<u4"), ("lon", "<f8"), ("lat", "<f8")])


def write_location_table(path: Path, table: pd.DataFrame) -> None:
    """Publish a table of locations as GeoParquet, piece by piece, so that millions need little memory.

    `table` has the fields of `Location` but the id, which is made here, and may have more columns: of text, best
    categorical, or of the type of an `ArrowDtype`.
    """
    durable.publish(path, lambda temporary: _write_pieces(temporary, table))


def _write_pieces(path: Path, table: pd.DataFrame) -> None:
    names = ["id", *(name for name in table.columns if name != "id"), "geometry"]
    schema = pa.schema([(name, _arrow_type(name, table)) for name in names], metadata=_header(table))
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for start in range(0, len(table), _PIECE_ROWS):
            writer.write_table(_arrow_piece(table.iloc[start : start + _PIECE_ROWS], schema))


def _header(table: pd.DataFrame) -> dict[str, str]:
    if not len(table):
        return geo_header("Point", crs=WGS84)
    lon, lat = table["lon"], table["lat"]
    bbox = [float(lon.min()), float(lat.min()), float(lon.max()), float(lat.max())]
    return geo_header("Point", crs=WGS84, bbox=bbox)


def _arrow_type(name: str, table: pd.DataFrame) -> pa.DataType:
    if name == "geometry":
        return pa.binary()
    if name in table and isinstance(table.dtypes[name], pd.ArrowDtype):
        return table.dtypes[name].pyarrow_dtype
    known = {"lon": pa.float64(), "lat": pa.float64(), "biome": pa.int64(), "ecoregion": pa.int64()}
    return known.get(name, pa.string())


def _arrow_piece(piece: pd.DataFrame, schema: pa.Schema) -> pa.Table:
    lon, lat = (np.asarray(piece[name], dtype=np.float64) for name in ("lon", "lat"))
    made = {
        "id": [location_id(*lonlat) for lonlat in zip(lon.tolist(), lat.tolist(), strict=True)],
        "geometry": _points_wkb(lon, lat),
    }
    columns = [made[name] if name in made else pa.array(piece[name]) for name in schema.names]
    cast = [pa.array(column, kind) if isinstance(column, list) else column.cast(kind)
            for column, kind in zip(columns, schema.types, strict=True)]  # fmt: skip
    return pa.Table.from_arrays(cast, schema=schema)


def _points_wkb(lon: NDArray[np.float64], lat: NDArray[np.float64]) -> pa.Array:
    points = np.empty(len(lon), dtype=_POINT_WKB)
    points["order"], points["kind"], points["lon"], points["lat"] = 1, 1, lon, lat
    ends = np.arange(len(lon) + 1, dtype=np.int32) * _POINT_WKB.itemsize
    return pa.Array.from_buffers(pa.binary(), len(lon), [None, pa.py_buffer(ends), pa.py_buffer(points.tobytes())])

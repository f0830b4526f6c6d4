"""Embeddings as GeoParquet with Major TOM's columns, a line per chip and view: for geopandas, DuckDB, TorchGeo."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray

from exporters.formats.embeddings.description import View
from exporters.formats.embeddings.layout import StoreLayout
from exporters.formats.embeddings.major_tom_grid import cells_of
from exporters.formats.embeddings.store import EmbeddingStore
from pipeline.geoparquet import WGS84, geo_header
from pipeline.manifest import Manifest

_ROWS = 1024  # of a row group, at once in memory
_SCHEMA = pa.schema([
    ("unique_id", pa.string()), ("embedding", pa.list_(pa.float32())), ("timestamp", pa.string()),
    ("product_id", pa.string()), ("grid_cell", pa.string()), ("grid_row_u", pa.int16()), ("grid_col_r", pa.int16()),
    ("geometry", pa.binary()), ("centre_lat", pa.float32()), ("centre_lon", pa.float32()),
    ("utm_footprint", pa.string()), ("utm_crs", pa.string()), ("pixel_bbox", pa.list_(pa.int32())),
    ("chip", pa.string()), ("row", pa.int64()), ("split", pa.string()), ("view", pa.string()),
    ("channels", pa.list_(pa.string())), ("valid_share", pa.float32()), ("model", pa.string()),
    ("model_digest", pa.string()), ("corpus_digest", pa.string()),
])  # fmt: skip
Columns = dict[str, Any]


@dataclass(frozen=True)
class EmbeddingTable:
    """The embeddings of `store`, one vector a chip, laid out as `layout` says, and the manifest of their corpus."""

    store: EmbeddingStore
    layout: StoreLayout

    def write(self, path: Path) -> str:
        """Write the file; returns a line about it. Chips without data in a view have no line for it."""
        lines = 0
        with pq.ParquetWriter(path, self._schema(), compression="zstd") as writer:
            for table in self._tables():
                writer.write_table(table.cast(writer.schema), row_group_size=_ROWS)
                lines += len(table)
        return f"{lines} vectors of {self.store.width} numbers of {len(self.layout.rows)} chips."

    def _schema(self) -> pa.Schema:
        lonlat = self.store.lonlat
        bbox = [*lonlat.min(axis=0).tolist(), *lonlat.max(axis=0).tolist()]
        return _SCHEMA.with_metadata(geo_header("Polygon", bbox=bbox, crs=WGS84))

    def _tables(self) -> Iterator[pa.Table]:
        grids = self.layout.grids
        outlines = np.concatenate(list(grids.outlines(self.layout.rows)))
        for start in range(0, len(self.layout.rows), _ROWS):
            place = slice(start, start + _ROWS)
            chips = self._chips(grids, place, outlines[place])
            for view in self.store.description.views:
                yield self._lines(chips, view, place)

    def _lines(self, chips: Columns, view: View, place: slice) -> pa.Table:
        vectors, count = self.store.values(view.name, place), len(chips["row"])
        about = self.store.description
        same = {
            "view": view.name, "channels": list(view.channels), "model": about.model,
            "model_digest": about.model_digest, "corpus_digest": about.corpus_digest,
        }  # fmt: skip
        columns = {name: pa.array([value] * count, _SCHEMA.field(name).type) for name, value in same.items()}
        columns |= {name: pa.array(values, _SCHEMA.field(name).type) for name, values in chips.items()}
        columns["embedding"] = _lists(vectors)
        columns["valid_share"] = pa.array(self.store.valid_share(view.name)[place])
        columns["unique_id"] = pa.array(_unique_ids(chips, vectors), pa.string())
        table = pa.table([columns[name] for name in _SCHEMA.names], schema=_SCHEMA)
        return table.filter(pa.array(~np.isnan(vectors).any(axis=1)))

    def _chips(self, grids: Manifest, place: slice, outlines: NDArray[Any]) -> Columns:
        """What the lines of a chip have in common, for some rows of the store."""
        rows = self.layout.rows[place]
        own = {name: grids.column(name)[rows] for name in ("id", "split", "crs", "anchor_id", "anchor_time")}
        lonlat, cells = self.store.lonlat[place], cells_of(self.store.lonlat[place])
        first = (self.layout.manifest.size_px - self.store.description.image_px) // 2
        bbox = [first, first, first + self.store.description.image_px, first + self.store.description.image_px]
        return {
            "timestamp": [_timestamp(time) for time in own["anchor_time"]],
            "product_id": [str(asset).rpartition("/")[2] for asset in own["anchor_id"]],
            "grid_cell": cells.names, "grid_row_u": cells.row_u, "grid_col_r": cells.col_r,
            "geometry": list(shapely.to_wkb(outlines)), "centre_lon": lonlat[:, 0].astype(np.float32),
            "centre_lat": lonlat[:, 1].astype(np.float32), "utm_footprint": _footprints(grids, rows),
            "utm_crs": own["crs"].tolist(), "pixel_bbox": [bbox] * len(rows), "chip": own["id"].tolist(),
            "row": rows, "split": own["split"].tolist(),
        }  # fmt: skip


def _lists(vectors: NDArray[np.float32]) -> pa.Array:
    offsets = np.arange(len(vectors) + 1, dtype=np.int32) * vectors.shape[1]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(vectors.reshape(-1)))


def _timestamp(time: np.datetime64) -> str:
    """As Major TOM writes it: "20190602T064631"."""
    return str(time.astype("datetime64[s]")).replace("-", "").replace(":", "")


def _footprints(grids: Manifest, rows: NDArray[np.int64]) -> list[str]:
    """Outlines in metres of their CRS, as WKT."""
    left, top, resolution, height, width = (
        grids.column(name)[rows] for name in ("origin_x_m", "origin_y_m", "resolution_m", "height_px", "width_px")
    )
    boxes = shapely.box(left, top - height * resolution, left + width * resolution, top)
    return [str(item) for item in shapely.to_wkt(boxes, rounding_precision=3)]


def _unique_ids(chips: Columns, vectors: NDArray[np.float32]) -> list[str]:
    """SHA-256 over geometry, timestamp, product and embedding."""
    parts: Sequence[Any] = (chips["geometry"], chips["timestamp"], chips["product_id"], vectors)
    return [
        hashlib.sha256(b"".join([outline, time.encode(), product.encode(), vector.tobytes()])).hexdigest()
        for outline, time, product, vector in zip(*parts, strict=True)
    ]

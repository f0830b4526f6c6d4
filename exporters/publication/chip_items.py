"""The chips of a data set as STAC items in one GeoParquet file, a few thousand rows at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray

from exporters.formats.stac_chips import PROJECTION, authority_code, cut_outline
from exporters.publication.collection import ID, collection, layer_asset, store_asset
from exporters.publication.dataset import Dataset
from pipeline.corpus_folder import MANIFEST
from pipeline.geoparquet import WGS84
from pipeline.own_columns import DATE, OUTLINE, PREFIX, TIME
from pipeline.rows import PIECE_ROWS

ITEMS = "items.parquet"
_VERSION = "1.1.0"  # of the specification of STAC in GeoParquet
_OWN = "geocorpus:"
_TEXT, _NUMBERS = pa.string(), pa.list_(pa.float64())
_LINKS = pa.list_(pa.struct([(name, _TEXT) for name in ("rel", "href", "type", "title")]))
_BOX = pa.struct([(name, pa.float64()) for name in ("xmin", "ymin", "xmax", "ymax")])
_UTC = "%Y-%m-%dT%H:%M:%SZ"
_FACTS = ("level", "split", "biome", "biome_name", "ecoregion", "ecoregion_name", "realm")
_SCENES = ("anchor", "ascending", "descending")


@dataclass(frozen=True)
class ChipItems:
    """Row i of the file is chip i. An item has no asset for a layer of which its chip has no data."""

    dataset: Dataset

    def write(self, path: Path) -> None:
        """Write them; a row group has some thousands of rows."""
        with pq.ParquetFile(self.dataset.corpus.folder / MANIFEST) as manifest:
            batches = manifest.iter_batches(batch_size=PIECE_ROWS, use_threads=False)
            first = self._table(pa.Table.from_batches([next(batches)]), 0)
            with pq.ParquetWriter(path, first.schema.with_metadata(self._header), compression="zstd") as writer:
                for table in self._tables(first, batches):
                    writer.write_table(table.replace_schema_metadata(self._header))

    def _tables(self, first: pa.Table, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
        yield first
        start = len(first)
        for batch in batches:
            yield self._table(pa.Table.from_batches([batch]), start).cast(first.schema)
            start += len(batch)

    @cached_property
    def _header(self) -> dict[str, str]:
        covering = {name: ["bbox", name] for name in ("xmin", "ymin", "xmax", "ymax")}
        column = {
            "encoding": "WKB", "geometry_types": ["Polygon", "MultiPolygon"], "crs": WGS84,
            "bbox": list(self.dataset.bbox), "covering": {"bbox": covering},
        }  # fmt: skip
        geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
        stac = {"version": _VERSION, "collections": {ID: collection(self.dataset)}}
        return {"geo": json.dumps(geo), "stac-geoparquet": json.dumps(stac)}

    def _table(self, rows: pa.Table, start: int) -> pa.Table:
        """The items of some rows of the manifest, of which the first is row `start`."""
        columns = self._frame(rows) | _projection(rows) | _facts(rows, start) | self._own(rows)
        columns["assets"] = self._assets(slice(start, start + len(rows)))
        return pa.table(columns)

    def _frame(self, rows: pa.Table) -> dict[str, Any]:
        """What every item has."""
        count = len(rows)
        outlines, box = _outlines(rows)
        link = {"rel": "collection", "href": "./collection.json", "type": "application/json", "title": "Chips"}
        return {
            "type": _repeated("Feature", _TEXT, count), "stac_version": _repeated(_VERSION, _TEXT, count),
            "stac_extensions": _repeated([PROJECTION], pa.list_(_TEXT), count), "id": rows["id"],
            "geometry": pa.array(shapely.to_wkb(outlines), pa.binary()), "bbox": box,
            "links": _repeated([link], _LINKS, count), "collection": _repeated(ID, _TEXT, count),
            "datetime": rows["anchor_time"].cast(pa.timestamp("us", tz="UTC")),
        }  # fmt: skip

    def _own(self, rows: pa.Table) -> dict[str, Any]:
        manifest = self.dataset.corpus.manifest
        kept = [name for name in manifest.own_columns if manifest.own_type(name) != OUTLINE]
        return {f"{_OWN}{PREFIX}{name}": _plain(rows[name], manifest.own_type(name)) for name in kept}

    def _assets(self, rows: slice) -> pa.StructArray:
        count = rows.stop - rows.start
        fields = {"store": _asset_column(store_asset(), np.ones(count, dtype=bool))}
        for layer in self.dataset.layers:
            fields[layer.name] = _asset_column(layer_asset(layer), ~self._missing[layer.name][rows])
        return pa.StructArray.from_arrays(list(fields.values()), names=list(fields))

    @cached_property
    def _missing(self) -> Mapping[str, NDArray[np.bool_]]:
        """For each layer the rows (n,) without any data."""
        missing = {layer.name: np.zeros(len(self.dataset.corpus.manifest), dtype=bool) for layer in self.dataset.layers}
        for name, rows in missing.items():
            for entry in self.dataset.corpus.findings(name):
                rows[list(entry.missing)] = True
        return missing


def _repeated(value: Any, kind: pa.DataType, count: int) -> pa.Array:
    return pa.array([value], kind).take(pa.array(np.zeros(count, dtype=np.int32)))


def _asset_column(asset: Mapping[str, Any], present: NDArray[np.bool_]) -> pa.Array:
    return pa.array([asset, None]).take(pa.array(np.where(present, 0, 1)))


def _outlines(rows: pa.Table) -> tuple[NDArray[Any], pa.StructArray]:
    """Footprints (n,), cut at the antimeridian, and their boxes, of which west is above east there."""
    outlines = np.array(shapely.from_wkb(np.asarray(rows["geometry"].to_pylist(), dtype=object)))
    west, south, east, north = shapely.bounds(outlines).T
    across = east > 180
    outlines[across] = [cut_outline(outline) for outline in outlines[across]]
    sides = [west, south, np.where(across, east - 360, east), north]
    return outlines, pa.StructArray.from_arrays([pa.array(side) for side in sides], fields=list(_BOX))


def _projection(rows: pa.Table) -> dict[str, Any]:
    left, top, resolution = (np.asarray(rows[name]) for name in ("origin_x_m", "origin_y_m", "resolution_m"))
    height, width = np.asarray(rows["height_px"]), np.asarray(rows["width_px"])
    nothing = np.zeros(len(rows))
    transform = np.column_stack([resolution, nothing, left, nothing, -resolution, top])
    box = np.column_stack([left, top - height * resolution, left + width * resolution, top])
    names = rows["crs"].to_pylist()
    codes = {name: authority_code(name) for name in set(names)}
    return {
        "proj:code": pa.array([codes[name] for name in names], _TEXT),
        "proj:shape": pa.array(np.column_stack([height, width]).tolist(), pa.list_(pa.int64())),
        "proj:transform": pa.array(transform.tolist(), _NUMBERS), "proj:bbox": pa.array(box.tolist(), _NUMBERS),
    }  # fmt: skip


def _facts(rows: pa.Table, start: int) -> dict[str, Any]:
    """What is known of the chips; nothing for an unknown region or a scene that there is not."""
    facts = {"row": pa.array(np.arange(start, start + len(rows))), "longitude": rows["lon"], "latitude": rows["lat"]}
    facts |= {name: _known(rows[name]) for name in _FACTS}
    for role in _SCENES:
        facts |= {f"{role}_id": rows[f"{role}_id"], f"{role}_time": pc.strftime(rows[f"{role}_time"], format=_UTC)}
    return {f"{_OWN}{name}": column for name, column in facts.items()}


def _known(column: pa.ChunkedArray) -> pa.ChunkedArray:
    nothing = pa.scalar("" if pa.types.is_string(column.type) else 0, column.type)
    return pc.if_else(pc.equal(column, nothing), pa.scalar(None, column.type), column)


def _plain(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """As JSON holds it: days and times as text."""
    if kind == DATE:
        return column.cast(_TEXT)
    return pc.strftime(column, format=_UTC) if kind == TIME else column

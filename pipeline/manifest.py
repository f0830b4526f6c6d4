"""The frozen, ordered, hashed table of chips: row i is row i for ever."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray

from pipeline import durable
from pipeline.chip import Acquisition, Chip, Scene
from pipeline.errors import Fatal
from pipeline.geoparquet import WGS84, geo_header
from pipeline.grid import Grid, to_lonlat
from pipeline.location import Location
from pipeline.rows import PIECE_ROWS, FileRows, GatheredRows, HeldRows, Rows, Source
from pipeline.shard import Shard, shards_of

SPLITS = ("train", "val", "test")
_LOCATION = tuple(field.name for field in fields(Location))
_SCENES = ("anchor", "ascending", "descending")
_GRID = ("crs", "origin_x_m", "origin_y_m", "resolution_m", "height_px", "width_px")
_TIME = pa.timestamp("ms", tz="UTC")
_TYPES = {
    "lon": pa.float64(), "lat": pa.float64(), "biome": pa.int64(), "ecoregion": pa.int64(),
    "origin_x_m": pa.float64(), "origin_y_m": pa.float64(), "resolution_m": pa.float64(),
    "height_px": pa.int64(), "width_px": pa.int64(), **{f"{role}_time": _TIME for role in _SCENES},
}  # fmt: skip
COLUMNS = (
    *_LOCATION, "split", *_GRID, "level", *(f"{role}_{part}" for role in _SCENES for part in ("id", "time")),
)  # fmt: skip
SCHEMA = pa.schema([(name, _TYPES.get(name, pa.string())) for name in COLUMNS])
# Remembers the digest of a manifest file, and the file that it was computed from.
DIGEST_SUFFIX = ".digest.json"


class Manifest:
    """Chips in their final order. Iterates and indexes as `Chip`, made on demand.

    What `read` gives leaves the rows in the file: a million of them cost the memory of those in work.
    """

    def __init__(self, rows: Rows, digest: str | None = None) -> None:
        self._rows = rows
        if digest is not None:
            self.digest = digest

    @classmethod
    def freeze(cls, chips: Sequence[Chip], seed: int) -> Manifest:
        """Order `chips` for ever, as `freeze_rows` does. Raises `Fatal` for what cannot be frozen."""
        table = pa.concat_tables([SCHEMA.empty_table(), *_tables(chips)]).combine_chunks()
        return cls.freeze_rows(GatheredRows([Source(table, np.arange(len(table)))], SCHEMA), seed)

    @classmethod
    def freeze_rows(cls, rows: GatheredRows, seed: int) -> Manifest:
        """Order rows of `SCHEMA` for ever: splits one after the other (train, val, test), shuffled by `seed` in each.

        Any prefix of the train rows is thus a random sample. Raises `Fatal` for no rows, a repeated location or an
        unknown split.
        """
        if not rows.count:
            raise Fatal(
                "there are no chips to freeze: no location found a usable scene; widen years or the cloud limit."
            )
        by_id = _by_id(rows.column("id"))
        shuffled = by_id[np.random.default_rng(seed).permutation(rows.count)]
        split = _split_codes(rows.column("split"))
        return cls(rows.reordered(shuffled[np.argsort(split[shuffled], kind="stable")]))

    @classmethod
    def of_frame(cls, frame: pd.DataFrame) -> Manifest:
        """From a table with (at least) the columns of `COLUMNS`, in their final order."""
        return cls(HeldRows(pa.Table.from_pandas(frame[list(COLUMNS)], preserve_index=False).cast(SCHEMA)))

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Open `manifest.parquet`; raises `Fatal` when it is absent or not a manifest."""
        if not path.exists():
            raise Fatal(f"{path} does not exist; run `geocorpus anchor` first.")
        try:
            rows = FileRows(path, SCHEMA)
        except (OSError, ValueError) as error:
            raise Fatal(f"{path} cannot be read as GeoParquet ({error}).") from error
        absent = [name for name in COLUMNS if name not in rows.names]
        if absent:
            raise Fatal(f"{path} lacks the columns {', '.join(absent)}; it is no manifest of this version.")
        return cls(rows, _remembered(path))

    def write(self, path: Path) -> None:
        """Publish as GeoParquet, its digest beside it; equal manifests give equal bytes."""
        durable.publish(path, self._write_pieces)
        known = {"digest": self.digest, "file": _file_digest(path)}
        durable.write_json(path.with_suffix(DIGEST_SUFFIX), known)

    def _write_pieces(self, path: Path) -> None:
        names = [*SCHEMA, pa.field("geometry", pa.binary())]
        schema = pa.schema(names, metadata=geo_header("Polygon", bbox=self._bbox(), crs=WGS84))
        with pq.ParquetWriter(path, schema, compression="zstd") as writer:
            for piece in self._rows.pieces():
                outlines = pa.array(shapely.to_wkb(_outlines(piece)), pa.binary())
                writer.write_table(piece.append_column("geometry", outlines).cast(schema), row_group_size=PIECE_ROWS)

    def _bbox(self) -> list[float]:
        bounds = np.array([shapely.total_bounds(_outlines(piece)) for piece in self._rows.pieces()])
        return [*bounds[:, :2].min(axis=0).tolist(), *bounds[:, 2:].max(axis=0).tolist()]

    def __len__(self) -> int:
        return self._rows.count

    def __getitem__(self, row: int) -> Chip:
        if not 0 <= row < len(self):
            raise IndexError(row)
        return self.chips(row, row + 1)[0]

    def __iter__(self) -> Iterator[Chip]:
        starts = range(0, len(self), PIECE_ROWS)
        return (chip for start in starts for chip in self.chips(start, min(start + PIECE_ROWS, len(self))))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Manifest) and self.digest == other.digest

    __hash__ = None  # type: ignore[assignment]

    def chips(self, start: int, stop: int) -> list[Chip]:
        """The chips of rows `start` (inclusive) to `stop` (exclusive)."""
        records = self._rows.part(start, stop).to_pylist()
        return [_chip(record, row) for row, record in enumerate(records, start)]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the rows in order: the identity that the store and the ledger are bound to."""
        text = hashlib.sha256(f"{','.join(COLUMNS)}\n".encode())
        for piece in self._rows.pieces():
            text.update(_csv(piece).encode())
        return text.hexdigest()

    @cached_property
    def size_px(self) -> int:
        """Width of every chip in pixels."""
        return int(self._rows.part(0, 1).column("width_px")[0].as_py())

    @cached_property
    def resolution_m(self) -> float:
        """Side of every pixel in metres."""
        return float(self._rows.part(0, 1).column("resolution_m")[0].as_py())

    @property
    def frame(self) -> gpd.GeoDataFrame:
        """The whole table with footprints, for tools that want it; a million rows take gigabytes."""
        table = pa.concat_tables(self._rows.pieces())
        return gpd.GeoDataFrame(table.to_pandas(), geometry=_outlines(table), crs="EPSG:4326")

    def column(self, name: str, rows: slice | None = None) -> NDArray[Any]:
        """One column as an array, such as "level" or "split"; of some rows if asked.

        Texts are objects (of a long column, equal ones the same object); times are datetime64[ms] in UTC.
        """
        return _array(self._rows.column(name) if rows is None else self._rows.part(rows.start, rows.stop).column(name))

    def pieces(self, *names: str) -> Iterator[list[NDArray[Any]]]:
        """These columns, some thousands of rows at a time: for a look at all rows that keeps none."""
        for piece in self._rows.pieces():
            yield [_array(piece.column(name)) for name in names]

    def outlines(self) -> NDArray[Any]:
        """The footprint of every row as a polygon in lon/lat; across the antimeridian it runs beyond 180 degrees."""
        return np.concatenate([_outlines(piece) for piece in self._rows.pieces()])

    def rows_of(self, split: str) -> NDArray[np.int64]:
        """Row numbers of a split, ascending."""
        return np.flatnonzero(self.column("split") == split)

    def shards(self, shard_rows: int) -> tuple[Shard, ...]:
        """The units of work: consecutive row ranges that cover every row once."""
        return shards_of(len(self), shard_rows)


def _by_id(ids: pa.ChunkedArray) -> NDArray[np.int64]:
    """Row numbers (n,) in the order of their ids; raises `Fatal` for one that occurs twice."""
    order = pc.sort_indices(ids)
    ordered = ids.take(order).combine_chunks()
    if pc.any(pc.equal(ordered[1:], ordered[:-1])).as_py():
        raise Fatal("the same location occurs twice; remove the duplicate points.")
    return np.asarray(order).astype(np.int64)


def _split_codes(names: pa.ChunkedArray) -> NDArray[np.int8]:
    """The place (n,) of each row's split in `SPLITS`; raises `Fatal` for one that is not there."""
    codes = pc.index_in(names, value_set=pa.array(SPLITS))
    if codes.null_count:
        strange = pc.unique(names.filter(pc.is_null(codes))).to_pylist()
        raise Fatal(f"unknown split {min(map(str, strange))!r}; use one of {', '.join(SPLITS)}.")
    return np.asarray(codes).astype(np.int8)


def _tables(chips: Sequence[Chip]) -> Iterator[pa.Table]:
    for start in range(0, len(chips), PIECE_ROWS):
        columns = zip(*[_record(chip) for chip in chips[start : start + PIECE_ROWS]], strict=True)
        arrays = [pa.array(cells, field.type) for cells, field in zip(columns, SCHEMA, strict=True)]
        yield pa.Table.from_arrays(arrays, schema=SCHEMA)


def _record(chip: Chip) -> tuple[Any, ...]:
    location = tuple(getattr(chip.location, name) for name in _LOCATION)
    grid = (chip.grid.crs, *chip.grid.origin_xy, chip.grid.resolution_m, *chip.grid.shape_yx)
    scenes = [part for role in _SCENES for part in _scene_cells(getattr(chip.acquisition, role))]
    return (*location, chip.split, *grid, chip.acquisition.level, *scenes)


def _scene_cells(scene: Scene | None) -> tuple[str | None, datetime | None]:
    return (scene.asset_id, scene.time) if scene else (None, None)


def _csv(piece: pa.Table) -> str:
    """Rows as pandas has always written them for the digest."""
    text: str = piece.to_pandas().to_csv(
        index=False, header=False, float_format="%.9g", date_format="%Y-%m-%dT%H:%M:%S.%f", lineterminator="\n"
    )
    return text


def _chip(cells: Mapping[str, Any], row: int) -> Chip:
    location = Location(**{name: cells[name] for name in _LOCATION})
    grid = Grid(
        cells["crs"], (cells["origin_x_m"], cells["origin_y_m"]), (cells["height_px"], cells["width_px"]),
        cells["resolution_m"],
    )  # fmt: skip
    scenes = {role: _scene(cells[f"{role}_id"], cells[f"{role}_time"]) for role in _SCENES}
    anchor = scenes["anchor"]
    if anchor is None:
        raise Fatal(f"row {row} of the manifest has no anchor scene; the file is damaged.")
    acquisition = Acquisition(anchor, cells["level"], scenes["ascending"], scenes["descending"])
    return Chip(location, grid, acquisition, cells["split"], row)


def _scene(asset_id: str | None, time: datetime | None) -> Scene | None:
    return None if asset_id is None or time is None else Scene(asset_id, time.astimezone(UTC))


def _array(cells: pa.ChunkedArray) -> NDArray[Any]:
    if pa.types.is_string(cells.type):
        return np.asarray(cells.to_pylist(), dtype=object) if len(cells) <= PIECE_ROWS else _shared(cells)
    return np.asarray(cells.cast(pa.timestamp("ms")) if cells.type == _TIME else cells)


def _shared(cells: pa.ChunkedArray) -> NDArray[Any]:
    """Texts of a long column, equal ones as one object; None for none."""
    texts = cells.dictionary_encode().combine_chunks()
    known = np.asarray([*texts.dictionary.to_pylist(), None], dtype=object)
    return np.asarray(known[np.asarray(texts.indices.fill_null(len(known) - 1))])


def _outlines(table: pa.Table) -> NDArray[Any]:
    """Footprints (n,) as `Grid.footprint` gives them, one CRS after the other."""
    columns = ("origin_x_m", "origin_y_m", "resolution_m", "height_px", "width_px")
    left, top, resolution, height, width = (np.asarray(table.column(name)) for name in columns)
    right, bottom = left + width * resolution, top - height * resolution
    x, y = np.column_stack([left, right, right, left]), np.column_stack([top, top, bottom, bottom])
    crs = np.asarray(table.column("crs").to_pandas().astype(object))
    corners = np.empty((len(table), 4, 2))
    for name in sorted(set(crs.tolist())):
        here = crs == name
        corners[here] = np.stack(to_lonlat(name).transform(x[here], y[here]), axis=-1)
    lon = corners[..., 0]
    lon[(np.ptp(lon, axis=1) > 180)[:, None] & (lon < 0)] += 360
    return np.asarray(shapely.polygons(corners))


def _remembered(path: Path) -> str | None:
    """The digest that was written with this very file; None where none was, or the file is another one now."""
    kept = path.with_suffix(DIGEST_SUFFIX)
    if not kept.exists():
        return None
    known = durable.read_json(kept)
    return str(known["digest"]) if known.get("file") == _file_digest(path) else None


def _file_digest(path: Path) -> str:
    about = path.stat()
    return _digest_of(path, about.st_ino, about.st_size, about.st_mtime_ns)


@lru_cache(maxsize=16)
def _digest_of(path: Path, *_about: int) -> str:
    """SHA-256 of a file's bytes, computed once a process for the file that it was."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

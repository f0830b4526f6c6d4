"""The frozen, ordered, hashed table of chips: row i is row i for ever."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
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

from pipeline import ancestor, durable, seal
from pipeline.ancestor import Ancestor
from pipeline.chip import ROLES, Acquisition, Chip, Scene
from pipeline.errors import Fatal
from pipeline.geoparquet import WGS84, geo_header
from pipeline.grid import Grid, lonlat_of
from pipeline.location import Location
from pipeline.own_columns import OwnDigest, as_array, header, named_in_header, own_fields
from pipeline.picked_rows import PickedRows
from pipeline.regridded_rows import CentreGrid, RegriddedRows
from pipeline.rows import (
    PIECE_ROWS,
    UNREADABLE,
    ChosenColumns,
    FileRows,
    FirstRows,
    GatheredRows,
    HeldRows,
    JoinedRows,
    Rows,
    Source,
)
from pipeline.shard import Shard, shards_of

SPLITS = ("train", "val", "test")
_LOCATION = tuple(field.name for field in fields(Location))
_GRID = ("crs", "origin_x_m", "origin_y_m", "resolution_m", "height_px", "width_px")
_TIME = pa.timestamp("ms", tz="UTC")
_TYPES = {
    "lon": pa.float64(), "lat": pa.float64(), "biome": pa.int64(), "ecoregion": pa.int64(),
    "origin_x_m": pa.float64(), "origin_y_m": pa.float64(), "resolution_m": pa.float64(),
    "height_px": pa.int64(), "width_px": pa.int64(), **{f"{role}_time": _TIME for role in ROLES},
}  # fmt: skip
COLUMNS = (
    *_LOCATION, "split", *_GRID, "level", *(f"{role}_{part}" for role in ROLES for part in ("id", "time")),
)  # fmt: skip
SCHEMA = pa.schema([(name, _TYPES.get(name, pa.string())) for name in COLUMNS])
# Remembers the digest of a manifest file, and the file that it was computed from.
DIGEST_SUFFIX = ".digest.json"


class Manifest:
    """Chips in their final order. Iterates and indexes as `Chip`, made on demand.

    What `read` gives leaves the rows in the file: a million of them cost the memory of those in work. `ancestors` are
    its earlier states, oldest first, if it has grown: each is its first rows.
    """

    def __init__(self, rows: Rows, digest: str | None = None, ancestors: Sequence[Ancestor] = ()) -> None:
        self._rows = rows
        self.ancestors = tuple(ancestors)
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
        return cls(_ordered(rows, np.random.default_rng(seed)))

    def extended(self, rows: GatheredRows, seed: int) -> Manifest:
        """These rows as they are, and new ones behind them, in an order as of `freeze_rows`; this is its last ancestor.

        Without new rows the digest is the same. Raises `Fatal` for a location that is there already or twice, an
        unknown split, or chips of another size.
        """
        ancestors = (*self.ancestors, Ancestor(len(self), self.digest))
        if not rows.count:
            return Manifest(self._rows, self.digest, ancestors)
        if pc.any(pc.is_in(rows.column("id"), value_set=self._rows.column("id").combine_chunks())).as_py():
            raise Fatal("a new location is in the manifest already; a manifest holds each once.")
        self._refuse_new_columns(rows)
        if (new := Manifest(rows)).size_px != self.size_px or new.resolution_m != self.resolution_m:
            raise Fatal(
                f"chips of {new.size_px} px cannot be added to chips of {self.size_px} px; keep corpus.size_px as it "
                "was, or begin another folder."
            )
        ordered = _ordered(rows, np.random.default_rng([seed, len(ancestors)]))
        return Manifest(JoinedRows(self._rows, ordered), ancestors=ancestors)

    def _refuse_new_columns(self, rows: Rows) -> None:
        """Rows that are there have nothing in a new column, and their digest would be another."""
        known = {field.name: field.type for field in self._own}
        for field in own_fields(rows.schema, COLUMNS):
            if known.get(field.name) != field.type:
                raise Fatal(
                    f"the new places bring a column {field.name!r} ({field.type}) that the corpus does not have; "
                    "leave it out, or begin another folder."
                )

    def at(self, digest: str) -> Manifest | None:
        """The state with that digest: this one or an ancestor; None for no state of this manifest."""
        if digest == self.digest:
            return self
        for number, item in enumerate(self.ancestors):
            if item.digest == digest:
                return Manifest(FirstRows(self._rows, item.rows), digest, self.ancestors[:number])
        return None

    @cached_property
    def lineage(self) -> frozenset[str]:
        """The digests of all states."""
        return frozenset({self.digest, *(item.digest for item in self.ancestors)})

    def refuse_false_ancestors(self) -> None:
        """Raise `Fatal` where the first rows have not the digest that an ancestor has; reads all rows."""
        for item in self.ancestors:
            if Manifest(FirstRows(self._rows, item.rows)).digest != item.digest:
                raise Fatal(
                    f"the first {item.rows} rows of the manifest are not those that it grew from; put the file back."
                )

    @classmethod
    def picked(cls, parts: Sequence[Manifest], which: NDArray[np.integer], rows: NDArray[np.int64]) -> Manifest:
        """Row i is row `rows[i]` of `parts[which[i]]`, both (n,); it has the owner's columns of all parts.

        Raises `Fatal` for a column that parts have in different types.
        """
        own = dict[str, pa.Field]()
        for field in [field for part in parts for field in part._own]:
            if own.setdefault(field.name, field).type != field.type:
                raise Fatal(
                    f"the column {field.name!r} is {own[field.name].type} in one corpus and {field.type} in another; "
                    "rename it where it was brought."
                )
        schema = pa.schema([*SCHEMA, *own.values()])
        return cls(PickedRows([part._rows for part in parts], which, rows, schema))

    def with_own(self, names: Collection[str]) -> Manifest:
        """The same rows, of the owner's columns only those in `names`; it has no earlier states."""
        if set(names) >= set(self.own_columns):
            return Manifest(self._rows, self.digest)
        kept = [field for field in self._own if field.name in names]
        return Manifest(ChosenColumns(self._rows, pa.schema([*SCHEMA, *kept])))

    def regridded(self, centre_px: int, factor: int = 1) -> Manifest:
        """The same chips on the grids of their centres of `centre_px` pixels a side, in pixels `factor` as wide."""
        return Manifest(RegriddedRows(self._rows, CentreGrid(self.size_px, centre_px, factor)))

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
            rows = FileRows(path, _schema_of(path))
            named = named_in_header(pq.read_schema(path))
        except UNREADABLE as error:
            raise Fatal(f"{path} cannot be read as GeoParquet ({error}); restore it from a copy.") from error
        absent = [name for name in (*COLUMNS, *named) if name not in rows.names]
        if absent:
            raise Fatal(f"{path} lacks the columns {', '.join(absent)}; it is no manifest of this version.")
        return cls(rows, _remembered(path), _ancestors(path, rows))

    @classmethod
    def counted(cls, path: Path) -> Manifest:
        """As `read`, with the digest of the rows themselves, whatever was kept of it."""
        manifest = cls.read(path)
        manifest.__dict__.pop("digest", None)
        return manifest

    def write(self, path: Path) -> None:
        """Publish as GeoParquet, its digest beside it; equal manifests give equal bytes. A seal is broken."""
        seal.remove(path.parent)
        durable.publish(path, self._write_pieces)
        self.keep_digest(path)

    def remember(self, path: Path) -> None:
        """Put the digest beside the manifest's file, unless it is there; a killed process may not have come so far."""
        if _remembered(path) is None:
            self.keep_digest(path)

    def keep_digest(self, path: Path) -> None:
        """Publish the digest beside the file at `path`, from which this was read or to which it was written."""
        known = {"digest": self.digest, "file": _file_digest(path)}
        durable.write_json(path.with_suffix(DIGEST_SUFFIX), known)

    def _write_pieces(self, path: Path) -> None:
        names = [*SCHEMA, *self._own, pa.field("geometry", pa.binary())]
        about = geo_header("Polygon", bbox=self._bbox(), crs=WGS84)
        schema = pa.schema(names, metadata=about | header(self.own_columns) | ancestor.to_metadata(self.ancestors))
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
        return [_chip(record, row, self.own_columns) for row, record in enumerate(records, start)]

    @property
    def own_columns(self) -> tuple[str, ...]:
        """The columns that the owner's table of places brought: none, where places were drawn."""
        return tuple(field.name for field in self._own)

    def own_type(self, name: str) -> pa.DataType:
        """The kind of one of the owner's columns, as `own_columns` names them."""
        return self._rows.schema.field(name).type

    @cached_property
    def _own(self) -> list[pa.Field]:
        return own_fields(self._rows.schema, COLUMNS)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the rows in order: the identity that the store and the ledger are bound to."""
        text, own = hashlib.sha256(f"{','.join(COLUMNS)}\n".encode()), OwnDigest(self._own)
        for piece in self._rows.pieces():
            text.update(_csv(piece.select(COLUMNS)).encode())
            own.add(piece)
        return own.over(text.hexdigest()) if self._own else text.hexdigest()

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

        Texts are objects (of a long column, equal ones the same object); times are datetime64[ms] in UTC. For the
        owner's columns see `own_columns.as_array`.
        """
        return _array(self._rows.column(name) if rows is None else self._rows.part(rows.start, rows.stop).column(name))

    def pieces(self, *names: str) -> Iterator[list[NDArray[Any]]]:
        """These columns, some thousands of rows at a time: for a look at all rows that keeps none."""
        for piece in self._rows.pieces(names):
            yield [_array(piece.column(name)) for name in names]

    def blocks(self, rows: int, *names: str) -> Iterator[list[NDArray[Any]]]:
        """These columns, `rows` rows at a time but for the last: each as Arrow has it stays whole meanwhile."""
        columns = [self._rows.column(name) for name in names]
        for start in range(0, len(self), rows):
            yield [_array(column.slice(start, rows)) for column in columns]

    def outlines(self, rows: NDArray[np.int64] | None = None) -> Iterator[NDArray[Any]]:
        """The footprints of all rows, or of `rows` (ascending), as polygons in lon/lat, some thousands at a time.

        Across the antimeridian a footprint runs beyond 180 degrees. A million polygons at once would take gigabytes.
        """
        start = 0
        for piece in self._rows.pieces(_GRID):
            if rows is not None:
                first, last = np.searchsorted(rows, (start, start + len(piece)))
                here = pa.array(rows[first:last] - start)
            yield _outlines(piece if rows is None else piece.take(here))
            start += len(piece)

    def rows_of(self, split: str) -> NDArray[np.int64]:
        """Row numbers of a split, ascending."""
        return np.flatnonzero(self.column("split") == split)

    def shards(self, shard_rows: int) -> tuple[Shard, ...]:
        """The units of work: consecutive row ranges that cover every row once."""
        return shards_of(len(self), shard_rows)


def _schema_of(path: Path) -> pa.Schema:
    """What is read of a file: the columns of every manifest, and those that its header calls the owner's."""
    there = pq.read_schema(path)
    own = [there.field(name) for name in named_in_header(there) if name in there.names]
    return pa.schema([*SCHEMA, *own_fields(pa.schema(own), COLUMNS)])


def _ordered(rows: GatheredRows, random: np.random.Generator) -> GatheredRows:
    by_id = _by_id(rows.column("id"))
    shuffled = by_id[random.permutation(rows.count)]
    split = _split_codes(rows.column("split"))
    return rows.reordered(shuffled[np.argsort(split[shuffled], kind="stable")])


def _ancestors(path: Path, rows: FileRows) -> tuple[Ancestor, ...]:
    try:
        return ancestor.from_metadata(rows.metadata)
    except (TypeError, ValueError) as error:
        raise Fatal(f"{path} is damaged: its earlier states cannot be read ({error}); put it back.") from error


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
    scenes = [part for role in ROLES for part in _scene_cells(getattr(chip.acquisition, role))]
    return (*location, chip.split, *grid, chip.acquisition.level, *scenes)


def _scene_cells(scene: Scene | None) -> tuple[str | None, datetime | None]:
    return (scene.asset_id, scene.time) if scene else (None, None)


def _csv(piece: pa.Table) -> str:
    """Rows as pandas has always written them for the digest."""
    text: str = piece.to_pandas().to_csv(
        index=False, header=False, float_format="%.9g", date_format="%Y-%m-%dT%H:%M:%S.%f", lineterminator="\n"
    )
    return text


def _chip(cells: Mapping[str, Any], row: int, own: Sequence[str]) -> Chip:
    location = Location(**{name: cells[name] for name in _LOCATION})
    grid = Grid(
        cells["crs"], (cells["origin_x_m"], cells["origin_y_m"]), (cells["height_px"], cells["width_px"]),
        cells["resolution_m"],
    )  # fmt: skip
    scenes = {role: _scene(cells[f"{role}_id"], cells[f"{role}_time"]) for role in ROLES}
    anchor = scenes["anchor"]
    if anchor is None:
        raise Fatal(f"row {row} of the manifest has no anchor scene; the file is damaged.")
    acquisition = Acquisition(anchor, cells["level"], scenes["ascending"], scenes["descending"])
    return Chip(location, grid, acquisition, cells["split"], row, {name: cells[name] for name in own})


def _scene(asset_id: str | None, time: datetime | None) -> Scene | None:
    return None if asset_id is None or time is None else Scene(asset_id, time.astimezone(UTC))


def _array(cells: pa.ChunkedArray) -> NDArray[Any]:
    if pa.types.is_string(cells.type):
        return np.asarray(cells.to_pylist(), dtype=object) if len(cells) <= PIECE_ROWS else _shared(cells)
    return np.asarray(cells.cast(pa.timestamp("ms"))) if cells.type == _TIME else as_array(cells)


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
    corners = lonlat_of(np.asarray(table.column("crs").to_pandas().astype(object)), x, y)
    lon = corners[..., 0]
    lon[(np.ptp(lon, axis=1) > 180)[:, None] & (lon < 0)] += 360
    return np.asarray(shapely.polygons(corners))


def _remembered(path: Path) -> str | None:
    """The digest that was written with this very file; None where none was, or the file is another one now."""
    kept = path.with_suffix(DIGEST_SUFFIX)
    if not kept.exists():
        return None
    try:
        known = durable.read_object(kept, "")
    except Fatal:
        return None  # it is computed again
    return str(known["digest"]) if known.get("file") == _file_digest(path) and "digest" in known else None


def _file_digest(path: Path) -> str:
    about = path.stat()
    return _digest_of(path, about.st_ino, about.st_size, about.st_mtime_ns)


@lru_cache(maxsize=16)
def _digest_of(path: Path, *_about: int) -> str:
    """SHA-256 of a file's bytes, computed once a process for the file that it was."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

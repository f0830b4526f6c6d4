"""The chips that files give, as rows of a manifest with the columns of their files; kept as GeoParquet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import shapely

from exporters.files.file_layer import FILES_OF
from exporters.files.listing import Listing
from exporters.files.survey import Survey, Surveyed
from exporters.files.tiles import Tile
from pipeline import durable, manifest
from pipeline.errors import Fatal
from pipeline.geoparquet import WGS84, geo_header
from pipeline.grid import Grid
from pipeline.manifest import SPLITS
from pipeline.own_columns import kind_of

_PIECE = 8192
SPLIT = "split"


@dataclass
class ChipTable:
    """Collects chips of surveyed places. `names` says under which name the manifest keeps each column of the listing.

    `rejected` are names of places with the reason why they have no chips; `numbers` has that of each chip's place.
    """

    listing: Listing
    names: Mapping[str, str]
    level: str
    rejected: list[tuple[str, str]] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    _pixels: int = 0
    _kept_pixels: int = 0

    def tables(self, survey: Survey) -> Iterator[pa.Table]:
        """Rows of the manifest's schema, then files by layer, then the listing's columns; some thousands at a time."""
        rows: list[dict[str, Any]] = []
        for place in survey.places():
            if place.reason:
                self.rejected.append((self.listing.names[place.number], place.reason))
            self._pixels += place.pixels
            self._kept_pixels += sum(tile.grid.shape_yx[0] * tile.grid.shape_yx[1] for tile in place.tiles)
            rows += [self._row(place, tile, survey) for tile in place.tiles]
            self.numbers += [place.number] * len(place.tiles)
            if len(rows) >= _PIECE:
                yield pa.Table.from_pylist(rows, self.schema)
                rows = []
        if rows:
            yield pa.Table.from_pylist(rows, self.schema)

    @property
    def cut_away(self) -> float:
        """The share of the pixels of places that are in no chip, at edges of what is cut into pieces."""
        return 1 - self._kept_pixels / self._pixels if self._pixels else 0.0

    def schema_of(self) -> pa.Schema:
        """The columns; raises `Fatal` for one that mixes kinds of values."""
        own = [pa.field(f"{FILES_OF}{name}", pa.string()) for name in self.listing.files]
        own += [pa.field(self.names[key], _kind(key, values)) for key, values in self.listing.columns.items()
                if key != SPLIT]  # fmt: skip
        return pa.schema([*manifest.SCHEMA, *own])

    def __post_init__(self) -> None:
        self.schema = self.schema_of()

    def _row(self, place: Surveyed, tile: Tile, survey: Survey) -> dict[str, Any]:
        number, grid = place.number, tile.grid
        lon, lat = self._place_of(number, grid)
        files = {name: paths[number] for name, paths in self.listing.files.items()}
        own = {self.names[key]: values[number] for key, values in self.listing.columns.items() if key != SPLIT}
        return {
            **own, **{f"{FILES_OF}{name}": path for name, path in files.items()},
            "id": _id(self.listing.names[number], tile.part), "lon": lon, "lat": lat, "stratum": "", "biome": 0,
            "biome_name": "", "ecoregion": 0, "ecoregion_name": "", "realm": "", "split": self._split(number),
            "crs": grid.crs, "origin_x_m": grid.origin_xy[0], "origin_y_m": grid.origin_xy[1],
            "resolution_m": grid.resolution_m, "height_px": grid.shape_yx[0], "width_px": grid.shape_yx[1],
            "level": self.level, "anchor_id": next(path for path in files.values() if path), "anchor_time": place.time,
        }  # fmt: skip

    def _place_of(self, number: int, grid: Grid) -> tuple[float, float]:
        lon, lat = grid.centre_lonlat
        if not np.isfinite((lon, lat)).all():
            name = self.listing.names[number]
            raise Fatal(f"place {name!r} has a chip at no place on Earth; correct the CRS or transform of its files.")
        return lon, lat

    def _split(self, number: int) -> str | None:
        said = self.listing.columns.get(SPLIT, ())
        if not said or said[number] is None:
            return None
        if said[number] not in SPLITS:
            raise Fatal(
                f"place {self.listing.names[number]!r} is of split {said[number]!r}; use one of {', '.join(SPLITS)}."
            )
        return str(said[number])


def _id(name: str, part: str) -> str:
    plain = name.replace("/", "_").replace("\\", "_")
    return f"{plain}_{part}" if part else plain


def _kind(key: str, values: list[Any]) -> pa.DataType:
    try:
        kind = kind_of(pa.array(values).type)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise Fatal(f"column {key!r} of the places has values of several kinds ({error}); correct it.") from error
    return pa.string() if kind is None else kind


def one_table(tables: Iterator[pa.Table], chips: ChipTable) -> pa.Table:
    """All tables of `chips`. Raises `Fatal` for several pixel sizes, which a corpus does not mix, and equal ids."""
    table = pa.concat_tables([chips.schema.empty_table(), *tables]).combine_chunks()
    sides = sorted(set(np.asarray(table.column("resolution_m")).tolist()))
    if len(sides) > 1:
        raise Fatal(
            f"the files have pixels of {sides[0]:g} m and of {sides[1]:g} m, and a corpus has one size; "
            'make a corpus of each, or set files.grid = "utm".'
        )
    _refuse_same_ids(table.column("id"), chips)
    return table


def _refuse_same_ids(ids: pa.ChunkedArray, chips: ChipTable) -> None:
    """Raise `Fatal` where two places have a chip of one id: `p` cut into `p_r0c0` beside a place called so."""
    if pc.count_distinct(ids).as_py() == len(ids):
        return
    seen: dict[str, int] = {}
    for chip_id, number in zip(ids.to_pylist(), chips.numbers, strict=True):
        if chip_id in seen:
            one, other = chips.listing.names[seen[chip_id]], chips.listing.names[number]
            raise Fatal(f"places {one!r} and {other!r} both have a chip {chip_id!r}; give one of them another name.")
        seen[chip_id] = number


def write_chips(path: Path, table: pa.Table) -> None:
    """Publish the table as GeoParquet, with the middles of the chips."""
    lonlat = np.column_stack([np.asarray(table.column(name)) for name in ("lon", "lat")])
    points = pa.array(shapely.to_wkb(shapely.points(lonlat)), pa.binary())
    whole = table.append_column("geometry", points)
    whole = whole.replace_schema_metadata(geo_header("Point", crs=WGS84))
    durable.publish(path, lambda temporary: pq.write_table(whole, temporary, compression="zstd"))


def read_chips(path: Path) -> pa.Table:
    """The table that `write_chips` wrote. Raises `Fatal` when it is absent or damaged."""
    if not path.exists():
        raise Fatal(f"{path} does not exist; run `geocorpus sample` first.")
    try:
        table = pq.read_table(path).drop_columns(["geometry"])
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise Fatal(f"{path} cannot be read ({error}); delete it and run `geocorpus sample`.") from error
    return table.replace_schema_metadata(None)

"""What became of the locations of a batch, as a table: grid and scenes, or the reason why none serves; and its file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from exporters import scenes
from exporters.anchor.anchor_rules import AnchorRules, Candidate
from exporters.expressions import ORBIT_PASSES
from pipeline import durable, manifest
from pipeline.errors import Fatal
from pipeline.grid import LATTICE_M, Grid, mgrs_crs, utm_crs
from pipeline.locations import Locations
from pipeline.rows import TEXT_CODES, GatheredRows, Source

REASON = "reason"
_ROLES = ("anchor", *ORBIT_PASSES)
# Of scenes a large corpus pins so many that their names take more than two gigabytes; of other texts there are few.
_KINDS = {"index": pa.large_string(), "time": pa.timestamp("ms", tz="UTC")}
SCHEMA = pa.schema({
    "crs": TEXT_CODES, "origin_x_m": pa.float64(), "origin_y_m": pa.float64(), "level": TEXT_CODES,
    **{f"{role}_{part}": kind for role in _ROLES for part, kind in _KINDS.items()}, REASON: TEXT_CODES,
})  # fmt: skip
SUFFIX = ".arrow"
_OLDER_SUFFIX = ".json"  # written until a batch's outcome became a table


@dataclass(frozen=True)
class PinnedScenes:
    """The scenes that a location is pinned to: the anchor of a level, and one by orbit pass or None."""

    level: str
    anchor: Candidate
    passes: Mapping[str, Candidate | None]


Outcome = PinnedScenes | str  # or the reason why there are none


def outcome_table(lonlat: NDArray[np.float64], results: Sequence[Outcome], rules: AnchorRules) -> pa.Table:
    """One row of `SCHEMA` for each location (n, 2): where `reason` is null it is pinned, else all else is null."""
    rejected = (None,) * (len(SCHEMA) - 1)
    rows = [
        (*rejected, each) if isinstance(each, str) else (*_cells(tuple(place), each, rules), None)
        for place, each in zip(lonlat.tolist(), results, strict=True)
    ]
    columns = zip(*rows, strict=True)
    arrays = [_array(list(cells), field.type) for cells, field in zip(columns, SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def _array(cells: list[Any], kind: pa.DataType) -> pa.Array:
    return pa.array(cells, pa.string()).dictionary_encode() if kind == TEXT_CODES else pa.array(cells, kind)


def _cells(lonlat: tuple[float, float], pinned: PinnedScenes, rules: AnchorRules) -> tuple[Any, ...]:
    """In the order of `SCHEMA`."""
    grid = grid_of(lonlat, pinned.anchor.tile, rules)
    radar = [cell for orbit_pass in ORBIT_PASSES for cell in _scene(pinned.passes[orbit_pass])]
    return (grid.crs, *grid.origin_xy, pinned.level, *_scene(pinned.anchor), *radar)


def grid_of(lonlat: tuple[float, float], tile: str, rules: AnchorRules) -> Grid:
    """The grid around a place in degrees, of a scene of an MGRS tile."""
    return Grid.around(lonlat, utm_crs(lonlat) if rules.own_zone else mgrs_crs(tile), rules.size_px)


def _scene(scene: Candidate | None) -> tuple[str | None, int | None]:
    return (None, None) if scene is None else (scene.index, round(scene.time_ms))


class PinnedRows(GatheredRows):
    """Rows of the manifest from those of locations and of outcomes, both (n,).

    What follows for all of them from the rules, or from a scene's level, is put in when a row is asked for.
    """

    @classmethod
    def of(cls, locations: Source, pinned: Source, rules: AnchorRules) -> PinnedRows:
        """Side by side, on grids of the rules' size; with the columns of the places' owner."""
        same = pa.table({"resolution_m": [LATTICE_M], "height_px": [rules.size_px], "width_px": [rules.size_px]})
        every_row_the_first = np.zeros(len(pinned.rows), dtype=np.int8)
        schema = pa.schema([*manifest.SCHEMA, *Locations(locations.table).own])
        return cls([locations, pinned, Source(same, every_row_the_first)], schema)

    def _gathered(self, name: str, rows: slice) -> pa.ChunkedArray:
        role, _, part = name.rpartition("_")
        if role not in _ROLES or part != "id":
            return super()._gathered(name, rows)
        collection = self._optical(rows) if role == "anchor" else scenes.RADAR
        return pc.binary_join_element_wise(collection, super()._gathered(f"{role}_index", rows).cast(pa.string()), "/")

    def _optical(self, rows: slice) -> pa.Array:
        level = super()._gathered("level", rows).combine_chunks()
        return pa.array([scenes.OPTICAL[each] for each in level.dictionary.to_pylist()]).take(level.indices)


def write(path: Path, table: pa.Table) -> None:
    """Publish a batch's outcome; a few times smaller than as text."""
    durable.publish(path, lambda temporary: _write(temporary, table))


def _write(path: Path, table: pa.Table) -> None:
    with pa.OSFile(str(path), "wb") as sink:
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        with pa.ipc.new_file(sink, SCHEMA, options=options) as writer:
            writer.write_table(table)


def read(path: Path, ids: Sequence[str], lonlat: NDArray[np.float64], rules: AnchorRules) -> pa.Table | None:
    """The outcome that was kept for these locations, also by an older release; None where none was.

    Raises `Fatal` for a file that is damaged.
    """
    if path.exists():
        return _read(path, len(ids))
    older = path.with_suffix(_OLDER_SUFFIX)
    if not older.exists():
        return None
    remedy = "delete it, and its batch is asked for again"
    kept = durable.read_as(older, dict[str, dict[str, Any]], remedy)
    try:
        return outcome_table(lonlat, [_older(kept[each]) for each in ids], rules)
    except (KeyError, TypeError, ValueError) as error:
        raise Fatal(f"{older} is damaged ({error}); {remedy}.") from error


def _read(path: Path, count: int) -> pa.Table:
    try:
        with pa.OSFile(str(path)) as source:
            table = pa.ipc.open_file(source).read_all()
    except (OSError, ValueError) as error:
        raise Fatal(f"{path} cannot be read ({error}); delete it, and its batch is asked for again.") from error
    if table.schema != SCHEMA or len(table) != count:
        raise Fatal(f"{path} is not the outcome of this batch; delete it, and the batch is asked for again.")
    return table


def _older(kept: Mapping[str, Any]) -> Outcome:
    """From plain data, as each location of a batch was kept at first."""
    if REASON in kept:
        return str(kept[REASON])
    passes = {orbit_pass: Candidate(**kept[orbit_pass]) if kept[orbit_pass] else None for orbit_pass in ORBIT_PASSES}
    return PinnedScenes(kept["level"], Candidate(**kept["anchor"]), passes)

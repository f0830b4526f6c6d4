"""What became of the locations of a batch, as a table: grid and scenes, or the reason why none serves; and its file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from exporters import scenes
from exporters.anchor.anchor_rules import AnchorRules, Candidate
from exporters.expressions import ORBIT_PASSES
from pipeline import durable, manifest
from pipeline.errors import Fatal
from pipeline.grid import Grid, mgrs_crs, utm_crs
from pipeline.rows import TEXT_CODES

REASON = "reason"
# Few texts but the ids, of which a large corpus has more than two gigabytes.
_TEXTS = {f"{role}_id": pa.large_string() for role in ("anchor", *ORBIT_PASSES)}


def _type(field: pa.Field) -> pa.DataType:
    return _TEXTS.get(field.name, TEXT_CODES) if field.type == pa.string() else field.type


SCHEMA = pa.schema([
    *(pa.field(name, _type(manifest.SCHEMA.field(name))) for name in manifest.PINNED), pa.field(REASON, TEXT_CODES)
])  # fmt: skip
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
    rejected = (None,) * len(manifest.PINNED)
    rows = [
        (*rejected, each) if isinstance(each, str) else (*_cells(tuple(place), each, rules), None)
        for place, each in zip(lonlat.tolist(), results, strict=True)
    ]
    columns = zip(*rows, strict=True)
    arrays = [_array(list(cells), field.type) for cells, field in zip(columns, SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def _array(cells: list[Any], kind: pa.DataType) -> pa.Array:
    return pa.array(cells, pa.string()).dictionary_encode() if kind == TEXT_CODES else pa.array(cells, kind)


def _cells(lonlat: tuple[float, float], pins: PinnedScenes, rules: AnchorRules) -> tuple[Any, ...]:
    """In the order of `PINNED`."""
    crs = utm_crs(lonlat) if rules.own_zone else mgrs_crs(pins.anchor.tile)
    grid = Grid.around(lonlat, crs, rules.size_px)
    radar = [cell for orbit_pass in ORBIT_PASSES for cell in _scene(scenes.RADAR, pins.passes[orbit_pass])]
    optical = _scene(scenes.OPTICAL[pins.level], pins.anchor)
    return (*manifest.grid_cells(grid), pins.level, *optical, *radar)


def _scene(collection: str, scene: Candidate | None) -> tuple[str | None, int | None]:
    return (None, None) if scene is None else (f"{collection}/{scene.index}", round(scene.time_ms))


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
    kept = durable.read_json(older)
    return outcome_table(lonlat, [_older(kept[each]) for each in ids], rules)


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

"""The frozen, ordered, hashed table of chips: row i is row i for ever."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import fields
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline import durable
from pipeline.chip import Acquisition, Chip, Scene
from pipeline.errors import Fatal
from pipeline.grid import Grid
from pipeline.location import Location
from pipeline.shard import Shard, shards_of

SPLITS = ("train", "val", "test")
_LOCATION = tuple(field.name for field in fields(Location))
_SCENES = ("anchor", "ascending", "descending")
_GRID = ("crs", "origin_x_m", "origin_y_m", "resolution_m", "height_px", "width_px")
COLUMNS = (
    *_LOCATION, "split", *_GRID, "level", *(f"{role}_{part}" for role in _SCENES for part in ("id", "time")),
)  # fmt: skip


class Manifest:
    """Chips in their final order. Iterates and indexes as `Chip`; `frame` has one row per chip.

    The frame is the truth; chips are made on demand, so a million rows stay a table.
    """

    def __init__(self, frame: gpd.GeoDataFrame) -> None:
        self.frame = frame

    @classmethod
    def freeze(cls, chips: Sequence[Chip], seed: int) -> Manifest:
        """Order `chips` for ever: splits one after the other (train, val, test), shuffled by `seed` within each.

        Any prefix of the train rows is thus a random sample. Raises `Fatal` for an empty list, a repeated
        location or an unknown split.
        """
        _check_chips(chips)
        ordered = sorted(chips, key=lambda chip: chip.location.id)
        shuffled = [ordered[index] for index in np.random.default_rng(seed).permutation(len(ordered))]
        grouped = [chip for split in SPLITS for chip in shuffled if chip.split == split]
        footprints = [chip.grid.footprint() for chip in grouped]
        frame = pd.DataFrame([_record(chip) for chip in grouped], columns=list(COLUMNS))
        for role in _SCENES:
            frame[f"{role}_time"] = pd.to_datetime(frame[f"{role}_time"], utc=True).dt.as_unit("ms")
        return cls(gpd.GeoDataFrame(frame, geometry=footprints, crs="EPSG:4326"))

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Read `manifest.parquet`; raises `Fatal` when it is absent or not a manifest."""
        if not path.exists():
            raise Fatal(f"{path} does not exist; run `geocorpus anchor` first.")
        try:
            frame = gpd.read_parquet(path)
        except (OSError, ValueError) as error:
            raise Fatal(f"{path} cannot be read as GeoParquet ({error}).") from error
        absent = [name for name in COLUMNS if name not in frame.columns]
        if absent:
            raise Fatal(f"{path} lacks the columns {', '.join(absent)}; it is no manifest of this version.")
        return cls(frame)

    def write(self, path: Path) -> None:
        """Publish as GeoParquet; equal manifests give equal bytes."""
        durable.publish(path, lambda temporary: self.frame.to_parquet(temporary, index=False))

    def __len__(self) -> int:
        return len(self.frame)

    def __getitem__(self, row: int) -> Chip:
        if not 0 <= row < len(self):
            raise IndexError(row)
        return _chip(self._records[row], row)

    def __iter__(self) -> Iterator[Chip]:
        return (self[row] for row in range(len(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Manifest) and self.digest == other.digest

    __hash__ = None  # type: ignore[assignment]

    @cached_property
    def _records(self) -> list[tuple[Any, ...]]:
        return list(self.frame[list(COLUMNS)].itertuples(index=False, name=None))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the rows in order: the identity that the store and the ledger are bound to."""
        text = self.frame[list(COLUMNS)].to_csv(index=False, float_format="%.9g", date_format="%Y-%m-%dT%H:%M:%S.%f")
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def size_px(self) -> int:
        """Width of every chip in pixels."""
        return int(self.frame["width_px"].iloc[0])

    def column(self, name: str) -> NDArray[Any]:
        """One column as an array, such as "level" or "split"."""
        return np.asarray(self.frame[name])

    def rows_of(self, split: str) -> NDArray[np.int64]:
        """Row numbers of a split, ascending."""
        return np.flatnonzero(self.column("split") == split)

    def shards(self, shard_rows: int) -> tuple[Shard, ...]:
        """The units of work: consecutive row ranges that cover every row once."""
        return shards_of(len(self), shard_rows)


def _check_chips(chips: Sequence[Chip]) -> None:
    if not chips:
        raise Fatal("there are no chips to freeze: no location found a usable scene; widen years or the cloud limit.")
    if len({chip.location.id for chip in chips}) != len(chips):
        raise Fatal("the same location occurs twice; remove the duplicate points.")
    strange = {chip.split for chip in chips} - set(SPLITS)
    if strange:
        raise Fatal(f"unknown split {sorted(strange)[0]!r}; use one of {', '.join(SPLITS)}.")


def _record(chip: Chip) -> tuple[Any, ...]:
    location = tuple(getattr(chip.location, name) for name in _LOCATION)
    grid = (chip.grid.crs, *chip.grid.origin_xy, chip.grid.resolution_m, *chip.grid.shape_yx)
    scenes = [part for role in _SCENES for part in _scene_cells(getattr(chip.acquisition, role))]
    return (*location, chip.split, *grid, chip.acquisition.level, *scenes)


def _scene_cells(scene: Scene | None) -> tuple[str | None, datetime | None]:
    return (scene.asset_id, scene.time) if scene else (None, None)


def _chip(record: tuple[Any, ...], row: int) -> Chip:
    cells = dict(zip(COLUMNS, record, strict=True))
    location = Location(**{name: cells[name] for name in _LOCATION})
    grid = Grid(
        cells["crs"],
        (float(cells["origin_x_m"]), float(cells["origin_y_m"])),
        (int(cells["height_px"]), int(cells["width_px"])),
        float(cells["resolution_m"]),
    )
    scenes = {role: _scene(cells[f"{role}_id"], cells[f"{role}_time"]) for role in _SCENES}
    anchor = scenes["anchor"]
    if anchor is None:
        raise Fatal(f"row {row} of the manifest has no anchor scene; the file is damaged.")
    acquisition = Acquisition(anchor, cells["level"], scenes["ascending"], scenes["descending"])
    return Chip(location, grid, acquisition, cells["split"], row)


def _scene(asset_id: Any, time: Any) -> Scene | None:
    if pd.isna(asset_id):
        return None
    return Scene(asset_id, pd.Timestamp(time).to_pydatetime())

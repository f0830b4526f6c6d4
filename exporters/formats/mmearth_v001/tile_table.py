"""The manifest of published tiles: `metadata` has their order, `_splits.json` the split, `_tile_info.json` the rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyproj.exceptions import CRSError

from exporters.formats.mmearth_v001.datasets import LAYERS, Dataset
from exporters.formats.mmearth_v001.json_items import json_items
from exporters.formats.mmearth_v001.published_files import splits_of
from exporters.formats.mmearth_v001.tile_facts import TileFacts, tile_facts
from exporters.formats.mmearth_v001.variants import Files
from pipeline.errors import Fatal
from pipeline.location import NO_CODE
from pipeline.manifest import SCHEMA, SPLITS, Manifest
from pipeline.rows import PIECE_ROWS, TEXT_CODES, GatheredRows, Source, conformed, in_one_piece

_MANY = ("id", "anchor_id", "ascending_id", "descending_id")  # texts that are all different; of others there are few
_CELLS = pa.schema([field for field in SCHEMA if field.name != "split"])
_HELD = pa.schema([
    (field.name, TEXT_CODES if field.type == pa.string() and field.name not in _MANY else field.type)
    for field in _CELLS
])  # fmt: skip
_EMPTY = {"stratum": "", "biome": NO_CODE, "biome_name": "", "ecoregion": NO_CODE, "ecoregion_name": "", "realm": ""}


@dataclass(frozen=True)
class TileTable:
    """The manifest, row i being tile i of the file, and by tile: which datasets are `absent`, and which are own."""

    manifest: Manifest
    is_own: NDArray[np.bool_]
    _absent: NDArray[np.uint8]  # (tiles, datasets of LAYERS): 0, or the place of a reason in `_reasons` plus one
    _reasons: tuple[str, ...]

    def absent(self, dataset: Dataset, start: int, stop: int) -> dict[int, str]:
        """Rows from `start` to `stop` that have nothing in a dataset, with the reason."""
        if dataset not in LAYERS:
            return {}
        column = self._absent[start:stop, LAYERS.index(dataset)]
        return {start + int(at): self._reasons[column[at] - 1] for at in np.flatnonzero(column)}


def read_tiles(files: Files, ids: list[str], size_px: int, biome_names: Mapping[int, str]) -> TileTable:
    """The table of the tiles `ids`, in their order.

    Raises `Fatal` for a tile that occurs twice or of which the files of JSON say nothing, or something else than v001.
    """
    rows = {tile_id: row for row, tile_id in enumerate(ids)}
    if len(rows) != len(ids):
        raise Fatal(f"{files.arrays} has a tile twice; it cannot become a corpus, where a location is there once.")
    gathered = _Gathered(files.tile_info, len(ids))
    known = _known(files.tile_info, rows, size_px, biome_names)
    while batch := tuple(islice(known, PIECE_ROWS)):
        gathered.add(batch)
    return gathered.table(splits_of(files, len(ids)), ids)


def _known(
    path: Path, rows: Mapping[str, int], size_px: int, biome_names: Mapping[int, str]
) -> Iterator[tuple[int, TileFacts]]:
    """Row and facts of each tile that the arrays have; there may be others, which were not downloaded whole."""
    for tile_id, info in json_items(path):
        if tile_id not in rows:
            continue
        try:
            yield rows[tile_id], tile_facts(tile_id, info, size_px, biome_names)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError, CRSError) as error:
            what = f"lacks {error}" if isinstance(error, KeyError) else f"is not as in v001 ({error})"
            raise Fatal(f"tile {tile_id} in {path} {what}; correct or copy the file again.") from error


@dataclass
class _Gathered:
    """Rows in the order of the file of JSON."""

    path: Path
    count: int
    tables: list[pa.Table] = field(default_factory=list)
    order: list[int] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.is_own = np.zeros(self.count, dtype=bool)
        self.absent = np.zeros((self.count, len(LAYERS)), dtype=np.uint8)

    def add(self, batch: tuple[tuple[int, TileFacts], ...]) -> None:
        self.order += [row for row, _ in batch]
        records = [_EMPTY | facts.cells for _, facts in batch]
        try:
            self.tables.append(conformed(pa.Table.from_pylist(records, _CELLS), _HELD))
        except (pa.ArrowException, OverflowError) as error:
            raise Fatal(f"{self.path} says of a tile what v001 does not ({error}); copy it again.") from error
        for row, facts in batch:
            self.is_own[row] = facts.is_own
            for dataset, reason in facts.absent.items():
                self.absent[row, LAYERS.index(dataset)] = self._number(reason) + 1

    def _number(self, reason: str) -> int:
        if reason not in self.reasons:
            self.reasons.append(reason)
        return self.reasons.index(reason)

    def table(self, splits: NDArray[np.int8], ids: list[str]) -> TileTable:
        place = np.full(self.count, -1, dtype=np.int64)
        place[self.order] = np.arange(len(self.order))
        if (place < 0).any():
            lacking = int((place < 0).sum())
            first = ids[int(np.argmin(place))]
            raise Fatal(f"{self.path} says nothing of {lacking} of {self.count} tiles, such as {first}; copy it again.")
        if len(self.order) != self.count:
            raise Fatal(f"{self.path} has a tile twice; copy it again.")
        facts = Source(in_one_piece(self.tables), place)
        split = Source(pa.table({"split": pa.array(SPLITS)}), splits)
        manifest = Manifest(GatheredRows([facts, split], SCHEMA))
        return TileTable(manifest, self.is_own, self.absent, tuple(self.reasons))

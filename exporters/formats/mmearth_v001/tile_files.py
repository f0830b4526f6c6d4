"""A selection as the four files of MMEarth v001, written side by side in one pass over its rows."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from exporters.formats.mmearth_v001.band_stats import BandStats
from exporters.formats.mmearth_v001.datasets import LAYERS, LEVELS, PLACES
from exporters.formats.mmearth_v001.layer_values import Source
from exporters.formats.mmearth_v001.place_values import biome_of, ecoregion_of
from exporters.formats.mmearth_v001.tile_arrays import TileArrays
from exporters.formats.mmearth_v001.tile_block import Block, Tile, start_block
from exporters.formats.mmearth_v001.tile_info import TileInfoFile, tile_info
from exporters.formats.mmearth_v001.variants import Files
from exporters.formats.selection import runs_of
from pipeline.chip import Chip
from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.manifest import SPLITS
from pipeline.progress import Progress

_AT_ONCE_PX = 32 * 128 * 128  # pixels of a band in a block: some 100 MB of all layers
_LONGEST_ID = 18  # TorchGeo makes a 64-bit integer of it


@dataclass
class TileFiles:
    """`rows` (n,) of a corpus, ascending, as tiles of `size_px` in `files`; `sources` fill the datasets of `LAYERS`."""

    corpus: Corpus
    rows: NDArray[np.int64]
    sources: Sequence[Source]
    files: Files
    size_px: int

    def write(self, progress: Progress) -> dict[str, int]:
        """Write all; returns how many tiles have no published class, by dataset.

        Raises `Fatal` for a shard that is not finished or damaged, and a level that v001 does not know.
        """
        self.files.folder.mkdir(parents=True)
        progress.start("tiles", len(self.rows))
        stats, unknown = BandStats(), dict.fromkeys(("biome", "ecoregion"), 0)
        with ExitStack() as stack:
            arrays = stack.enter_context(
                TileArrays(self.files.arrays, (*LAYERS, *PLACES), len(self.rows), self.size_px)
            )
            infos = stack.enter_context(TileInfoFile(self.files.tile_info))
            for index, tile in enumerate(self._tiles(stats, progress)):
                chip, tile_id = tile.chip, self._id_of(tile.chip)
                arrays.write(index, tile_id, chip.acquisition.level, tile.chunks)
                infos.add(tile_id, tile_info(chip, self.size_px, tile.present, tile.climate))
                unknown["biome"] += biome_of(chip) is None
                unknown["ecoregion"] += ecoregion_of(chip) is None
        stats.write(self.files.band_stats)
        self._write_splits()
        return unknown

    def _tiles(self, stats: BandStats, progress: Progress) -> Iterator[Tile]:
        with ThreadPoolExecutor(_cores()) as pool:
            for block in _one_ahead(self._blocks(pool)):
                yield from block.tiles()
                for part in block.stats():
                    stats.add(part)
                progress.advance(len(block))

    def _blocks(self, pool: Executor) -> Iterator[Block]:
        at_once = max(1, _AT_ONCE_PX // self.corpus.manifest.size_px**2)
        for start in range(0, len(self.rows), at_once):
            rows = self.rows[start : start + at_once]
            chips = self._chips(rows)
            _refuse_unknown_level(chips)
            yield start_block(chips, self.sources, self._counted[rows], pool)

    def _chips(self, rows: NDArray[np.int64]) -> list[Chip]:
        runs = runs_of(rows, len(self.corpus.manifest), len(rows))
        return [chip for run in runs for chip in self.corpus.manifest.chips(int(run[0]), int(run[-1]) + 1)]

    @cached_property
    def _splits(self) -> NDArray[np.object_]:
        return self.corpus.manifest.column("split")

    @cached_property
    def _counted(self) -> NDArray[np.bool_]:
        """By row of the manifest: what is to train on, or all if nothing chosen is."""
        train = np.asarray(self._splits == "train")
        return train if train[self.rows].any() else np.ones(len(train), dtype=bool)

    def _write_splits(self) -> None:
        chosen = self._splits[self.rows]
        splits = {name: np.flatnonzero(chosen == name).tolist() for name in SPLITS}
        self.files.splits.write_text(json.dumps(splits), encoding="utf-8")

    def _id_of(self, chip: Chip) -> str:
        """A decimal number, as readers expect: the place's own where all have such, else the row."""
        return chip.location.id if self._has_numbers else str(chip.row)

    @cached_property
    def _has_numbers(self) -> bool:
        return all(
            text.isascii() and text.isdecimal() and len(text) <= _LONGEST_ID
            for (ids,) in self.corpus.manifest.pieces("id")
            for text in ids
        )


def _one_ahead(blocks: Iterator[Block]) -> Iterator[Block]:
    """The threads have the next block to work on while this one is written."""
    before = next(blocks, None)
    while before is not None:
        after = next(blocks, None)
        yield before
        before = after


def _refuse_unknown_level(chips: Sequence[Chip]) -> None:
    for chip in chips:
        if chip.acquisition.level not in LEVELS:
            raise Fatal(
                f"chip {chip.location.id} has the level {chip.acquisition.level!r}, and MMEarth v001 knows l1c and l2a "
                "alone; choose others with --where."
            )


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

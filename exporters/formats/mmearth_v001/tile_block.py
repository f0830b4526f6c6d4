"""Some tiles on their way into the file: read, converted and compressed by many threads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.formats.mmearth_v001.band_stats import block_stats, has_stats
from exporters.formats.mmearth_v001.datasets import CLIMATE, Dataset
from exporters.formats.mmearth_v001.layer_values import Masked, Source
from exporters.formats.mmearth_v001.place_values import place_values
from exporters.formats.mmearth_v001.tile_chunk import compressed
from pipeline.chip import Chip
from pipeline.statistics import BandStatistics

Stats = dict[str, list[BandStatistics]]


@dataclass(frozen=True)
class Tile:
    """A chip, its compressed values by dataset, which bands have data, and the values of the climate (bands,)."""

    chip: Chip
    chunks: Mapping[Dataset, bytes]
    present: Mapping[Dataset, tuple[bool, ...]]
    climate: tuple[float, ...]


@dataclass(frozen=True)
class Block:
    """Tiles and statistics that threads are at work on."""

    _tiles: Sequence[Future[Tile]]
    _stats: Sequence[Future[Stats]]

    def __len__(self) -> int:
        return len(self._tiles)

    def tiles(self) -> Iterator[Tile]:
        """The tiles in order, as soon as they are ready."""
        return (tile.result() for tile in self._tiles)

    def stats(self) -> Iterator[Stats]:
        """Statistics of the rows that count, by key."""
        return (stats.result() for stats in self._stats)


def start_block(chips: Sequence[Chip], sources: Sequence[Source], counted: NDArray[np.bool_], pool: Executor) -> Block:
    """Have `pool` read, convert and compress the chips; rows that are not `counted` (k,) are not in the stats."""
    rows = np.array([chip.row for chip in chips], dtype=np.int64)
    started = {source.dataset: pool.submit(source.values, rows) for source in sources}
    encoded: dict[Dataset, Masked] = {dataset: future.result() for dataset, future in started.items()}
    encoded |= {dataset: (values, np.ones(values.shape, bool)) for dataset, values in place_values(chips).items()}
    levels = [chip.acquisition.level for chip, counts in zip(chips, counted, strict=True) if counts]
    stats = [
        pool.submit(block_stats, dataset, values[counted], valid[counted], levels)
        for dataset, (values, valid) in encoded.items()
        if has_stats(dataset) and levels
    ]
    return Block([pool.submit(_tile, chip, index, encoded) for index, chip in enumerate(chips)], stats)


def _tile(chip: Chip, index: int, encoded: Mapping[Dataset, Masked]) -> Tile:
    chunks = {dataset: compressed(values[index]) for dataset, (values, _) in encoded.items()}
    present = {dataset: _present(valid[index]) for dataset, (_, valid) in encoded.items()}
    return Tile(chip, chunks, present, tuple(encoded[CLIMATE][0][index].tolist()))


def _present(valid: NDArray[Any]) -> tuple[bool, ...]:
    """Which bands of (bands[, y, x]) have any datum."""
    return tuple(bool(band.any()) for band in valid)

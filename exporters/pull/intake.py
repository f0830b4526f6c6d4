"""From a source in another format to shards: read, checked as what is pulled, and written once each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from exporters import threads
from exporters.formats.importer import Block, Incoming
from exporters.pull.pull import unknown_classes
from exporters.quality.inspection import inspect
from exporters.sources import MASKED
from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.modality import Modality
from pipeline.progress import Progress
from pipeline.shard import Shard

_PIECE_ROWS = 32  # of a layer, read and compressed by one thread
Item = TypeVar("Item")


@dataclass(frozen=True)
class Intake:
    """Writes what `incoming` has into `corpus`, which was created with its manifest and layers."""

    incoming: Incoming
    corpus: Corpus

    def run(self, progress: Progress) -> None:
        """Write every shard and layer without a ledger entry, shard by shard.

        Raises `Fatal` as reading does, and for values of another shape or dtype than their layer's.
        """
        work = self.corpus.missing([layer.name for layer in self.incoming.layers])
        rows = len(self.corpus.manifest)
        progress.start("import", rows, rows - sum(len(shard) for shard in work))
        with ThreadPoolExecutor(threads.cores()) as pool:
            for shard, names in work.items():
                layers = [layer for layer in self.incoming.layers if layer.name in names]
                _Intaken(self.incoming, self.corpus, shard, layers, pool).write()
                progress.advance(len(shard))


@dataclass
class _Intaken:
    """The layers of a shard in memory: all at once, as they are compared with each other.

    Threads share the work by pieces of some rows of a layer, which do not overlap.
    """

    incoming: Incoming
    corpus: Corpus
    shard: Shard
    layers: Sequence[Modality]
    pool: Executor
    values: dict[str, NDArray[Any]] = field(default_factory=dict)
    missing: dict[str, dict[int, str]] = field(default_factory=dict)
    compressed: dict[str, dict[int, bytes]] = field(default_factory=dict)

    def write(self) -> None:
        """Read, check and write; compression and the checks that need all layers go on at the same time."""
        for layer in self.layers:
            shape = (len(self.shard), *layer.shape(self.corpus.manifest.size_px))
            self.values[layer.name] = np.empty(shape, dtype=layer.dtype)
            self.missing[layer.name], self.compressed[layer.name] = {}, {}
        self._each(self._read, self._pieces())
        missing = {name: dict(sorted(reasons.items())) for name, reasons in self.missing.items()}
        findings = self.pool.submit(inspect, self.corpus, self.shard, self.values, missing)
        self._each(self._compress, self._pieces())
        found = findings.result()

        def write(name: str) -> None:
            block, compressed = self.values[name], self.compressed[name]
            self.corpus.write(self.shard, name, block, missing[name], found[name], compressed)

        self._each(write, self.values)

    def _pieces(self) -> Iterator[tuple[Modality, Shard]]:
        for layer in self.layers:
            for start in range(self.shard.start, self.shard.stop, _PIECE_ROWS):
                yield layer, Shard(self.shard.index, start, min(start + _PIECE_ROWS, self.shard.stop))

    def _each(self, work: Callable[[Item], None], items: Iterable[Item]) -> None:
        """All of them in the pool; after an error no more is begun."""
        futures = [self.pool.submit(work, item) for item in items]
        try:
            for future in futures:
                future.result()
        finally:
            for future in futures:
                future.cancel()

    def _read(self, piece: tuple[Modality, Shard]) -> None:
        layer, rows = piece
        size_px = self.corpus.manifest.size_px
        block = checked(layer, rows, _fitting(layer, rows, size_px, self.incoming.read(layer, rows)))
        self.values[layer.name][rows.start - self.shard.start : rows.stop - self.shard.start] = block.values
        self.missing[layer.name].update(block.missing)

    def _compress(self, piece: tuple[Modality, Shard]) -> None:
        layer, rows = piece
        codec, values = self.corpus.chip_codec(layer.name), self.values[layer.name]
        if codec is not None:
            chips = {row: codec.compressed(values[row - self.shard.start]) for row in rows.rows}
            self.compressed[layer.name].update(chips)


def _fitting(layer: Modality, rows: Shard, size_px: int, block: Block) -> Block:
    """A block as it was read. Raises `Fatal` for one that does not have the layer's shape and dtype."""
    wanted, values = (len(rows), *layer.shape(size_px)), block.values
    if (values.shape, values.dtype) == (wanted, np.dtype(layer.dtype)):
        return block
    raise Fatal(
        f"rows {rows.start} to {rows.stop - 1} of layer {layer.name!r} were read as {_words(values.shape)} of "
        f"{values.dtype}, and the layer has {_words(wanted)} of {layer.dtype}; mend the importer."
    )


def _words(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def checked(layer: Modality, rows: Shard, block: Block) -> Block:
    """A block with nodata where there are no numbers, and a reason for each row without legal values."""
    values = block.values
    if values.dtype.kind == "f":
        values = np.where(np.isfinite(values), values, layer.fill)
    missing = dict(block.missing)
    for row, chip in zip(rows.rows, values, strict=True):
        if row not in missing and (reason := _problem(layer, chip)):
            missing[row] = reason
    if missing:
        values = values.copy()
        values[[row - rows.start for row in missing]] = layer.fill
    return Block(values, missing)


def _problem(layer: Modality, chip: NDArray[Any]) -> str | None:
    if not layer.categories and layer.valid(chip.reshape(-1)[:1]).any():  # true for most, and no mask is made
        return None
    valid = layer.valid(chip)
    if not valid.any():
        return MASKED
    return unknown_classes(layer, chip[valid]) if layer.categories else None

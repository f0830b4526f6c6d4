"""What a shard held before its corpus grew: chips that need not be asked for again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from numpy.typing import NDArray

from pipeline.corpus import Corpus
from pipeline.shard import Shard
from pipeline.spool import ChipResult


@dataclass(frozen=True)
class Outgrown:
    """The first rows of a shard from `start` on, by layer: `values` (rows, bands[, y, x]) in the stored dtype.

    `missing` maps manifest rows to the reason why a layer has no data there.
    """

    start: int
    values: Mapping[str, NDArray[Any]]
    missing: Mapping[str, Mapping[int, str]]

    @classmethod
    def of(cls, corpus: Corpus, shard: Shard, names: Iterable[str]) -> Self:
        """Read what the store has of these layers: nothing without an older entry, or of a damaged object."""
        found = {name: corpus.outgrown(name, shard) for name in names}
        entries = {name: entry for name, entry in found.items() if entry is not None}
        values = {name: corpus.held(entry) for name, entry in entries.items()}
        return cls(shard.start, values, {name: entry.missing for name, entry in entries.items()})

    def chip(self, row: int) -> ChipResult:
        """The layers of a chip that the shard held."""
        held = {name: block for name, block in self.values.items() if row < self.start + len(block)}
        missing = {name: self.missing[name][row] for name in held if row in self.missing[name]}
        values = {name: block[row - self.start] for name, block in held.items() if name not in missing}
        return ChipResult(values, missing)

"""Which chip of which corpus becomes which row of a new one, and with which layers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.corpus import Corpus
from pipeline.manifest import Manifest
from pipeline.modality import Modality
from pipeline.shard import Shard


@dataclass(frozen=True)
class Part:
    """Chips of one shard of a source: their `rows` (n,) there, and their `places` (n,) in a shard of the new corpus."""

    source: int
    shard: Shard
    rows: NDArray[np.int64]
    places: NDArray[np.int64]


@dataclass(frozen=True)
class Composition:
    """Row i of the new corpus is row `rows[i]` of `sources[which[i]]`; both are (n,).

    A source may lack some of the `layers`: its chips are nodata there, with a reason.
    """

    sources: tuple[Corpus, ...]
    which: NDArray[np.integer]
    rows: NDArray[np.int64]
    layers: tuple[Modality, ...]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def manifest(self) -> Manifest:
        """The manifest of the new corpus; raises `Fatal` for columns of the owners that do not go together."""
        return Manifest.picked([source.manifest for source in self.sources], self.which, self.rows)

    def parts(self, shard: Shard) -> Iterator[Part]:
        """Where the chips of a shard of the new corpus lie."""
        which, rows = self.which[shard.slice], self.rows[shard.slice]
        for number, source in enumerate(self.sources):
            places = np.flatnonzero(which == number)
            indices = rows[places] // source.shard_rows
            for index in np.unique(indices).tolist():
                here = places[indices == index]
                yield Part(number, source.shards[index], rows[here], here)

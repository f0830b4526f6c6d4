"""A selection of a corpus: some of its rows and layers, and their values block by block."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.corpus import Corpus
from pipeline.layer_rows import LayerRows

_OPEN_SHARDS = 2  # rows ascend; a block may lie in two
BLOCK_ROWS = 64  # of 13 bands of 128 px in uint16, 27 MB


@dataclass(frozen=True)
class Selection:
    """`rows` (n,) of the manifest, int64, ascending and each once; `layers` in the order asked for."""

    corpus: Corpus
    rows: NDArray[np.int64]
    layers: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def blocks(self, name: str, at_once: int = BLOCK_ROWS) -> Iterator[tuple[NDArray[np.int64], NDArray[Any]]]:
        """Row numbers (k,) and stored values (k, bands[, y, x]) of a layer, in order, no more than `at_once` rows each.

        Raises `Fatal` for a shard that is not finished or is damaged.
        """
        for rows in runs_of(self.rows, self.corpus.shard_rows, at_once):
            yield rows, self.layer(name).values(rows)

    def layer(self, name: str) -> LayerRows:
        """A layer of the corpus, to be read row by row; what it opens stays open for the next ones."""
        return self._layers.setdefault(name, LayerRows(self.corpus, name, _OPEN_SHARDS))

    @cached_property
    def _layers(self) -> dict[str, LayerRows]:
        return {}


def runs_of(rows: NDArray[np.int64], shard_rows: int, at_once: int) -> Iterator[NDArray[np.int64]]:
    """Ascending `rows` (n,) cut into stretches of neighbours in one shard, no more than `at_once` each."""
    ends = np.flatnonzero((np.diff(rows) != 1) | (np.diff(rows // shard_rows) != 0)) + 1
    for run in np.split(rows, ends):
        yield from (run[start : start + at_once] for start in range(0, len(run), at_once))

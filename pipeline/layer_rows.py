"""Stored values of any rows of a layer: chips decoded one by one where they can be, otherwise by the shard."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.corpus import Corpus, empty_block
from pipeline.stored_chips import OPEN_SHARDS, StoredChips

_KEPT_SHARDS = 2  # of layers with one value per chip: some kilobytes each


class LayerRows:
    """The layer `name` of a corpus; safe for many threads. All raise `Fatal` for an unfinished or damaged shard.

    `open_shards` stay open: who reads rows in ascending order needs two.
    """

    def __init__(self, corpus: Corpus, name: str, open_shards: int = OPEN_SHARDS) -> None:
        self._corpus, self._name = corpus, name
        self._chips = StoredChips(corpus, name, open_shards) if corpus.chip_codec(name) else None
        self._shard = lru_cache(_KEPT_SHARDS)(self._read_shard)
        self._missing = lru_cache(_KEPT_SHARDS)(self._read_missing)

    def values(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Values (n, bands[, y, x]) of rows (n,) of the manifest, in the stored dtype."""
        block = empty_block(self._corpus.modality(self._name), len(rows), self._corpus.manifest.size_px)
        if self._chips is None:
            indices = rows // self._corpus.shard_rows
            for index in np.unique(indices).tolist():
                here = indices == index
                block[here] = self._shard(index)[rows[here] - self._corpus.shards[index].start]
            return block
        for place, (row, frame) in enumerate(zip(rows.tolist(), self._chips.frames(rows), strict=True)):
            self._chips.decode(row, frame, block[place])
        return block

    def reason(self, row: int) -> str | None:
        """Why a row has no data; None for a row that has."""
        return self._missing(row // self._corpus.shard_rows).get(row)

    def _read_shard(self, index: int) -> NDArray[Any]:
        return self._corpus.read(self._name, self._corpus.shards[index].slice)

    def _read_missing(self, index: int) -> Mapping[int, str]:
        (entry,) = self._corpus.ledger.without_statistics(self._name, [index])
        return entry.missing

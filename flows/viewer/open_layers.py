"""Stored values of single chips for the explorer: what was opened for one chip stays open for the next."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from numpy.typing import NDArray

from pipeline.corpus import Corpus
from pipeline.ledger import Entry
from pipeline.ranged_chips import RangedChips

_SHARDS = 64  # of layers with one value per chip: some kilobytes each


class OpenLayers:
    """The layers of a corpus, also while its shards are written or written anew; safe for many threads.

    All raise `Fatal` for a damaged shard or ledger entry.
    """

    def __init__(self, corpus: Corpus) -> None:
        self.corpus = corpus
        self._chips = lru_cache(None)(self._open)
        self._shard = lru_cache(_SHARDS)(self._read_shard)

    def entry(self, name: str, row: int) -> Entry | None:
        """What the ledger says now of the shard of a row, without statistics; None where it is not finished."""
        index = row // self.corpus.shard_rows
        if not self.corpus.is_finished(name, index):
            return None
        (entry,) = self.corpus.ledger.without_statistics(name, [index])
        return entry

    def stored(self, row: int, entry: Entry) -> NDArray[Any]:
        """Stored values (bands[, y, x]) of a row of the layer and shard that `entry` is of."""
        name = entry.modality
        if self.corpus.modality(name).extent == "image":
            return self._shard(name, entry.shard, entry.digest)[row - self.corpus.shards[entry.shard].start]
        chips = self._chips(name)
        return self.corpus.read(name, slice(row, row + 1))[0] if chips is None else chips.values(row, entry)

    def _open(self, name: str) -> RangedChips | None:
        """A reader of single chips; None for a layer that was stored in another way."""
        codec = self.corpus.chip_codec(name)
        return RangedChips(self.corpus, name) if codec and codec.checksums else None

    def _read_shard(self, name: str, index: int, _digest: str) -> NDArray[Any]:
        return self.corpus.read(name, self.corpus.shards[index].slice)

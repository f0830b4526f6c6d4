"""Single chips of one layer, each read alone: of a shard its index and the bytes of that chip, also in a bucket."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.first_use import other_object, unfinished
from pipeline.ledger import ABSENT, Mark
from pipeline.shard_object import EMPTY, ShardIndex, ShardObject, tail_bytes
from pipeline.stored_chips import StoredChips

_INDICES = 64  # of shards that were looked at last: 8 kB each


class RangedChips:
    """Chips of the layer `name`, whose chips must be compressed singly, with checksums; safe for many threads.

    The index of a shard is compared with the ledger when it is read, and read again once its mark is another one.
    """

    def __init__(self, corpus: Corpus, name: str) -> None:
        codec = corpus.chip_codec(name)
        if codec is None or not codec.checksums:
            raise Fatal(f"the chips of {name!r} in {corpus.store.url} are not compressed singly, with checksums.")
        self._corpus, self._name, self._chips = corpus, name, StoredChips(corpus, name)
        self._index = lru_cache(_INDICES)(self._read_index)

    def values(self, row: int, mark: Mark) -> NDArray[Any]:
        """Values (bands, y, x) of a row in the stored dtype; `mark` is the valid mark of its shard.

        Raises `Fatal` for a shard that is damaged or not that of the mark, and for a damaged chip.
        """
        index = self._index(mark.shard, mark.digest, mark.index_crc32c)
        frame = None if index is None else self._frame(index, row)
        chip = np.empty(self._chips.shape, self._chips.dtype)
        self._chips.decode(row, b"" if frame is None else frame.tobytes(), chip)
        return chip

    def _frame(self, index: ShardIndex, row: int) -> NDArray[np.uint8] | None:
        """A chip as Blosc compressed it, fetched alone; None where all is nodata."""
        shard, place = divmod(row, self._corpus.shard_rows)
        start, length = index.byte_ranges[place].tolist()
        if length == EMPTY:
            return None
        stored = self._corpus.store.ranges(self._key(shard), [(start, start + length)])
        if stored is None:
            raise unfinished(self._corpus.folder, self._name, shard)
        return self._chips.checked(row, ShardObject.of_chunk(np.frombuffer(stored[0], np.uint8)), 0)

    def _read_index(self, shard: int, digest: str, index_crc32c: str | None) -> ShardIndex | None:
        """The index of a shard's object, None where there is rightly none; the arguments are those of its mark."""
        rows = self._corpus.shard_rows
        end = self._corpus.store.end(self._key(shard), tail_bytes(rows))
        if end is None or digest == ABSENT:
            self._refuse(shard, end is None, digest == ABSENT)
            return None
        tail, size_bytes = end
        try:
            index = ShardIndex.of(np.frombuffer(tail, np.uint8), rows, size_bytes)
        except ValueError as error:
            raise self._chips.damaged(shard, str(error)) from error
        if index_crc32c not in (None, index.crc32c):
            raise other_object(self._corpus.folder, self._name, shard, "its index is another one")
        return index

    def _refuse(self, shard: int, is_absent: bool, is_marked_absent: bool) -> None:
        """Raise for an object that is there or is not, where the ledger says otherwise."""
        if not is_absent:
            raise other_object(self._corpus.folder, self._name, shard, "nothing should be stored")
        if not is_marked_absent:
            raise unfinished(self._corpus.folder, self._name, shard)

    def _key(self, shard: int) -> str:
        return self._corpus.object_key(self._name, self._corpus.shards[shard])

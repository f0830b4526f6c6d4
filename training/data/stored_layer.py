"""One layer as its ledger knows it: which object a shard must have, and what is said where it has another."""

from __future__ import annotations

from typing import Any

import numpy as np
from numcodecs import blosc
from numpy.typing import NDArray

from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.first_use import damaged, other_object, unfinished
from pipeline.ledger import ABSENT, Mark
from pipeline.shard_object import ShardObject
from training.data.chunk_layout import ChunkLayout


class StoredLayer:
    """The layer `name` of a corpus, cut and encoded as `layout` says."""

    def __init__(self, corpus: Corpus, name: str, layout: ChunkLayout) -> None:
        self.corpus, self.name, self.layout = corpus, name, layout
        self._nbytes = layout.nbytes
        self._finished: frozenset[int] = frozenset()

    def mark(self, index: int) -> Mark:
        """What the ledger knows of a shard now; raises `Fatal` for one that is not finished."""
        if index not in self._finished:
            self._finished = self.corpus.finished(self.name)  # lists all of the ledger: with many shards, milliseconds
        if index not in self._finished:
            raise self.unfinished(index)
        (mark,) = self.corpus.ledger.marks(self.name, [index])
        return mark

    def refuse_none(self, mark: Mark) -> None:
        """Raise where there is no object, unless all is nodata: Zarr writes no object for such a shard."""
        if mark.digest != ABSENT:
            raise self.unfinished(mark.shard)

    def refuse_other(self, mark: Mark, index_crc32c: str | None) -> None:
        """Raise for an object that is not the one in the ledger; entries of older releases do not know its index."""
        if mark.digest == ABSENT:
            raise other_object(self.corpus.folder, self.name, mark.shard, "nothing should be stored")
        if mark.index_crc32c not in (None, index_crc32c):
            raise other_object(self.corpus.folder, self.name, mark.shard, "its index is another one")

    def decode(self, shard: ShardObject | None, place: int, row: int, into: NDArray[Any]) -> NDArray[Any]:
        """Decode the chip at a place of `shard`, which is that of `row`; nodata where nothing is stored."""
        layout = self.layout
        try:
            frame = shard.frame(place, self._nbytes, layout.checksums) if shard else None
        except ValueError as error:
            raise self.damaged(row // layout.shard_rows, f"row {row} {error}") from error
        if frame is None:
            into[...] = layout.fill
            return into
        try:
            blosc.decompress(frame, into)
        except RuntimeError as error:
            raise self.damaged(row // layout.shard_rows, f"row {row} cannot be decoded") from error
        return into

    def is_sound(self, content: memoryview) -> bool:
        """Whether the stored bytes of a chip have its size and its checksum, if it has one."""
        chunk = ShardObject.of_chunk(np.frombuffer(content, np.uint8))
        try:
            return chunk.frame(0, self._nbytes, self.layout.checksums) is not None
        except ValueError:
            return False

    def unfinished(self, index: int) -> Fatal:
        """A shard that would read as nodata."""
        return unfinished(self.corpus.folder, self.name, index)

    def damaged(self, index: int, what: str) -> Fatal:
        """A shard whose bytes cannot be what was written."""
        return damaged(self.corpus.folder, self.name, index, what)

"""Chips of one layer by row, as they lie in the store: still compressed, with a look at their checksums, or decoded."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numcodecs import blosc
from numpy.typing import NDArray

from pipeline.compression import CHECKSUMS_SINCE
from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.first_use import damaged, other_object, unfinished
from pipeline.ledger import ABSENT, Mark
from pipeline.shard import Shard
from pipeline.shard_object import ShardObject

OPEN_SHARDS = 8  # of a bucket each is held whole


class StoredChips:
    """Compressed and decoded chips of the layer `name`, whose chips must be compressed singly; safe for many threads.

    A shard's object is mapped into memory, or fetched whole from a bucket. It is compared with the ledger when it is
    opened: by its index, and where chips have no checksums by the digest of all of it. Raises `Fatal` for a shard that
    is not finished or is damaged. `open_shards` stay open: who reads rows in ascending order needs two.
    """

    def __init__(self, corpus: Corpus, name: str, open_shards: int = OPEN_SHARDS) -> None:
        codec = corpus.chip_codec(name)
        if codec is None:
            raise Fatal(f"the chips of {name!r} in {corpus.store.url} are not compressed singly.")
        self.corpus, self.name, self.codec = corpus, name, codec
        modality = corpus.modality(name)
        self.shape, self.dtype = modality.shape(corpus.manifest.size_px), np.dtype(modality.dtype)
        self._nbytes = int(np.prod(self.shape)) * self.dtype.itemsize
        self._opened = lru_cache(open_shards)(self._open)

    def frames(self, rows: NDArray[np.int64]) -> Iterator[bytes]:
        """The chips of some rows as Blosc compressed them; no bytes for one that is all nodata."""
        for row in rows.tolist():
            frame = self._frame(row)
            yield b"" if frame is None else frame.tobytes()

    def decode(self, row: int, frame: bytes, into: NDArray[np.generic]) -> None:
        """Decode the compressed chip of a row into an array (bands, y, x), in one piece, of the stored dtype."""
        if not frame:
            into[...] = self.codec.fill
            return
        try:
            blosc.decompress(frame, into)
        except (RuntimeError, ValueError) as error:
            raise self.damaged(row // self.corpus.shard_rows, f"row {row} cannot be decoded") from error

    def checked(self, row: int, stored: ShardObject, place: int) -> NDArray[np.uint8] | None:
        """The chip of a row, which lies at a `place` of `stored`, as Blosc compressed it; None where all is nodata."""
        try:
            return stored.frame(place, self._nbytes, self.codec.checksums)
        except ValueError as error:
            raise self.damaged(row // self.corpus.shard_rows, f"row {row} {error}") from error

    def _frame(self, row: int) -> NDArray[np.uint8] | None:
        index, place = divmod(row, self.corpus.shard_rows)
        stored = self._opened(index)
        return self.checked(row, stored, place) if stored else None

    def _open(self, index: int) -> ShardObject | None:
        corpus, name = self.corpus, self.name
        if not corpus.is_finished(name, index):
            raise unfinished(corpus.folder, name, index)
        (mark,) = corpus.ledger.marks(name, [index])
        content = self._content(corpus.shards[index])
        if content is None:
            if mark.digest != ABSENT:
                raise unfinished(corpus.folder, name, index)
            return None
        try:
            stored = ShardObject.of(content, corpus.shard_rows)
        except ValueError as error:
            raise self.damaged(index, str(error)) from error
        self._refuse_other(mark, stored)
        return stored

    def _content(self, shard: Shard) -> NDArray[np.uint8] | None:
        """The bytes of a shard's object; None where there is none."""
        store, key = self.corpus.store, self.corpus.object_key(self.name, shard)
        if store.folder is None:
            fetched = store.get(key)
            return None if fetched is None else np.frombuffer(fetched, np.uint8)
        try:
            with (store.folder / key).open("rb") as stream:
                return np.frombuffer(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
        except FileNotFoundError:
            return None
        except ValueError as error:  # nothing is in it
            raise self.damaged(shard.index, "it is empty") from error

    def _refuse_other(self, mark: Mark, stored: ShardObject) -> None:
        """Raise for an object that is not the one in the ledger; older entries do not know its index."""
        corpus, what = self.corpus, ""
        if mark.digest == ABSENT:
            what = "nothing should be stored"
        elif mark.index_crc32c not in (None, stored.index_crc32c):
            what = "its index is another one"
        elif corpus.format_version < CHECKSUMS_SINCE and not corpus.verify(self.name, corpus.shards[mark.shard]):
            what = "its digest is another one"
        if what:
            raise other_object(corpus.folder, self.name, mark.shard, what)

    def damaged(self, index: int, what: str) -> Fatal:
        """A shard whose bytes cannot be what was written."""
        return damaged(self.corpus.folder, self.name, index, what)

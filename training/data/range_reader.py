"""Chips from a bucket: runs of neighbours by ranged requests, decoded and checked as those from a disk are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.shard_object import EMPTY, ShardIndex, ShardObject, tail_bytes
from pipeline.store import Buffer
from training.data.chip_cache import ChipCache
from training.data.chip_reader import ChipReader
from training.data.shared_results import SharedResults
from training.data.stored_layer import StoredLayer

_INDICES = 4096  # of shards, 16 bytes a row: all of a corpus of a million chips
_BLOCK_ROWS = 16  # that are kept together in a cache
_SPANS = 16  # that are fetched because nobody has said before that they are needed


class RangeReader:
    """Fetches compressed chips of one layer, those of a run with one request where they lie together.

    The index of a shard is fetched once. No lock is held during a request. Chips that were not `fetched` come with the
    `span_rows` neighbours of their span. With a `cache`, blocks of 16 neighbours are fetched, and kept there.
    """

    def __init__(self, layer: StoredLayer, span_rows: int, cache: ChipCache | None = None) -> None:
        self._layer, self._span_rows, self._cache = layer, span_rows, cache
        self._place = sha256(layer.corpus.store.url.encode()).hexdigest()[:16]  # in the cache, which many may share
        self._index = SharedResults(self._open, _INDICES)
        self._spans = SharedResults(self._span, _SPANS)

    def chip(self, row: int, scratch: NDArray[Any]) -> NDArray[Any]:
        """Decode into `scratch`; rows without an inner chunk or without an object are the fill value."""
        shard_rows = self._layer.layout.shard_rows
        place = row % shard_rows
        return self._spans(row - place + place // self._span_rows * self._span_rows).chip(row, scratch)

    def _span(self, start: int) -> ChipReader:
        shard = self._layer.corpus.shards[start // self._layer.layout.shard_rows]
        return self.fetched(range(start, min(start + self._span_rows, shard.stop)))

    def fetched(self, rows: Sequence[int]) -> ChipReader:
        """Their compressed bytes in memory."""
        shard_rows = self._layer.layout.shard_rows
        index = rows[0] // shard_rows
        known = self._index(index)
        if known is None:
            return FetchedChips(self._layer, {})
        places = [row - index * shard_rows for row in rows]
        stored = [place for place in places if known.byte_ranges[place, 1] != EMPTY]
        chips: dict[int, tuple[ShardObject, int]] = {}
        for pairs, content in self._pieces(index, known, stored):
            piece = ShardObject.of_piece(np.frombuffer(content, np.uint8), pairs)
            found = range(len(chips), len(chips) + len(pairs))
            chips |= {index * shard_rows + stored[number]: (piece, number - found.start) for number in found}
        return FetchedChips(self._layer, chips)

    def _pieces(
        self, index: int, known: ShardIndex, places: Sequence[int]
    ) -> Iterable[tuple[NDArray[np.uint64], Buffer]]:
        """Offsets and lengths of chips that lie one behind another, (chips, 2), and their bytes; `places` in order."""
        pairs = known.byte_ranges[list(places)]
        if self._cache is None:
            pieces = _touching(pairs)
            spans = [(int(piece[0, 0]), int(piece[-1].sum())) for piece in pieces]
            return zip(pieces, self._ranges(index, spans), strict=True)
        blocks = {
            number: self._block(self._cache, index, known, number) for number in {at // _BLOCK_ROWS for at in places}
        }
        found = [blocks[at // _BLOCK_ROWS] for at in places]
        # Copied, as each is a piece of a block, which would stay in memory for one chip.
        contents = [
            bytes(content[offset - first :][:length])
            for (first, content), (offset, length) in zip(found, pairs.tolist(), strict=True)
        ]
        return zip(pairs[:, None], contents, strict=True)

    def _ranges(self, index: int, spans: Sequence[tuple[int, int]]) -> list[Buffer]:
        corpus, name = self._layer.corpus, self._layer.name
        contents = corpus.store.ranges(corpus.object_key(name, corpus.shards[index]), spans)
        if contents is None:
            raise self._layer.unfinished(index)
        return contents

    def _block(self, cache: ChipCache, index: int, known: ShardIndex, number: int) -> tuple[int, memoryview]:
        """Where a block of neighbouring chips begins in the object, and its bytes, which are kept if they are sound."""
        pairs = known.byte_ranges[number * _BLOCK_ROWS : (number + 1) * _BLOCK_ROWS]
        stored = pairs[pairs[:, 1] != EMPTY]
        first, stop = int(stored[:, 0].min()), int(stored.sum(axis=1).max())
        key = f"{self._place}/{self._layer.name}/{index}-{known.crc32c}-{number}"
        content = cache.get(key)
        if content is None:
            (fetched,) = self._ranges(index, [(first, stop)])
            content = memoryview(fetched)
            if all(self._layer.is_sound(content[offset - first :][:length]) for offset, length in stored.tolist()):
                cache.put(key, content)
        return first, content

    def _open(self, index: int) -> ShardIndex | None:
        layer, corpus, shard_rows = self._layer, self._layer.corpus, self._layer.layout.shard_rows
        mark = layer.mark(index)
        end = corpus.store.end(corpus.object_key(layer.name, corpus.shards[index]), tail_bytes(shard_rows))
        if end is None:
            layer.refuse_none(mark)
            return None
        tail, size_bytes = end
        try:
            known = ShardIndex.of(np.frombuffer(tail, np.uint8), shard_rows, size_bytes)
        except ValueError as error:
            raise layer.damaged(index, str(error)) from error
        layer.refuse_other(mark, known.crc32c)
        return known


class FetchedChips:
    """Compressed chips in memory, by row a piece of an object and the place in it; a row without one is nodata."""

    def __init__(self, layer: StoredLayer, chips: Mapping[int, tuple[ShardObject, int]]) -> None:
        self._layer, self._chips = layer, chips

    def chip(self, row: int, scratch: NDArray[Any]) -> NDArray[Any]:
        """Decode into `scratch`."""
        piece, place = self._chips.get(row, (None, 0))
        return self._layer.decode(piece, place, row, scratch)

    def fetched(self, rows: Sequence[int]) -> ChipReader:
        """Itself."""
        return self


def _touching(pairs: NDArray[np.uint64]) -> list[NDArray[np.uint64]]:
    """Offsets and lengths (chips, 2), parted where one chip does not begin where the one before ends."""
    if not len(pairs):
        return []
    return np.split(pairs, np.flatnonzero(pairs[1:, 0] != pairs[:-1].sum(axis=1)) + 1)

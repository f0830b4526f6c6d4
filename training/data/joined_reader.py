"""Chips of one layer of several corpora, by the rows of the corpora joined."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.modality import Modality
from training.data.chip_reader import ChipReader


@dataclass(frozen=True)
class Part:
    """What reads one corpus, whose first row is `first_row` of those joined, in shards of `shard_rows`."""

    reader: ChipReader
    first_row: int
    shard_rows: int


class JoinedReader:
    """Asks the reader of the corpus that a row is of."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = tuple(parts)
        self._first_rows = [part.first_row for part in parts]

    def chip(self, row: int, scratch: NDArray[Any]) -> NDArray[Any]:
        """See `ChipReader`."""
        part = self._part_of(row)
        return part.reader.chip(row - part.first_row, scratch)

    def fetched(self, rows: Sequence[int]) -> ChipReader:
        """A reader of these rows, which may be of several shards and corpora."""
        chips: dict[int, tuple[ChipReader, int]] = {}
        for (part, _), members in groupby(rows, self._place_of):
            own = [row - part.first_row for row in members]
            reader = part.reader.fetched(own)
            chips |= {row + part.first_row: (reader, row) for row in own}
        return _Fetched(chips)

    def _part_of(self, row: int) -> Part:
        return self._parts[bisect_right(self._first_rows, row) - 1]

    def _place_of(self, row: int) -> tuple[Part, int]:
        part = self._part_of(row)
        return part, (row - part.first_row) // part.shard_rows


class _Fetched:
    """Rows that are at hand, each with its reader and its row there."""

    def __init__(self, chips: Mapping[int, tuple[ChipReader, int]]) -> None:
        self._chips = chips

    def chip(self, row: int, scratch: NDArray[Any]) -> NDArray[Any]:
        reader, own = self._chips[row]
        return reader.chip(own, scratch)

    def fetched(self, rows: Sequence[int]) -> ChipReader:
        return self


class CentreReader:
    """The centres, of `size_px`, of larger chips of `modality` of `chip_px`."""

    def __init__(self, reader: ChipReader, modality: Modality, chip_px: int, size_px: int) -> None:
        self._reader, self._modality, self._chip_px, self._size_px = reader, modality, chip_px, size_px
        self._threads = threading.local()

    def chip(self, row: int, scratch: NDArray[Any]) -> NDArray[Any]:
        """A view of a whole chip, which stays until this thread asks for the next; `scratch` is too small for it."""
        first = (self._chip_px - self._size_px) // 2
        inside = slice(first, first + self._size_px)
        return self._reader.chip(row, self._whole())[:, inside, inside]

    def fetched(self, rows: Sequence[int]) -> ChipReader:
        """The centres of chips that are at hand."""
        return CentreReader(self._reader.fetched(rows), self._modality, self._chip_px, self._size_px)

    def _whole(self) -> NDArray[Any]:
        held = self._threads.__dict__
        if "whole" not in held:
            held["whole"] = np.empty(self._modality.shape(self._chip_px), np.dtype(self._modality.dtype))
        result: NDArray[Any] = held["whole"]
        return result


class AbsentReader:
    """A layer that a corpus does not have: nodata."""

    def __init__(self, modality: Modality) -> None:
        self._fill = modality.fill

    def chip(self, row: int, scratch: NDArray[Any]) -> NDArray[Any]:
        """Nodata in `scratch`."""
        scratch[...] = self._fill
        return scratch

    def fetched(self, rows: Sequence[int]) -> ChipReader:
        """Itself."""
        return self

"""One layer of a corpus that chips are taken from: their values, their compressed bytes, and why some have none."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from numpy.typing import NDArray

from exporters.formats.corpora.array_cut import chip_encoding
from exporters.formats.corpora.composition import Part
from pipeline.corpus import Corpus
from pipeline.ledger import Entry
from pipeline.measured import MEASURED
from pipeline.stored_chips import StoredChips


class LayerSource:
    """The layer `name` of `corpus`, to be written into `target`."""

    def __init__(self, corpus: Corpus, name: str, target: Corpus) -> None:
        self._corpus, self._name = corpus, name
        encoding = chip_encoding(corpus, name)
        self._chips = None if encoding is None else StoredChips(corpus, name)
        self._fits = encoding == chip_encoding(target, name)
        self._entry = lru_cache(4)(self._read_entry)

    def fill(self, block: NDArray[Any], part: Part) -> dict[int, bytes]:
        """Put the chips of a part into `block` (rows, bands[, y, x]); returns them compressed, by place, if they fit.

        Raises `Fatal` for a shard that is not finished or is damaged.
        """
        if self._chips is None:
            values = self._corpus.read(self._name, part.shard.slice)
            block[part.places] = values[part.rows - part.shard.start]
            return {}
        frames = dict(zip(part.places.tolist(), self._chips.frames(part.rows), strict=True))
        for row, (place, frame) in zip(part.rows.tolist(), frames.items(), strict=True):
            self._chips.decode(row, frame, block[place])
        return frames if self._fits else {}

    def missing(self, part: Part) -> dict[int, str]:
        """Why chips of a part have no data, by place."""
        reasons = self._entry(part.shard.index).missing
        pairs = zip(part.places.tolist(), part.rows.tolist(), strict=True)
        return {place: reasons[row] for place, row in pairs if row in reasons}

    def measured(self, part: Part, name: str) -> list[float | None]:
        """What was measured of the chips of a part, one number for each; None where it is not known."""
        told = self._entry(part.shard.index).quality.get(MEASURED, {}).get(name)
        return [None if told is None else told[row - part.shard.start] for row in part.rows.tolist()]

    def _read_entry(self, index: int) -> Entry:
        (entry,) = self._corpus.ledger.without_statistics(self._name, [index])
        return entry

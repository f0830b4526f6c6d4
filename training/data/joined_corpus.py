"""Several corpora as one: the rows of each follow those of the one before, and a layer that one lacks is missing there.

What trains on a corpus takes it as any other. It is for reading alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from itertools import product
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.corpus import Corpus, empty_block
from pipeline.errors import Fatal
from pipeline.ledger import ABSENT, Entry
from pipeline.manifest import Manifest
from pipeline.modality import Modality, Range
from pipeline.shard import Shard
from pipeline.statistics import BandStatistics, binned_anew, merge
from training.data.agreement import (
    refuse_other_chips,
    refuse_other_layer,
    refuse_twice,
    with_classes_of,
    with_common_ranges,
)

Ranges = Sequence[Range | None]
NO_LAYER = "the corpus does not have this layer"


def joined(corpora: Sequence[Corpus]) -> Corpus:
    """The corpora as one, in their order; one alone as it is.

    Raises `Fatal` for the same corpus twice, and for chips in pixels of another size.
    """
    return JoinedCorpus(corpora) if len(corpora) > 1 else corpora[0]


def parts_of(corpus: Corpus) -> tuple[Corpus, ...]:
    """The corpora of which one is joined; itself alone otherwise."""
    return corpus.parts if isinstance(corpus, JoinedCorpus) else (corpus,)


class JoinedCorpus(Corpus):
    """Corpora one after the other. Row and shard numbers are offset by those of the corpora before.

    Of larger chips it has the centre that is as large as the smallest chips. `folder` is that of the first corpus.
    Statistics are those of the train rows of all corpora together. Raises as `joined` does.
    """

    def __init__(self, parts: Sequence[Corpus]) -> None:
        refuse_twice(parts)
        refuse_other_chips(parts)
        self.parts = tuple(parts)
        self.folder, self.store = parts[0].folder, parts[0].store
        self.shard_rows = max(part.shard_rows for part in parts)  # of its own runs of neighbours; see `shards`
        self.size_px = min(part.manifest.size_px for part in parts)
        self.manifest = self.whole = _manifest_of(parts, self.size_px)
        self.first_rows = _starts([len(part.manifest) for part in parts])
        self.first_shards = _starts([len(part.shards) for part in parts])
        self._only: frozenset[int] | None = None
        self._agreed: dict[str, Modality] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.parts,)

    def at(self, state: str) -> Self:
        """The corpora in the states in which the digest of them all was `state`; raises `Fatal` for none."""
        for digests in product(*(sorted(part.manifest.lineage) for part in self.parts)):
            if _digest_of(digests) == state:
                pairs = zip(self.parts, digests, strict=True)
                return self._of([part.at(digest) for part, digest in pairs], None)
        raise Fatal(f"the corpora in {self.folders} never had the manifests {state[:16]}; put their own back.")

    def restricted_to(self, shards: Iterable[int]) -> Self:
        """The same with only these shards finished."""
        only = frozenset(shards)
        own = [[index - first for index in only if 0 <= index - first < len(part.shards)]
               for part, first in zip(self.parts, self.first_shards, strict=True)]  # fmt: skip
        parts = [part.restricted_to(indices) for part, indices in zip(self.parts, own, strict=True)]
        return self._of(parts, only)

    def _of(self, parts: Sequence[Corpus], only: frozenset[int] | None) -> Self:
        result = type(self)(parts)
        result.whole, result._only = self.whole, only
        return result

    def unseal(self) -> None:
        """Nothing is written through this view: raises `Fatal`."""
        raise Fatal(f"the corpora in {self.folders} are joined for reading only; open the one to write to.")

    @property
    def folders(self) -> str:
        """The folders of all corpora, for a sentence."""
        return " and ".join(str(part.folder) for part in self.parts)

    @cached_property
    def modalities(self) -> dict[str, Modality]:
        """The layers that any of the corpora has, as the first one that has it specifies it, but for its classes."""
        return {name: item for part in reversed(self.parts) for name, item in part.modalities.items()}

    def modality(self, name: str) -> Modality:
        """The layer called `name`, with the classes of all corpora, those of the first one first.

        Raises `Fatal` for an unknown one, and where corpora store it differently.
        """
        if name not in self._agreed:
            self._agreed[name] = self._agreeing(super().modality(name))
        return self._agreed[name]

    def _agreeing(self, modality: Modality) -> Modality:
        first, *others = self._having(modality.name)
        for part in others:
            other = part.modality(modality.name)
            refuse_other_layer(modality, first.folder, other, part.folder)
            modality = with_classes_of(modality, first.folder, other, part.folder)
            modality = with_common_ranges(modality, first.folder, other, part.folder)
        return modality

    def _having(self, name: str) -> list[Corpus]:
        return [part for part in self.parts if name in part.modalities]

    @cached_property
    def shards(self) -> tuple[Shard, ...]:
        """The shards of all corpora: they may have different lengths, but each is of one corpus."""
        return tuple(
            Shard(first + shard.index, start + shard.start, start + shard.stop)
            for part, first, start in zip(self.parts, self.first_shards, self.first_rows, strict=True)
            for shard in part.shards
        )

    def finished(self, name: str) -> frozenset[int]:
        """Indices of the finished shards of a layer; those of a corpus that lacks it have nothing to wait for."""
        return frozenset().union(*(self._finished_of(index, name) for index in range(len(self.parts))))

    def _finished_of(self, number: int, name: str) -> frozenset[int]:
        part, first = self.parts[number], self.first_shards[number]
        if name in part.modalities:
            return frozenset(first + index for index in part.finished(name))
        every = frozenset(range(first, first + len(part.shards)))
        return every if self._only is None else every & self._only

    def entries(self, name: str) -> Iterator[Entry]:
        """The ledger entries of all corpora, by the numbers of this one; of a corpus without the layer, empty ones."""
        for number, part in enumerate(self.parts):
            own = self._entries_of(part, name) if name in part.modalities else self._without(number, name)
            yield from self._moved(number, own)

    def _entries_of(self, part: Corpus, name: str) -> Iterator[Entry]:
        """Those of one corpus, with histograms over the ranges that all corpora have."""
        before, after = part.modality(name).ranges, self.modality(name).ranges
        for entry in part.entries(name):
            yield entry if before == after else replace(entry, summary=_binned_anew(entry.summary, before, after))

    def findings(self, name: str) -> Iterator[Entry]:
        """As `entries`, without statistics."""
        for number, part in enumerate(self.parts):
            own = part.findings(name) if name in part.modalities else self._without(number, name)
            yield from self._moved(number, own)

    def _without(self, number: int, name: str) -> Iterator[Entry]:
        part, digest = self.parts[number], self.modality(name).digest
        for shard in part.shards:
            if self.first_shards[number] + shard.index in self._finished_of(number, name):
                rows, missing = (shard.start, shard.stop), dict.fromkeys(shard.rows, NO_LAYER)
                yield Entry(shard.index, name, rows, part.manifest.digest, digest, ABSENT, missing=missing)

    def _moved(self, number: int, entries: Iterable[Entry]) -> Iterator[Entry]:
        start, first = self.first_rows[number], self.first_shards[number]
        for entry in entries:
            missing = {start + row: reason for row, reason in entry.missing.items()}
            rows = (start + entry.rows[0], start + entry.rows[1])
            yield replace(entry, shard=first + entry.shard, rows=rows, missing=missing)

    def statistics(self, name: str) -> dict[str, list[BandStatistics]]:
        """Statistics of the train rows of all corpora, per group and band."""
        codes, merged = self.modality(name).codes, dict[str, list[BandStatistics]]()
        for part in self._having(name):
            own_codes, own_ranges = part.modality(name).codes, part.modality(name).ranges
            for group, own in part.statistics(name).items():
                ranged = map(binned_anew, own, own_ranges, self.modality(name).ranges)
                bands = [_counting(codes, own_codes, band) for band in ranged]
                merged[group] = _merged(merged[group], bands) if group in merged else bands
        return dict(sorted(merged.items()))

    def read(self, name: str, rows: slice) -> NDArray[Any]:
        """Values (rows, bands[, y, x]) in the stored dtype, nodata where a corpus lacks the layer."""
        blocks = []
        for number, part in enumerate(self.parts):
            start = self.first_rows[number]
            own = slice(max(rows.start - start, 0), min(rows.stop - start, len(part.manifest)))
            if own.start < own.stop:
                blocks.append(self._read(part, name, own))
        return np.concatenate(blocks)

    def _read(self, part: Corpus, name: str, rows: slice) -> NDArray[Any]:
        modality = self.modality(name)
        if name not in part.modalities:
            return empty_block(modality, rows.stop - rows.start, self.size_px)
        values, first = part.read(name, rows), (part.manifest.size_px - self.size_px) // 2
        inside = slice(first, first + self.size_px)
        return values[..., inside, inside] if modality.extent == "pixel" else values


def _starts(lengths: Sequence[int]) -> tuple[int, ...]:
    return tuple(int(start) for start in np.cumsum([0, *lengths])[:-1])


def _digest_of(digests: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _counting(codes: Sequence[int], own: Sequence[int], band: BandStatistics) -> BandStatistics:
    """Statistics whose classes are counted in the order of `codes`, in place of that of its `own`."""
    if tuple(codes) == tuple(own):
        return band
    counts = dict(zip(own, band.histogram, strict=True))
    return replace(band, histogram=tuple(counts.get(code, 0) for code in codes))


def _binned_anew(summary: Mapping[str, Any], before: Ranges, after: Ranges) -> dict[str, list[dict[str, Any]]]:
    """A summary with histograms over other ranges."""
    bands = merge([summary])
    return {name: [asdict(item) for item in map(binned_anew, own, before, after)] for name, own in bands.items()}


def _merged(one: Sequence[BandStatistics], other: Sequence[BandStatistics]) -> list[BandStatistics]:
    return [first.merge(second) for first, second in zip(one, other, strict=True)]


def _manifest_of(parts: Sequence[Corpus], size_px: int) -> Manifest:
    """The rows of all, on the grids of the centres of `size_px`; its states are all combinations of theirs."""
    manifests = [part.manifest for part in parts]
    own = _common_columns(manifests)
    centres = [item if item.size_px == size_px else item.regridded(size_px) for item in manifests]
    counts = [len(item) for item in manifests]
    rows = np.concatenate([np.arange(count) for count in counts])
    result = Manifest.picked([item.with_own(own) for item in centres], np.repeat(np.arange(len(parts)), counts), rows)
    result.digest = _digest_of(item.digest for item in manifests)
    result.lineage = frozenset(map(_digest_of, product(*(item.lineage for item in manifests))))
    return result


def _common_columns(manifests: Sequence[Manifest]) -> list[str]:
    """The owners' columns, but those that corpora have in different types."""
    kinds: dict[str, set[str]] = {}
    for manifest in manifests:
        for name in manifest.own_columns:
            kinds.setdefault(name, set()).add(str(manifest.own_type(name)))
    return [name for name, types in kinds.items() if len(types) == 1]

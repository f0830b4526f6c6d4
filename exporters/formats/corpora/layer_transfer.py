"""One layer of a new corpus, shard by shard, from the shards of its sources."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from exporters.formats.corpora.composition import Composition, Part
from exporters.formats.corpora.layer_source import LayerSource
from exporters.formats.corpora.whole_shard import copy_shard, is_cut_alike, is_whole
from pipeline.corpus import Corpus, empty_block
from pipeline.measured import MEASURED, told_by
from pipeline.shard import Shard


@dataclass(frozen=True)
class LayerTransfer:
    """The layer `name` of `target`, an empty corpus for the manifest of `composition`; safe for many threads."""

    composition: Composition
    target: Corpus
    name: str

    def write(self, shard: Shard) -> None:
        """Write a shard and its entry. Raises `Fatal` for a source's shard that is not finished or is damaged."""
        parts = list(self.composition.parts(shard))
        if not self._copies(parts, shard):
            self._gather(parts, shard)

    @cached_property
    def _sources(self) -> list[LayerSource | None]:
        """By the number of the corpus; None for one without this layer."""
        return [
            LayerSource(corpus, self.name, self.target) if self.name in corpus.modalities else None
            for corpus in self.composition.sources
        ]

    @cached_property
    def _are_cut_alike(self) -> list[bool]:
        """By the number of the corpus: whether it has the layer, in objects that are made as those of the target."""
        return [
            self.name in corpus.modalities and is_cut_alike(corpus, self.name, self.target)
            for corpus in self.composition.sources
        ]

    def _copies(self, parts: list[Part], shard: Shard) -> bool:
        source, part = self.composition.sources[parts[0].source], parts[0]
        if len(parts) > 1 or not self._are_cut_alike[part.source] or not is_whole(part, shard, self.target, source):
            return False
        return copy_shard(source, self.name, part.shard, self.target, shard)

    def _gather(self, parts: list[Part], shard: Shard) -> None:
        modality = self.target.modality(self.name)
        block = empty_block(modality, len(shard), self.target.manifest.size_px)
        compressed, missing = dict[int, bytes](), dict[int, str]()
        for part in parts:
            source = self._sources[part.source]
            if source is None:
                missing |= dict.fromkeys(part.places.tolist(), self._absence(part))
                continue
            compressed |= source.fill(block, part)
            missing |= source.missing(part)
        reasons = {shard.start + place: missing[place] for place in sorted(missing)}
        frames = {shard.start + place: frame for place, frame in compressed.items()}
        self.target.write(shard, self.name, block, reasons, self._measured(parts, shard), frames)

    def _measured(self, parts: list[Part], shard: Shard) -> dict[str, Any]:
        """What was measured of the chips where they come from; other findings are of shards, and not of chips."""
        told: dict[str, list[float | None]] = {
            name: [None] * len(shard) for name in told_by(self.target.modality(self.name))
        }
        for part in parts:
            if (source := self._sources[part.source]) is None:
                continue
            for name, cells in told.items():
                for place, value in zip(part.places.tolist(), source.measured(part, name), strict=True):
                    cells[place] = value
        return {MEASURED: told} if told else {}

    def _absence(self, part: Part) -> str:
        return f"the corpus {self.composition.sources[part.source].folder.name} has no such layer"

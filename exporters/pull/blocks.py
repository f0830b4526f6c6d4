"""A shard in memory: a block of each layer, filled chip by chip from what is pulled and what the spool has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from pipeline.corpus import Corpus, empty_block
from pipeline.modality import Modality
from pipeline.shard import Shard
from pipeline.spool import ChipResult


@dataclass
class Blocks:
    """A shard in memory.

    `values` has a block per layer, (rows, bands[, y, x]) in the stored dtype; `missing` why rows have no data.
    """

    corpus: Corpus
    shard: Shard
    layers: Sequence[Modality]
    values: dict[str, NDArray[Any]] = field(default_factory=dict)
    missing: dict[str, dict[int, str]] = field(default_factory=dict)
    compressed: dict[str, dict[int, bytes]] = field(default_factory=dict)
    spool_names: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        size_px = self.corpus.manifest.size_px
        self.values = {layer.name: empty_block(layer, len(self.shard), size_px) for layer in self.layers}
        self.missing = {layer.name: {} for layer in self.layers}
        self.compressed = {layer.name: {} for layer in self.layers}
        self.spool_names = {
            layer.name: f"{layer.name}@{self.corpus.modality(layer.name).digest[:16]}" for layer in self.layers
        }

    def put(self, row: int, pulled: ChipResult) -> None:
        """Write a chip's layers, as far as they have come; rows do not overlap, so many threads may do this at once."""
        for layer in self.layers:
            if layer.name in pulled.values:
                self.values[layer.name][row - self.shard.start] = pulled.values[layer.name]
                if layer.name in pulled.compressed:
                    self.compressed[layer.name][row] = pulled.compressed[layer.name]
            elif layer.name in pulled.missing:
                self.missing[layer.name][row] = pulled.missing[layer.name]

    def from_spool_names(self, spooled: ChipResult | None) -> ChipResult:
        """The layers of a spooled chip that have the present specification, shape and dtype; none for None."""
        if spooled is None:
            return ChipResult({}, {})
        names = {spool_name: name for name, spool_name in self.spool_names.items()}
        return spooled.renamed({old: name for old, name in names.items() if self._fits(name, spooled.values.get(old))})

    def _fits(self, name: str, values: NDArray[Any] | None) -> bool:
        """Whether values can be put into the block as they are: NumPy would cast and repeat others without a word."""
        block = self.values[name]
        return values is None or (values.shape, values.dtype) == (block.shape[1:], block.dtype)

    def to_spool_names(self, pulled: ChipResult) -> ChipResult:
        """A chip under the names of the spool: they contain the digest of the specification."""
        return pulled.renamed(self.spool_names)

    def with_compressed(self, pulled: ChipResult) -> ChipResult:
        """A chip compressed as in the store: by the thread that pulled it, once for both spool and store."""
        codecs = {name: self.corpus.chip_codec(name) for name in pulled.values.keys() - pulled.compressed.keys()}
        compressed = {name: codec.compressed(pulled.values[name]) for name, codec in codecs.items() if codec}
        return ChipResult(pulled.values, pulled.missing, {**pulled.compressed, **compressed})

"""What is embedded, and by what: the encoders at some weights, or a layer that is an embedding already."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from flows.owning_corpus import corpus_of
from pipeline.corpus import Corpus
from pipeline.errors import Fatal, unknown_name
from pipeline.lock import RUNS

if TYPE_CHECKING:
    from training.evaluate.embedding_stream import Embedded
    from training.layer import Layer

LAYER = "layer:"  # before the name of a layer that is an embedding already
PER = ("patch", "chip")


class ChipEmbedder(Protocol):
    """What makes vectors of chips, see `Embedder`, `PatchEmbedder` and `LayerEmbedder` in `training.evaluate`."""

    @property
    def views(self) -> tuple[str, ...]:
        """The ways of looking at a chip."""

    @property
    def width(self) -> int:
        """Numbers in a vector."""

    @property
    def pixel_px(self) -> int:
        """The edge, in pixels of a chip, of what has a vector in a map."""

    @property
    def channels(self) -> dict[str, tuple[str, ...]]:
        """The channels that each view looks at."""

    def shape(self, size_px: int) -> tuple[int, ...]:
        """The shape of what a chip gets."""

    def image_px(self, size_px: int) -> int:
        """The edge of the centre that is looked at."""

    def narrowed(self, without: Collection[str]) -> tuple[Self, tuple[str, ...]]:
        """The same without what has nothing left."""

    def embed(
        self, corpus: Corpus, rows: NDArray[np.int64], without: Collection[str] = ()
    ) -> Mapping[str, NDArray[np.float32]]:
        """Values (rows, width[, y, x]) by view."""

    def embed_each(
        self, corpus: Corpus, jobs: Sequence[NDArray[np.int64]], without: Collection[str] = ()
    ) -> Iterator[Embedded]:
        """The same batch by batch."""


@dataclass(frozen=True)
class Model:
    """The `address` of weights (a URI), the SHA-256 of their bytes, and their `name` for people."""

    address: str
    digest: str
    name: str


@dataclass(frozen=True)
class Source:
    """What is embedded: the chips of the corpus in `folder` by `weights`, `per` chip or patch, `without` channels.

    `weights` are a run's folder, a file, an address, or "layer:NAME" for a layer of the corpus.
    """

    weights: str
    folder: Path | None = None
    per: str = "chip"
    without: tuple[str, ...] = ()

    @property
    def layer(self) -> str | None:
        """The name of the layer that is an embedding already."""
        return self.weights.removeprefix(LAYER) if self.weights.startswith(LAYER) else None

    def corpus(self) -> Corpus:
        """The corpus; the one in whose folder the weights lie, if none was named. Raises `Fatal` for none."""
        if self.folder is None and self.layer is not None:
            raise Fatal(f"{self.weights} is a layer of a corpus; say of which with --corpus FOLDER.")
        return Corpus.open(self.folder or corpus_of(self.weights, RUNS))

    def embedder(self, corpus: Corpus) -> tuple[ChipEmbedder, tuple[str, ...]]:
        """What embeds chips of `corpus`, without the encoders of which nothing is left, and what it leaves out itself.

        Raises `Fatal` for weights that cannot be used or a corpus that lacks their layers.
        """
        if self.per not in PER:
            raise unknown_name("value of --per:", self.per, PER)
        return (self._of_layer if self.layer else self._of_weights)(corpus).narrowed(self.without)

    def _of_layer(self, corpus: Corpus) -> ChipEmbedder:
        from training.evaluate.layer_embedder import LayerEmbedder

        if self.per != "chip":
            raise Fatal(f"{self.weights} has its pixels in the corpus already: `geocorpus convert` writes them.")
        return LayerEmbedder.of(corpus.modality(self.layer or ""))

    def _of_weights(self, corpus: Corpus) -> ChipEmbedder:
        from training.evaluate.embedder import Embedder
        from training.evaluate.patch_embedder import PatchEmbedder
        from training.weights.encoders import load_encoders

        pretrained = load_encoders(self.weights)
        result: Embedder | PatchEmbedder = (Embedder if self.per == "chip" else PatchEmbedder).of(pretrained)
        for sensor in result.narrowed(self.without)[0].sensors:
            for layer in sensor.normalisation.layers_of(corpus.modalities):
                _refuse_other_groups(corpus, layer)
        return result

    def model(self, corpus: Corpus) -> Model:
        """What identifies the weights; of a layer its reference and the digest of its specification."""
        if self.layer is not None:
            modality = corpus.modality(self.layer)
            return Model(modality.reference or self.weights, _digest(modality.specification()), self.weights)
        from training.weights.encoders import weight_files

        digest = weight_files(self.weights).digest
        # A file has the same bytes wherever it lies.
        address = self.weights if "://" in self.weights else f"urn:sha256:{digest}"
        return Model(address, digest, Path(self.weights).name)


def _refuse_other_groups(corpus: Corpus, layer: Layer) -> None:
    """Raise `Fatal` where the weights have moments of no chip: all of them would be without data."""
    from training.layer import groups_of

    found = sorted({str(group) for group in groups_of(corpus, layer)})
    if not set(found) & set(layer.groups):
        by = layer.modality.statistics_by
        raise Fatal(
            f"these weights know {layer.name} of {by} {', '.join(sorted(layer.groups))}, and the chips in "
            f"{corpus.folder} have {', '.join(found) or 'none'}; give the corpus its {by}, or use other weights."
        )


def _digest(specification: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(specification, sort_keys=True).encode()).hexdigest()

"""Under which licence each layer of a corpus is, by whoever knows it best."""

from __future__ import annotations

from collections.abc import Mapping

from exporters.publication.about import About
from pipeline.corpus import Corpus
from pipeline.errors import unknown_name
from pipeline.licence import UNKNOWN, Licence
from pipeline.modality import Modality


def terms(corpus: Corpus, about: About, known: Mapping[str, Modality]) -> dict[str, Licence]:
    """The licence of each layer: what the publisher says, what the store says, what a known layer of that name says.

    `UNKNOWN` where nobody does. Raises `Fatal` for a layer that the publisher names and the corpus lacks.
    """
    for name in about.layers:
        if name not in corpus.modalities:
            raise unknown_name("layer of the corpus under [layers]", name, corpus.modalities)
    return {name: _licence(layer, about, known.get(name)) for name, layer in corpus.modalities.items()}


def _licence(layer: Modality, about: About, known: Modality | None) -> Licence:
    same = known is not None and known.assets == layer.assets  # a layer of somebody else may have the same name
    return about.layers.get(layer.name) or layer.licence or (known.licence if known and same else None) or UNKNOWN

"""Where a corpus comes from that was put together from others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import numpy as np

from exporters.formats.corpora.composition import Composition
from exporters.formats.corpora.settings_copy import described_layers
from pipeline.corpus import Corpus
from pipeline.imported import Imported
from pipeline.provenance import Provenance


def provenance_of(composition: Composition, made_by: str) -> Provenance:
    """Of each source its folder, the digest of its manifest, and how many rows were taken.

    Where a source was put together or imported itself, that is inside. Raises `Fatal` where that cannot be read.
    """
    counts = np.bincount(composition.which, minlength=len(composition.sources)).tolist()
    sources = [_of(corpus, count) for corpus, count in zip(composition.sources, counts, strict=True)]
    brought = {name for corpus in composition.sources for name in _brought(corpus)}
    layers = (layer.name for layer in composition.layers)
    return Provenance(made_by, version("geocorpus"), sources, tuple(sorted(brought.intersection(layers))))


def _of(corpus: Corpus, taken: int) -> dict[str, Any]:
    known = {
        "folder": str(corpus.folder), "manifest_digest": corpus.manifest.digest, "rows": len(corpus.manifest),
        "rows_taken": taken, "layers": sorted(corpus.modalities),
    }  # fmt: skip
    own = {"provenance": Provenance.read(corpus.folder), "import": Imported.read(corpus.folder)}
    return known | {key: asdict(item) for key, item in own.items() if item is not None}


def _brought(corpus: Corpus) -> Iterable[str]:
    """The layers of a source that its settings alone cannot define."""
    imported, composed = Imported.read(corpus.folder), Provenance.read(corpus.folder)
    yield from imported.layers if imported else ()
    yield from composed.brought if composed else ()
    yield from described_layers(corpus)

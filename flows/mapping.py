"""`geocorpus predict` and `embed`: what a model says of the chips of a corpus, as maps in a format for rasters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.formats.choice import Choice
from exporters.formats.computed import ComputedCorpus
from exporters.formats.convert import write_out
from exporters.formats.format import Format, format_of, formats
from exporters.formats.geotiff import GEOTIFF
from flows.embedding_source import PER, Source
from flows.exchange import options_of
from flows.extras import require
from flows.finetuning import FINETUNED
from flows.map_layers import feature_layer
from flows.owning_corpus import corpus_of
from flows.predicted import predicted
from pipeline.corpus import Corpus
from pipeline.errors import Fatal, unknown_name
from pipeline.lock import RUNS
from pipeline.modality import Modality
from pipeline.progress import Progress

Compute = Callable[[NDArray[np.int64]], NDArray[Any]]


@dataclass(frozen=True)
class Kind:
    """A kind of map: the folder in that of a corpus where its models lie, and what makes the map with one of them."""

    shelf: str
    of: Callable[[str, Corpus], ComputedCorpus]


@dataclass(frozen=True)
class Map:
    """What is mapped: a `kind`, by the model in `weights`, of the corpus in `folder`.

    Without `folder` the corpus is the one in whose folder the weights lie.
    """

    kind: Kind
    weights: str
    folder: Path | None

    def open(self) -> ComputedCorpus:
        """The map as a layer on the chips. Raises `Fatal` without PyTorch, and for weights or a corpus without use."""
        require("train", "a map")
        return self.kind.of(self.weights, Corpus.open(self.folder or corpus_of(self.weights, self.kind.shelf)))


@dataclass(frozen=True)
class Destination:
    """Where a map goes: `target`, in the format `to` (None for GeoTIFF) with its `options`, "key=value" each."""

    target: Path
    to: str | None = None
    options: tuple[str, ...] = ()
    overwrite: bool = False

    def write(self, shown: Map, choice: Choice, progress: Progress) -> str:
        """Write the map of the chips that are chosen; returns a line about it.

        Raises `Fatal` for a format that is not for maps, and for a map, a choice or a target that cannot be used.
        """
        given = options_of(self.options)
        chosen = _for_maps(format_of(self.to or GEOTIFF.name, given))
        return write_out(chosen, shown.open().selected(choice), self.target, given, self.overwrite, progress)


def _for_maps(chosen: Format) -> Format:
    if not chosen.takes_computed:
        able = ", ".join(item.name for item in formats().values() if item.takes_computed)
        raise Fatal(f"{chosen.name} is no format for maps; choose one of {able}.")
    return chosen


def _predictions(show: str | None, weights: str, corpus: Corpus) -> ComputedCorpus:
    from training.evaluate.finetuned import load_finetuned
    from training.evaluate.maps import estimates_of

    tuned = load_finetuned(weights).on_best_device()
    shown = predicted(tuned, show, Path(weights).name, "pixel" if tuned.dense else "image")

    def compute(rows: NDArray[np.int64]) -> NDArray[Any]:
        return shown.stored(estimates_of(tuned, corpus, rows))

    return _on_chips(corpus, tuned.model.encoder.patch_px, 1, shown.layer, compute)


def _features(per: str, view: str | None, without: tuple[str, ...], weights: str, corpus: Corpus) -> ComputedCorpus:
    embedder, left_out = Source(weights, corpus.folder, per, without).embedder(corpus)
    chosen = view_of(view, embedder.views)
    layer = feature_layer(embedder.width, "pixel" if per == "patch" else "image", Path(weights).name)

    def compute(rows: NDArray[np.int64]) -> NDArray[Any]:
        return embedder.embed(corpus, rows, left_out)[chosen]

    manifest = corpus.manifest.regridded(embedder.image_px(corpus.manifest.size_px), embedder.pixel_px)
    return ComputedCorpus(corpus, manifest, layer, compute)


def view_of(view: str | None, views: Sequence[str]) -> str:
    """The view that is named; the only one, or the fused one, without a name."""
    if view is not None and view not in views:
        raise unknown_name("view", view, views)
    default = views[0] if len(views) == 1 else next((name for name in views if name == "fused"), None)
    if view is None and default is None:
        raise Fatal(f"a raster shows one sensor, and these weights have {', '.join(views)}; choose one with --view.")
    return view or default or views[0]


def _on_chips(corpus: Corpus, patch_px: int, factor: int, layer: Modality, compute: Compute) -> ComputedCorpus:
    """`layer` on the centres of the chips, in pixels `factor` as wide as theirs."""
    from training.evaluate.maps import image_px_of

    manifest = corpus.manifest.regridded(image_px_of(corpus, patch_px), factor)
    return ComputedCorpus(corpus, manifest, layer, compute)


def prediction_kind(show: str | None = None) -> Kind:
    """The map of what a fine-tuned model says; `show` is "class", "probability" or "number", None what is usual."""
    return Kind(FINETUNED, partial(_predictions, show))


def features_kind(per: str, view: str | None = None, without: Sequence[str] = ()) -> Kind:
    """The map of features per patch or per chip by `view`, `without` sensors or channels; `Fatal` for another."""
    if per not in PER:
        raise unknown_name("value of --per:", per, PER)
    return Kind(RUNS, partial(_features, per, view, tuple(without)))

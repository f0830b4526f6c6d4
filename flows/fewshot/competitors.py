"""Who is compared: the encoders that were named, and those that always are, each with its views."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flows.fewshot.competitor import SIDE_BY_SIDE, Competitor, side_by_side, views_of
from flows.fewshot.encoders import Loaded
from flows.fewshot.features import Kept, Vectors, digest_of
from flows.fewshot.plan import Plan
from flows.fewshot.stored import stored_views
from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.progress import Progress

if TYPE_CHECKING:
    from training.evaluate.embedder import Embedder
    from training.layer import Layer

BANDS, EMBEDDINGS = "band statistics", "AlphaEarth"
ALL = "all bands"
# Of the catalogue of Earth Engine: layers of embeddings, which are features as they are.
_EMBEDDING_ASSETS = ("GOOGLE/SATELLITE_EMBEDDING/",)
_ROWS_AT_ONCE = 64


@dataclass(frozen=True)
class Field:
    """Makes the features of all competitors, of the chips in manifest `rows`, ascending."""

    corpus: Corpus
    rows: NDArray[np.int64]
    image_px: int
    kept: Kept
    progress: Progress

    def competitors(self, plan: Plan, encoders: Sequence[Loaded]) -> Iterator[Competitor]:
        """The first encoder whole, then its other views, then the others, in this order."""
        first = encoders[0]
        yield from self._views(first)
        for without in _each(plan.without, first):
            yield from self._without(first, without)
        for other in (*encoders[1:], first.untrained(plan.seed)):
            yield from self._views(other)
        for named in plan.stores:
            yield from stored_views(named, self.corpus, self.rows)
        yield from self._band_statistics(first, _each(plan.without, first))
        yield from self._embeddings()

    def _views(self, encoder: Loaded) -> Iterator[Competitor]:
        yield from views_of(encoder.name, self._embedded(encoder, ()))

    def _without(self, encoder: Loaded, without: tuple[str, ...]) -> Iterator[Competitor]:
        vectors, left = self._embedded(encoder, without), _left(without)
        if len(vectors) > 1:
            yield Competitor(encoder.name, f"{SIDE_BY_SIDE} {left}", side_by_side(vectors), False)
        last = list(vectors)[-1]
        yield Competitor(encoder.name, f"{last} {left}", vectors[last], False)

    def _embedded(self, encoder: Loaded, without: tuple[str, ...]) -> Vectors:
        return self._of(encoder.name, {"weights": encoder.digest, "without": sorted(without)},
                        lambda: self._embed(encoder, without))  # fmt: skip

    def _embed(self, encoder: Loaded, without: tuple[str, ...]) -> Vectors:
        from training.evaluate.embedder import Embedder

        embedder: Embedder = Embedder.of(encoder.pretrained)
        jobs = np.split(self.rows, range(_ROWS_AT_ONCE, len(self.rows), _ROWS_AT_ONCE))
        parts = []
        for item in embedder.embed_each(self.corpus, jobs, without):
            parts.append(item.vectors)
            self.progress.advance(len(next(iter(item.vectors.values()))))
        return {view: np.concatenate([part[view] for part in parts]) for view in embedder.views}

    def _band_statistics(self, encoder: Loaded, withouts: Sequence[tuple[str, ...]]) -> Iterator[Competitor]:
        """Of all bands, of each layer, and of what is left: a sensor that tells more than others is missed by all."""
        layers = [
            layer for item in encoder.pretrained for layer in item.normalisation.layers_of(self.corpus.modalities)
        ]
        by_layer = {layer.name: self._statistics(encoder, layer) for layer in layers}
        every = np.concatenate(list(by_layer.values()), axis=1)
        yield Competitor(BANDS, ALL, every, True)
        if len(by_layer) > 1:
            yield from (Competitor(BANDS, name, features, False) for name, features in by_layer.items())
        for without in withouts:
            yield Competitor(BANDS, f"{ALL} {_left(without)}", every[:, _columns(layers, without)], False)

    def _statistics(self, encoder: Loaded, layer: Layer) -> NDArray[np.float32]:
        from training.evaluate.embedding import band_statistics, features_of

        def compute() -> Vectors:
            features = features_of(self.corpus, [layer], self.rows, self.image_px, band_statistics)
            self.progress.advance(len(self.rows))
            return {layer.name: features}

        facts = {"statistics": layer.name, "of": encoder.digest, "image_px": self.image_px}
        return self._of(f"{BANDS} of {layer.name}", facts, compute)[layer.name]

    def _embeddings(self) -> Iterator[Competitor]:
        for name, modality in self.corpus.modalities.items():
            if any(asset.startswith(_EMBEDDING_ASSETS) for asset in modality.assets):
                yield Competitor(EMBEDDINGS, name, self._means(name), True)

    def _means(self, name: str) -> NDArray[np.float32]:
        from training.data.chip_means import band_means

        def compute() -> Vectors:
            means = band_means(self.corpus, name, self.rows, self.image_px).astype(np.float32)
            self.progress.advance(len(self.rows))
            return {name: means}

        return self._of(name, {"means": self.corpus.modality(name).digest, "image_px": self.image_px}, compute)[name]

    def _of(self, name: str, facts: dict[str, Any], compute: Callable[[], Any]) -> Vectors:
        self.progress.start(f"look: {name}", len(self.rows))
        where = {"corpus": self.corpus.manifest.digest, "rows": digest_of(self.rows)}
        return self.kept.of(where | facts, compute)


def _left(without: tuple[str, ...]) -> str:
    return f"without {', '.join(without)}"


def _columns(layers: Sequence[Layer], without: tuple[str, ...]) -> NDArray[np.bool_]:
    """Which columns of the statistics of `layers`, means before deviations in each, are of bands that are left."""
    kept = []
    for layer in layers:
        names = [layer.modality.band_names[band] for band in layer.bands]
        kept += 2 * [layer.name not in without and f"{layer.name}.{name}" not in without for name in names]
    return np.array(kept)


def _each(without: Sequence[str], encoder: Loaded) -> list[tuple[str, ...]]:
    """What is left out in turn."""
    bands = {name: names for item in encoder.pretrained for name, names in item.normalisation.band_names.items()}
    channels = [f"{name}.{band}" for name, names in bands.items() if len(names) > 1 for band in names]
    result: list[tuple[str, ...]] = []
    for text in without:
        words = {"sensors": [(name,) for name in bands], "channels": [(name,) for name in channels]}
        result += words.get(text, [tuple(part.strip() for part in text.split(","))])
    if any(set(bands) <= set(item) for item in result):
        raise Fatal("nothing is left to look at; leave out less with --without.")
    return list(dict.fromkeys(result))


def common_rows(competitors: Sequence[Competitor]) -> NDArray[np.bool_]:
    """Rows of which every competitor has features; raises `Fatal` where there are none."""
    present = np.stack([item.present for item in competitors])
    common = present.all(axis=0)
    if not common.any():
        fewest = competitors[int(present.sum(axis=1).argmin())]
        raise Fatal(
            f"no chip has features of everything that is compared: {fewest.encoder} ({fewest.view}) has the fewest, "
            f"{int(fewest.present.sum())}; leave out an encoder, or export more layers."
        )
    return np.asarray(common)

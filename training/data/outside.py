"""Values outside of the valid range of their layer: hidden as nodata, and the moments without them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import reduce

import numpy as np

from pipeline.corpus import Corpus
from pipeline.modality import Modality
from pipeline.statistics import HISTOGRAM_BINS, BandStatistics, merge
from training.data.agreement import crossing
from training.data.joined_corpus import JoinedCorpus
from training.layer import Layer, moments_of

Bands = Mapping[str, Sequence[BandStatistics]]
FAR = 10.0  # widths of the range: nothing that an instrument or a rounding does


def hiding_outside(corpus: Corpus, layer: Layer) -> Layer:
    """The layer with values outside of its valid range as nodata, and moments without them.

    A band with such values has the moments of the shards without any; where every shard has some, those of the
    histogram over the range. A layer of classes, or without a range, stays as it is.
    """
    if layer.modality.valid_range is None or layer.classes:
        return layer
    merged = corpus.statistics(layer.name)
    chosen = {group: [bands[band] for band in layer.bands] for group, bands in merged.items()}
    if not all(_inside(band, layer.modality) for bands in chosen.values() for band in bands if band.count):
        parts = [merge([entry.summary]) for entry in corpus.entries(layer.name)]
        chosen = {group: [_without(merged[group][band], group, band, parts, layer.modality) for band in layer.bands]
                  for group in merged}  # fmt: skip
    return replace(layer, groups={name: moments_of(bands) for name, bands in chosen.items()}, hide_outside=True)


def warnings_of(corpus: Corpus, layers: Sequence[Layer]) -> Iterator[str]:
    """A sentence for each layer whose moments follow from values that cannot be data, and one for joined corpora.

    They need one where train chips of one lie on val or test chips of another.
    """
    if isinstance(corpus, JoinedCorpus) and (sentence := crossing(corpus.parts)):
        yield sentence
    for layer in layers:
        value = None if layer.hide_outside else furthest(corpus, layer)
        if value is not None:
            low, high = layer.modality.valid_range or (-np.inf, np.inf)
            yield (
                f"Layer {layer.name!r} holds {value:g}, far outside of its valid range {low:g} to {high:g}, and its "
                "mean and deviation follow from that; pretrain.hide_outside = true treats such values as nodata."
            )


def furthest(corpus: Corpus, layer: Layer) -> float | None:
    """The value that is furthest outside of the range, if any train row has one that is far outside; else None."""
    if layer.modality.valid_range is None or layer.classes:
        return None
    merged = corpus.statistics(layer.name)
    found = [value for bands in merged.values() for band in layer.bands
             for value in (bands[band].minimum, bands[band].maximum)
             if value is not None and not widths_outside(layer.modality, value) <= FAR]  # fmt: skip
    return max(found, key=lambda value: widths_outside(layer.modality, value), default=None)


def widths_outside(modality: Modality, value: float) -> float:
    """How far a stored value is outside of the layer's range, in widths of it; 0 inside, and without a range."""
    if modality.valid_range is None:
        return 0.0
    low, high = modality.valid_range
    return max(low - value, value - high, 0.0) / (high - low)


def _without(
    whole: BandStatistics, group: str, band: int, parts: Sequence[Bands], modality: Modality
) -> BandStatistics:
    if not whole.count or _inside(whole, modality):
        return whole
    of_band = [part[group][band] for part in parts if group in part]
    inside = [item for item in of_band if item.count and _inside(item, modality)]
    return reduce(BandStatistics.merge, inside) if inside else _of_histogram(whole, modality)


def _inside(band: BandStatistics, modality: Modality) -> bool:
    low, high = modality.valid_range or (-np.inf, np.inf)
    return band.minimum is not None and band.maximum is not None and low <= band.minimum and band.maximum <= high


def _of_histogram(band: BandStatistics, modality: Modality) -> BandStatistics:
    """Moments of the bins' centres; values outside count in the first and the last bin."""
    low, high = modality.valid_range or (0.0, 1.0)
    centres = low + (np.arange(HISTOGRAM_BINS) + 0.5) * (high - low) / HISTOGRAM_BINS
    mean = float(np.average(centres, weights=band.histogram))
    m2 = float((np.square(centres - mean) * band.histogram).sum())
    return replace(band, mean=mean, m2=m2, minimum=low, maximum=high)

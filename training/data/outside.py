"""Values outside of the valid range of their layer: hidden as nodata, and the moments without them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import reduce

import numpy as np

from pipeline.corpus import Corpus
from pipeline.modality import Modality, Range
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
    if not layer.modality.has_ranges or layer.classes:
        return layer
    merged, ranges = corpus.statistics(layer.name), layer.modality.ranges
    chosen = {group: [bands[band] for band in layer.bands] for group, bands in merged.items()}
    if not all(_inside(bands[band], ranges[band]) for bands in merged.values() for band in layer.bands):
        parts = [merge([entry.summary]) for entry in corpus.entries(layer.name)]
        chosen = {group: [_without(merged[group][band], group, band, parts, ranges[band]) for band in layer.bands]
                  for group in merged}  # fmt: skip
    return replace(layer, groups={name: moments_of(bands) for name, bands in chosen.items()}, hide_outside=True)


def warnings_of(corpus: Corpus, layers: Sequence[Layer]) -> Iterator[str]:
    """A sentence for each layer whose moments follow from values that cannot be data, and one for joined corpora.

    They need one where train chips of one lie on val or test chips of another.
    """
    if isinstance(corpus, JoinedCorpus) and (sentence := crossing(corpus.parts)):
        yield sentence
    for layer in layers:
        found = None if layer.hide_outside else furthest(corpus, layer)
        if found is not None:
            value, band = found
            yield (
                f"Layer {layer.name!r} holds {value:g}, far outside of {range_in_words(layer.modality, band)}, and its "
                "mean and deviation follow from that; pretrain.hide_outside = true treats such values as nodata."
            )


def furthest(corpus: Corpus, layer: Layer) -> tuple[float, int] | None:
    """The value that is furthest outside of its band's range, and the stored band; None where none is far outside.

    Only train rows are looked at.
    """
    if layer.classes:
        return None
    found = [(value, band) for bands in corpus.statistics(layer.name).values() for band in layer.bands
             for value in (bands[band].minimum, bands[band].maximum) if value is not None]  # fmt: skip
    widths = [widths_outside(layer.modality.ranges[band], value) for value, band in found]
    far = [(width, each) for width, each in zip(widths, found, strict=True) if not width <= FAR]
    return max(far, default=(0.0, None))[1]


def widths_outside(valid_range: Range | None, value: float) -> float:
    """How far a stored value is outside of a range, in widths of it; 0 inside, and without a range."""
    if valid_range is None:
        return 0.0
    low, high = valid_range
    return max(low - value, value - high, 0.0) / (high - low)


def range_in_words(modality: Modality, band: int) -> str:
    """Whose range it is, and its ends: the layer's, or a band's own."""
    low, high = modality.ranges[band] or (-np.inf, np.inf)
    own = modality.bands[band].valid_range is not None
    return f"{f'the valid range of {modality.band_names[band]}' if own else 'its valid range'} {low:g} to {high:g}"


def _without(
    whole: BandStatistics, group: str, band: int, parts: Sequence[Bands], valid_range: Range | None
) -> BandStatistics:
    if valid_range is None or _inside(whole, valid_range):
        return whole
    of_band = [part[group][band] for part in parts if group in part]
    inside = [item for item in of_band if item.count and _inside(item, valid_range)]
    return reduce(BandStatistics.merge, inside) if inside else _of_histogram(whole, valid_range)


def _inside(band: BandStatistics, valid_range: Range | None) -> bool:
    """Whether all values are; there may be none."""
    low, high = valid_range or (-np.inf, np.inf)
    return all(end is None or low <= end <= high for end in (band.minimum, band.maximum))


def _of_histogram(band: BandStatistics, valid_range: Range) -> BandStatistics:
    """Moments of the bins' centres; values outside count in the first and the last bin."""
    low, high = valid_range
    centres = low + (np.arange(HISTOGRAM_BINS) + 0.5) * (high - low) / HISTOGRAM_BINS
    mean = float(np.average(centres, weights=band.histogram))
    m2 = float((np.square(centres - mean) * band.histogram).sum())
    return replace(band, mean=mean, m2=m2, minimum=low, maximum=high)

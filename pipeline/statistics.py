"""Mergeable per-band statistics without nodata: moments and a histogram, or class counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.modality import Modality, Range

HISTOGRAM_BINS = 64
EVERYTHING = "all"
_COUNTED_BYTES = 2  # values of integers up to this size are counted, not summed: 65,536 counters fit in the cache
_COUNTED_AT_ONCE = 1 << 18
_SUMMED_AT_ONCE = 1 << 16  # so many floats fit in the cache


@dataclass(frozen=True)
class BandStatistics:
    """One band's statistics over its valid values, in stored units.

    `m2` is the sum of squared differences from the mean. `histogram` counts values in `HISTOGRAM_BINS` equal bins
    of the band's valid range (values outside are counted in the first and last bin), or per class in the order of the
    categories; it is empty for a band with neither. `nodata` counts the values that were nodata.
    """

    count: int = 0
    nodata: int = 0
    mean: float = 0.0
    m2: float = 0.0
    minimum: float | None = None
    maximum: float | None = None
    histogram: tuple[int, ...] = ()

    @property
    def std(self) -> float:
        """Population standard deviation; 0 without values."""
        return float(np.sqrt(self.m2 / self.count)) if self.count else 0.0

    def merge(self, other: BandStatistics) -> BandStatistics:
        """Statistics of both sets of values (Chan, Golub and LeVeque 1979)."""
        if not self.count or not other.count:
            nonempty = self if self.count else other
            return _with_nodata(nonempty, self.nodata + other.nodata)
        count = self.count + other.count
        delta = other.mean - self.mean
        return BandStatistics(
            count,
            self.nodata + other.nodata,
            self.mean + delta * other.count / count,
            self.m2 + other.m2 + delta * delta * self.count * other.count / count,
            min(_number(self.minimum), _number(other.minimum)),
            max(_number(self.maximum), _number(other.maximum)),
            tuple(a + b for a, b in zip(self.histogram, other.histogram, strict=True)),
        )


Summary = dict[str, list[dict[str, Any]]]


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _with_nodata(statistics: BandStatistics, nodata: int) -> BandStatistics:
    return BandStatistics(**asdict(statistics) | {"nodata": nodata})


def band_statistics(modality: Modality, band: int, stored: NDArray[Any]) -> BandStatistics:
    """Statistics, computed in float64, of the values (any shape) of one band, by its number, in the stored dtype."""
    if stored.dtype.kind in "iu" and stored.dtype.itemsize <= _COUNTED_BYTES:
        return _of_counts(modality, band, *_value_counts(stored))
    flat = stored.reshape(-1)
    starts = range(0, max(flat.size, 1), _SUMMED_AT_ONCE)
    return reduce(BandStatistics.merge, (_of_values(modality, band, flat[at : at + _SUMMED_AT_ONCE]) for at in starts))


def _of_values(modality: Modality, band: int, stored: NDArray[Any]) -> BandStatistics:
    valid = modality.valid(stored)
    values = (stored if valid.all() else stored[valid]).astype(np.float64)
    nodata = int(stored.size - values.size)
    if not values.size:
        return BandStatistics(nodata=nodata, histogram=_histogram(modality, band, values))
    mean, m2 = _moments(values)
    return BandStatistics(
        int(values.size), nodata, mean, m2,
        float(values.min()), float(values.max()), _histogram(modality, band, values),
    )  # fmt: skip


def _value_counts(stored: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """All values of an integer type (values,) in ascending order, and how often each occurs: one pass, exact."""
    limits = np.iinfo(stored.dtype)
    unsigned = np.ascontiguousarray(stored).reshape(-1).view(f"u{stored.dtype.itemsize}")
    counts = np.zeros(limits.max - limits.min + 1, dtype=np.int64)
    for start in range(0, unsigned.size, _COUNTED_AT_ONCE):
        counts += np.bincount(unsigned[start : start + _COUNTED_AT_ONCE], minlength=counts.size)
    # Seen as unsigned numbers, negative ones follow the positive ones.
    return np.arange(limits.min, limits.max + 1), np.roll(counts, -limits.min)


def _of_counts(modality: Modality, band: int, values: NDArray[Any], counts: NDArray[np.int64]) -> BandStatistics:
    occurs = counts > 0
    values, counts = values[occurs].astype(modality.dtype), counts[occurs]
    valid = modality.valid(values)
    nodata = int(counts[~valid].sum())
    values, counts, count = values[valid].astype(np.float64), counts[valid], int(counts[valid].sum())
    if not count:
        return BandStatistics(nodata=nodata, histogram=_histogram(modality, band, values, counts))
    mean = float((values * counts).sum() / count)
    m2 = float((np.square(values - mean) * counts).sum())
    return BandStatistics(
        count, nodata, mean, m2, float(values[0]), float(values[-1]), _histogram(modality, band, values, counts)
    )


def _moments(values: NDArray[np.float64]) -> tuple[float, float]:
    """Mean and sum of squared differences, by NumPy's own sums: those of BLAS depend on the number of threads."""
    mean = float(values.mean())
    return mean, float(np.square(values - mean).sum())


def _histogram(
    modality: Modality, band: int, values: NDArray[np.float64], counts: NDArray[np.int64] | None = None
) -> tuple[int, ...]:
    """The histogram of values that occur once each, or `counts` times."""
    if modality.categories:
        weights = np.ones(values.shape, dtype=np.int64) if counts is None else counts
        return tuple(int(weights[values == code].sum()) for code in modality.codes)
    if (valid_range := modality.ranges[band]) is None:
        return ()
    low, high = valid_range
    scaled = (values - low) * (HISTOGRAM_BINS / (high - low))
    # Clipped before the conversion: a value far outside the range does not fit into an integer.
    bins = np.clip(scaled, 0, HISTOGRAM_BINS - 1, out=scaled).astype(np.int64)
    return tuple(int(count) for count in np.bincount(bins, counts, minlength=HISTOGRAM_BINS))


def summarise(modality: Modality, block: NDArray[Any], groups: Sequence[str | None]) -> Summary:
    """Statistics of a block (rows, bands[, y, x]) in the stored dtype per group; rows with group None do not count.

    `groups[i]` is the group of row i: the value of the manifest column `statistics_by`, or `EVERYTHING`.
    """
    names = sorted({group for group in groups if group is not None})
    chosen = {name: np.array([group == name for group in groups]) for name in names}
    return {
        name: [asdict(band_statistics(modality, band, block[rows, band])) for band in range(len(modality.bands))]
        for name, rows in chosen.items()
    }


def with_classes(summary: Summary, count: int) -> Summary:
    """A summary with counters for so many classes: those that came later, behind the others, did not occur."""
    return {
        group: [band | {"histogram": [*band["histogram"], *[0] * (count - len(band["histogram"]))]} for band in bands]
        for group, bands in summary.items()
    }


def binned_anew(band: BandStatistics, before: Range | None, after: Range | None) -> BandStatistics:
    """Statistics with the histogram over the range `after` in place of `before`: a bin goes where its middle lies."""
    if before == after:
        return band
    if before is None or after is None:
        return replace(band, histogram=())
    (low, high), (first, last) = before, after
    middles = low + (np.arange(HISTOGRAM_BINS) + 0.5) * (high - low) / HISTOGRAM_BINS
    bins = np.clip((middles - first) * (HISTOGRAM_BINS / (last - first)), 0, HISTOGRAM_BINS - 1).astype(np.int64)
    counts = np.zeros(HISTOGRAM_BINS, dtype=np.int64)
    np.add.at(counts, bins, np.asarray(band.histogram, dtype=np.int64))
    return replace(band, histogram=tuple(counts.tolist()))


def merge(summaries: Iterable[Mapping[str, list[dict[str, Any]]]]) -> dict[str, list[BandStatistics]]:
    """Per group and band, the statistics of all summaries, merged in the order given; no summary stays in memory."""
    merged: dict[str, list[BandStatistics]] = {}
    for summary in summaries:
        for group, data in summary.items():
            bands = [_from_dict(band) for band in data]
            before = merged.get(group)
            merged[group] = bands if before is None else _merged_bands(before, bands)
    return dict(sorted(merged.items()))


def _merged_bands(before: Sequence[BandStatistics], bands: Sequence[BandStatistics]) -> list[BandStatistics]:
    return [item.merge(other) for item, other in zip(before, bands, strict=True)]


def _from_dict(data: Mapping[str, Any]) -> BandStatistics:
    return BandStatistics(**{**data, "histogram": tuple(data["histogram"])})


def to_dict(statistics: Mapping[str, Sequence[BandStatistics]]) -> dict[str, list[dict[str, Any]]]:
    """Merged statistics as JSON values, with the standard deviation added."""
    return {
        group: [asdict(band) | {"std": band.std, "histogram": list(band.histogram)} for band in bands]
        for group, bands in statistics.items()
    }


def from_dict(data: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, list[BandStatistics]]:
    """The inverse of `to_dict`; raises KeyError or TypeError for other data."""
    return {
        group: [_from_dict({key: value for key, value in band.items() if key != "std"}) for band in bands]
        for group, bands in data.items()
    }

"""Charts of the report as inline SVG: they scale, follow the page's light or dark colours, and need no script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

from exporters.report.facts import Count
from pipeline.modality import Modality
from pipeline.statistics import BandStatistics

# The share left out at either end, so that a few extreme values do not flatten a histogram.
_TAIL = 0.001
# A chart with nearly all values in one bin is less useful than the smallest and the largest value.
_ONE_BIN = 0.97
# Above this many integers a bin contains so many of them that one more or less is not visible.
_COMB_RANGE = 4096
# The classes (of the page's style) for the groups of one band, such as processing levels.
SERIES = ("series-a", "series-b", "series-c", "series-d")


def columns(counts: Sequence[Count], title: str) -> str:
    """A column chart of counts as inline SVG, with labels below and counts above."""
    width, height, gap = 36 * len(counts), 150, 6
    most = max((item.count for item in counts), default=0) or 1
    parts = [_column(item, index, most, height, gap) for index, item in enumerate(counts)]
    summary = ", ".join(f"{item.label}: {item.count:,}" for item in counts)
    return (
        f'<svg class="columns" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(f"{title}: {summary}")}" '
        f'style="max-width:{max(width, 90)}px">{"".join(parts)}</svg>'
    )


def _column(item: Count, index: int, most: int, height: int, gap: int) -> str:
    left, room = 36 * index, height - 38
    tall = item.count / most * room
    middle = left + 18
    return (
        f'<rect class="bar" x="{left + gap / 2:g}" y="{18 + room - tall:.1f}" width="{36 - gap}" height="{tall:.1f}" '
        f'rx="2"/><text x="{middle}" y="{12 + room - tall:.1f}">{short(item.count)}</text>'
        f'<text class="axis" x="{middle}" y="{height - 5}">{escape(item.label)}</text>'
    )


def short(count: int) -> str:
    """A count in about four characters: 950, 12k, 1.2M."""
    for limit, unit in ((1_000_000, "M"), (10_000, "k")):
        if count >= limit:
            scaled = count / (1_000_000 if unit == "M" else 1000)
            return f"{scaled:.1f}{unit}" if unit == "M" else f"{scaled:.0f}{unit}"
    return str(count)


@dataclass(frozen=True)
class Histogram:
    """The chart of one band with its caption; `svg` is "" where there is nothing to draw."""

    band: str
    long_name: str
    svg: str
    lines: tuple[str, ...]


def histograms(modality: Modality, statistics: Mapping[str, Sequence[BandStatistics]]) -> list[Histogram]:
    """One chart per band of a continuous modality; its groups share one physical axis."""
    return [
        _histogram(modality, index, {group: bands[index] for group, bands in statistics.items()})
        for index in range(len(modality.bands))
    ]


def _histogram(modality: Modality, index: int, groups: dict[str, BandStatistics]) -> Histogram:
    band = modality.bands[index]
    filled = {group: item for group, item in groups.items() if item.count}
    drawn = {group: _density(modality, index, item.histogram) for group, item in filled.items() if _has_shape(item)}
    series = {group: SERIES[min(index, len(SERIES) - 1)] for index, group in enumerate(groups)}
    svg = _area_chart(modality, index, drawn, series) if drawn else ""
    summary = [(group, _line(modality, item, band.units, ranged=not svg)) for group, item in filled.items()]
    lines = tuple(f"{group}: {line}" if len(groups) > 1 else line for group, line in summary)
    return Histogram(band.name, band.long_name, svg, lines)


def _has_shape(item: BandStatistics) -> bool:
    """Whether a histogram has more than one visible bar."""
    return bool(item.histogram) and max(item.histogram) < _ONE_BIN * item.count


def _line(modality: Modality, item: BandStatistics, units: str, ranged: bool) -> str:
    ends = [end * modality.scale + modality.offset for end in (item.minimum, item.maximum) if end is not None]
    span = f", {number(min(ends))} to {number(max(ends))}" if ranged and ends else ""
    return _moments(modality, item) + span + ("" if units == "1" else f" {units}")


def _moments(modality: Modality, item: BandStatistics) -> str:
    mean, std = item.mean * modality.scale + modality.offset, item.std * abs(modality.scale)
    return f"{number(mean)} \u00b1 {number(std)}"


def _area_chart(modality: Modality, band: int, drawn: dict[str, NDArray[np.float64]], series: dict[str, str]) -> str:
    first, last = _central_bins(np.sum(list(drawn.values()), axis=0))
    low, high = _edges(modality, band, (first, last), len(next(iter(drawn.values()))))
    shapes = [_area(values[first:last] / values.sum(), drawn, (first, last), series[g]) for g, values in drawn.items()]
    label = escape(f"{modality.band_names[band]} histogram, from {low} to {high}")
    return (
        f'<svg class="histogram" viewBox="0 0 200 84" role="img" aria-label="{label}">{"".join(shapes)}'
        f'<line class="base" x1="0" y1="68" x2="200" y2="68"/><text class="axis start" x="0" y="80">{low}</text>'
        f'<text class="axis end" x="200" y="80">{high}</text></svg>'
    )


def _density(modality: Modality, band: int, histogram: Sequence[int]) -> NDArray[np.float64]:
    """Counts per valid value, (bins,) float64: bins with unequal numbers of integers would look like a comb."""
    counts = np.asarray(histogram, dtype=np.float64)
    low, high = modality.ranges[band] or (0.0, 0.0)
    if np.dtype(modality.dtype).kind == "f" or not 0 < high - low <= _COMB_RANGE:
        return counts
    values = np.arange(np.ceil(low), np.floor(high) + 1)
    bins = np.clip(((values - low) * (len(counts) / (high - low))).astype(int), 0, len(counts) - 1)
    return counts / np.maximum(1, np.bincount(bins, minlength=len(counts)))


def _central_bins(total: NDArray[np.float64]) -> tuple[int, int]:
    """The first bin and the end (exclusive) of the bins without the tails: at least eight, or all."""
    share = np.cumsum(total) / total.sum()
    first = int(np.searchsorted(share, _TAIL))
    last = int(np.searchsorted(share, 1 - _TAIL)) + 1
    wanted = min(8, len(total))
    first = max(0, min(first, len(total) - wanted))
    return first, min(len(total), max(last, first + wanted))


def _edges(modality: Modality, band: int, first_last: tuple[int, int], bins: int) -> tuple[str, str]:
    low, high = modality.ranges[band] or (0.0, 1.0)
    stored = (low + (high - low) * edge / bins for edge in first_last)
    ends = [number(value * modality.scale + modality.offset) for value in stored]
    return ends[0], ends[1]


def number(value: float) -> str:
    """About three significant digits, without an exponent from 1,000 to 1e9."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.3g}"


def _area(share: NDArray[np.float64], drawn: dict[str, NDArray[np.float64]], bins: tuple[int, int], series: str) -> str:
    """A stepped area; all groups of a chart share one height."""
    most = max(float((values[bins[0] : bins[1]] / values.sum()).max()) for values in drawn.values()) or 1.0
    x = np.linspace(0, 200, len(share) + 1)
    y = 66 - 62 * share / most
    steps = "".join(f"V{top:.1f}H{right:.1f}" for top, right in zip(y, x[1:], strict=True))
    return f'<path class="{series}" d="M0 68{steps}V68Z"/>'

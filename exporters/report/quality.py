"""Quality in the report: for each layer its nodata, its constant and invalid values, and its shift to the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from exporters.quality.inspection import NODATA_BOUNDS
from exporters.quality.quality import Quality

_CELL = 7
_LEAST_REACH_PX = 4
# The faintest square must be visible beside the strongest.
_LEAST_OPACITY = 0.25


@dataclass(frozen=True)
class QualityLine:
    """The line of one layer: its `nodata` bar and `shifts` map as SVG, "" where there is nothing to draw."""

    quality: Quality
    nodata: str
    shifts: str

    @property
    def name(self) -> str:
        """The layer's name."""
        return self.quality.modality.name

    @property
    def complete(self) -> float:
        """The share of chips without nodata."""
        return self.quality.nodata[0] / self.quality.chips


def lines(qualities: Sequence[Quality]) -> list[QualityLine]:
    """One line for each layer with findings; layers of older corpora have none."""
    return [
        QualityLine(item, nodata_bar(item), shift_map(item) if item.confident else "")
        for item in qualities
        if item.chips
    ]


def nodata_bar(quality: Quality) -> str:
    """Chips by their share of nodata as an SVG bar: those without any in full colour, those of nothing else in none."""
    parts, left = [], 0.0
    for index, count in enumerate(quality.nodata):
        width = 100 * count / quality.chips
        opacity = 1 - index / (len(quality.nodata) - 1)
        parts.append(f'<rect class="bar" x="{left:.2f}" y="0" width="{width:.2f}" height="8" opacity="{opacity:.2f}"/>')
        left += width
    summary = ", ".join(f"{label}: {count:,}" for label, count in zip(nodata_labels(), quality.nodata, strict=True))
    return (
        f'<svg class="nodata" viewBox="0 0 100 8" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(f"Chips by share of nodata. {summary}")}">'
        f'<rect class="ground" width="100" height="8"/>{"".join(parts)}</svg>'
    )


def nodata_labels() -> list[str]:
    """The labels of the classes of nodata share."""
    return ["none", *(f"up to {bound:.0%}" for bound in NODATA_BOUNDS[1:])]


def shift_map(quality: Quality) -> str:
    """One square per measured shift as SVG, darker for more chips. North is up; the cross marks no shift."""
    counts = sorted((shift, count) for shift, count in quality.shifts.items() if count)
    reach = max([_LEAST_REACH_PX, *(max(abs(dy), abs(dx)) for (dy, dx), _ in counts)])
    most = max((count for _, count in counts), default=1)
    side = _CELL * (2 * reach + 1)
    squares = [_square(dy, dx, reach, count / most, count) for (dy, dx), count in counts]
    middle = side / 2
    summary = "; ".join(f"{dy} south, {dx} east: {count:,}" for (dy, dx), count in counts) or "no confident shift"
    return (
        f'<svg class="shifts" viewBox="0 0 {side} {side}" role="img" '
        f'aria-label="{escape(f"Shifts of {quality.modality.name} in pixels. {summary}")}">'
        f'<rect class="ground" width="{side}" height="{side}"/>'
        f'<path class="cross" d="M{middle} 0V{side}M0 {middle}H{side}"/>{"".join(squares)}</svg>'
    )


def _square(dy_px: int, dx_px: int, reach_px: int, share: float, count: int) -> str:
    x, y = _CELL * (dx_px + reach_px), _CELL * (dy_px + reach_px)
    opacity = _LEAST_OPACITY + (1 - _LEAST_OPACITY) * share
    return (
        f'<rect class="bar" x="{x}" y="{y}" width="{_CELL}" height="{_CELL}" opacity="{opacity:.2f}">'
        f"<title>{dy_px} px south, {dx_px} px east: {count:,} chips</title></rect>"
    )

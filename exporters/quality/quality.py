"""What was found of the values of every layer of a corpus, added up, and what of it a person should look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from exporters.quality.inspection import NODATA_BOUNDS
from pipeline.modality import Modality

# A shift is believed when so many chips agree on it, within a pixel, and hardly any lies right.
_LEAST_CONFIDENT, _LEAST_AGREEING, _MOST_IN_PLACE = 8, 0.6, 0.2
_LEAST_MEAN_PX = 0.75  # a coarser grid's half pixel is seen as none here and one there
# Clouds and roofs are brighter than what a range is made for; a wrong scale puts far more beyond it.
_MOST_OUTSIDE = 0.01
Shift = tuple[int, int]  # rows south, columns east


@dataclass
class Quality:
    """The findings of all finished shards of one layer, added up."""

    modality: Modality
    chips: int = 0
    values: int = 0
    nodata: list[int] = field(default_factory=lambda: [0] * len(NODATA_BOUNDS))
    constant: int = 0
    constant_rows: list[int] = field(default_factory=list)
    outside: int = 0
    reference: str = ""
    compared: int = 0
    shifts: Counter[Shift] = field(default_factory=Counter)

    def add(self, found: Mapping[str, Any]) -> None:
        """One shard's findings; an entry of an older corpus has none."""
        if not found:
            return
        self.chips += found["chips"]
        self.values += found["values"]
        self.nodata = [ours + theirs for ours, theirs in zip(self.nodata, found["nodata"], strict=True)]
        self.outside += found["outside"]
        self.constant += found["constant"]["chips"]
        self.constant_rows += found["constant"]["rows"]
        self._add_shifts(found.get("shifts", {}))

    def _add_shifts(self, found: Mapping[str, Any]) -> None:
        self.reference = found.get("reference", self.reference)
        self.compared += found.get("compared", 0)
        for text, count in found.get("seen", {}).items():
            dy, dx = text.split(",")
            self.shifts[int(dy), int(dx)] += count

    @property
    def confident(self) -> int:
        """Chips whose shift is told with confidence."""
        return self.shifts.total()

    @property
    def in_place(self) -> float | None:
        """Share of the confident chips that lie on the reference; None without any."""
        return self.shifts[0, 0] / self.confident if self.confident else None

    @property
    def shift(self) -> Shift | None:
        """By how much the layer lies beside the reference all over the corpus (rows south, columns east), if it does.

        Half a pixel on either side may be seen as the next whole one, so agreeing is meant within a pixel.
        """
        if self.confident < _LEAST_CONFIDENT or (self.in_place or 0.0) > _MOST_IN_PLACE:
            return None
        (dy, dx), _ = min(self.shifts.items(), key=lambda item: (-item[1], item[0]))
        near = [one for one in self.shifts.elements() if max(abs(one[0] - dy), abs(one[1] - dx)) <= 1]
        mean_px = max(abs(sum(steps)) / len(near) for steps in zip(*near, strict=True))
        return (dy, dx) if mean_px >= _LEAST_MEAN_PX and len(near) >= _LEAST_AGREEING * self.confident else None

    def flags(self) -> list[str]:
        """What a person should look at, a sentence each; none for a layer in order."""
        return [text for text in (self._shift_flag(), self._constant_flag(), self._outside_flag()) if text]

    def _shift_flag(self) -> str:
        if self.shift is None:
            return ""
        dy, dx = self.shift
        where = " and ".join(_aside(*item) for item in ((dy, "south", "north"), (dx, "east", "west")) if item[0])
        told = f"told by {self.confident} of {self.compared} chips"
        return f"{self.modality.name} lies {where} of {self.reference}, {told}"

    def _constant_flag(self) -> str:
        if not self.constant:
            return ""
        rows = ", ".join(map(str, self.constant_rows[:3]))
        chips = "a chip" if self.constant == 1 else f"{self.constant:,} chips"
        return f"{self.modality.name} has one value all over {chips}, which cannot be: row {rows}"

    def _outside_flag(self) -> str:
        if self.modality.valid_range is None or self.outside <= _MOST_OUTSIDE * self.values:
            return ""
        low, high = self.modality.valid_range
        return f"{self.modality.name} has {self.outside / self.values:.1%} of its values outside of {low:g} to {high:g}"


def _aside(pixels: int, positive: str, negative: str) -> str:
    return f"{abs(pixels)} px {positive if pixels > 0 else negative}"

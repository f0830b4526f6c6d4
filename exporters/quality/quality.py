"""The findings about the values of every layer of a corpus, added up, and the flags that a person should check."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from exporters.quality.inspection import NODATA_BOUNDS
from exporters.quality.scene_coverage import MOST_ROWS_NAMED, SceneCoverage, Tally
from pipeline.modality import Modality

# A shift is accepted when so many chips agree on it, within a pixel, and hardly any is in place.
_LEAST_CONFIDENT, _LEAST_AGREEING, _MOST_IN_PLACE = 8, 0.6, 0.2
_LEAST_MEAN_PX = 0.75  # half a pixel of a coarser grid is measured as none or as one
# Clouds and roofs are brighter than the valid range; a wrong scale puts far more values outside of it.
_MOST_OUTSIDE = 0.01
# Over much of the land one pass alone is planned; a corpus that lacks one mostly is biased to one side of every slope.
_MOST_WITHOUT_SCENE = 0.5
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
    scenes: dict[str, SceneCoverage] = field(default_factory=dict)

    def add(self, findings: Mapping[str, Any]) -> None:
        """Add the findings of one shard; an entry of an older corpus has none, nor has one put together from others."""
        if "chips" not in findings:
            return
        self.chips += findings["chips"]
        self.values += findings["values"]
        self.nodata = [total + added for total, added in zip(self.nodata, findings["nodata"], strict=True)]
        self.outside += findings["outside"]
        self.constant += findings["constant"]["chips"]
        self.constant_rows += findings["constant"]["rows"][: max(0, MOST_ROWS_NAMED - len(self.constant_rows))]
        self._add_shifts(findings.get("shifts", {}))
        for role, found in findings.get("scenes", {}).items():
            self.scenes.setdefault(role, SceneCoverage()).join(found)

    def _add_shifts(self, findings: Mapping[str, Any]) -> None:
        self.reference = findings.get("reference", self.reference)
        self.compared += findings.get("compared", 0)
        for text, count in findings.get("seen", {}).items():
            dy, dx = text.split(",")
            self.shifts[int(dy), int(dx)] += count

    @property
    def confident(self) -> int:
        """The number of chips with a confident shift."""
        return self.shifts.total()

    @property
    def in_place(self) -> float | None:
        """The share of the confident chips without a shift; None without any."""
        return self.shifts[0, 0] / self.confident if self.confident else None

    @property
    def shift(self) -> Shift | None:
        """The layer's shift against the reference in the whole corpus, in pixels (rows south, columns east), or None.

        Half a pixel may be measured as the next whole one on either side, so shifts agree within a pixel.
        """
        if self.confident < _LEAST_CONFIDENT or (self.in_place or 0.0) > _MOST_IN_PLACE:
            return None
        (dy, dx), _ = min(self.shifts.items(), key=lambda item: (-item[1], item[0]))
        near = [item for item in self.shifts.elements() if max(abs(item[0] - dy), abs(item[1] - dx)) <= 1]
        mean_px = max(abs(sum(steps)) / len(near) for steps in zip(*near, strict=True))
        return (dy, dx) if mean_px >= _LEAST_MEAN_PX and len(near) >= _LEAST_AGREEING * self.confident else None

    def flags(self) -> list[str]:
        """One sentence for each problem that a person should check; none for a layer in order."""
        of_scenes = [text for role, covered in self.scenes.items() for text in self._scene_flags(role, covered)]
        return [text for text in (self._shift_flag(), self._constant_flag(), self._outside_flag(), *of_scenes) if text]

    def _shift_flag(self) -> str:
        if self.shift is None:
            return ""
        dy, dx = self.shift
        offsets = " and ".join(_direction(*item) for item in ((dy, "south", "north"), (dx, "east", "west")) if item[0])
        evidence = f"told by {self.confident} of {self.compared} chips"
        return f"{self.modality.name} lies {offsets} of {self.reference}, {evidence}"

    def _constant_flag(self) -> str:
        if not self.constant:
            return ""
        chips, rows = _named(Tally(self.constant, self.constant_rows))
        return f"{self.modality.name} has one value all over {chips}, which cannot be: {rows}"

    def _outside_flag(self) -> str:
        if not self.modality.has_ranges or self.outside <= _MOST_OUTSIDE * self.values:
            return ""
        ranges = _ranges_in_words(self.modality)
        return f"{self.modality.name} has {self.outside / self.values:.1%} of its values outside of {ranges}"

    def _scene_flags(self, role: str, covered: SceneCoverage) -> Iterator[str]:
        """What is wrong with the scenes of one role; what a scene was not made to hold is no fault."""
        layer, without = self.modality.name, covered.chips - covered.pinned
        if without > _MOST_WITHOUT_SCENE * covered.chips:
            yield f"{layer} has no {role} scene for {without:,} of {covered.chips:,} chips"
        if covered.lost.chips:
            chips, rows = _named(covered.lost)
            yield f"{layer} has nothing of the {role} scene that {chips} should have: {rows}"
        if covered.partial.chips:
            chips, rows = _named(covered.partial)
            yield f"{layer} holds the {role} scene in a part of {chips} alone: {rows}"
        for name, found in covered.polarisations.items():
            if found.lost.chips:
                chips, rows = _named(found.lost)
                yield f"{layer} has lost {name} of the {role} scene in {chips}: {rows}"
            if found.noise.chips:
                chips, rows = _named(found.noise)
                floor = self._noise_floor(role, name)
                yield f"{layer} has {role} {name} below {floor}, as beyond the edge of a scene, in {chips}: {rows}"

    def _noise_floor(self, role: str, polarisation: str) -> str:
        channels = self.modality.observed.channels if self.modality.observed else ()
        units = {band.name: band.units for band in self.modality.bands}
        for each in channels:
            if (each.role, each.polarisation) == (role, polarisation):
                return f"{each.noise_floor:g} {units[each.band]}"
        return "its noise floor"


def _ranges_in_words(modality: Modality) -> str:
    """The layer's valid range, or one for each band where they differ: "-500 to 9000 (elevation), 0 to 90 (slope)"."""
    names: dict[str, list[str]] = {}
    for name, ends in zip(modality.band_names, modality.ranges, strict=True):
        if ends:
            names.setdefault(f"{ends[0]:g} to {ends[1]:g}", []).append(name)
    if len(set(modality.ranges)) == 1:
        return next(iter(names))
    return ", ".join(f"{ends} ({', '.join(bands)})" for ends, bands in names.items())


def _named(tally: Tally) -> tuple[str, str]:
    """The number of chips in words, and the first rows."""
    chips = "a chip" if tally.chips == 1 else f"{tally.chips:,} chips"
    return chips, f"row {', '.join(map(str, tally.rows[:3]))}"


def _direction(pixels: int, positive: str, negative: str) -> str:
    return f"{abs(pixels)} px {positive if pixels > 0 else negative}"

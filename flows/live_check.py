"""The live check in words: one finding for each layer of one chip that was pulled, and the requests that it took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from exporters.earth_engine.client import EarthEngine
from exporters.live.check import LayerCheck, check, pull
from exporters.live.comparison import MOST_OUTSIDE, POSITION_PX, BandComparison
from exporters.sources import Local, source_of
from flows.doctor.finding import Finding
from pipeline.chip import Chip
from pipeline.manifest import Manifest
from pipeline.modality import Modality

_LEVELS: dict[str, Literal["ok", "note", "problem"]] = {
    "same": "ok", "differs": "problem", "not compared": "note", "not read": "problem",
}  # fmt: skip
_LOOKED_AT = 200  # rows of a manifest
MEANING = (
    "what Earth Engine computes is not what it stores there, so that the layer's pixels would be wrong without an "
    "error: do not export it, look at the picture, and report it with these lines"
)

_NOTHING_COMPARED = Finding(
    "problem",
    "no layer was compared, so that this tells nothing of what an export would pull; the lines above say why.",
)


@dataclass(frozen=True)
class LiveCheck:
    """The layers of one chip, compared, and how many requests that took."""

    chip: Chip
    layers: tuple[LayerCheck, ...]
    requests: int

    @property
    def differing(self) -> list[str]:
        """The names of the layers that differ."""
        return [item.layer.name for item in self.layers if item.state == "differs"]

    def findings(self) -> dict[str, Finding]:
        """One line for the chip and for each layer."""
        lon, lat = self.chip.grid.centre_lonlat
        said = f"at {lat:.4f}, {lon:.4f} ({self.chip.grid.crs}), {self.chip.acquisition.anchor.asset_id}; "
        where = Finding("ok", f"{said}{self.requests} requests", {"requests": self.requests, "lonlat": [lon, lat]})
        lines = {"chip": where, **{item.layer.name: finding(item) for item in self.layers}}
        return lines if any(item.bands for item in self.layers) else {**lines, "result": _NOTHING_COMPARED}


def run(engine: EarthEngine, chip: Chip, layers: Sequence[Modality]) -> LiveCheck:
    """Pull the chip and compare it. Raises the errors of `EarthEngine`."""
    before = engine.figures().requests
    result = check(engine, chip, layers, pull(engine, chip, layers))
    return LiveCheck(chip, tuple(result), engine.figures().requests - before)


def remote(layers: Sequence[Modality]) -> list[Modality]:
    """The layers that Earth Engine computes."""
    return [layer for layer in layers if not isinstance(source_of(layer), Local)]


def telling(manifest: Manifest) -> Chip:
    """The first of the chips, among some of the manifest, that have most scenes."""
    rows = np.unique(np.linspace(0, len(manifest) - 1, min(_LOOKED_AT, len(manifest))).astype(int))
    return max((manifest[int(row)] for row in rows), key=_scenes)


def _scenes(chip: Chip) -> int:
    pinned = chip.acquisition
    return (pinned.level == "l2a") + (pinned.ascending is not None) + (pinned.descending is not None)


def finding(item: LayerCheck) -> Finding:
    """A layer's comparison as one line: how equal, how far apart, what is allowed and why, and what it means."""
    if not item.bands:
        unknown = "" if item.is_read else ", so that nothing says whether its own are right"
        said = f"not compared: {item.why}{unknown}."
        return Finding(_LEVELS[item.state], said, {"state": item.state, "why": item.why})
    parts = [_numbers(item)]
    if item.left_out:
        parts.append(f"{', '.join(item.left_out)} not compared: {item.why}")
    if item.state == "differs":
        parts.append(MEANING)
    elif even := [band.name for band in item.bands if not band.shift_shows]:
        parts.append(f"too even here to show a shift: {_some(even)}")
    facts = {"state": item.state, "why": item.why, "bands": {band.name: _facts(band) for band in item.bands}}
    return Finding(_LEVELS[item.state], "; ".join(parts) + ".", facts)


def _numbers(item: LayerCheck) -> str:
    differing = [band for band in item.bands if band.differs]
    bands = differing or list(item.bands)
    gaps = np.concatenate([band.differences.ravel() for band in bands])
    largest, median = (float(gaps.max()), float(np.median(gaps))) if gaps.size else (0.0, 0.0)
    equal = min(band.equal_share for band in bands)
    units = {band.units for band in item.layer.bands} - {"1"}
    unit = f" {min(units)}" if len(units) == 1 and not item.layer.categories else ""
    whose = f"{_some([band.name for band in differing])} of {len(item.bands)} bands" if differing else (
        f"{len(bands)} band{'s' * (len(bands) > 1)}"
    )  # fmt: skip
    what = "pixels" if item.layer.extent == "pixel" else "means"
    outside = max(float((~band.within).mean()) for band in bands)
    return (
        f"{whose}: {equal:.1%} of {what} equal at least, largest difference {largest:.4g}{unit}, median {median:.4g}; "
        f"{outside:.1%} outside the tolerance ({_tolerance(item)}; {MOST_OUTSIDE:.0%} may be)"
    )


def _tolerance(item: LayerCheck) -> str:
    if item.layer.extent == "image":
        return "the share of a cell that the size of a sample may move across its border"
    around = f"{POSITION_PX:g} of a stored pixel for positions"
    most = max(band.tolerance for band in item.bands)
    return around if item.layer.categories else f"{most:.2g} for rounding, {around}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 4 else f"{', '.join(names[:3])} and {len(names) - 3} more"


def _facts(band: BandComparison) -> dict[str, object]:
    gaps = band.differences
    return {
        "equal": band.equal_share, "outside": float((~band.within).mean()), "tolerance": band.tolerance,
        "largest": float(gaps.max()) if gaps.size else None, "median": float(np.median(gaps)) if gaps.size else None,
        "shift_shows": band.shift_shows,
    }  # fmt: skip

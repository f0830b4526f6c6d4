"""Asking Earth Engine which scenes hold which locations, a batch at a time; answers are kept, batch by batch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import ee
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from exporters import scenes, threads
from exporters.anchor import outcomes
from exporters.anchor.anchor_rules import AnchorRules, Candidate, Draw
from exporters.anchor.outcomes import Outcome, PinnedScenes
from exporters.earth_engine.client import EarthEngine
from exporters.expressions import ORBIT_PASSES
from pipeline.errors import Fatal
from pipeline.locations import Locations

_ERROR_M = 1.0  # without one, Earth Engine may refuse to compare geometries of different projections
_PART_VERSION = 2
BATCHES_AT_ONCE = 4


class SceneSearch:
    """Asks Earth Engine about batches of locations, and keeps the answers."""

    def __init__(self, engine: EarthEngine, rules: AnchorRules, parts_folder: Path) -> None:
        self.engine = engine
        self.rules = rules
        self.parts_folder = parts_folder
        self.at_once = engine.at_once("locations", rules.batch)

    def query(self, locations: Locations, rows: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], pa.Table]]:
        """What becomes of these rows of the locations, batch by batch: the rows of a batch, and their outcomes.

        A table has the columns of `exporters.anchor.outcomes.SCHEMA`.
        """
        size = self.rules.batch
        batches = [rows[start : start + size] for start in range(0, len(rows), size)]
        return threads.each(lambda batch: (batch, self._outcomes(locations.take(batch))), batches, BATCHES_AT_ONCE)

    def _outcomes(self, locations: Locations) -> pa.Table:
        batch = _Batch.of(locations, self.rules)
        path = self.parts_folder / f"{_key(batch)}{outcomes.SUFFIX}"
        kept = outcomes.read(path, batch.ids, locations.lonlat, self.rules)
        if kept is None:
            kept = outcomes.outcome_table(locations.lonlat, self._ask(batch), self.rules)
            outcomes.write(path, kept)
        return kept

    def _ask(self, batch: _Batch) -> list[Outcome]:
        """Two or three requests: scenes of each location's first year; of its other years where that has none; then
        radar scenes for the locations that have one.
        """
        everyone = range(len(batch.ids))
        anchors = self._anchors(batch, everyone, slice(0, 1))
        if len(self.rules.years) > 1:
            anchors |= self._anchors(batch, [index for index in everyone if anchors[index] is None], slice(1, None))
        served = {index: anchor for index, anchor in anchors.items() if anchor is not None}
        pins: dict[int, Outcome] = {}
        for answer in self.at_once.ask(list(served), lambda part: self._radar(batch, part, served)):
            pins |= answer
        return [pins.get(index, _reason(self.rules)) for index in everyone]

    def _anchors(self, batch: _Batch, indices: Sequence[int], preferred: slice) -> dict[int, _Anchor | None]:
        result: dict[int, _Anchor | None] = {}
        for answer in self.at_once.ask(indices, lambda part: self._optical(batch, part, preferred)):
            result |= answer
        return result

    def _optical(self, batch: _Batch, indices: Sequence[int], preferred: slice) -> dict[int, _Anchor | None]:
        years = [batch.draws[index].years[preferred] for index in indices]
        rows = self._rows(_optical_expression(_points(batch, indices, [_span(each) for each in years]), self.rules))
        return {
            index: _choose(batch.draws[index], each, row) for index, each, row in zip(indices, years, rows, strict=True)
        }

    def _radar(self, batch: _Batch, indices: Sequence[int], served: Mapping[int, _Anchor]) -> dict[int, Outcome]:
        dates = [served[index].scene.time_ms for index in indices]
        reach_ms = timedelta(days=self.rules.orbit_window_days) / timedelta(milliseconds=1)
        spans = [(date - reach_ms, date + reach_ms + 1) for date in dates]
        rows = self._rows(_radar_expression(_points(batch, indices, spans), self.rules))
        return {index: _pins(served[index], row) for index, row in zip(indices, rows, strict=True)}

    def _rows(self, collection: ee.FeatureCollection) -> list[dict[str, Any]]:
        features = self.engine.value(collection)["features"]
        return [feature["properties"] for feature in features]


@dataclass(frozen=True)
class _Batch:
    """What is asked about: ids and lon/lat in degrees of the locations of a batch."""

    ids: list[str]
    lonlat: list[list[float]]
    rules: AnchorRules

    @classmethod
    def of(cls, locations: Locations, rules: AnchorRules) -> _Batch:
        return cls(locations.table.column("id").to_pylist(), locations.lonlat.tolist(), rules)

    @cached_property
    def draws(self) -> list[Draw]:
        """What chance decides for each; a batch that was kept needs none."""
        return [Draw.of(each, self.rules) for each in self.ids]


@dataclass(frozen=True)
class _Anchor:
    """The optical scene that was chosen, and its level."""

    level: str
    scene: Candidate


def _key(batch: _Batch) -> str:
    """Names a part file by everything that its content follows from."""
    data = {name: value for name, value in asdict(batch.rules).items() if name != "batch"}
    asked = [(each, *lonlat) for each, lonlat in zip(batch.ids, batch.lonlat, strict=True)]
    content = [_PART_VERSION, scenes.OPTICAL, scenes.RADAR, data, asked]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:24]


def _span(years: Sequence[int]) -> tuple[float, float]:
    """From the first to behind the last of these years, and what lies between."""
    start, end = (datetime(year, 1, 1, tzinfo=UTC).timestamp() * 1000 for year in (min(years), max(years) + 1))
    return start, end


def _points(batch: _Batch, indices: Sequence[int], spans_ms: Sequence[tuple[float, float]]) -> ee.FeatureCollection:
    """Those of the batch, each with its span of time, milliseconds since 1970, end-exclusive."""
    return ee.FeatureCollection([
        ee.Feature(ee.Geometry.Point(batch.lonlat[index]), {"start": round(start), "end": round(end)})
        for index, (start, end) in zip(indices, spans_ms, strict=True)
    ])  # fmt: skip


def _covering(feature: ee.Feature, collection: str, rules: AnchorRules) -> ee.ImageCollection:
    """Images of the feature's time span that hold the whole chip; the bounds filter is what the index can answer."""
    point = feature.geometry()
    return (
        ee.ImageCollection(collection)
        .filterBounds(point)
        .filterDate(ee.Date(feature.get("start")), ee.Date(feature.get("end")))
        .filter(ee.Filter.contains(".geo", point.buffer(rules.reach_m, _ERROR_M), maxError=_ERROR_M))
    )


def _described(feature: ee.Element, prefix: str, images: ee.ImageCollection, *more: str) -> ee.Element:
    names = ("system:index", "system:time_start", *more)
    return feature.set({f"{prefix}/{name}": images.aggregate_array(name) for name in names})


def _optical_expression(points: ee.FeatureCollection, rules: AnchorRules) -> ee.FeatureCollection:
    def describe(feature: ee.Feature) -> ee.Element:
        result: ee.Element = ee.Feature(None, {})
        for level in rules.levels:
            images = _covering(feature, scenes.OPTICAL[level], rules)
            clear = images.filter(ee.Filter.lte(scenes.CLOUD_PERCENT, rules.max_cloud_percent))
            result = _described(result, level, clear, scenes.TILE)
        return result

    return points.map(describe)


def _radar_expression(points: ee.FeatureCollection, rules: AnchorRules) -> ee.FeatureCollection:
    def describe(feature: ee.Feature) -> ee.Element:
        result: ee.Element = ee.Feature(None, {})
        images = _covering(feature, scenes.RADAR, rules)
        images = images.filter(ee.Filter.eq(scenes.INSTRUMENT_MODE, scenes.LAND_MODE))
        for orbit_pass in ORBIT_PASSES:
            result = _described(result, orbit_pass, images.filter(ee.Filter.eq(scenes.ORBIT_PASS, orbit_pass.upper())))
        return result

    return points.map(describe)


def _candidates(row: Mapping[str, Any], prefix: str, *more: str) -> list[Candidate]:
    columns = [row[f"{prefix}/{name}"] for name in ("system:index", "system:time_start", *more)]
    if len({len(column) for column in columns}) > 1:
        raise Fatal(f"some images of {prefix} lack one of system:time_start and {scenes.TILE}; they cannot be pinned.")
    return [Candidate(*cells) for cells in zip(*columns, strict=True)]


def _choose(draw: Draw, years: Sequence[int], row: Mapping[str, Any]) -> _Anchor | None:
    """The drawn scene of the first year and level that have any."""
    result = {level: _candidates(row, level, scenes.TILE) for level in draw.levels}
    for year in years:
        for level in draw.levels:
            candidates = [candidate for candidate in result[level] if candidate.year == year]
            if candidates:
                return _Anchor(level, draw.choose(candidates))
    return None


def _reason(rules: AnchorRules) -> str:
    asked = ", ".join(map(str, sorted(rules.years)))
    return f"no scene of {asked} with at most {rules.max_cloud_percent:g} % clouds covers the chip"


def _pins(anchor: _Anchor, row: Mapping[str, Any]) -> PinnedScenes:
    date_ms = anchor.scene.time_ms
    passes = {orbit_pass: _nearest(date_ms, _candidates(row, orbit_pass)) for orbit_pass in ORBIT_PASSES}
    return PinnedScenes(anchor.level, anchor.scene, passes)


def _nearest(date_ms: float, candidates: Sequence[Candidate]) -> Candidate | None:
    """The scene nearest in time, before or after; the smaller id of two equally near."""
    nearest_first = sorted(candidates, key=lambda candidate: (abs(candidate.time_ms - date_ms), candidate.index))
    return nearest_first[0] if nearest_first else None

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
from exporters.anchor.anchor_rules import Anchor, AnchorRules, Candidate, Draw
from exporters.anchor.chip_clouds import ChipClouds, telling_layer
from exporters.anchor.outcomes import Outcome, PinnedScenes
from exporters.anchor.own_dates import OwnDate, own_dates
from exporters.earth_engine.batch_size import AdaptiveBatchSize
from exporters.earth_engine.client import EarthEngine
from exporters.expressions import ORBIT_PASSES
from pipeline.errors import Fatal
from pipeline.locations import Locations

_ERROR_M = 1.0  # without one, Earth Engine may refuse to compare geometries of different projections
_NAMES = ("system:index", "system:time_start")
_MOST_IMAGES = 5000  # of one place and span of time: what Earth Engine lists of a collection at most
_PART_VERSION = 2
# Rules that are in a part file's name only where they decide something, or never.
_NOT_OF_ALL = ("batch", "date_window_days", "max_chip_cloud_percent")
BATCHES_AT_ONCE = 4


class SceneSearch:
    """Asks Earth Engine about batches of locations, and keeps the answers."""

    def __init__(self, engine: EarthEngine, rules: AnchorRules, parts_folder: Path) -> None:
        self.engine = engine
        self.rules = rules
        self.parts_folder = parts_folder
        self.chip_clouds = None if rules.max_chip_cloud_percent is None else ChipClouds(engine, rules)
        self.at_once = engine.at_once("locations", AdaptiveBatchSize(rules.batch))

    def query(self, locations: Locations, rows: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], pa.Table]]:
        """What becomes of these rows of the locations, batch by batch: the rows of a batch, and their outcomes.

        A table has the columns of `exporters.anchor.outcomes.SCHEMA`.
        """
        size = self.rules.batch
        batches = [rows[start : start + size] for start in range(0, len(rows), size)]
        return threads.each(lambda batch: (batch, self._kept_or_asked(locations.take(batch))), batches, BATCHES_AT_ONCE)

    def _kept_or_asked(self, locations: Locations) -> pa.Table:
        with self.engine.stopping():
            return self._outcomes(locations)

    def _outcomes(self, locations: Locations) -> pa.Table:
        batch = _Batch.of(locations, self.rules)
        path = self.parts_folder / f"{_key(batch)}{outcomes.SUFFIX}"
        kept = outcomes.read(path, batch.ids, locations.lonlat, self.rules)
        if kept is None:
            kept = outcomes.outcome_table(locations.lonlat, self._ask(batch), self.rules)
            outcomes.write(path, kept)
        return kept

    def _ask(self, batch: _Batch) -> list[Outcome]:
        """Two or three requests: scenes of each location's own days or first year; of its other years where that has
        none; then radar scenes for the locations that have one. Where clouds over the chip are limited, more after each
        of the first two.
        """
        everyone = range(len(batch.ids))
        anchors = self._anchors(batch, everyone, slice(0, 1))
        if len(self.rules.years) > 1:
            others = [index for index in everyone if anchors[index] is None and batch.own_dates[index] is None]
            anchors |= self._anchors(batch, others, slice(1, None))
        served = {index: anchor for index, anchor in anchors.items() if anchor is not None}
        pins: dict[int, Outcome] = {}
        for answer in self.at_once.ask(list(served), lambda part: self._radar(batch, part, served)):
            pins |= answer
        return [pins.get(index, _reason(self.rules, batch.own_dates[index])) for index in everyone]

    def _anchors(self, batch: _Batch, indices: Sequence[int], preferred: slice) -> dict[int, Anchor | None]:
        ranked: dict[int, list[Anchor]] = {}
        for answer in self.at_once.ask(indices, lambda part: self._optical(batch, part, preferred)):
            ranked |= answer
        if self.chip_clouds is not None:
            return self.chip_clouds.first_clear(batch.lonlat, ranked)
        return {index: anchors[0] if anchors else None for index, anchors in ranked.items()}

    def _optical(self, batch: _Batch, indices: Sequence[int], preferred: slice) -> dict[int, list[Anchor]]:
        """The scenes that may serve each location, in the order in which they are wanted."""
        years = [batch.draws[index].years[preferred] for index in indices]
        wanted = [batch.own_dates[index] for index in indices]
        spans = [own.span_ms if own else _span(each) for own, each in zip(wanted, years, strict=True)]
        rows = self._rows(_optical_expression(_points(batch, indices, spans), self.rules))
        return {
            index: _by_nearness(batch.draws[index], own, row) if own else _as_drawn(batch.draws[index], each, row)
            for index, own, each, row in zip(indices, wanted, years, rows, strict=True)
        }

    def _radar(self, batch: _Batch, indices: Sequence[int], served: Mapping[int, Anchor]) -> dict[int, Outcome]:
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
    """What is asked about: ids, lon/lat in degrees, and own dates (or None) of the locations of a batch."""

    ids: list[str]
    lonlat: list[list[float]]
    own_dates: list[OwnDate | None]
    rules: AnchorRules

    @classmethod
    def of(cls, locations: Locations, rules: AnchorRules) -> _Batch:
        dates = own_dates(locations.table, rules.date_window_days)
        return cls(locations.table.column("id").to_pylist(), locations.lonlat.tolist(), dates, rules)

    @cached_property
    def draws(self) -> list[Draw]:
        """What chance decides for each; a batch that was kept needs none."""
        return [Draw.of(each, self.rules) for each in self.ids]


def _key(batch: _Batch) -> str:
    """Names a part file by everything that its content follows from; without own dates, as before there were any."""
    data = {name: value for name, value in asdict(batch.rules).items() if name not in _NOT_OF_ALL}
    asked = [(each, *lonlat) for each, lonlat in zip(batch.ids, batch.lonlat, strict=True)]
    content: list[Any] = [_PART_VERSION, scenes.OPTICAL, scenes.RADAR, data, asked]
    if batch.rules.max_chip_cloud_percent is not None:
        content.append([telling_layer().digest, batch.rules.max_chip_cloud_percent])
    if any(batch.own_dates):
        content.append([own and [str(own), str(own.wanted)] for own in batch.own_dates])
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
    """The feature with a row of properties for each image, under `prefix`.

    As a list of the images, and not one `aggregate_array` a property: Earth Engine refuses a request with too many
    aggregations at once, and a batch would have a thousand of them.
    """
    names = (*_NAMES, *more)
    rows = images.toList(_MOST_IMAGES).map(lambda image: [ee.Image(image).get(name) for name in names])
    return feature.set(prefix, rows)


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


def _candidates(row: Mapping[str, Any], prefix: str) -> list[Candidate]:
    if any(cell is None for cells in row[prefix] for cell in cells):
        raise Fatal(f"some images of {prefix} lack one of system:time_start and {scenes.TILE}; they cannot be pinned.")
    return [Candidate(*cells) for cells in row[prefix]]


def _as_drawn(draw: Draw, years: Sequence[int], row: Mapping[str, Any]) -> list[Anchor]:
    """The drawn scene of the first year and level that have any, the others of both, and those of further ones."""
    result = {level: _candidates(row, level) for level in draw.levels}
    return [
        Anchor(level, scene)
        for year in years
        for level in draw.levels
        for scene in draw.ranked([candidate for candidate in result[level] if candidate.year == year])
    ]


def _by_nearness(draw: Draw, own: OwnDate, row: Mapping[str, Any]) -> list[Anchor]:
    """The scene of the day nearest to the one that is wanted, of the drawn level where both have one of that day, …"""
    anchors = [Anchor(level, scene) for level in draw.levels for scene in _candidates(row, level)]
    return sorted(
        anchors, key=lambda each: (own.days_from(each.scene.time_ms), draw.levels.index(each.level), each.scene.index)
    )


def _reason(rules: AnchorRules, own: OwnDate | None) -> str:
    asked = str(own) if own else ", ".join(map(str, sorted(rules.years)))
    reason = f"no scene of {asked} with at most {rules.max_cloud_percent:g} % clouds covers the chip"
    limit = rules.max_chip_cloud_percent
    return reason if limit is None else f"{reason} with at most {limit:g} % over it"


def _pins(anchor: Anchor, row: Mapping[str, Any]) -> PinnedScenes:
    date_ms = anchor.scene.time_ms
    passes = {orbit_pass: _nearest(date_ms, _candidates(row, orbit_pass)) for orbit_pass in ORBIT_PASSES}
    return PinnedScenes(anchor.level, anchor.scene, passes)


def _nearest(date_ms: float, candidates: Sequence[Candidate]) -> Candidate | None:
    """The scene nearest in time, before or after; the smaller id of two equally near."""
    nearest_first = sorted(candidates, key=lambda candidate: (abs(candidate.time_ms - date_ms), candidate.index))
    return nearest_first[0] if nearest_first else None

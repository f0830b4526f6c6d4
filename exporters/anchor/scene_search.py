"""Asking Earth Engine which scenes hold which locations, a batch at a time; answers are kept, batch by batch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import ee

from exporters import scenes, threads
from exporters.anchor.anchor_rules import AnchorRules, Candidate, Draw
from exporters.earth_engine.client import EarthEngine
from exporters.expressions import ORBIT_PASSES
from pipeline import durable
from pipeline.chip import Acquisition, Chip, Scene
from pipeline.errors import Fatal
from pipeline.grid import Grid, mgrs_crs, utm_crs
from pipeline.location import Location

_ERROR_M = 1.0  # without one, Earth Engine may refuse to compare geometries of different projections
_PART_VERSION = 2
BATCHES_AT_ONCE = 4


@dataclass(frozen=True)
class Rejected:
    """A location that no scene serves, and why."""

    location: Location
    reason: str


Outcome = Chip | Rejected


class SceneSearch:
    """Asks Earth Engine about batches of locations, and keeps the answers."""

    def __init__(self, engine: EarthEngine, rules: AnchorRules, parts_folder: Path) -> None:
        self.engine = engine
        self.rules = rules
        self.parts_folder = parts_folder
        self.at_once = engine.at_once("locations", rules.batch)

    def query(self, locations: Sequence[Location]) -> Iterator[dict[str, Outcome]]:
        """What becomes of each location, by id, batch by batch."""
        size = self.rules.batch
        batches = [locations[start : start + size] for start in range(0, len(locations), size)]
        return threads.each(self._batch, batches, BATCHES_AT_ONCE)

    def _batch(self, locations: Sequence[Location]) -> dict[str, Outcome]:
        path = self.parts_folder / f"{_key(locations, self.rules)}.json"
        if path.exists():
            kept = durable.read_json(path)
        else:
            kept = self._ask(locations)
            durable.write_json(path, kept)
        return {location.id: _outcome(location, kept[location.id], self.rules) for location in locations}

    def _ask(self, locations: Sequence[Location]) -> dict[str, Any]:
        """Two or three requests: scenes of each location's first year; of its other years where that has none; then
        radar scenes for the locations that have one.
        """
        kept = self._scenes(locations, slice(0, 1))
        if len(self.rules.years) > 1:
            kept |= self._scenes([one for one in locations if "anchor" not in kept[one.id]], slice(1, None))
        served = [location for location in locations if "anchor" in kept[location.id]]
        for answer in self.at_once.ask(served, lambda part: self._radar(part, kept)):
            for location_id, result in answer.items():
                kept[location_id] |= result
        return kept

    def _scenes(self, locations: Sequence[Location], preferred: slice) -> dict[str, Any]:
        kept: dict[str, Any] = {}
        for answer in self.at_once.ask(locations, lambda part: self._optical(part, preferred)):
            kept |= answer
        return kept

    def _optical(self, locations: Sequence[Location], preferred: slice) -> dict[str, Any]:
        draws = [Draw.of(location, self.rules) for location in locations]
        years = [draw.years[preferred] for draw in draws]
        asks = [_Ask(location.lonlat, *_span(each)) for location, each in zip(locations, years, strict=True)]
        rows = self._rows(_optical_expression(asks, self.rules))
        return {
            location.id: _choose(draw, each, row, self.rules)
            for location, draw, each, row in zip(locations, draws, years, rows, strict=True)
        }

    def _radar(self, locations: Sequence[Location], kept: Mapping[str, Any]) -> dict[str, Any]:
        dates = [kept[location.id]["anchor"]["time_ms"] for location in locations]
        reach_ms = timedelta(days=self.rules.orbit_window_days) / timedelta(milliseconds=1)
        asks = [
            _Ask(location.lonlat, date - reach_ms, date + reach_ms + 1)
            for location, date in zip(locations, dates, strict=True)
        ]
        rows = self._rows(_radar_expression(asks, self.rules))
        return {
            location.id: {orbit_pass: _nearest(date, _candidates(row, orbit_pass)) for orbit_pass in ORBIT_PASSES}
            for location, date, row in zip(locations, dates, rows, strict=True)
        }

    def _rows(self, collection: ee.FeatureCollection) -> list[dict[str, Any]]:
        features = self.engine.value(collection)["features"]
        return [feature["properties"] for feature in features]


@dataclass(frozen=True)
class _Ask:
    """A point and a span of time, milliseconds since 1970, end-exclusive."""

    lonlat: tuple[float, float]
    start_ms: float
    end_ms: float


def _key(locations: Sequence[Location], rules: AnchorRules) -> str:
    """Names a part file by everything that its content follows from."""
    data = {name: value for name, value in asdict(rules).items() if name != "batch"}
    content = [_PART_VERSION, scenes.OPTICAL, scenes.RADAR, data, [(item.id, item.lon, item.lat) for item in locations]]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:24]


def _span(years: Sequence[int]) -> tuple[float, float]:
    """From the first to behind the last of these years, and what lies between."""
    start, end = (datetime(year, 1, 1, tzinfo=UTC).timestamp() * 1000 for year in (min(years), max(years) + 1))
    return start, end


def _points(asks: Sequence[_Ask]) -> ee.FeatureCollection:
    return ee.FeatureCollection([
        ee.Feature(ee.Geometry.Point(list(ask.lonlat)), {"start": round(ask.start_ms), "end": round(ask.end_ms)})
        for ask in asks
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


def _optical_expression(asks: Sequence[_Ask], rules: AnchorRules) -> ee.FeatureCollection:
    def describe(feature: ee.Feature) -> ee.Element:
        result: ee.Element = ee.Feature(None, {})
        for level in rules.levels:
            images = _covering(feature, scenes.OPTICAL[level], rules)
            clear = images.filter(ee.Filter.lte(scenes.CLOUD_PERCENT, rules.max_cloud_percent))
            result = _described(result, level, clear, scenes.TILE)
        return result

    return _points(asks).map(describe)


def _radar_expression(asks: Sequence[_Ask], rules: AnchorRules) -> ee.FeatureCollection:
    def describe(feature: ee.Feature) -> ee.Element:
        result: ee.Element = ee.Feature(None, {})
        images = _covering(feature, scenes.RADAR, rules)
        images = images.filter(ee.Filter.eq(scenes.INSTRUMENT_MODE, scenes.LAND_MODE))
        for orbit_pass in ORBIT_PASSES:
            result = _described(result, orbit_pass, images.filter(ee.Filter.eq(scenes.ORBIT_PASS, orbit_pass.upper())))
        return result

    return _points(asks).map(describe)


def _candidates(row: Mapping[str, Any], prefix: str, *more: str) -> list[Candidate]:
    columns = [row[f"{prefix}/{name}"] for name in ("system:index", "system:time_start", *more)]
    if len({len(column) for column in columns}) > 1:
        raise Fatal(f"some images of {prefix} lack one of system:time_start and {scenes.TILE}; they cannot be pinned.")
    return [Candidate(*cells) for cells in zip(*columns, strict=True)]


def _choose(draw: Draw, years: Sequence[int], row: Mapping[str, Any], rules: AnchorRules) -> dict[str, Any]:
    """The drawn scene of the first year and level that have any; or the reason why there is none."""
    result = {level: _candidates(row, level, scenes.TILE) for level in draw.levels}
    for year in years:
        for level in draw.levels:
            candidates = [candidate for candidate in result[level] if candidate.year == year]
            if candidates:
                return {"level": level, "anchor": asdict(draw.choose(candidates))}
    asked = ", ".join(map(str, sorted(rules.years)))
    return {"reason": f"no scene of {asked} with at most {rules.max_cloud_percent:g} % clouds covers the chip"}


def _nearest(date_ms: float, candidates: Sequence[Candidate]) -> dict[str, Any] | None:
    """The scene nearest in time, before or after; the smaller id of two equally near."""
    if not candidates:
        return None
    return asdict(min(candidates, key=lambda candidate: (abs(candidate.time_ms - date_ms), candidate.index)))


def _outcome(location: Location, kept: Mapping[str, Any], rules: AnchorRules) -> Outcome:
    if "reason" in kept:
        return Rejected(location, kept["reason"])
    crs = utm_crs(location.lonlat) if rules.own_zone else mgrs_crs(kept["anchor"]["tile"])
    grid = Grid.around(location.lonlat, crs, rules.size_px)
    scene = _scene(scenes.OPTICAL[kept["level"]], kept["anchor"])
    passes = {orbit_pass: _radar_scene(kept[orbit_pass]) for orbit_pass in ORBIT_PASSES}
    return Chip(location, grid, Acquisition(scene, kept["level"], **passes))


def _radar_scene(kept: Mapping[str, Any] | None) -> Scene | None:
    return _scene(scenes.RADAR, kept) if kept else None


def _scene(collection: str, kept: Mapping[str, Any]) -> Scene:
    return Scene.at_ms(f"{collection}/{kept['index']}", kept["time_ms"])

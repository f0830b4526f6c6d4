"""Pinning locations to scenes: an optical one of a drawn year and level, the nearest radar one per orbit pass."""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import ee
import pandas as pd

from exporters import scenes, threads
from exporters.client import EarthEngine
from exporters.expressions import ORBIT_PASSES
from pipeline import durable
from pipeline.chip import Acquisition, Chip, Scene
from pipeline.errors import Fatal
from pipeline.grid import LATTICE_M, Grid, mgrs_crs
from pipeline.location import Location, by_stratum
from pipeline.progress import Progress

_MARGIN_M = 100.0  # snapping to the lattice, the scale of UTM off its meridian, and a disc drawn as a polygon
_ERROR_M = 1.0  # without one, Earth Engine may refuse to compare geometries of different projections
_BATCHES_AT_ONCE = 4
_FIRST_SURPLUS = 1.1
_LATER_SURPLUS = 1.3
_PART_VERSION = 2


@dataclass(frozen=True)
class AnchorRules:
    """Which scenes may serve. Part files and choices depend on everything here but `batch`."""

    years: tuple[int, ...] = (2017, 2018, 2019, 2020)
    max_cloud_percent: float = 10.0
    levels: tuple[str, ...] = ("l2a", "l1c")
    orbit_window_days: float = 30.0
    size_px: int = 128
    batch: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        strange = sorted(set(self.levels) - set(scenes.OPTICAL))
        if strange or not self.levels:
            raise Fatal(f"anchor.levels must be some of {', '.join(scenes.OPTICAL)}, not {list(self.levels)}.")
        if not self.years or self.batch < 1 or self.size_px < 1:
            raise Fatal("anchor.years must not be empty, and anchor.batch and size_px must be at least 1.")

    @property
    def reach_m(self) -> float:
        """Radius around a location that a scene must cover: the chip's corner, with a margin."""
        return self.size_px * LATTICE_M / math.sqrt(2) + _MARGIN_M


@dataclass(frozen=True)
class Rejected:
    """A location that no scene serves, and why."""

    location: Location
    reason: str


@dataclass(frozen=True)
class Anchored:
    """The chips that fill the quotas, what was passed over on the way, and how many are lacking per stratum."""

    chips: list[Chip]
    rejected: list[Rejected]
    shortfalls: dict[str, int] = field(default_factory=dict)

    def rejected_frame(self) -> pd.DataFrame:
        """One row per rejected location: the location's own columns, and the reason."""
        names = [each.name for each in fields(Location)]
        records = [asdict(one.location) | {"reason": one.reason} for one in self.rejected]
        return pd.DataFrame(records, columns=[*names, "reason"])


@dataclass(frozen=True)
class Draw:
    """What chance decides for a location, before anything is asked: so no answer or order can change it.

    Years and levels are in order of preference: the first that has a scene serves.
    """

    years: tuple[int, ...]
    levels: tuple[str, ...]
    place: float

    @classmethod
    def of(cls, location: Location, rules: AnchorRules) -> Draw:
        """Drawn from the seed and the location's id alone."""
        digest = hashlib.sha256(f"{rules.seed}/{location.id}".encode()).digest()
        chance = random.Random(int.from_bytes(digest[:8], "big"))  # noqa: S311 - a reproducible choice
        years, levels = sorted(set(rules.years)), sorted(rules.levels)
        chance.shuffle(years)
        chance.shuffle(levels)
        return cls(tuple(years), tuple(levels), chance.random())

    def choose(self, candidates: Sequence[Candidate]) -> Candidate:
        """One of the candidates, whatever order they came in."""
        ordered = sorted(candidates, key=lambda candidate: candidate.index)
        return ordered[int(self.place * len(ordered))]


@dataclass(frozen=True)
class Candidate:
    """An image that would do: system:index, system:time_start in milliseconds, MGRS tile ("" for radar)."""

    index: str
    time_ms: float
    tile: str = ""

    @property
    def year(self) -> int:
        """Calendar year (UTC)."""
        return datetime.fromtimestamp(self.time_ms / 1000, tz=UTC).year


Outcome = Chip | Rejected


def anchor(
    engine: EarthEngine,
    locations: Sequence[Location],
    quotas: Mapping[str, int],
    rules: AnchorRules,
    parts_folder: Path,
    progress: Progress,
) -> Anchored:
    """For every stratum the first `quota` locations, in their order, that a scene serves.

    The result depends on the locations, quotas and rules alone; answers are kept in `parts_folder`, batch by
    batch, so that a run that was killed asks nothing twice.
    """
    strata = {name: found for name, found in by_stratum(locations).items() if quotas.get(name, 0) > 0}
    anchoring = _Anchoring(engine, rules, parts_folder)
    outcomes: dict[str, Outcome] = {}
    shown, total = 0, sum(quotas.values())
    progress.start("anchor", total)
    while wanted := _next_round(strata, quotas, outcomes):
        for part in anchoring.settle(wanted):
            outcomes |= part
            usable = sum(isinstance(outcome, Chip) for outcome in part.values())
            # A surplus is tried, so what is shown stops at the total.
            progress.advance(min(usable, total - shown))
            shown = min(shown + usable, total)
            progress.note(requests=engine.figures().requests, tried=len(outcomes))
    return _result(strata, quotas, outcomes)


def _next_round(
    strata: Mapping[str, Sequence[Location]], quotas: Mapping[str, int], outcomes: Mapping[str, Outcome]
) -> list[Location]:
    """The candidates to try next: per stratum as many as probably fill what is lacking, from what came so far."""
    chosen = []
    for name, candidates in strata.items():
        tried = [location for location in candidates if location.id in outcomes]
        usable = sum(isinstance(outcomes[location.id], Chip) for location in tried)
        wanted = _surplus(quotas[name] - usable, len(tried), usable)
        untried = [location for location in candidates if location.id not in outcomes]
        chosen += untried[:wanted]
    return chosen


def _surplus(lacking: int, tried: int, usable: int) -> int:
    """A few more than are lacking, by the stratum's own rate of success: another round costs whole requests."""
    if lacking <= 0:
        return 0
    rate = (usable + 1) / (tried + 1)
    return math.ceil(lacking / rate * (_LATER_SURPLUS if tried else _FIRST_SURPLUS))


def _usable(candidates: Sequence[Location], outcomes: Mapping[str, Outcome]) -> Iterator[Outcome]:
    """Outcomes in the stratum's order, up to the first location that was not tried."""
    for location in candidates:
        if location.id not in outcomes:
            return
        yield outcomes[location.id]


def _result(
    strata: Mapping[str, Sequence[Location]], quotas: Mapping[str, int], outcomes: Mapping[str, Outcome]
) -> Anchored:
    chips: list[Chip] = []
    rejected: list[Rejected] = []
    shortfalls = {name: quota for name, quota in quotas.items() if quota > 0 and name not in strata}
    for name, candidates in strata.items():
        lacking = quotas[name]
        for outcome in _usable(candidates, outcomes):
            if lacking == 0:
                break
            if isinstance(outcome, Chip):
                chips.append(outcome)
                lacking -= 1
            else:
                rejected.append(outcome)
        if lacking:
            shortfalls[name] = lacking
    return Anchored(chips, rejected, shortfalls)


class _Anchoring:
    """Asks Earth Engine about batches of locations, and keeps the answers."""

    def __init__(self, engine: EarthEngine, rules: AnchorRules, parts_folder: Path) -> None:
        self.engine = engine
        self.rules = rules
        self.parts_folder = parts_folder
        self.at_once = engine.at_once("locations", rules.batch)

    def settle(self, locations: Sequence[Location]) -> Iterator[dict[str, Outcome]]:
        """What becomes of each location, by id, batch by batch."""
        size = self.rules.batch
        batches = [locations[start : start + size] for start in range(0, len(locations), size)]
        return threads.each(self._batch, batches, _BATCHES_AT_ONCE)

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
            for location_id, found in answer.items():
                kept[location_id] |= found
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
    plain = {name: value for name, value in asdict(rules).items() if name != "batch"}
    content = [_PART_VERSION, scenes.OPTICAL, scenes.RADAR, plain, [(one.id, one.lon, one.lat) for one in locations]]
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
        found: ee.Element = ee.Feature(None, {})
        for level in rules.levels:
            images = _covering(feature, scenes.OPTICAL[level], rules)
            clear = images.filter(ee.Filter.lte(scenes.CLOUD_PERCENT, rules.max_cloud_percent))
            found = _described(found, level, clear, scenes.TILE)
        return found

    return _points(asks).map(describe)


def _radar_expression(asks: Sequence[_Ask], rules: AnchorRules) -> ee.FeatureCollection:
    def describe(feature: ee.Feature) -> ee.Element:
        found: ee.Element = ee.Feature(None, {})
        images = _covering(feature, scenes.RADAR, rules)
        images = images.filter(ee.Filter.eq(scenes.INSTRUMENT_MODE, scenes.LAND_MODE))
        for orbit_pass in ORBIT_PASSES:
            found = _described(found, orbit_pass, images.filter(ee.Filter.eq(scenes.ORBIT_PASS, orbit_pass.upper())))
        return found

    return _points(asks).map(describe)


def _candidates(row: Mapping[str, Any], prefix: str, *more: str) -> list[Candidate]:
    columns = [row[f"{prefix}/{name}"] for name in ("system:index", "system:time_start", *more)]
    if len({len(column) for column in columns}) > 1:
        raise Fatal(f"some images of {prefix} lack one of system:time_start and {scenes.TILE}; they cannot be pinned.")
    return [Candidate(*cells) for cells in zip(*columns, strict=True)]


def _choose(draw: Draw, years: Sequence[int], row: Mapping[str, Any], rules: AnchorRules) -> dict[str, Any]:
    """The drawn scene of the first year and level that have any; or the reason why there is none."""
    found = {level: _candidates(row, level, scenes.TILE) for level in draw.levels}
    for year in years:
        for level in draw.levels:
            candidates = [candidate for candidate in found[level] if candidate.year == year]
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
    grid = Grid.around(location.lonlat, mgrs_crs(kept["anchor"]["tile"]), rules.size_px)
    scene = _scene(scenes.OPTICAL[kept["level"]], kept["anchor"])
    passes = {orbit_pass: _radar_scene(kept[orbit_pass]) for orbit_pass in ORBIT_PASSES}
    return Chip(location, grid, Acquisition(scene, kept["level"], **passes))


def _radar_scene(kept: Mapping[str, Any] | None) -> Scene | None:
    return _scene(scenes.RADAR, kept) if kept else None


def _scene(collection: str, kept: Mapping[str, Any]) -> Scene:
    return Scene.at_ms(f"{collection}/{kept['index']}", kept["time_ms"])

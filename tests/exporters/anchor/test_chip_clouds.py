"""Scenes that are clear over the chip itself: which is taken, what is asked, and the share that the pulled chip has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from exporters import catalog
from exporters.anchor import anchoring, chip_clouds
from exporters.anchor.anchor_rules import Anchor, AnchorRules, Candidate, Draw
from exporters.anchor.anchoring import Anchored
from exporters.anchor.chip_clouds import ChipClouds, refuse_untold_levels, telling_layer
from exporters.anchor.scene_search import _Batch, _key
from exporters.earth_engine.client import Connection, EarthEngine, connect
from exporters.pull.export import export
from pipeline.corpus import Corpus
from pipeline.corpus_folder import MANIFEST
from pipeline.errors import Fatal
from pipeline.location import Location
from pipeline.locations import Locations
from pipeline.manifest import Manifest
from pipeline.measured import CLOUD, measured
from pipeline.progress import Silent
from sandbox.limits import EARTH_ENGINE, KIND
from sandbox.raster.stored import StoredImage
from sandbox.service.server import Sandbox
from tests.exporters import tiny_earth
from tests.exporters.chips import location
from tests.exporters.conftest import IMPATIENT
from tests.exporters.tiny_earth import FieldBand, day
from tests.sandbox.planets import shared_planet

SIZE_PX, PLACES = 12, 30
RULES = AnchorRules(years=(2019,), levels=("l2a",), size_px=SIZE_PX, seed=5, max_chip_cloud_percent=40.0)
CLEAR, CLOUDY, PARTLY, NOWHERE = (day(2019, 6, number) for number in (1, 6, 11, 16))


def scene(date, classes) -> StoredImage:
    """A scene of the tile that is hardly cloudy as a whole, with the scene classes of a formula."""
    image = tiny_earth.optical("l2a", date)
    bands = [band for band in image.bands if band.name != "SCL"]
    return replace(image, bands=(*bands, FieldBand("SCL", np.dtype(np.uint8), 20.0, classes)))


def cloudy_earth() -> tiny_earth.TinyEarth:
    """A clear scene, one all cloud, one with cirrus over the same third of every chip, one that has no class at all."""
    return tiny_earth.TinyEarth([
        scene(CLEAR, lambda column, row: 4 + 0 * column * row),
        scene(CLOUDY, lambda column, row: 9 + 0 * column * row),
        scene(PARTLY, lambda column, row: np.where(column % 10 < 2, 10, 5) + 0 * row),
        scene(NOWHERE, lambda column, row: 0 * column * row),
    ])  # fmt: skip


@pytest.fixture
def cloudy() -> Iterator[Sandbox]:
    limits = replace(KIND, concurrent_aggregations=EARTH_ENGINE.concurrent_aggregations)
    with Sandbox(catalog=cloudy_earth(), limits=limits) as sandbox:
        yield sandbox


def connected(sandbox: Sandbox) -> EarthEngine:
    engine = connect(Connection("demo-project", url=sandbox.url, patience=IMPATIENT))
    sandbox.reset_counters()
    return engine


def anchored(engine: EarthEngine, rules: AnchorRules, folder: Path, count: int = PLACES) -> Anchored:
    places = Locations.of([location(number) for number in range(count)])
    return anchoring.anchor(engine, places, {"7": count}, rules, folder, Silent())


def test_the_first_scene_that_is_clear_enough_over_the_chip_is_taken(cloudy: Sandbox, tmp_path: Path) -> None:
    chips = list(Manifest(anchored(connected(cloudy), RULES, tmp_path / "clear").rows))
    without = list(Manifest(anchored(connected(cloudy), replace(RULES, max_chip_cloud_percent=None), tmp_path).rows))
    assert len(chips) == len(without) == PLACES
    assert {chip.acquisition.date for chip in chips} == {CLEAR, PARTLY}
    assert {chip.acquisition.date for chip in without} == {CLEAR, CLOUDY, PARTLY, NOWHERE}
    kept = {chip.location.id: chip for chip in without if chip.acquisition.date == CLEAR}
    assert kept and all(kept[chip.location.id] == chip for chip in chips if chip.location.id in kept)


def test_no_more_is_asked_than_a_request_may_and_most_places_are_served_by_the_first(
    cloudy: Sandbox, tmp_path: Path
) -> None:
    drawn = Manifest(anchored(connected(cloudy), replace(RULES, max_chip_cloud_percent=None), tmp_path / "any").rows)
    cloudy.reset_counters()
    anchored(connected(cloudy), RULES, tmp_path)
    others = sum(chip.acquisition.date in (CLOUDY, NOWHERE) for chip in drawn)
    rounds = [-(-places // chip_clouds._FIRST_PLACES) for places in (PLACES, others)]
    assert 0 < others < PLACES
    assert cloudy.counters()["statuses"] == {"200": 2 + sum(rounds)}, "scenes, radar, and some places a request"


def test_a_place_is_given_up_after_so_many_scenes(cloudy: Sandbox, tmp_path: Path) -> None:
    clouds, place = ChipClouds(connected(cloudy), RULES), list(location(0).lonlat)
    cloudy_one, clear_one = (
        Anchor("l2a", Candidate(f"{date:%Y%m%dT%H%M%S}_{date:%Y%m%dT%H%M%S}_T{tiny_earth.TILE}", 0, tiny_earth.TILE))
        for date in (CLOUDY, CLEAR)
    )
    most = sum(chip_clouds.ROUNDS)
    ranked = {0: [*[cloudy_one] * (most - 1), clear_one], 1: [*[cloudy_one] * most, clear_one], 2: []}
    assert clouds.first_clear([place] * 3, ranked) == {0: clear_one, 1: None, 2: None}


def test_where_no_scene_is_clear_the_place_has_a_reason(cloudy: Sandbox, tmp_path: Path) -> None:
    rules = replace(RULES, max_chip_cloud_percent=0.0)
    with_stripes = {"7": 5}
    places = Locations.of([location(number) for number in range(5)])
    only = tiny_earth.TinyEarth([each for each in cloudy_earth().scenes if f"{CLEAR:%Y%m%d}" not in each.asset_id])
    with Sandbox(catalog=only) as sandbox:
        result = anchoring.anchor(connected(sandbox), places, with_stripes, rules, tmp_path, Silent())
    assert not result.rows.count and result.shortfalls == with_stripes
    words = "no scene of 2019 with at most 10 % clouds covers the chip with at most 0 % over it"
    assert set(result.rejected_frame()["reason"]) == {words}


def test_the_share_is_the_one_that_the_pulled_chip_is_measured_to_have(cloudy: Sandbox, tmp_path: Path) -> None:
    engine, rules = connected(cloudy), replace(RULES, max_chip_cloud_percent=60.0)
    assert_same_share(engine, anchored(engine, rules, tmp_path / "parts"), rules, tmp_path)


def assert_same_share(engine: EarthEngine, found: Anchored, rules: AnchorRules, folder: Path) -> np.ndarray:
    """Holds the share that was asked for each chip against its own once it is pulled; these are in percent."""
    manifest = Manifest.freeze(list(Manifest(found.rows)), 0)
    manifest.write(folder / MANIFEST)
    layers = catalog.bound(catalog.modalities(["sentinel2_scl"]), manifest)
    corpus = Corpus.create(folder, layers, 64)
    export(engine, corpus, layers, folder / "spool", Silent())
    own = measured(corpus, CLOUD)
    clouds, asked = ChipClouds(engine, rules), {}
    for chip in manifest:
        scene = chip.acquisition.anchor
        index = scene.asset_id.rpartition("/")[2]
        candidate = Candidate(index, scene.time.timestamp() * 1000, index[-5:])
        asked[chip.row] = [Anchor(chip.acquisition.level, candidate)]
    told = clouds._percent([list(chip.location.lonlat) for chip in manifest], asked)
    assert [told[row, anchors[0]] for row, anchors in asked.items()] == own.tolist()
    assert (own <= rules.max_chip_cloud_percent).all()
    return own


def test_a_killed_run_asks_nothing_twice_and_another_limit_asks_anew(cloudy: Sandbox, tmp_path: Path) -> None:
    engine = connected(cloudy)
    first = anchored(engine, RULES, tmp_path, 4)
    cloudy.reset_counters()
    again = anchored(engine, RULES, tmp_path, 4)
    assert again.rows.part(0, 4) == first.rows.part(0, 4) and cloudy.counters()["total"] == 0
    anchored(engine, replace(RULES, max_chip_cloud_percent=50.0), tmp_path, 4)
    assert cloudy.counters()["total"] >= 3, "scenes, clouds, radar"


def test_without_the_limit_answers_are_kept_under_the_names_of_older_releases() -> None:
    batch = _Batch.of(Locations.of([location(number) for number in range(3)]), AnchorRules())
    assert _key(batch) == "5084c150b716f9d8cc27e965"


def test_without_the_limit_nothing_more_is_asked(cloudy: Sandbox, tmp_path: Path) -> None:
    anchored(connected(cloudy), replace(RULES, max_chip_cloud_percent=None), tmp_path)
    assert cloudy.counters()["requests"] == {"value:compute": 2}


def test_levels_without_cloud_layers_are_refused_with_those_that_have_them() -> None:
    refuse_untold_levels(RULES)
    refuse_untold_levels(AnchorRules())
    with pytest.raises(Fatal, match=r"level l1c do not have; give anchor.levels = \['l2a'\]"):
        refuse_untold_levels(replace(RULES, levels=("l2a", "l1c")))


def test_classes_are_asked_before_probabilities(monkeypatch: pytest.MonkeyPatch, cloudy: Sandbox) -> None:
    assert telling_layer().name == "sentinel2_scl"
    others = [layer for layer in catalog.modalities() if layer.name != "sentinel2_scl"]
    monkeypatch.setattr(catalog, "modalities", lambda: others)
    assert telling_layer().name == "sentinel2_cloudprod"
    clouds = ChipClouds(connected(cloudy), RULES)
    index = f"{CLEAR:%Y%m%dT%H%M%S}_{CLEAR:%Y%m%dT%H%M%S}_T{tiny_earth.TILE}"
    anchor = Anchor("l2a", Candidate(index, tiny_earth.milliseconds(CLEAR), tiny_earth.TILE))
    share = clouds._percent([list(location(0).lonlat)], {0: [anchor]})
    assert [0 < (percent or 0) < 100 for percent in share.values()] == [True], "of a formula from 0 to 100"


def test_scenes_are_tried_from_the_drawn_one_round_to_it() -> None:
    candidates = [Candidate(name, 0) for name in "cabed"]
    ranked = Draw((), (), 0.5).ranked(candidates)
    assert [each.index for each in ranked] == list("cdeab") and Draw((), (), 0.5).choose(candidates) == ranked[0]
    assert Draw((), (), 0.5).ranked([]) == []


@pytest.mark.slow
@pytest.mark.xdist_group("planet_clouds")
def test_on_the_planet_a_clear_scene_is_taken_in_place_of_one_with_clouds_over_the_chip(tmp_path: Path) -> None:
    planet, random = shared_planet(), np.random.default_rng(2)
    drawn = zip(random.uniform(-170, 170, 200), random.uniform(-50, 60, 200), strict=True)
    land = [(float(lon), float(lat)) for lon, lat in drawn if planet.world.has_land(lon, lat, 0.1)][:30]
    places = Locations.of([Location(f"p{number}", *lonlat, "7") for number, lonlat in enumerate(land)])
    free = AnchorRules(years=(2019, 2020), levels=("l2a",), size_px=32, max_cloud_percent=30.0)
    rules = replace(free, max_chip_cloud_percent=2.0)
    with Sandbox(catalog=planet) as sandbox:
        engine = connected(sandbox)
        taken = anchoring.anchor(engine, places, {"7": 12}, free, tmp_path / "free", Silent())
        loose = assert_same_share(engine, taken, replace(rules, max_chip_cloud_percent=100.0), tmp_path / "a")
        clear = anchoring.anchor(engine, places, {"7": 12}, rules, tmp_path / "clear", Silent())
        strict = assert_same_share(engine, clear, rules, tmp_path / "b")
    assert clear.rows.count == taken.rows.count == 12
    assert loose.max() > 2 >= strict.max()

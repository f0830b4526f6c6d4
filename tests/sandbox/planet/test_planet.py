"""The planet as a catalogue: determinism, the region table, gaps, and answers against brute force."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import numpy as np
import pytest
import shapely
from shapely.geometry import Point, box

from sandbox.planet import Planet, scenes
from sandbox.planet.mgrs import Tile, centre_of, is_tile, tile_named
from sandbox.planet.passes import strips_of
from sandbox.planet.sentinel1 import Slice, outline_of
from sandbox.planet.world import BIOME_NAMES
from sandbox.raster.stored import Query, QueryTooLarge, Window
from tests.sandbox.planets import shared_planet

L1C, L2A = "COPERNICUS/S2_HARMONIZED", "COPERNICUS/S2_SR_HARMONIZED"
S1, DW = "COPERNICUS/S1_GRD", "GOOGLE/DYNAMICWORLD/V1"
TABLE = "RESOLVE/ECOREGIONS/2017"


def ms(year: int, month: int = 1, day: int = 1) -> int:
    return int(datetime(year, month, day, tzinfo=UTC).timestamp() * 1000)


@pytest.fixture(scope="module")
def planet() -> Planet:
    return shared_planet()


def land_points(planet: Planet, count: int, seed: int) -> list[Point]:
    """Points spread over the land by area, biomes alike."""
    rng = np.random.default_rng(seed)
    points = []
    for k in range(count):
        rows, columns = np.nonzero(planet.world.biome == 1 + k % 14)
        j = rng.integers(len(rows))
        lonlat = planet.world.lon[rows[j], columns[j]], planet.world.lat[rows[j], columns[j]]
        points.append(Point(*(np.array(lonlat) + rng.uniform(-0.2, 0.2, 2))))
    return points


def year_of(point: object, year: int = 2019) -> Query:
    return Query(point, ms(year), ms(year + 1))  # type: ignore[arg-type]


def test_every_asset_is_described(planet: Planet) -> None:
    result, stack = set(), [""]
    while stack:
        for child in planet.children(stack.pop()) or []:
            described = planet.describe(child)
            assert described is not None, child
            result.add((child, described["type"]))
            stack.append(child)
    for collection in (L1C, L2A, S1, DW, "ECMWF/ERA5_LAND/MONTHLY_AGGR", "COPERNICUS/DEM/GLO30_2024_1",
                       "ESA/WorldCover/v100", "ESA/WorldCover/v200"):  # fmt: skip
        assert (collection, "IMAGE_COLLECTION") in result
    for image in ("users/nlang/ETH_GlobalCanopyHeight_2020_10m_v1", "projects/sat-io/open-datasets/ASTER/GDEM"):
        assert (image, "IMAGE") in result
    assert (TABLE, "TABLE") in result
    assert planet.describe("NO/SUCH/ASSET") is None
    assert planet.image("NO/SUCH/ASSET") is None
    assert planet.images("NO/SUCH/ASSET", Query()) is None
    assert planet.table("NO/SUCH/ASSET") is None


def test_the_table_tiles_the_land(planet: Planet) -> None:
    rows = planet.table(TABLE)
    assert rows is not None and 60 <= len(rows) <= 130
    geometries = [row.geometry for row in rows]
    assert all(shapely.is_valid(geometries))
    overlap = sum(g.area for g in geometries) - shapely.union_all(geometries).area
    assert abs(overlap) < 1e-6
    land_cells = int(planet.world.land.sum())
    assert sum(g.area for g in geometries) == pytest.approx(land_cells * 0.25)
    assert max(len(shapely.get_coordinates(g)) for g in geometries) < 3000


def test_the_table_has_resolves_columns_and_biomes(planet: Planet) -> None:
    rows = planet.table(TABLE) or []
    columns = (
        "OBJECTID ECO_NAME BIOME_NUM BIOME_NAME REALM ECO_BIOME_ NNH ECO_ID SHAPE_LENG SHAPE_AREA NNH_NAME COLOR "
        "COLOR_BIO COLOR_NNH LICENSE"
    ).split()
    assert all(list(row.properties) == columns for row in rows)
    biomes = {(r.properties["BIOME_NUM"], r.properties["BIOME_NAME"]) for r in rows}
    assert biomes >= {(float(n), name) for n, name in BIOME_NAMES.items()}
    assert len({row.properties["ECO_ID"] for row in rows}) == len(rows)


def test_scenes_equal_a_brute_force_listing(planet: Planet) -> None:
    for point in land_points(planet, 4, 1):
        region = point.buffer(0.4)
        query = Query(region, ms(2019, 6, 1), ms(2019, 6, 20))
        expected = {
            scene.index
            for tile in every_tile_near(point)
            if planet.world.has_land(*centre_of(tile), 0.75)
            for strip in strips_of(tile)
            if strip.footprint.intersects(region)
            for scene in planet.scenes.of_strip(strip, query.start_ms or 0, query.end_ms or 0)
        }
        result = [str(image.properties["system:index"]) for image in planet.images(L1C, query) or []]
        assert set(result) == expected and result == sorted(result) and len(result) == len(expected)


def test_a_strip_is_flown_once_for_all_its_listings(planet: Planet, monkeypatch: pytest.MonkeyPatch) -> None:
    point, flown = land_points(planet, 7, 11)[6], []
    catalog = scenes.SceneCatalog(0, planet.world)
    flights_of = scenes.flights_of
    monkeypatch.setattr(scenes, "flights_of", lambda strip, seed: flown.append(strip) or flights_of(strip, seed))
    whole = catalog.find(Query(point, ms(2018), ms(2021)))
    for year in (2018, 2019, 2020):
        part = catalog.find(year_of(point, year), 35)
        expected = [s for s in whole if ms(year) <= s.start_ms < ms(year + 1) and s.cloudy_percent <= 35]
        assert part == expected and part
        assert catalog.named(part[-1].index) == part[-1]
    assert len(flown) == len(set(flown))


def test_an_image_of_labels_holds_none_of_them(planet: Planet) -> None:
    among = next(image for image in planet.images(DW, year_of(land_points(planet, 7, 11)[6])) or [])
    alone, window = planet.image(among.asset_id), Window(5000, 5000, 16, 16)
    assert alone is not None
    for band, same in zip(alone.bands, among.bands, strict=True):
        for mine, other in zip(band.read(window), same.read(window), strict=True):
            assert np.array_equal(mine, other)
    assert not alone.bands[-1].vote.poll._painted  # type: ignore[attr-defined]


def every_tile_near(point: Point) -> list[Tile]:
    zone = int((point.x + 180) // 6)
    wide = 3 if abs(point.y) < 70 else 9
    zones = {(zone + k) % 60 + 1 for k in range(-wide, wide + 1)}
    row = point.y * 1.11
    tiles = (
        Tile(epsg + z, e, n)
        for epsg, first in ((32600, 0), (32700, 100))
        for z in zones
        for e in range(1, 9)
        for n in range(max(int(row) + first - 4, first - 100), min(int(row) + first + 5, first + 100))
    )
    return [tile for tile in tiles if is_tile(tile)]


def test_radar_images_equal_a_brute_force_listing(planet: Planet) -> None:
    for point in land_points(planet, 2, 2):
        region = point.buffer(0.3)
        query = Query(region, ms(2019, 3, 1), ms(2019, 3, 13))
        parts = [(up, k) for up in (True, False) for k in range(-50, 50)
                 if abs(outline_of(Slice(1, up, k)).lat - point.y) < 4]  # fmt: skip
        seen = [Slice(orbit, up, k) for orbit in range(1, 176) for up, k in parts]
        expected = {s for s in seen if outline_of(s).footprint.intersects(region)}
        result = list(planet.images(S1, query) or [])
        tracks = {(i.properties["relativeOrbitNumber_start"], i.properties["sliceNumber"]) for i in result}
        assert tracks <= {(s.orbit, s.part + 64) for s in expected}
        listed = {(s.orbit, s.ascending, s.part) for s in planet.radar._slices(region, [True, False])}
        planned = {s for s in expected if planet.radar._planned(s)}
        assert listed == {(s.orbit, s.ascending, s.part) for s in planned}


def test_images_are_found_again_by_name(planet: Planet) -> None:
    for point in land_points(planet, 14, 3):
        for collection in (L1C, L2A, DW, S1):
            for image in list(planet.images(collection, year_of(point)) or [])[:3]:
                again = planet.image(image.asset_id)
                assert again is not None and again.properties == image.properties
                assert again.asset_id == f"{collection}/{image.properties['system:index']}"


def test_levels_share_their_index_and_labels_follow_level_1c(planet: Planet) -> None:
    for point in land_points(planet, 5, 4):
        tops = {i.properties["system:index"]: i for i in planet.images(L1C, year_of(point)) or []}
        surfaces = {i.properties["system:index"] for i in planet.images(L2A, year_of(point)) or []}
        labels = {i.properties["system:index"] for i in planet.images(DW, year_of(point)) or []}
        assert surfaces <= set(tops) and labels <= set(tops)
        assert all(tops[index].properties["CLOUDY_PIXEL_PERCENTAGE"] <= 35 for index in labels)


def test_tiles_lie_on_the_true_lattice() -> None:
    # Published corners: 10TET lies at 499980, 5300040 and 32TQM (Rome) at 699960, 4700040.
    assert tile_named("10TET") == Tile(32610, 5, 52)
    assert Tile(32610, 5, 52).origin_m == (499980.0, 5300040.0)
    assert tile_named("32TQM") == Tile(32632, 7, 46)
    assert Tile(32632, 7, 46).origin_m == (699960.0, 4700040.0)
    assert tile_named("99ABC") is None and tile_named("32TIM") is None


def test_dates_are_end_exclusive_and_periods_are_respected(planet: Planet) -> None:
    point = land_points(planet, 1, 5)[0]
    images = list(planet.images(L1C, year_of(point)) or [])
    first, second = (int(i.properties["system:time_start"]) for i in (images[0], images[-1]))
    between = list(planet.images(L1C, Query(point, first, second)) or [])
    starts = [int(i.properties["system:time_start"]) for i in between]
    assert min(starts) == first and max(starts) < second


def test_gaps_are_plausible(planet: Planet) -> None:
    points = land_points(planet, 84, 6)
    clear = [any(i.properties["CLOUDY_PIXEL_PERCENTAGE"] < 10 for i in planet.images(L1C, year_of(p)) or [])
             for p in points]  # fmt: skip
    assert 0.8 <= np.mean(clear) < 1.0
    passes = [{i.properties["orbitProperties_pass"] for i in planet.images(S1, Query(p, ms(2019), ms(2019, 3))) or []}
              for p in points]  # fmt: skip
    both, item, none = (np.mean([len(p) == n for p in passes]) for n in (2, 1, 0))
    assert both > 0.4 and item > 0.1 and none < 0.15


def test_early_level_2a_is_sparse_and_some_lack_cloud_probability(planet: Planet) -> None:
    counts = {2018: [0, 0], 2020: [0, 0]}
    lacking = total = 0
    for point in land_points(planet, 28, 7):
        for year, count in counts.items():
            count[0] += len(list(planet.images(L1C, year_of(point, year)) or []))
            count[1] += len(list(planet.images(L2A, year_of(point, year)) or []))
        for image in list(planet.images(L2A, year_of(point, 2020)) or [])[:8]:
            total += 1
            lacking += all(band.name != "MSK_CLDPRB" for band in image.bands)
    assert counts[2018][1] < 0.5 * counts[2018][0]
    assert counts[2020][1] > 0.97 * counts[2020][0]
    assert 0 < lacking < 0.15 * total


def test_the_ocean_has_no_scenes(planet: Planet) -> None:
    rows, columns = np.nonzero(~planet.world.land & (np.abs(planet.world.lat) < 50))
    places = list(zip(planet.world.lon[rows, columns], planet.world.lat[rows, columns], strict=True))[::97]
    far = [(lon, lat) for lon, lat in places if not planet.world.has_land(lon, lat, 4)]
    point = Point(*far[len(far) // 2])
    for collection in (L1C, L2A, S1, DW):
        assert list(planet.images(collection, year_of(point)) or []) == []
    assert list(planet.images("COPERNICUS/DEM/GLO30_2024_1", Query(point)) or []) == []


def test_queries_that_are_too_large_are_refused(planet: Planet) -> None:
    for collection in (L1C, S1, "COPERNICUS/DEM/GLO30_2024_1"):
        with pytest.raises(QueryTooLarge):
            planet.images(collection, Query())
    with pytest.raises(QueryTooLarge):
        planet.images(L1C, Query(box(-180, -60, 180, 80), ms(2019), ms(2020)))


def test_footprints_at_the_antimeridian_stay_within_the_world(planet: Planet) -> None:
    rows, _ = np.nonzero(planet.world.land[:, :1])
    lats = planet.world.lat[rows, 0]
    lats = lats[np.abs(lats) < 70]
    if not lats.size:
        pytest.skip("this seed has no land at the antimeridian")
    for lon in (-179.99, 179.99):
        images = list(planet.images(L1C, year_of(Point(lon, float(lats[0])))) or [])
        assert images
        for image in images:
            assert image.footprint is not None and image.footprint.is_valid
            west, _, east, _ = image.footprint.bounds
            assert west >= -180 and east <= 180


@pytest.mark.slow
def test_two_planets_and_many_threads_agree(planet: Planet) -> None:
    other = shared_planet(copy=1)
    point = land_points(planet, 1, 8)[0]
    images = list(planet.images(L2A, year_of(point)) or [])[:4]
    window = Window(3000, 2000, 40, 30)

    def stack(source: Planet, asset_id: str) -> list[np.ndarray]:  # type: ignore[type-arg]
        image = source.image(asset_id)
        assert image is not None
        return [band.read(window)[0] for band in image.bands]

    expected = [stack(planet, image.asset_id) for image in images]
    with ThreadPoolExecutor(4) as pool:
        result = list(pool.map(lambda image: stack(other, image.asset_id), images * 2))
    for k, arrays in enumerate(result):
        assert all(np.array_equal(a, b) for a, b in zip(arrays, expected[k % len(images)], strict=True))
    assert not np.array_equal(shared_planet(1).world.land, planet.world.land)

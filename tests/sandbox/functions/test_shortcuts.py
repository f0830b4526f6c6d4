"""What the sandbox does to be fast, beside the plain way of doing it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pyproj
import pytest
import shapely
from shapely.geometry import Point

from sandbox.functions import images
from sandbox.functions.element_collections import of_elements
from sandbox.functions.features import Feature
from sandbox.functions.filters import negated
from sandbox.functions.image_bands import named
from sandbox.functions.image_masks import _unmasked
from sandbox.functions.image_math import BINARY, binary_band
from sandbox.functions.image_polls import _commonest, _joined, polled_mode
from sandbox.functions.image_regions import _coverage
from sandbox.functions.image_stacks import reduced
from sandbox.functions.reducers import MODE
from sandbox.functions.scope import Scope
from sandbox.planet import Planet, era5, fields
from sandbox.planet.fields import Fields
from sandbox.planet.ground import _ALL_OCTAVES, _LONG_M, _WAVELENGTHS_M
from sandbox.planet.lattice import Lattice, first_quarters, spread, utm_lattice
from sandbox.planet.noise import Bits
from sandbox.planet.recent import Recent, cutting, widened
from sandbox.raster import grids, resample
from sandbox.raster.grids import Mapping, PixelGrid
from sandbox.raster.stored import Query, Window
from sandbox.registry import REGISTRY
from tests.sandbox.planets import shared_planet

LABELS = "GOOGLE/DYNAMICWORLD/V1"


def ms(year: int, month: int = 1, day: int = 1) -> int:
    return int(datetime(year, month, day, tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("grid", "crs"),
    [
        (PixelGrid("EPSG:32632", (10.0, 0.0, 601_230.0, 0.0, -10.0, 5_401_230.0), 128, 128), "EPSG:4326"),
        (PixelGrid("EPSG:32632", (10.0, 0.0, 841_230.0, 0.0, -10.0, 9_301_230.0), 140, 90), "EPSG:32633"),
        (PixelGrid("EPSG:4326", (1e-4, 0.0, 11.0, 0.0, -1e-4, -23.0), 200, 300), "EPSG:32732"),
        (PixelGrid("EPSG:32601", (10.0, 0.0, 310_000.0, 0.0, -10.0, 20_000.0), 3000, 30), "EPSG:4326"),
    ],
)
def test_positions_of_a_grid_are_those_of_each_pixel(grid: PixelGrid, crs: str) -> None:
    x, y = np.broadcast_arrays(*grids.centres(grid))
    exact = pyproj.Transformer.from_crs(grid.crs, crs, always_xy=True).transform(x, y)
    limit = 2e-10 if crs == "EPSG:4326" else 2e-5
    for result, wanted in zip(grids.positions(grid, crs), exact, strict=True):
        assert result.shape == grid.shape
        assert np.abs(result - wanted).max() <= limit


def test_positions_across_the_antimeridian_are_exact_pixel_by_pixel() -> None:
    # Zone 1 begins at the antimeridian: its western neighbours jump to +180 degrees.
    west = pyproj.Transformer.from_crs(4326, 32601, always_xy=True).transform(-180.0, 10.0)[0]
    grid = PixelGrid("EPSG:32601", (10.0, 0.0, west - 640.0, 0.0, -10.0, 1_106_000.0), 128, 128)
    x, y = np.broadcast_arrays(*grids.centres(grid))
    exact = pyproj.Transformer.from_crs(32601, 4326, always_xy=True).transform(x, y)
    lon, lat = grids.positions(grid, "EPSG:4326")
    assert lon.min() < -179.9 and lon.max() > 179.9
    assert np.array_equal(lon, exact[0]) and np.array_equal(lat, exact[1])


@pytest.mark.parametrize(("layers", "labels"), [(49, 9), (300, 5), (30, 200)])
def test_the_mode_of_labels_is_that_of_counting_each_pixel(layers: int, labels: int) -> None:
    rng = np.random.default_rng(layers)
    values = rng.integers(0, labels, (layers, 7, 5)).astype(np.uint8)
    valid = rng.random(values.shape) < 0.6
    valid[:, 0, 0] = False
    ((result, known),) = MODE.reduce(values, valid, np.ones((layers, 1, 1)))
    for row, column in np.ndindex(7, 5):
        counts = np.bincount(values[valid[:, row, column], row, column], minlength=1)
        assert known[row, column] == bool(counts.sum())
        assert result[row, column] == np.argmax(counts)


def test_months_are_found_as_by_looking_at_each() -> None:
    planet = shared_planet()
    every = list(planet.images(era5.COLLECTION, Query()) or [])
    assert len(every) == 911
    edges = [ms(1940), ms(1950, 2), ms(1950, 2) + 1, ms(2019, 6), ms(2019, 6) - 1, ms(2019, 6, 2), ms(2025, 12, 31),
             ms(2026), ms(2030)]  # fmt: skip
    for start in edges:
        for end in edges:
            result = planet.images(era5.COLLECTION, Query(start_ms=start, end_ms=end)) or []
            wanted = [i.asset_id for i in every if start <= i.properties["system:time_start"] < end]
            assert [image.asset_id for image in result] == wanted


def test_months_of_one_place_are_the_same_together_and_alone() -> None:
    months, window = shared_planet()._months, Window(1903, 424, 3, 2)
    wide = Window(1900, 420, 40, 30)
    for index in ("201901", "201906", "202012"):
        result = months.named(index)
        assert result is not None
        weather = months._weather_of(window, int(index[:4]), int(index[4:]), 1)[0]
        assert np.array_equal(months._weather(window, int(index[:4]), int(index[4:])), weather)
        for band in result.bands:
            shared, alone = band.read(window), band.read(wide)
            for mine, theirs in zip(shared, alone, strict=True):
                assert np.array_equal(mine, theirs[4:6, 3:6]), band.name


def test_heights_from_a_wider_window_are_those_of_the_window_alone() -> None:
    for lattice in (utm_lattice(32632, 10), Lattice(4326, 1 / 3600, -1 / 3600, -180.0, 90.0, step=2)):
        surface, alone = shared_planet(copy=1).surface, shared_planet().surface
        window = Window(690_003, 150_001, 41, 37) if lattice.epsg == 4326 else Window(60_003, -540_001, 41, 37)
        shared = [surface.height_m(lattice, item) for item in (widened(window, 2), window)]
        data = alone._height_m(lattice, window)
        assert data.std() > 0
        assert np.array_equal(shared[0][2:-2, 2:-2], shared[1])
        assert np.array_equal(shared[1], data)
        if lattice.epsg != 4326:
            assert np.array_equal(alone._ground(lattice, window).height_m, data)


def test_fields_within_one_district_are_those_of_a_window_over_several() -> None:
    lattice, surface = utm_lattice(32632, 10), shared_planet().surface
    wide = Window(60_000, -540_000, 900, 700)
    whole = surface._ground(lattice, wide)
    for column, row in ((60_100, -539_900), (60_400, -539_600), (60_700, -539_400)):
        window = Window(column, row, 31, 23)
        rows, columns = cutting(wide, window)
        part = surface._ground(lattice, window)
        for name in ("material", "parcel"):
            assert np.array_equal(getattr(part, name), getattr(whole, name)[rows, columns]), name


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("missing", [0.01, 0.6])
def test_pixels_near_masked_ones_are_those_of_weighing_every_pixel(mode: str, missing: float) -> None:
    rng = np.random.default_rng(8)
    values, valid = rng.integers(0, 9000, (40, 50)).astype(np.int16), rng.random((40, 50)) >= missing
    mapping = Mapping(rng.uniform(3, 46, (30, 20)), rng.uniform(3, 36, (30, 20)))
    result = resample.interpolated(mode, values, valid, mapping)
    data = resample._partly_valid(values, valid, *resample._stencil(mode, mapping, 50))
    for mine, theirs in zip(result, data, strict=True):
        assert np.array_equal(mine, theirs)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "uint32", "int64"])
@pytest.mark.parametrize("source", ["float32", "float64"])
def test_casts_of_values_that_fit_are_those_of_any_values(dtype: str, source: str) -> None:
    limits = np.iinfo(dtype)
    edges = np.array([limits.min, -1.7, -0.2, 0.9, 254.99, limits.max], dtype=source)
    past = np.array([np.nan, np.inf, -np.inf, 1e30, -1e30], dtype=source)
    together = images.saturated(np.concatenate([edges, past]), np.dtype(dtype))
    alone = [images.saturated(np.array([value]), np.dtype(dtype))[0] for value in np.concatenate([edges, past])]
    assert together.tolist() == alone
    assert alone[6] == 0
    assert alone[1] == max(-1, limits.min) and alone[3:5] == [0, min(254, limits.max)]
    assert alone[8] == limits.min and abs(alone[7] - limits.max) <= 1024


def test_ground_of_20_m_is_the_same_from_10_m_and_by_itself() -> None:
    surface = shared_planet(copy=1).surface
    lattice = utm_lattice(32632, 20)
    for column, row in ((30_011, -270_007), (20_000, -100_000), (41_234, -20_001)):
        window = Window(column, row, 61, 47)
        shared, alone = surface.ground(lattice, window), surface._ground(first_quarters(lattice), window)
        for name in ("material", "parcel", "height_m", "east", "north", "fine", "rain_mm", "warmth_c"):
            assert np.array_equal(getattr(shared, name), getattr(alone, name)), name


def test_long_octaves_are_nearly_those_of_every_node() -> None:
    surface, lattice = shared_planet().surface, utm_lattice(32632, 10)
    _, positions, _, nodes = surface._node_positions(lattice, Window(60_000, -540_000, 200, 200))
    sparse = surface._octaves(lattice, positions, nodes, _ALL_OCTAVES)
    dense = surface._noise_at(positions, _ALL_OCTAVES)
    long = _WAVELENGTHS_M >= _LONG_M
    assert np.array_equal(sparse[~long], dense[~long])
    off = np.abs(sparse[long] - dense[long])
    # Of values between -3.7 and 3.7.
    assert 0 < off.max() < 0.06 and off.mean() < 0.005


def labelled_place(planet: Planet) -> Point:
    """A place in zone 32 north with several tiles and many labels a year."""
    for row, column in zip(*np.nonzero(planet.world.land), strict=True):
        place = Point(planet.world.lon[row, column] + 0.2, planet.world.lat[row, column])
        if not (11.3 < place.x < 11.9 and 0 < place.y < 70):
            continue
        result = list(planet.images(LABELS, Query(place, ms(2020), ms(2021))) or [])
        if len(result) > 25 and len({image.properties["MGRS_TILE"] for image in result}) > 1:
            return place
    raise AssertionError("no such place")


def test_scenes_labelled_together_are_the_same_alone() -> None:
    planet, alone = shared_planet(), shared_planet(copy=1)
    rows, columns = np.nonzero(planet.world.biome == 4)
    place = Point(planet.world.lon[rows[9], columns[9]], planet.world.lat[rows[9], columns[9]])
    together = list(planet.images(LABELS, Query(place, ms(2020), ms(2021))) or [])
    assert len(together) > 10
    window = Window(4000, 5000, 70, 60)
    for image in together[::3]:
        other = alone.image(image.asset_id)
        assert other is not None
        for mine, theirs in zip(image.bands[-2:], other.bands[-2:], strict=True):
            for a, b in zip(mine.read(window), theirs.read(window), strict=True):
                assert np.array_equal(a, b)


@pytest.mark.parametrize("crs", ["EPSG:32632", "EPSG:32633", "EPSG:4326"])
def test_the_mode_of_labels_counted_together_is_that_of_reading_each(crs: str) -> None:
    planet = shared_planet()
    place = labelled_place(planet)
    result = [images.from_stored(item) for item in planet.images(LABELS, Query(place, ms(2020), ms(2021))) or []]
    labels = [image.with_bands([image.bands[9]]) for image in result]
    read = [image.with_bands(named(list(image.bands), ["mode"])) for image in labels]
    assert len({band.projection for image in labels for band in image.bands}) > 1
    x, y = pyproj.Transformer.from_crs(4326, crs, always_xy=True).transform(place.x, place.y)
    step = 1e-4 if crs == "EPSG:4326" else 10.0
    grid = PixelGrid(crs, (step, 0.0, x - x % step, 0.0, -step, y - y % step), 60, 50)
    together, data = (reduced(of_elements(members, True), MODE, False).bands[0] for members in (labels, read))
    scope = Scope()
    assert polled_mode([image.bands[0] for image in labels], grid, scope) is not None
    assert polled_mode([image.bands[0] for image in read], grid, scope) is None
    for mine, theirs in zip(together.pixels(grid, scope), data.pixels(grid, Scope()), strict=True):
        assert np.array_equal(mine, theirs)


def test_the_commonest_label_of_several_polls_is_that_of_adding_each_label_up() -> None:
    rng = np.random.default_rng(6)
    labels, counts = rng.integers(0, 9, (5, 40, 30)).astype(np.uint8), rng.integers(0, 4, (5, 40, 30)).astype(np.uint16)
    every = [*zip(labels, counts, strict=True), (labels[0].copy(), counts[4])]
    sums = np.zeros((9, 40, 30), np.int64)
    for label, count in every:
        for k in range(9):
            sums[k] += (label == k) * count
    joined = _joined(every)
    assert len(joined) == 5
    best, known = _commonest(joined)
    assert np.array_equal(known, sums.any(axis=0)) and 0 < known.mean() < 1
    assert np.array_equal(best, np.argmax(sums, axis=0)) and best.dtype == np.uint8


def test_texture_above_a_limit_by_bits_is_that_by_values() -> None:
    noise = shared_planet().surface.noise
    index = np.random.default_rng(3).integers(0, 128**3, (40, 30))
    index[0, :2] = 0, 128**3 - 1
    for seed in range(12):
        above = noise.fine_above(Bits.of(index), seed, 1.35)
        assert np.array_equal(above, noise.fine(index, seed) > 1.36) and 0 < above.mean() < 0.5


def test_limits_of_a_smooth_field_enclose_its_pixels() -> None:
    nodes = np.random.default_rng(7).normal(size=(len(fields.NAMES), 9, 8)).astype(np.float32)
    nodes[0], nodes[1] = 3000 + nodes[0] * 1e-3, np.abs(nodes[1]) + 0.5
    smooth = Fields(nodes, Window(-7, 5, 25, 30), 4)
    for name in fields.NAMES:
        assert smooth.low(name) <= smooth[name].min() and smooth[name].max() <= smooth.high(name)
        assert smooth.least(name) <= np.abs(smooth[name]).min()
    assert smooth.least(fields.NAMES[1]) > 0.4 and smooth.high(fields.NAMES[0]) < 3001


def test_materials_without_the_rules_that_no_pixel_meets_are_those_of_all_rules(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    surface, world = shared_planet().surface, shared_planet().world
    lattice = Lattice(4326, 1 / 12_000, -1 / 12_000, -180.0, 90.0, step=8)
    places = [np.argwhere(world.biome == biome)[17] for biome in range(1, 15)]
    windows = [Window(int(column) * 6000, int(row) * 6000, 70, 60) for row, column in places]
    quick = [surface._ground(lattice, window).material for window in windows]
    assert len(np.unique(quick)) > 6
    monkeypatch.setattr(Fields, "low", lambda *_: -1e9)
    monkeypatch.setattr(Fields, "high", lambda *_: 1e9)
    for window, material in zip(windows, quick, strict=True):
        assert np.array_equal(surface._ground(lattice, window).material, material)


def test_the_latest_windows_are_found_for_those_inside_them() -> None:
    recent: Recent[str] = Recent(2, 5000)
    recent.keep("a", Window(0, 0, 50, 50), "outer")
    recent.keep("a", Window(10, 10, 20, 20), "inner")
    assert recent.around("a", Window(0, 0, 50, 50)) == (Window(0, 0, 50, 50), "outer")
    assert recent.around("a", Window(12, 12, 5, 5)) == (Window(10, 10, 20, 20), "inner")
    assert recent.around("a", Window(40, 40, 11, 5)) is None and recent.around("b", Window(12, 12, 5, 5)) is None
    assert recent.keep("b", Window(0, 0, 500, 500), "large") == "large"
    assert recent.around("b", Window(0, 0, 5, 5)) is None
    recent.keep("b", Window(0, 0, 9, 9), "new")
    assert recent.around("a", Window(0, 0, 50, 50)) is None and recent.around("b", Window(0, 0, 5, 5)) is not None


def test_a_window_that_two_threads_computed_at_once_is_kept_once() -> None:
    recent: Recent[str] = Recent(2)
    assert [recent.keep("a", Window(0, 0, 5, 5), thread) for thread in ("quick", "slow")] == ["quick", "quick"]
    for name in ("b", "c", "d"):
        recent.keep(name, Window(0, 0, 5, 5), name)
    assert recent.around("a", Window(0, 0, 5, 5)) is None
    assert [recent.around(name, Window(1, 1, 2, 2)) is None for name in ("b", "c", "d")] == [True, False, False]


def test_coverage_of_edge_pixels_is_that_of_cutting_every_pixel() -> None:
    grid = PixelGrid("EPSG:32632", (10.0, 0.0, 0.0, 0.0, -10.0, 300.0), 30, 30)
    ring = shapely.Point(151.0, 148.0).buffer(110.0).difference(shapely.Point(160.0, 150.0).buffer(40.0))
    columns, rows = np.meshgrid(np.arange(30), np.arange(30))
    boxes = shapely.box(columns * 10.0, 290.0 - rows * 10.0, columns * 10.0 + 10, 300.0 - rows * 10.0)
    data = shapely.area(shapely.intersection(boxes, ring)) / 100.0
    coverage = _coverage(ring, grid)
    assert 0 < coverage.sum() < 900
    assert np.allclose(coverage, data, atol=1e-12)


def test_spread_is_bilinear() -> None:
    knots = np.random.default_rng(2).normal(size=(3, 6, 7))
    window = Window(-9, 22, 20, 15)
    result = spread(knots, window, 4)
    x = np.arange(-9, 11) / 4 - (-9 // 4)
    y = np.arange(22, 37) / 4 - 22 // 4
    i, j = np.floor(x).astype(int), np.floor(y).astype(int)[:, None]
    u, v = x - i, y[:, None] - j
    top = knots[:, j, i] * (1 - u) + knots[:, j, i + 1] * u
    bottom = knots[:, j + 1, i] * (1 - u) + knots[:, j + 1, i + 1] * u
    assert np.allclose(result, top * (1 - v) + bottom * v)


def test_scenes_under_a_cloud_limit_are_those_of_all_scenes() -> None:
    planet = shared_planet()
    rows, columns = np.nonzero(planet.world.biome == 4)
    place = Point(planet.world.lon[rows[9], columns[9]], planet.world.lat[rows[9], columns[9]])
    every = list(planet.images("COPERNICUS/S2_HARMONIZED", Query(place, ms(2020), ms(2021))) or [])
    limited = Query(place, ms(2020), ms(2021), property_at_most=(("CLOUDY_PIXEL_PERCENTAGE", 10.0),))
    clear = [image.asset_id for image in every if image.properties["CLOUDY_PIXEL_PERCENTAGE"] <= 10]
    assert 0 < len(clear) < len(every)
    assert [image.asset_id for image in planet.images("COPERNICUS/S2_HARMONIZED", limited) or []] == clear


def test_what_a_filter_implies_is_never_more_than_it_keeps() -> None:
    at_most = negated(REGISTRY["Filter.greaterThan"]("cloud", 10, None, None))
    assert at_most.query.property_at_most == (("cloud", 10.0),)
    assert negated(negated(at_most)).query == at_most.query
    assert negated(at_most).query.property_at_most == ()
    assert negated(REGISTRY["Filter.lessThan"]("cloud", 10, None, None)).query == Query()
    kept = [Feature(None, {"cloud": 10}), Feature(None, {}), Feature(None, {"cloud": 11})]
    assert [at_most.matches(item) for item in kept] == [True, True, False]


@pytest.mark.parametrize("names", BINARY, ids=lambda names: names[0])
@pytest.mark.parametrize("number", [0, 3, -2, 2.5, 70_000])
def test_to_compute_with_a_number_is_to_compute_with_a_band_of_it(names: tuple[str, ...], number: float) -> None:
    if "Shift" in names[0] and number in (-2, 70_000):
        pytest.skip("a shift by so much is not defined")
    grid = PixelGrid("EPSG:4326", (1.0, 0.0, 0.0, 0.0, -1.0, 0.0), 6, 5)
    constant = images.constant_band("c", number)
    spread_out = replace(constant, compute=constant.pixels)
    for kind in (np.uint8, np.int16, np.float32, np.float64):
        values = np.random.default_rng(4).integers(0, 100, grid.shape).astype(kind)
        valid = np.random.default_rng(5).random(grid.shape) < 0.7
        band = images.ImageBand("b", np.dtype(kind), grid.projection, lambda *_, v=values, m=valid: (v, m))
        one, other = (
            binary_band(band, each, "b", BINARY[names]).pixels(grid, Scope()) for each in (constant, spread_out)
        )
        for mine, theirs in zip(one, other, strict=True):
            assert mine.dtype == theirs.dtype and np.array_equal(mine, theirs)
        filled = (_unmasked(band, each, False).pixels(grid, Scope()) for each in (constant, spread_out))
        assert all(np.array_equal(mine, theirs) for mine, theirs in zip(*filled, strict=True))


def test_of_a_label_image_only_the_bands_that_are_read_are_built() -> None:
    planet = shared_planet()
    place = labelled_place(planet)
    image = next(iter(planet.images(LABELS, Query(place, ms(2020), ms(2021))) or []))
    assert images.from_stored(image).band_names() == [band.name for band in image.bands]
    assert image.bands[-1].name == image.bands[9:][0].name == "label"

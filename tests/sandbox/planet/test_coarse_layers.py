"""Coherence, tree cover and built-up surface of the planet: in agreement with its ground, and as documented."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime

import numpy as np
import pytest
from pyproj import CRS, Transformer
from shapely.geometry import Point, box

from sandbox.planet import Planet, built_up, cells, coherence, tree_cover
from sandbox.planet.cells import MapCells
from sandbox.planet.equal_area import MOLLWEIDE, SINUSOIDAL, EqualArea
from sandbox.planet.materials import MATERIALS
from sandbox.planet.season import phase_after_midwinter, season_of
from sandbox.planet.timeline import year_phase
from sandbox.raster import grids
from sandbox.raster.stored import Query, QueryTooLarge, StoredImage, Window
from tests.sandbox.planet.test_planet import land_points, ms
from tests.sandbox.planets import shared_planet

SINUSOID = "+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R=6371007.181 +units=m +type=crs"
COVER = "ESA/WorldCover/v100/2020"
FINE = 12000
OFFSET = 87_000  # rows of 1/12000 degree between 90 degrees north and where WorldCover begins
MAPS = [pytest.param(SINUSOIDAL, SINUSOID, id="sinusoidal"), pytest.param(MOLLWEIDE, "ESRI:54009", id="mollweide")]


@pytest.fixture(scope="module")
def planet() -> Planet:
    return shared_planet()


@pytest.fixture(scope="module")
def places(planet: Planet) -> list[Point]:
    """Two places in each biome."""
    return land_points(planet, 28, 5)


def coherence_at(planet: Planet, point: Point) -> StoredImage | None:
    return next(iter(planet.images(coherence.COLLECTION, Query(point)) or []), None)


def window_at(image: StoredImage, point: Point, size: int) -> Window:
    """The window of `size` cells around a place, within the image."""
    band = image.bands[0]
    native = band.projection
    crs = grids.crs_of(native.crs)
    x, y = Transformer.from_crs(4326, crs, always_xy=True).transform(point.x, point.y)
    column, row = (int(np.floor(v)) for v in grids.invert(native.transform, x, y))
    height, width = band.shape  # type: ignore[attr-defined]
    return Window(
        min(max(column - size // 2, 0), width - size), min(max(row - size // 2, 0), height - size), size, size
    )


def read(image: StoredImage, name: str, window: Window) -> np.ndarray:
    (band,) = [band for band in image.bands if band.name == name]
    return band.read(window)[0]


@pytest.mark.parametrize(("area", "crs"), MAPS)
def test_the_maps_are_those_of_proj(area: EqualArea, crs: str) -> None:
    lon, lat = np.linspace(-179.9, 179.9, 23), np.array([-89.99, -75.2, -30.0, 0.0, 1e-7, 12.0, 60.0, 88.0, 89.99])
    x, y = Transformer.from_crs(4326, CRS(crs), always_xy=True).transform(*np.meshgrid(lon, lat))
    assert np.allclose(area.degree_m(lat)[:, None] * lon, x, atol=1e-3)
    assert np.allclose(area.y_m(lat)[:, None], y, atol=1e-3)
    assert np.allclose(area.lat(area.y_m(lat)), lat, atol=1e-8)


@pytest.mark.parametrize(("area", "crs"), MAPS)
def test_a_cell_counts_the_pixels_whose_middles_are_in_it(planet: Planet, area: EqualArea, crs: str) -> None:
    point = land_points(planet, 4, 3)[3]
    to_map = Transformer.from_crs(4326, CRS(crs), always_xy=True)
    native, middle = area.lattice, to_map.transform(point.x, point.y)
    window = Window(int((middle[0] - native.x0) // native.dx), int((middle[1] - native.y0) // native.dy), 3, 2)
    reach = 0.03
    fine = Window(int((point.x - reach + 180) * FINE), int((90 - point.y - reach) * FINE), int(2 * reach * FINE), 720)
    ground = planet.surface.ground(cells.FINE, fine)
    lon, lat = cells.FINE.lonlat(np.arange(float(fine.width)) + fine.column, np.arange(float(fine.height)) + fine.row)
    x, y = to_map.transform(lon, lat)
    column = np.floor((x - native.x0) / native.dx) - window.column
    row = np.floor((y - native.y0) / native.dy) - window.row
    got = cells.shares(planet.surface, MapCells(area, cells.FINE), window)
    for j in range(window.height):
        for i in range(window.width):
            inside = (column == i) & (row == j)
            counts = np.bincount(ground.material[inside], minlength=len(MATERIALS)) / inside.sum()
            assert np.allclose(got[: len(MATERIALS), j, i], counts)


@pytest.mark.parametrize("size", [1, 33])
def test_a_cell_is_the_same_in_every_window(planet: Planet, places: list[Point], size: int) -> None:
    other = shared_planet(0, 1)
    for asset in (f"{tree_cover.COLLECTION}/2020_03_05", f"{built_up.COLLECTION}/2020", _tile(planet, places)):
        mine, its = planet.image(asset), other.image(asset)
        assert mine is not None and its is not None
        for number in (0, len(mine.bands) - 1):
            wide = window_at(mine, places[0], size)
            part = Window(wide.column + size // 3, wide.row + size // 2, max(size // 4, 1), max(size // 5, 1))
            whole, small = mine.bands[number].read(wide), its.bands[number].read(part)
            cut = slice(size // 2, size // 2 + part.height), slice(size // 3, size // 3 + part.width)
            for a, b in zip(whole, small, strict=True):
                assert np.array_equal(a[cut], b)


def _tile(planet: Planet, places: list[Point]) -> str:
    found = coherence_at(planet, places[0])
    assert found is not None
    return found.asset_id


def shares_of_cover(planet: Planet, tile: StoredImage, window: Window) -> np.ndarray:
    """WorldCover under each cell of a window of coherence: (codes 0 to 100, height, width)."""
    fine = fine_window(tile, window)
    values = planet.image(COVER).bands[0].read(Window(fine.column, fine.row - OFFSET, fine.width, fine.height))[0]
    values = values.reshape(window.height, 10, window.width, 10)
    return np.stack([(values == code).mean(axis=(1, 3)) for code in range(101)])


def fine_window(tile: StoredImage, window: Window) -> Window:
    """The pixels of 1/12000 degree under cells of a tile of coherence."""
    west, _, _, north = tile.footprint.bounds
    left, top = round((west + 180) * FINE) + 10 * window.column, round((90 - north) * FINE) + 10 * window.row
    return Window(left, top, 10 * window.width, 10 * window.height)


def test_coherence_falls_with_time_plants_and_water(planet: Planet, places: list[Point]) -> None:
    seen: dict[str, list[np.ndarray]] = defaultdict(list)
    for point in places:
        tile = coherence_at(planet, point)
        if tile is None or "summer_vv_COH36" not in [band.name for band in tile.bands]:
            continue
        window = window_at(tile, point, 50)
        cover = shares_of_cover(planet, tile, window)
        values = np.stack([read(tile, f"summer_vv_COH{days}", window) for days in (12, 24, 36, 48)])
        classes = {"trees": cover[10] + cover[95], "built": cover[50], "bare": cover[60], "water": cover[80]}
        for name, share in classes.items():
            seen[name].append(values[:, (share > 0.9) & (values[0] > 0)])
    mean = {name: np.concatenate(parts, axis=1).mean(axis=1) for name, parts in seen.items()}
    for name in ("trees", "built", "bare"):
        assert (np.diff(mean[name]) < 0).all(), (name, mean[name])
    assert (mean["trees"] + 0.2 < mean["built"]).all() and (mean["trees"] + 0.2 < mean["bare"]).all()
    assert (mean["water"] < 0.15).all()


def test_coherence_is_hundredths_and_0_over_the_open_sea(planet: Planet, places: list[Point]) -> None:
    for point in places[:6]:
        tile = coherence_at(planet, point)
        if tile is None:
            continue
        window = window_at(tile, point, 40)
        values, valid = tile.bands[0].read(window)
        sea = 1 - shares_of_cover(planet, tile, window).sum(axis=0) + shares_of_cover(planet, tile, window)[0]
        assert valid.all() and np.allclose(values * 100, np.round(values * 100))
        assert np.array_equal(values == 0, sea > 0.5) and values.max() < 1


def test_growth_takes_coherence_from_fields(planet: Planet, places: list[Point]) -> None:
    green, seen = [], []
    for point in places:
        tile = coherence_at(planet, point)
        if tile is None or abs(point.y) > 55 or tile.bands[0].name.split("_")[1] == "hh":
            continue
        window = window_at(tile, point, 30)
        fields = shares_of_cover(planet, tile, window)[40] > 0.8
        for season, (year, month) in coherence.SEASONS.items():
            growth, snow = growth_at(planet, tile, window, ms(year, month, 15))
            usable = fields & (snow == 0)
            green.append(growth[usable])
            seen.append(read(tile, f"{season}_vv_COH12", window)[usable])
    assert np.concatenate(green).size > 100
    assert np.corrcoef(np.concatenate(green), np.concatenate(seen))[0, 1] < -0.7


def growth_at(planet: Planet, tile: StoredImage, window: Window, time_ms: int) -> tuple[np.ndarray, np.ndarray]:
    """Growth and snow (height, width) of the cells of a tile at a time."""
    ground = planet.surface.ground(cells.FINE, fine_window(tile, window))
    season = season_of(ground, phase_after_midwinter(year_phase(time_ms), tile.footprint.bounds[3] <= 0))
    snow = np.zeros_like(season.green) if season.snow is None else season.snow
    shape = (window.height, 10, window.width, 10)
    return season.green.reshape(shape).mean(axis=(1, 3)), snow.reshape(shape).max(axis=(1, 3))


def test_tiles_of_coherence_are_named_by_their_upper_left_corner(planet: Planet, places: list[Point]) -> None:
    polar, lags = set(), set()
    for point in places:
        for tile in planet.images(coherence.COLLECTION, Query(point)) or []:
            west, south, east, north = tile.footprint.bounds
            assert west <= point.x <= east and south <= point.y <= north
            name = f"{'N' if north >= 0 else 'S'}{abs(north):02.0f}{'E' if west >= 0 else 'W'}{abs(west):03.0f}"
            assert tile.properties["tile_id"] == tile.properties["system:index"] == name
            again = planet.image(f"{coherence.COLLECTION}/{name}")
            assert again is not None and again.footprint.equals(tile.footprint)
            transform = tile.bands[0].projection.transform
            assert transform == pytest.approx((1 / 1200, 0, west, 0, -1 / 1200, north))
            names = [band.name for band in tile.bands]
            assert len({band.split("_")[1] for band in names}) == 1 and len(names) % 4 == 0
            polar |= {(abs(north) > 74, names[0].split("_")[1])}
            lags |= {tuple(sorted(name[-2:] for name in names if name.startswith("fall")))}
    assert (False, "vv") in polar and (True, "vv") not in polar
    assert {len(days) for days in lags} >= {4, 6} and all({"12", "24", "48"} <= set(days) for days in lags)
    assert planet.image(f"{coherence.COLLECTION}/N91E000") is None
    assert planet.image(f"{coherence.COLLECTION}/nonsense") is None
    with pytest.raises(QueryTooLarge):
        planet.images(coherence.COLLECTION, Query())


def test_a_region_on_a_border_finds_the_tiles_on_both_sides(planet: Planet, places: list[Point]) -> None:
    tile = next(tile for point in places if (tile := coherence_at(planet, point)))
    west, south, east, north = tile.footprint.bounds
    around = box(west - 0.01, south - 0.01, east + 0.01, north + 0.01)
    images = planet.images(coherence.COLLECTION, Query(around)) or []
    found = [str(image.properties["system:index"]) for image in images]
    assert tile.properties["system:index"] in found and found == sorted(found) and 2 <= len(found) <= 9


def share_in_cells(planet: Planet, image: StoredImage, point: Point, size: int, codes: tuple[int, ...]) -> np.ndarray:
    """The part of the cells of `window_at` whose land cover is one of the codes, (size, size), by PROJ."""
    window, native = window_at(image, point, size), image.bands[0].projection
    cover = planet.image(COVER).bands[0]
    reach = 0.03 / np.cos(np.radians(point.y))
    column, row = grids.invert(cover.projection.transform, point.x - reach, point.y + 0.01)
    part = Window(int(column), int(row), int(2 * reach * FINE), int(0.02 * FINE))
    lonlat = grids.apply(cover.projection.transform, *middles(part))
    to_map = Transformer.from_crs(4326, grids.crs_of(native.crs), always_xy=True)
    i, j = grids.invert(native.transform, *to_map.transform(*lonlat))
    i, j = np.floor(i).astype(int) - window.column, np.floor(j).astype(int) - window.row
    inside, number = (i >= 0) & (i < size) & (j >= 0) & (j < size), j * size + i
    is_one = np.isin(cover.read(part)[0], codes)
    counts = np.bincount(number[inside], minlength=size * size)
    return (np.bincount(number[inside], is_one[inside], size * size) / counts).reshape(size, size)


def middles(window: Window) -> tuple[np.ndarray, np.ndarray]:
    columns, rows = window.column + np.arange(window.width) + 0.5, window.row + np.arange(window.height) + 0.5
    across, down = np.meshgrid(columns, rows)
    return across, down


def test_trees_and_buildings_agree_with_the_land_cover(planet: Planet, places: list[Point]) -> None:
    trees, built = planet.image(f"{tree_cover.COLLECTION}/2020_03_05"), planet.image(f"{built_up.COLLECTION}/2020")
    places = [point for point in places if abs(point.y) < 60]
    for image, name, size, codes in ((trees, "Percent_Tree_Cover", 4, (10, 95)), (built, "built_surface", 9, (50,))):
        share = np.stack([share_in_cells(planet, image, point, size, codes) for point in places])
        value = np.stack([read(image, name, window_at(image, point, size)) for point in places]).astype(float)
        land = value <= (100 if image is trees else 10_000)
        assert np.corrcoef(share[land], value[land])[0, 1] > 0.9, name
        assert not value[(share == 0) & land].any() or image is trees


def test_tree_cover_has_the_products_codes_and_whole_percents(planet: Planet, places: list[Point]) -> None:
    image = planet.image(f"{tree_cover.COLLECTION}/2019_03_06")
    assert image is not None and [band.name for band in image.bands] == list(tree_cover.BANDS)
    codes: set[int] = set()
    for point in places:
        window = window_at(image, point, 12)
        tree, other, bare = (band.read(window)[0].astype(int) for band in image.bands[:3])
        land = tree <= 100
        assert (tree + other + bare)[land].tolist() == [100] * int(land.sum())
        codes |= set(tree[~land].tolist())
    assert codes == {tree_cover.WATER, tree_cover.FILL}


def test_off_the_globe_there_is_no_cell(planet: Planet) -> None:
    for asset in (f"{tree_cover.COLLECTION}/2020_03_05", f"{built_up.COLLECTION}/2020"):
        band = planet.image(asset).bands[0]
        corner = band.read(Window(0, 0, 3, 3))
        beyond = band.read(Window(-2, band.shape[0] // 2, 2, 2))
        assert not corner[1].any() and not beyond[1].any()


def test_the_years_of_the_products(planet: Planet) -> None:
    found = [str(image.properties["system:index"]) for image in planet.images(tree_cover.COLLECTION, Query()) or []]
    assert (found[0], found[-1], len(found)) == ("2000_03_05", "2024_03_05", 25) and found == sorted(found)
    one = list(planet.images(tree_cover.COLLECTION, Query(None, ms(2019), ms(2020))) or [])
    assert [datetime.fromtimestamp(i.properties["system:time_start"] / 1e3, UTC).date().isoformat() for i in one] == [
        "2019-03-06"
    ]
    epochs = [str(image.properties["system:index"]) for image in planet.images(built_up.COLLECTION, Query()) or []]
    assert epochs == [str(year) for year in range(1975, 2031, 5)]
    assert planet.image(f"{built_up.COLLECTION}/2021") is None
    assert planet.image(f"{tree_cover.COLLECTION}/2020_03_06") is None
    assert grids.nominal_scale_m(one[0].bands[0].projection) == pytest.approx(231.656, abs=1e-3)


def test_what_is_built_stays(planet: Planet, places: list[Point]) -> None:
    images = [planet.image(f"{built_up.COLLECTION}/{year}") for year in (1975, 2020, 2030)]
    built = [
        sum(read(i, "built_surface", window_at(i, point, 16)).astype(int) for point in places[::2]) for i in images
    ]
    assert built[0].sum() > 0 and (built[0] <= built[1]).all() and (built[1] <= built[2]).all()
    last = images[-1]
    for point in places[:8]:
        window = window_at(last, point, 16)
        assert (read(last, "built_surface_nres", window) <= read(last, "built_surface", window)).all()
        assert read(last, "built_surface", window).max() <= 10_000

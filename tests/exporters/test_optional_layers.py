"""The optional layers, pulled from the sandbox's planet by the real client and compared with plain computations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from pyproj import Transformer
from scipy.ndimage import map_coordinates

from exporters import catalog
from exporters.earth_engine.client import Connection, EarthEngine, connect
from exporters.expressions import ORBIT_PASSES, SEASONS, seasons
from exporters.modalities.optional.ghsl_built_up import epoch_of
from exporters.pull.pull import Puller
from pipeline.chip import Acquisition, Chip, Scene
from pipeline.grid import Grid, utm_crs
from pipeline.location import Location, location_id
from sandbox.planet import coherence
from sandbox.raster import grids
from sandbox.raster.stored import Query, StoredImage, Window
from sandbox.service.server import Sandbox
from tests.exporters.conftest import IMPATIENT
from tests.sandbox.planets import shared_planet

SIZE_PX = 24
FIELDS, EDGE = (66.07, 49.77), (66.0, 49.77)
HIDING = (0, 1, 3, 8, 9, 10)
NAMES = (
    "sentinel2_seasonal_rgb", "sentinel1_seasonal_amplitude", "gssic_coherence", "modis_tree_cover", "ghsl_built_up",
)  # fmt: skip


@pytest.fixture(scope="module")
def engine() -> Iterator[EarthEngine]:
    with Sandbox(shared_planet()) as server:
        yield connect(Connection("demo-project", url=server.url, patience=IMPATIENT))


def place(lonlat: tuple[float, float], year: int = 2019, size_px: int = SIZE_PX) -> Chip:
    location = Location(location_id(*lonlat), *lonlat, "7", 4, "Temperate", 664, "Somewhere", "Palearctic")
    date = datetime(year, 6, 2, 10, tzinfo=UTC)
    scene = Scene("COPERNICUS/S2_HARMONIZED/20190602T100000_20190602T100000_T32TPS", date)
    return Chip(location, Grid.around(lonlat, utm_crs(lonlat), size_px), Acquisition(scene, "l1c"))


@pytest.fixture(scope="module")
def together(engine: EarthEngine) -> dict[str, np.ndarray]:
    """All layers of one place as stored."""
    answer = Puller(engine).pixels(place(FIELDS), catalog.modalities(NAMES))
    assert not answer.missing, answer.missing
    return {name: np.asarray(values) for name, values in answer.values.items()}


def alone(engine: EarthEngine, name: str, where: Chip) -> np.ndarray:
    answer = Puller(engine).pixels(where, catalog.modalities([name]))
    assert not answer.missing, answer.missing
    return np.asarray(answer.values[name])


def milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def in_season(collection: str, chip: Chip, season: str, *equal: tuple[str, str]) -> list[StoredImage]:
    """The stored images that lie under a chip and in a season of its year."""
    start, end = map(milliseconds, seasons(chip.acquisition.date.year)[season])
    query = Query(chip.grid.footprint(), start, end, equal)
    found = list(shared_planet().images(collection, query) or [])
    starts = [image.properties["system:time_start"] for image in found]
    assert all(start <= moment < end for moment in starts)
    return found


def positions(image: StoredImage, name: str, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Row and column (height, width), whole in the middles of the image's pixels, of the middles of a chip's pixels."""
    native = next(band for band in image.bands if band.name == name).projection
    left, _, _, top = grid.bounds_xy
    steps = (np.arange(grid.shape_yx[0]) + 0.5) * grid.resolution_m
    x, y = np.meshgrid(left + steps, top - steps)
    if grid.crs != native.crs:
        x, y = Transformer.from_crs(grid.crs, grids.crs_of(native.crs), always_xy=True).transform(x, y)
    column, row = grids.invert(native.transform, x, y)
    return row - 0.5, column - 0.5


def taken(image: StoredImage, name: str, grid: Grid, make=lambda values: values, order: int = 0) -> np.ndarray:  # noqa: ANN001
    """Values (height, width) of a band at a chip's pixels, NaN for none; `make` comes before interpolation."""
    row, column = positions(image, name, grid)
    top, left = int(np.floor(row.min())) - 2, int(np.floor(column.min())) - 2
    height, width = int(np.ceil(row.max())) + 3 - top, int(np.ceil(column.max())) + 3 - left
    values, valid = next(band for band in image.bands if band.name == name).read(Window(left, top, width, height))
    known = np.where(valid, make(values.astype(float)), np.nan)
    at = np.stack([row - top, column - left])
    return map_coordinates(known, np.floor(at + 0.5) if order == 0 else at, order=order)


def test_the_median_of_the_seasons_clear_pixels(together):
    chip, expected = place(FIELDS), []
    for season in SEASONS:
        scenes = in_season("COPERNICUS/S2_SR_HARMONIZED", chip, season)
        clear = [scene for scene in scenes if scene.properties["CLOUDY_PIXEL_PERCENTAGE"] < 20]
        assert 1 < len(clear) < len(scenes)
        hidden = [np.isin(taken(scene, "SCL", chip.grid), HIDING) for scene in clear]
        for band in ("B4", "B3", "B2"):
            seen = [np.where(h, np.nan, taken(scene, band, chip.grid)) for scene, h in zip(clear, hidden, strict=True)]
            expected.append(np.nanmedian(np.stack(seen), axis=0))
    stored = together["sentinel2_seasonal_rgb"]
    assert stored.dtype == np.uint16 and np.isfinite(expected).all()
    assert np.abs(stored - np.stack(expected)).max() <= 0.5 + 1e-6  # an even number of scenes has a half between


def power(decibels: np.ndarray) -> np.ndarray:
    return 10 ** (decibels / 10)


def test_the_mean_power_of_the_seasons_radar_scenes(together):
    chip, expected, means_of_decibels = place(FIELDS), [], []
    for season in SEASONS:
        for orbit_pass in ORBIT_PASSES:
            equal = ("orbitProperties_pass", orbit_pass.upper())
            scenes = in_season("COPERNICUS/S1_GRD", chip, season, equal)
            both = [s for s in scenes if set(s.properties["transmitterReceiverPolarisation"]) == {"VV", "VH"}]
            for name in ("VV", "VH"):
                powers = [taken(scene, name, chip.grid, power, order=1) for scene in both]
                assert len(powers) > 3
                expected.append(10 * np.log10(np.nanmean(np.stack(powers), axis=0)))
                means_of_decibels.append(np.nanmean(10 * np.log10(np.stack(powers)), axis=0))
    layer = catalog.modalities(["sentinel1_seasonal_amplitude"])[0]
    values = layer.physical(together[layer.name])
    assert np.abs(values - np.stack(expected)).max() < 0.006
    assert (values - np.stack(means_of_decibels)).mean(axis=(1, 2)).min() > 0.2  # what a mean of decibels would lose
    assert [band.name for band in layer.bands][:4] == [
        "winter_vv_ascending", "winter_vh_ascending", "winter_vv_descending", "winter_vh_descending"
    ]  # fmt: skip


def test_coherence_is_interpolated_between_its_own_pixels(together):
    chip = place(FIELDS)
    (tile,) = shared_planet().images(coherence.COLLECTION, Query(chip.grid.footprint()))
    layer = catalog.modalities(["gssic_coherence"])[0]
    expected = np.stack([taken(tile, name, chip.grid, order=1) for name in layer.band_names])
    assert np.abs(layer.physical(together[layer.name]) - expected).max() < 0.0051


def test_coherence_has_no_seam_where_tiles_meet(engine):
    values = alone(engine, "gssic_coherence", place(EDGE, size_px=64)).astype(int)
    assert (values > 0).all()
    steps = np.abs(np.diff(values, axis=2)).max(axis=(0, 1))
    assert steps.max() < 3 * (np.median(steps) + 1)


def tile_with(band: str, without: str) -> tuple[float, float]:
    """A place on land whose tile has one band and lacks another."""
    planet = shared_planet()
    rows, columns = np.nonzero(planet.world.land & (np.abs(planet.world.lat) < 77))
    for lon, lat in zip(planet.world.lon[rows, columns], planet.world.lat[rows, columns], strict=True):
        tile = planet.image(f"{coherence.COLLECTION}/{coherence.tile_id(int(np.ceil(lat)), int(np.floor(lon)))}")
        names = {item.name for item in tile.bands} if tile else set()
        if band in names and without not in names:
            return float(lon), float(lat)
    raise AssertionError(band)


def test_bands_that_a_tile_lacks_are_nodata(engine):
    values = alone(engine, "gssic_coherence", place(tile_with("winter_vv_COH12", "winter_vv_COH36"), size_px=8))
    assert (values[2::4] == 0).all() and (values[[0, 1, 3]] > 0).all()
    polar = place(tile_with("winter_hh_COH12", "winter_vv_COH12"), size_px=8)
    answer = Puller(engine).pixels(polar, catalog.modalities(["gssic_coherence"]))
    assert answer.missing["gssic_coherence"]


def test_percent_of_trees_without_the_products_codes(engine, together):
    chip, wet = place(FIELDS), place(shore(), size_px=64)
    image = shared_planet().image("MODIS/061/MOD44B/2019_03_06")
    assert np.array_equal(together["modis_tree_cover"][0], taken(image, "Percent_Tree_Cover", chip.grid))
    stored, native = alone(engine, "modis_tree_cover", wet)[0], taken(image, "Percent_Tree_Cover", wet.grid)
    assert (native == 200).any() and (native <= 100).any()
    assert np.array_equal(stored, np.where(native <= 100, native, 255))


def shore() -> tuple[float, float]:
    """A place with cells of water and of land."""
    planet, image = shared_planet(), shared_planet().image("MODIS/061/MOD44B/2019_03_06")
    rows, columns = np.nonzero(planet.world.land)
    for k in range(0, len(rows), 7):
        lonlat = float(planet.world.lon[rows[k], columns[k]]), float(planet.world.lat[rows[k], columns[k]])
        if abs(lonlat[1]) < 50:
            codes = taken(image, "Percent_Tree_Cover", place(lonlat, size_px=64).grid)
            if 0.2 < (codes == 200).mean() < 0.8:
                return lonlat
    raise AssertionError("no shore")


def test_percent_of_the_cell_that_is_built(engine):
    town = built_place()
    values = catalog.modalities(["ghsl_built_up"])[0].physical(alone(engine, "ghsl_built_up", place(town)))[0]
    m2 = taken(shared_planet().image("JRC/GHSL/P2023A/GHS_BUILT_S/2020"), "built_surface", place(town).grid)
    assert m2.max() > 1000 and np.allclose(values, m2 / 100)


def built_place() -> tuple[float, float]:
    planet, image = shared_planet(), shared_planet().image("JRC/GHSL/P2023A/GHS_BUILT_S/2020")
    crowd = planet.world.stack[..., 11]
    for k in np.argsort(crowd.ravel())[::-1][:400]:
        lonlat = float(planet.world.lon.ravel()[k]), float(planet.world.lat.ravel()[k])
        if taken(image, "built_surface", place(lonlat).grid).max() > 1000:
            return lonlat
    raise AssertionError("no town")


def test_an_epoch_is_the_nearest_one_there_is():
    assert [epoch_of(year) for year in (1960, 2017, 2018, 2022, 2023, 2050)] == [1975, 2015, 2020, 2020, 2025, 2030]


def test_layers_of_a_year_wait_for_its_end():
    later = replace(place(FIELDS), acquisition=Acquisition(Scene("x", datetime(2999, 6, 1, tzinfo=UTC)), "l2a"))
    for name, end in (("sentinel2_seasonal_rgb", "2999-12-01"), ("sentinel1_seasonal_amplitude", "2999-12-01"),
                      ("modis_tree_cover", "3000-01-01")):  # fmt: skip
        (layer,) = catalog.modalities([name])
        assert layer.source.absent(later) == f"its window of time is not over before {end}"
        assert layer.source.absent(place(FIELDS)) is None


def test_a_chip_of_all_of_them_is_one_request(engine):
    layers = catalog.modalities([*NAMES, "esa_worldcover", "dynamic_world"])
    bytes_per_px = sum(len(layer.bands) * np.dtype(layer.dtype).itemsize for layer in layers)
    assert bytes_per_px == 77 and bytes_per_px * 448**2 < 48 * 2**20
    before = engine.figures().requests
    Puller(engine).pixels(place(FIELDS, size_px=8), layers)
    assert engine.figures().requests == before + 1

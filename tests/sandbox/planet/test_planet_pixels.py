"""The planet's pixels: the same in every window, right at seams, and alike from layer to layer."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pyproj
import pytest
from shapely.geometry import Point

from sandbox.planet import Planet
from sandbox.planet.geodesy import earth_centred, lonlat_from_utm, utm_from_lonlat
from sandbox.planet.lattice import pixel_positions, utm_lattice
from sandbox.planet.materials import WORLDCOVER
from sandbox.raster.stored import Band, Query, StoredImage, Window
from tests.sandbox.planets import shared_planet

L1C, L2A = "COPERNICUS/S2_HARMONIZED", "COPERNICUS/S2_SR_HARMONIZED"
S1, DW = "COPERNICUS/S1_GRD", "GOOGLE/DYNAMICWORLD/V1"
STATIC = (
    "ESA/WorldCover/v100/2020", "users/nlang/ETH_GlobalCanopyHeight_2020_10m_v1",
    "users/nlang/ETH_GlobalCanopyHeightSD_2020_10m_v1", "projects/sat-io/open-datasets/ASTER/GDEM",
    "ECMWF/ERA5_LAND/MONTHLY_AGGR/201906",
)  # fmt: skip
# WorldCover class to Dynamic World label.
LABEL_OF = {10: 1, 20: 5, 30: 2, 40: 4, 50: 6, 60: 7, 70: 8, 80: 0, 90: 3, 95: 1, 100: 5}


def ms(year: int, month: int = 1, day: int = 1) -> int:
    return int(datetime(year, month, day, tzinfo=UTC).timestamp() * 1000)


@pytest.fixture(scope="module")
def planet() -> Planet:
    return shared_planet()


def points(planet: Planet, count: int, seed: int) -> list[Point]:
    rng = np.random.default_rng(seed)
    out = []
    for k in range(count):
        rows, columns = np.nonzero(planet.world.biome == 1 + k % 14)
        j = rng.integers(len(rows))
        out.append(Point(planet.world.lon[rows[j], columns[j]] + 0.1, planet.world.lat[rows[j], columns[j]] + 0.1))
    return out


def around(band: Band, point: Point, size: int) -> Window:
    """The window of `size` pixels around a place."""
    crs = band.projection.crs
    x, y = (point.x, point.y)
    if crs != "EPSG:4326":
        x, y = (float(v) for v in utm_from_lonlat(np.array(x), np.array(y), int(crs[5:])))
    t = band.projection.transform
    return Window(int((x - t[2]) / t[0]) - size // 2, int((y - t[5]) / t[4]) - size // 2, size, size)


def scenes(planet: Planet, collection: str, point: Point, year: int = 2020) -> list[StoredImage]:
    return list(planet.images(collection, Query(point, ms(year), ms(year + 1))) or [])


def test_utm_agrees_with_proj() -> None:
    rng = np.random.default_rng(0)
    for epsg in (32601, 32632, 32660, 32733):
        lat = rng.uniform(0, 83, 200) * (1 if epsg < 32700 else -1)
        lon = (epsg % 100) * 6 - 183 + rng.uniform(-6, 6, 200)
        x, y = utm_from_lonlat(lon, lat, epsg)
        true = pyproj.Transformer.from_crs(4326, epsg, always_xy=True).transform((lon + 180) % 360 - 180, lat)
        assert np.abs(x - true[0]).max() < 1e-3 and np.abs(y - true[1]).max() < 1e-3
        back = lonlat_from_utm(x, y, epsg)
        assert np.abs(back[0] - lon).max() < 1e-8 and np.abs(back[1] - lat).max() < 1e-8


def test_interpolated_positions_are_within_a_hundredth_of_a_pixel() -> None:
    lattice, window = utm_lattice(32660, 10), Window(69_000, -780_000, 200, 200)
    lon, lat = lattice.lonlat(np.arange(69_000.0, 69_200.0), np.arange(-780_000.0, -779_800.0))
    assert np.abs(pixel_positions(lattice, window) - earth_centred(lon, lat)).max() < 0.1


@pytest.mark.parametrize("collection", [L1C, L2A, S1, DW])
def test_a_pixel_is_the_same_in_every_window(planet: Planet, collection: str) -> None:
    fresh = shared_planet(copy=1)
    for point in points(planet, 4, 1):
        image = next(iter(scenes(planet, collection, point)), None)
        twin = fresh.image(image.asset_id) if image else None
        for band, other in zip(image.bands if image else (), twin.bands if twin else (), strict=True):
            big = around(band, point, 100)
            values, valid = band.read(big)
            for x, y, w, h in ((13, 27, 50, 41), (90, 0, 10, 99), (37, 37, 1, 1)):
                part, seen = other.read(Window(big.column + x, big.row + y, w, h))
                assert np.array_equal(part, values[y : y + h, x : x + w]), band.name
                assert np.array_equal(seen, valid[y : y + h, x : x + w]), band.name


@pytest.mark.parametrize("asset_id", STATIC)
def test_static_pixels_are_the_same_in_every_window(planet: Planet, asset_id: str) -> None:
    image, twin = planet.image(asset_id), shared_planet(copy=1).image(asset_id)
    assert image is not None and twin is not None
    for point in points(planet, 5, 2):
        big = around(image.bands[0], point, 90)
        values, valid = image.bands[0].read(big)
        part, seen = twin.bands[0].read(Window(big.column + 31, big.row + 7, 40, 60))
        assert np.array_equal(part, values[7:67, 31:71]) and np.array_equal(seen, valid[7:67, 31:71])


def test_windows_outside_a_band_are_masked(planet: Planet) -> None:
    image = scenes(planet, L1C, points(planet, 1, 3)[0])[0]
    band = image.bands[0]
    values, valid = band.read(Window(-10, -10, 20, 20))
    assert values.shape == (20, 20) and not valid[:10].any() and not valid[:, :10].any()
    assert not band.read(Window(100_000, 0, 5, 5))[1].any()


def test_heights_meet_at_the_antimeridian_and_the_poles(planet: Planet) -> None:
    world = planet.world
    lat = np.linspace(-89, 89, 60)
    west, east = world.sample(np.full(60, -180.0), lat), world.sample(np.full(60, 180.0), lat)
    assert np.array_equal(west, east)
    inside = world.sample(np.full(60, 179.999), lat), world.sample(np.full(60, -179.999), lat)
    assert np.abs(inside[0] - inside[1]).max() < 40
    pole = world.sample(np.linspace(-180, 180, 9), np.full(9, 90.0))
    assert np.abs(pole - pole[:, :1]).max() < 1e-3
    aster = planet.image("projects/sat-io/open-datasets/ASTER/GDEM")
    assert aster is not None
    band, row = aster.bands[0], 83 * 3600 - 40 * 3600
    left = band.read(Window(0, row, 2, 50))[0].astype(float)
    right = band.read(Window(360 * 3600 - 2, row, 2, 50))[0].astype(float)
    assert np.abs(left[:, 0] - right[:, -1]).max() <= 3 + np.abs(np.diff(left, axis=0)).max()


def test_two_zones_see_the_same_ground(planet: Planet) -> None:
    """Land cover read on two neighbouring zones' lattices agrees where they overlap, but for its edges."""
    surface, agreed = planet.surface, []
    for lon, lat in ((12.0, 0.0), (24.0, 33.0), (6.0, -20.0)):
        first, second = (32600 if lat >= 0 else 32700) + int((lon + 180) // 6), 0
        second = first + 1
        x, y = utm_from_lonlat(np.array(lon), np.array(lat), first)
        window = Window(int(x // 10), int(-y // 10), 60, 60)
        ground = surface.ground(utm_lattice(first, 10), window)
        columns, rows = np.meshgrid(np.arange(60) + window.column + 0.5, np.arange(60) + window.row + 0.5)
        lons, lats = lonlat_from_utm(columns * 10.0, rows * -10.0, first)
        u, v = utm_from_lonlat(lons, lats, second)
        i, j = np.floor(u / 10).astype(int), np.floor(-v / 10).astype(int)
        wide = Window(int(i.min()), int(j.min()), int(np.ptp(i)) + 1, int(np.ptp(j)) + 1)
        other = surface.ground(utm_lattice(second, 10), wide)
        agreed.append((other.material[j - wide.row, i - wide.column] == ground.material).mean())
    assert np.mean(agreed) > 0.9


def test_dynamic_world_agrees_with_the_ground_and_its_mode_agrees_better(planet: Planet) -> None:
    each, modes = [], []
    table = np.zeros(101, np.uint8)
    table[list(LABEL_OF)] = list(LABEL_OF.values())
    for point in points(planet, 14, 4):
        images = scenes(planet, DW, point)
        if len(images) < 8:
            continue
        stack = []
        for image in images:
            band = image.bands[-1]
            if band.projection.crs != images[0].bands[-1].projection.crs:
                continue
            window = around(band, point, 96)
            values, valid = band.read(window)
            stack.append(np.where(valid, values, 255))
            lattice = utm_lattice(int(band.projection.crs[5:]), 10)
            t = band.projection.transform
            there = Window(window.column + round(t[2] / 10), window.row - round(t[5] / 10), 96, 96)
            truth = table[WORLDCOVER[planet.surface.ground(lattice, there).material]]
            if valid.mean() > 0.5:
                each.append((values == truth)[valid].mean())
        counts = [(np.stack(stack) == label).sum(0) for label in range(9)]
        modes.append((np.argmax(counts, axis=0) == truth).mean())
    assert 0.75 < np.mean(each) < 0.95
    assert np.mean(modes) > np.mean(each) + 0.03


def test_the_clouds_cover_what_the_metadata_says(planet: Planet) -> None:
    rng = np.random.default_rng(5)
    said, seen = [], []
    for point in points(planet, 10, 5):
        for image in scenes(planet, L1C, point)[:5]:
            band = image.bands[-1]
            assert band.name == "QA60"
            parts = [band.read(Window(int(a), int(b), 24, 24)) for a, b in rng.integers(0, 1790, (5, 2))]
            valid = np.concatenate([v.ravel() for _, v in parts])
            if valid.mean() > 0.5:
                flags = np.concatenate([q.ravel() for q, _ in parts])[valid] > 0
                said.append(float(image.properties["CLOUDY_PIXEL_PERCENTAGE"]))
                seen.append(100 * flags.mean())
    assert np.corrcoef(said, seen)[0, 1] > 0.75
    assert abs(np.mean(said) - np.mean(seen)) < 10


def test_cloud_layers_agree_with_each_other(planet: Planet) -> None:
    both = 0
    for point in points(planet, 14, 6):
        for image in scenes(planet, L2A, point)[:6]:
            bands = {band.name: band for band in image.bands}
            if "MSK_CLDPRB" not in bands:
                continue
            window = around(bands["SCL"], point, 64)
            scl, valid = bands["SCL"].read(window)
            probability, _ = bands["MSK_CLDPRB"].read(window)
            thick = valid & (scl == 9)
            assert (probability[thick] > 60).all()
            assert (probability[valid & np.isin(scl, (4, 5, 6))] < 50).all()
            both += bool(thick.any())
    assert both > 0


def test_reflectance_and_backscatter_have_the_published_order_of_magnitude(planet: Planet) -> None:
    """Against the band statistics of MMEarth v001: same order, not the same digits."""
    published = {
        (L2A, "B2"): 1480, (L2A, "B4"): 1899, (L2A, "B8"): 3111, (L2A, "B11"): 2399, (L2A, "B12"): 1812,
        (L1C, "B1"): 1865, (L1C, "B2"): 1657, (L1C, "B8"): 2620, (L1C, "B9"): 974, (L1C, "B11"): 2154,
    }  # fmt: skip
    pixels: dict[tuple[str, str], list[np.ndarray]] = {key: [] for key in published}  # type: ignore[type-arg]
    radar: dict[str, list[np.ndarray]] = {"VV": [], "VH": []}  # type: ignore[type-arg]
    for point in points(planet, 56, 7):
        for collection in (L1C, L2A):
            clear = [i for i in scenes(planet, collection, point) if i.properties["CLOUDY_PIXEL_PERCENTAGE"] < 10]
            for band in clear[len(clear) // 2].bands if clear else ():
                if (collection, band.name) in pixels:
                    values, valid = band.read(around(band, point, 24))
                    pixels[collection, band.name].append(values[valid])
        image = next(iter(planet.images(S1, Query(point, ms(2020, 5), ms(2020, 6))) or []), None)
        for band in image.bands if image else ():
            if band.name in radar:
                values, valid = band.read(around(band, point, 24))
                radar[band.name].append(values[valid])
    for key, mean in published.items():
        assert 0.55 * mean < np.concatenate(pixels[key]).mean() < 1.8 * mean, key
    assert -14.5 < np.concatenate(radar["VV"]).mean() < -9.5
    assert -23 < np.concatenate(radar["VH"]).mean() < -16


def test_layers_explain_each_other(planet: Planet) -> None:
    """Trees are tall, water is dark in the infrared and in the radar, months are warm in their summer."""
    canopy, cover = planet.image(STATIC[1]), planet.image(STATIC[0])
    assert canopy is not None and cover is not None
    tall, low = [], []
    for point in points(planet, 28, 8):
        heights, valid = canopy.bands[0].read(around(canopy.bands[0], point, 64))
        classes, _ = cover.bands[0].read(around(cover.bands[0], point, 64))
        tall.append(heights[valid & (classes == 10)])
        low.append(heights[valid & (classes == 40)])
    assert np.concatenate(tall).mean() > 10 > 2 > np.concatenate(low).mean()
    july, january = (planet.image(f"ECMWF/ERA5_LAND/MONTHLY_AGGR/2019{m}") for m in ("07", "01"))
    assert july is not None and january is not None
    band_july, band_january = july.bands[0], january.bands[0]
    for lat, sign in ((50, 1), (-45, -1)):
        window = Window(0, round((90.05 - lat) / 0.1), 3600, 4)
        (summer, valid), (winter, _) = band_july.read(window), band_january.read(window)
        if valid.any():
            assert sign * (summer[valid].mean() - winter[valid].mean()) > 3
            assert 220 < winter[valid].min() and summer[valid].max() < 330


def test_the_polar_radar_is_horizontal(planet: Planet) -> None:
    rows, columns = np.nonzero(planet.world.land & (planet.world.lat > 74) & (planet.world.lat < 77))
    names = set()
    for k in range(0, len(rows), max(len(rows) // 12, 1)):
        point = Point(planet.world.lon[rows[k], columns[k]], planet.world.lat[rows[k], columns[k]])
        for image in list(planet.images(S1, Query(point, ms(2020, 5), ms(2020, 6))) or [])[:3]:
            names.add(tuple(image.properties["transmitterReceiverPolarisation"]))
            assert [b.name for b in image.bands] == [*image.properties["transmitterReceiverPolarisation"], "angle"]
            assert image.properties["instrumentMode"] == "IW"
    assert ("HH", "HV") in names

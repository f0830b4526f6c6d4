"""Nearest, bilinear and bicubic against plain loops and GDAL; coordinates against pyproj."""

from __future__ import annotations

import math

import ee
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer
from rasterio.crs import CRS
from rasterio.transform import Affine
from rasterio.warp import Resampling, reproject

from sandbox.functions.scope import Scope
from sandbox.raster import grids
from sandbox.raster.grids import Mapping, PixelGrid
from sandbox.raster.resample import sampled
from sandbox.raster.stored import Projection, Window
from tests.sandbox import world

POSITIONS = st.lists(st.tuples(st.floats(2, 6), st.floats(2, 6)), min_size=1, max_size=12)


def plain_bilinear(values, valid, column, row):
    """One position: the four neighbours by hand, weighted by validity; None where masked."""
    left, top = math.floor(column - 0.5), math.floor(row - 0.5)
    fx, fy = column - 0.5 - left, row - 0.5 - top
    total = weight = 0.0
    for r, c, share in ((top, left, (1 - fx) * (1 - fy)), (top, left + 1, fx * (1 - fy)),
                        (top + 1, left, (1 - fx) * fy), (top + 1, left + 1, fx * fy)):  # fmt: skip
        if valid[r, c]:
            total += share * float(values[r, c])
            weight += share
    return total / weight if weight > 1e-9 else None


@settings(max_examples=60, deadline=None)
@given(POSITIONS, st.integers(0, 2**32 - 1), st.floats(0, 0.6), st.sampled_from([np.float64, np.uint16, np.int16]))
def test_bilinear_is_the_plain_formula(positions, seed, masked, dtype):
    generator = np.random.default_rng(seed)
    values = generator.integers(0, 3000, (9, 9)).astype(dtype)
    valid = generator.random((9, 9)) >= masked
    columns, rows = (np.array([[p[axis] for p in positions]]) for axis in (0, 1))
    result, known = sampled("bilinear", values, valid, Mapping(columns, rows))
    for i, (column, row) in enumerate(positions):
        expected = plain_bilinear(values, valid, column, row)
        assert bool(known[0, i]) == (expected is not None)
        if expected is not None:
            step = 1.0 if dtype is not np.float64 else 1e-6
            assert abs(float(result[0, i]) - expected) <= step


@settings(max_examples=40, deadline=None)
@given(POSITIONS, st.integers(0, 2**32 - 1))
def test_nearest_is_the_pixel_that_holds_the_position(positions, seed):
    values = np.random.default_rng(seed).integers(0, 200, (9, 9)).astype(np.uint8)
    columns, rows = (np.array([[p[axis] for p in positions]]) for axis in (0, 1))
    result, known = sampled("nearest", values, np.ones((9, 9), bool), Mapping(columns, rows))
    assert known.all()
    assert result[0].tolist() == [values[int(row), int(column)] for column, row in positions]


@pytest.mark.parametrize(("mode", "gdal"), [("bilinear", Resampling.bilinear), ("bicubic", Resampling.cubic)])
def test_a_20_m_band_at_10_m_agrees_with_gdal(sandbox, mode, gdal):
    image = ee.Image(f"{world.S2}/20190610T103021_T32TNS").select("B11").resample(mode)
    ours = world.pixels(image, 500200, 5099800, 40, 40)["B11"]
    source = (100 * np.arange(200)[:, None] + np.arange(200)[None, :] + 10).astype(np.uint16)
    theirs = np.zeros((40, 40), np.uint16)
    crs = CRS.from_epsg(32632)
    reproject(source, theirs, src_transform=Affine(20, 0, 500000, 0, -20, 5100000), src_crs=crs,
              dst_transform=Affine(10, 0, 500200, 0, -10, 5099800), dst_crs=crs, resampling=gdal)  # fmt: skip
    assert np.abs(ours.astype(int) - theirs.astype(int)).max() <= 1


@pytest.mark.parametrize(("mode", "gdal"), [("nearest", Resampling.nearest), ("bilinear", Resampling.bilinear)])
def test_degrees_to_utm_agrees_with_gdal(sandbox, mode, gdal):
    image = ee.Image(world.DEM)
    ours = world.pixels(image if mode == "nearest" else image.resample(mode), 500000, 5098000, 64, 64)["b1"]
    source = (np.arange(720)[None, :] * 10 + np.zeros((720, 1))).astype(np.int16)
    theirs = np.zeros((64, 64), np.int16)
    reproject(source, theirs, src_transform=Affine(1 / 3600, 0, 8.9, 0, -1 / 3600, 46.1), src_crs=CRS.from_epsg(4326),
              dst_transform=Affine(10, 0, 500000, 0, -10, 5098000), dst_crs=CRS.from_epsg(32632), resampling=gdal,
              tolerance=0)  # fmt: skip
    difference = np.abs(ours.astype(int) - theirs.astype(int))
    assert (difference <= (1 if mode == "bilinear" else 0)).mean() > 0.999


def test_resample_changes_nothing_on_the_own_grid(sandbox):
    image = ee.Image(f"{world.S2}/20190610T103021_T32TNS").select("B2")
    assert np.array_equal(world.pixels(image), world.pixels(image.resample("bilinear")))


def test_without_resample_the_nearest_pixel_is_taken(sandbox):
    array = world.pixels(ee.Image(f"{world.S2}/20190610T103021_T32TNS").select("B11"), width=4, height=4)["B11"]
    assert array.tolist() == [[10, 10, 11, 11], [10, 10, 11, 11], [110, 110, 111, 111], [110, 110, 111, 111]]


def test_an_unknown_mode_is_refused(sandbox):
    with pytest.raises(ee.EEException, match="resampling mode: 'average'"):
        world.pixels(ee.Image(world.DEM).resample("average"))


@settings(max_examples=30, deadline=None)
@given(st.floats(6, 12), st.floats(-60, 70), st.sampled_from([1 / 3600, 1 / 12000, 0.1]))
def test_positions_in_another_crs_are_pyprojs(lon, lat, step):
    crs = f"EPSG:{32632 if lat >= 0 else 32732}"
    x, y = Transformer.from_crs(4326, crs, always_xy=True).transform(lon, lat)
    grid = PixelGrid(crs, (10.0, 0.0, x, 0.0, -10.0, y), 5, 4)
    native = Projection("EPSG:4326", (step, 0.0, -180.0, 0.0, -step, 90.0))
    mapping = Scope().mapping(grid, native)
    back = Transformer.from_crs(crs, 4326, always_xy=True)
    for row in range(4):
        for column in range(5):
            there = back.transform(x + 10 * (column + 0.5), y - 10 * (row + 0.5))
            assert mapping.columns[row, column] == pytest.approx((there[0] + 180) / step, abs=1e-6)
            assert mapping.rows[row, column] == pytest.approx((90 - there[1]) / step, abs=1e-6)


@given(st.integers(-500, 500), st.integers(-500, 500), st.sampled_from([10.0, 20.0, 60.0, 1 / 3600]))
def test_a_window_of_a_lattice_is_found_again(column, row, step):
    native = Projection("EPSG:32632", (step, 0.0, 500000.0, 0.0, -step, 5100000.0))
    window = Window(column, row, 7, 5)
    assert grids.window_on(native, grids.window_grid(native, window)) == window


def test_half_a_pixel_off_is_not_on_the_lattice():
    native = Projection("EPSG:32632", (10.0, 0.0, 500000.0, 0.0, -10.0, 5100000.0))
    assert grids.window_on(native, PixelGrid("EPSG:32632", (10.0, 0.0, 500005.0, 0.0, -10.0, 5100000.0), 4, 4)) is None
    assert grids.window_on(native, PixelGrid("EPSG:32633", native.transform, 4, 4)) is None


@given(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3), st.floats(-3, 3), st.floats(-3, 3))
def test_inverting_an_affine_undoes_it(column, row, x_shear, y_shear):
    transform = (10.0, x_shear, 500000.0, y_shear, -10.0, 5100000.0)
    result = grids.invert(transform, *grids.apply(transform, column, row))
    assert result == (pytest.approx(column, abs=1e-6), pytest.approx(row, abs=1e-6))


def test_reproject_forces_the_pixels_of_another_grid(sandbox):
    image = ee.Image(f"{world.S2}/20190610T103021_T32TNS").select("B2").reproject("EPSG:32632", None, 40)
    array = world.pixels(image)["B2"]
    # The centre of the first 40 m pixel is the corner of four pixels of 20 m, which are means of four of 10 m: the one
    # to the south-east of it. An image of 400 pixels has no coarser level.
    assert array.tolist() == [[263, 263, 263, 263, 267, 267, 267, 267]] * 4 + [[663] * 4 + [667] * 4] * 4
    assert image.projection().nominalScale().getInfo() == pytest.approx(40)


def test_set_default_projection_moves_no_pixel(sandbox):
    image = ee.Image(world.HOLES)
    moved = image.setDefaultProjection("EPSG:4326", None, 1000)
    assert np.array_equal(world.pixels(image), world.pixels(moved))
    assert moved.projection().crs().getInfo() == "EPSG:4326"

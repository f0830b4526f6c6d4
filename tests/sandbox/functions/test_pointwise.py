"""Chains of operations as one table, shared masks, and interpolation along one axis after the other."""

from __future__ import annotations

import io
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pyproj import Transformer
from shapely.geometry import Point

from sandbox.functions.image_masks import unmask, update_mask
from sandbox.functions.image_math import BINARY, binary, cast, clamp
from sandbox.functions.images import Image, ImageBand, constant
from sandbox.functions.pixels import _npy
from sandbox.functions.reducers import LAST
from sandbox.functions.scope import Scope
from sandbox.raster import grids, masks, resample
from sandbox.raster.grids import Mapping, PixelGrid
from sandbox.raster.stored import Projection, Query, Window
from sandbox.registry import REGISTRY
from tests.sandbox.planets import shared_planet

GRID = PixelGrid("EPSG:32632", (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_100_000.0), 80, 64)


def an_image(kind: Any, missing: float) -> Image:
    """One band over all values of a type, some of them masked."""
    rng = np.random.default_rng(7)
    limits = np.iinfo(kind)
    values = rng.integers(limits.min, limits.max, GRID.shape, endpoint=True).astype(kind)
    valid = masks.shared(rng.random(GRID.shape) >= missing)
    return Image((ImageBand("b", np.dtype(kind), GRID.projection, lambda *_: (values, valid)),))


def encoded(image: Image, apart: bool) -> Image:
    """Scaled, rounded, clamped, filled and cast, as an export does; `apart`: no step knows the one before."""
    steps = [
        lambda given: binary(given, constant(1e-4), "multiply", BINARY["multiply",]),
        lambda given: REGISTRY["Image.log"](given),
        lambda given: binary(given, constant(-3e-3), "divide", BINARY["divide",]),
        lambda given: REGISTRY["Image.round"](given),
        lambda given: clamp(given, -200, 900),
        lambda given: unmask(given, constant(-9), False),
        lambda given: cast(given, np.int16),
    ]
    for step in steps:
        image = step(image)
        if apart:
            image = image.with_bands([replace(b, compute=lambda *a, band=b: band.compute(*a)) for b in image.bands])
    return image


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.uint16, np.int16, np.int32])
@pytest.mark.parametrize("missing", [0.0, 0.3, 1.0])
def test_a_chain_of_operations_is_each_of_them(kind: Any, missing: float) -> None:
    image = an_image(kind, missing)
    together, apart = (encoded(image, way).bands[0].pixels(GRID, Scope()) for way in (False, True))
    for mine, theirs in zip(together, apart, strict=True):
        assert mine.dtype == theirs.dtype and np.array_equal(mine, theirs)


def test_a_chain_computes_nothing_between_its_ends() -> None:
    scope, image = Scope(), an_image(np.uint16, 0.2)
    encoded(image, False).bands[0].pixels(GRID, scope)
    assert len(scope.pixels) == 2


def test_what_is_masked_keeps_its_value_below_the_mask() -> None:
    image = an_image(np.uint8, 0.4)
    shown = REGISTRY["Image.mask"](cast(clamp(image, 10, 90), np.float32), constant(1)).bands[0].pixels(GRID, Scope())
    assert np.array_equal(shown[0], np.clip(image.bands[0].pixels(GRID, Scope())[0], 10, 90))


@pytest.mark.parametrize(
    ("name", "value", "signs"), [("clamp", -1.0, [False, True]), ("unitScale", -0.0, [True, False])]
)
def test_limits_of_the_two_zeros_are_not_one_operation(name: str, value: float, signs: list[bool]) -> None:
    results = [REGISTRY[f"Image.{name}"](constant(value), low, 5.0).bands[0] for low in (0.0, -0.0)]
    assert [bool(np.signbit(band.pixels(GRID, Scope())[0]).all()) for band in results] == signs


def test_a_mask_that_is_true_everywhere_is_one_array() -> None:
    scope, image = Scope(), an_image(np.uint16, 0.0)
    masked = update_mask(encoded(image, False), constant(1))
    assert masked.bands[0].pixels(GRID, scope)[1] is masks.everywhere(GRID.shape)
    partly = np.arange(6).reshape(2, 3) > 0
    assert masks.both(masks.everywhere((2, 3)), partly) is partly and masks.both(partly, None) is partly
    assert masks.shared(np.ones((2, 3), bool)) is masks.everywhere((2, 3))
    assert masks.finite(np.array([1.0, np.inf]), masks.everywhere((2,))).tolist() == [True, False]


def on_10_m(native_m: float, kind: Any) -> tuple[NDArray[Any], Mapping]:
    """Pixels of a coarser UTM lattice and the positions of 10 m pixels among them, as a request has them."""
    native = Projection("EPSG:32632", (native_m, 0.0, 499_800.0, 0.0, -native_m, 5_100_240.0))
    limits = np.iinfo(kind)
    values = np.random.default_rng(3).integers(limits.min, limits.max, (60, 60), endpoint=True).astype(kind)
    return values, Scope().mapping(GRID, native)


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16])
def test_one_axis_after_the_other_is_the_stencil_where_products_are_exact(kind: Any) -> None:
    values, mapping = on_10_m(20.0, kind)
    axes = mapping.derived("bilinear", resample._exact_axes)
    assert axes is not None
    stencil = resample._gathered(values, *resample._stencil("bilinear", mapping, values.shape[1]))
    assert np.array_equal(resample._separable(values, *axes), stencil)


@pytest.mark.parametrize(("native_m", "mode"), [(60.0, "bilinear"), (20.0, "bicubic")])
def test_other_weights_use_the_stencil(native_m: float, mode: str) -> None:
    assert on_10_m(native_m, np.uint16)[1].derived(mode, resample._exact_axes) is None


def test_positions_along_the_axes_of_a_lattice_are_kept_apart() -> None:
    x, y = grids.centres(GRID)
    assert x.shape == (1, GRID.width) and y.shape == (GRID.height, 1)
    sheared = PixelGrid("EPSG:32632", (10.0, 1.0, 500_000.0, 0.0, -10.0, 5_100_000.0), 8, 6)
    assert grids.centres(sheared)[0].shape == (6, 8)


def test_both_polarisations_share_what_the_ground_sends_back() -> None:
    planet = shared_planet(copy=1)
    rows, columns = np.nonzero(planet.world.biome == 4)
    place = Point(planet.world.lon[rows[9], columns[9]], planet.world.lat[rows[9], columns[9]])
    found = planet.images("COPERNICUS/S1_GRD", Query(place, 1_560_000_000_000, 1_562_000_000_000)) or []
    scene = next(image for image in found if len(image.bands) == 3)
    before = planet.radar._echo.cache_info()
    for band in scene.bands[:2]:
        band.read(Window(9000, 7000, 32, 32))
    after = planet.radar._echo.cache_info()
    assert (after.misses - before.misses, after.hits - before.hits) == (1, 1)


@pytest.mark.parametrize("names", [("a", "b"), ("höhe", "β"), tuple(f"a{k:0100}" for k in range(900))])
def test_npy_is_what_numpy_writes(names: tuple[str, ...]) -> None:
    array = (
        np.arange(6 * len(names), dtype=np.uint8).reshape(2, 3, -1).view([(name, np.uint8) for name in names])[..., 0]
    )
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the newer versions of the format, as it says
        np.save(buffer, array)
        assert _npy(array, GRID) == buffer.getvalue()


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("EPSG:32632", "EPSG:4326"),
        ("EPSG:4326", "EPSG:32760"),
        ("EPSG:32601", "EPSG:32660"),
        ("EPSG:32733", "EPSG:32633"),
    ],
)
def test_between_utm_zones_and_degrees_positions_are_those_of_projs_own_tables(source: str, target: str) -> None:
    rng = np.random.default_rng(5)
    ranges = ((-180, 180), (-80, 84)) if source == grids.LONLAT else ((1e5, 9e5), (1e6, 9e6))
    x, y = (rng.uniform(low, high, 500) for low, high in ranges)
    whole = Transformer.from_crs(source, target, always_xy=True)
    ours = grids.transformer(source, target)
    assert ours.definition == whole.definition
    assert np.array_equal(ours.transform(x, y), whole.transform(x, y))


def test_one_image_is_its_own_mosaic() -> None:
    values, valid = np.arange(6, dtype=np.int16).reshape(1, 2, 3), np.arange(6).reshape(1, 2, 3) % 2 > 0
    ((alone, known),) = LAST.reduce(values, valid, np.ones((1, 1, 1)))
    twice = LAST.reduce(np.tile(values, (2, 1, 1)), np.tile(valid, (2, 1, 1)), np.ones((2, 1, 1)))[0]
    assert alone.dtype == np.int16 and known.tolist() == valid[0].tolist()
    assert np.array_equal(alone, twice[0]) and np.array_equal(known, twice[1])

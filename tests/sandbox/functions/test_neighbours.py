"""Focal filters and distances, beside a plain second way."""

from __future__ import annotations

import ee
import numpy as np
import pytest

from tests.sandbox import world

X, Y = 500800.0, 5099200.0  # pixels around the hole begin 20 columns and 20 rows on


def holes(size=40):
    return world.pixels(ee.Image(world.HOLES), X, Y, size, size)["b1"]


def valid():
    rows, columns = np.indices((40, 40))
    return (rows < 20) | (columns < 20)


def plain(values, known, reduce, inside, reach):
    result = np.zeros((40 - 2 * reach, 40 - 2 * reach))
    for row, column in np.ndindex(result.shape):
        near = [
            values[row + reach + dy, column + reach + dx]
            for dy in range(-reach, reach + 1) for dx in range(-reach, reach + 1)
            if inside(dy, dx) and known[row + reach + dy, column + reach + dx]
        ]  # fmt: skip
        result[row, column] = reduce(near) if near else 0
    return result


SHAPES = {"circle": lambda dy, dx: dy**2 + dx**2 <= 4, "square": lambda dy, dx: True}


@pytest.mark.parametrize("kernel", SHAPES)
@pytest.mark.parametrize(("name", "reduce"), [("max", max), ("min", min), ("mean", np.mean), ("median", np.median)])
def test_focal_filters_reduce_the_valid_pixels_around(sandbox, kernel, name, reduce):
    filtered = getattr(ee.Image(world.HOLES), f"focal_{name}")(2, kernel)
    array = world.pixels(filtered, X + 20, Y - 20, 36, 36)["b1"]
    np.testing.assert_allclose(array, plain(holes(), valid(), reduce, SHAPES[kernel], 2))


def test_iterations_metres_and_the_other_spelling(sandbox):
    once = ee.Image(world.HOLES).focalMax(20, "square", "meters")
    twice = ee.Image(world.HOLES).focal_max(1, "square", "pixels", 2)
    assert (world.pixels(once, X, Y)["b1"] == world.pixels(twice, X, Y)["b1"]).all()


def test_an_unknown_kernel_is_refused_by_name(sandbox):
    with pytest.raises(ee.EEException, match="no focal kernel 'octagon', only circle"):
        world.pixels(ee.Image(world.HOLES).focal_max(1, "octagon"))


def test_within_no_distance_only_pixels_that_are_not_0_are_known(sandbox):
    distance = ee.Image(world.HOLES).mod(37).eq(0).fastDistanceTransform(0)
    known = world.pixels(distance.mask(), X, Y, 40, 40)["distance"]
    assert (known == (valid() & (holes() % 37 == 0))).all()


@pytest.mark.parametrize("reach", [3, 50])
def test_distances_to_the_nearest_pixel_that_is_not_0(sandbox, reach):
    """The image is 100 rows + columns, so that a pixel of 37 counts."""
    image = ee.Image(world.HOLES).mod(37).eq(0)
    array = world.pixels(image.fastDistanceTransform(reach), X, Y, 40, 40)["distance"]
    margin = 60
    wide = world.pixels(image, X - 10 * margin, Y + 10 * margin, 40 + 2 * margin, 40 + 2 * margin)["b1"]
    sources = np.argwhere(wide)
    rows, columns = np.indices((40, 40)) + margin
    apart = sources[:, None, None, :] - np.stack([rows, columns], axis=-1)[None]
    squared = (apart**2).sum(-1).astype(float)
    squared[np.abs(apart).max(-1) > reach] = np.inf
    expected = squared.min(axis=0)
    assert np.isinf(expected).any() == (reach == 3)
    assert (array == np.where(np.isinf(expected), 0, expected)).all()

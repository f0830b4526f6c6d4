"""Arithmetic as text, pictures, areas of pixels, and linked collections; and what the sandbox refuses by name."""

from __future__ import annotations

import ee
import ee.data
import numpy as np
import pytest
from pyproj import Geod

from tests.sandbox import world

SCENE = f"{world.S2}/20190610T103021_T32TNS"


def value(image):
    array = world.pixels(image, width=1, height=1)
    return array[array.dtype.names[0]][0, 0]


EXPRESSIONS = {
    "1 + 2 * 3": 7,
    "(1 + 2) * 3": 9,
    "7 - 2 - 1": 4,
    "-2 ** 2": -4,
    "2 ^ 3 ^ 2": 512,
    "7 % 4 / 2": 1.5,
    "a * b + 0.5": 6.5,
    "a > b ? 10 : 20": 20,
    "a > b ? 10 : a == 2 ? 30 : 40": 30,
    "a < b && !(a >= b) || 0": 1,
    "max(a, b) + sqrt(abs(-16))": 7,
    "1.5e1 + .5": 15.5,
    "i.two + i['two'] + i[0]": 6,
}


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_expressions_have_the_usual_precedence(sandbox, text):
    names = {"a": ee.Image(2), "b": ee.Image(3), "i": ee.Image(2).rename("two")}
    assert value(ee.Image(0).expression(text, names)) == EXPRESSIONS[text]


def test_an_index_is_the_same_written_out(sandbox):
    image = ee.Image(SCENE)
    written = image.expression("2.5 * (b('B3') - b('B2')) / (B + 6 * b(0) + 1)", {"B": image.select("B11")})
    green, blue, other = (image.select(name) for name in ("B3", "B2", "B11"))
    plain = green.subtract(blue).multiply(2.5).divide(other.add(blue.multiply(6)).add(1))
    assert value(written) == value(plain)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 +", "at 'the end'"),
        ("1 2", "at '2'"),
        ("nope", "Unknown variable 'nope'"),
        ("f(1)", "the function 'f'"),
        ("abs(1, 2)", "'abs' takes no 2 images"),
        ("clamp(1, 2, 3)", "'clamp' takes no 3 images"),
    ],
)
def test_what_cannot_be_read_is_refused(sandbox, text, message):
    with pytest.raises(ee.EEException, match=message):
        value(ee.Image(0).expression(text))


def test_pictures_are_stretched_to_bytes(sandbox):
    gray = ee.Image([0, 5, 20]).visualize(bands=[1], min=0, max=10)
    assert (gray.bandNames().getInfo(), value(gray)) == (["vis-gray"], 128)
    rgb = world.pixels(ee.Image([0, 5, 20]).visualize(min=0, max=[10, 20, 10], gamma=1), width=1, height=1)[0, 0]
    assert (rgb.dtype.names, rgb.tolist()) == (("vis-red", "vis-green", "vis-blue"), (0, 64, 255))
    for number, colour in ((0, (0, 0, 0)), (4, (255, 0, 0)), (9, (0, 128, 0))):
        image = ee.Image(number).visualize(min=0, max=9, palette=["000000", "red", "#008000"])
        assert world.pixels(image, width=1, height=1)[0, 0].tolist() == colour


def test_pictures_of_two_bands_or_no_numbers_are_refused(sandbox):
    with pytest.raises(ee.EEException, match="one band or three"):
        ee.Image([1, 2]).visualize(min=0, max=1).getInfo()
    with pytest.raises(ee.EEException, match="Expected numbers, not 'dark'"):
        ee.Image(1).visualize(min="dark").getInfo()


@pytest.mark.parametrize(("crs", "x", "y", "step"), [("EPSG:4326", 9.0, 60.0, 0.01), ("EPSG:32632", 5e5, 5.1e6, 30)])
def test_pixels_have_their_area_on_the_ellipsoid(sandbox, crs, x, y, step):
    array = world.pixels(ee.Image.pixelArea(), x, y, 3, 2, step, crs)["area"]
    if crs == "EPSG:4326":
        corners = ([9.0, 9.01, 9.01, 9.0], [60.0, 60.0, 59.99, 59.99])
        expected = abs(Geod(ellps="WGS84").polygon_area_perimeter(*corners)[0])
        assert array[0, 0] == pytest.approx(expected, rel=1e-4)
    else:
        assert array == pytest.approx(np.full((2, 3), 900 / 0.9996**2), rel=1e-4)


def test_a_linked_collection_adds_bands_and_properties(sandbox):
    image = ee.Image(SCENE).select("B2")
    labels = ee.ImageCollection(world.DW)
    linked = image.linkCollection(labels, ["label"], ["system:time_start"])
    assert linked.bandNames().getInfo() == ["B2", "label"]
    assert world.pixels(linked, 500000, 5099000, 1, 1)["label"][0, 0] == 1
    nothing = image.set("system:index", "none").linkCollection(labels, "label", "cloud")
    assert nothing.select("label").mask().bandNames().getInfo() == ["label"]
    assert value(nothing.select("label").mask()) == 0


REFUSED = {
    "tables": lambda: ee.FeatureCollection(world.ECOREGIONS).getDownloadURL("csv"),
    "listFeatures": lambda: ee.data.listFeatures({"assetId": world.ECOREGIONS}),
    "maps": lambda: ee.Image(1).getMapId(),
    "image:export": lambda: ee.batch.Export.image.toDrive(ee.Image(1)).start(),
    "operations": ee.data.listOperations,
}


@pytest.mark.parametrize("what", REFUSED)
def test_endpoints_that_the_sandbox_lacks_are_refused_by_name(sandbox, what):
    with pytest.raises(ee.EEException, match=rf"The sandbox does not implement '\w+ /v1/projects/.*{what}'"):
        REFUSED[what]()

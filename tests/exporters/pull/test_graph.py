"""Interpolation is asked of images as they are stored: Earth Engine documents it for no others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import ee
import pytest

from exporters import catalog
from exporters.expressions import around_anchor, between, on_pixels_of, seasons, static, tiles
from exporters.pull import encoding
from exporters.pull.graph import Graph
from exporters.pull.preview import preview_layer
from exporters.skeleton import write_skeleton
from exporters.sources import Pixels
from pipeline.modality import Band, Modality
from tests.exporters import tiny_earth
from tests.exporters.chips import chip
from tests.exporters.tiny_earth import day

FULL = chip(day(2019, 6, 2), "l2a", day(2019, 6, 5), day(2019, 5, 30))
EXAMPLES = sorted((Path(__file__).parents[3] / "examples" / "modalities").glob("*.py"))
LAYERS = [layer for layer in catalog.everything() if isinstance(layer.source, Pixels)]
LAYERS += [layer for path in EXAMPLES for layer in catalog.of_file(path)]
SMOOTH = Modality("mine", "Mine", (Band("a"),), "float32", -1.0, resampling="bilinear")


def graph_of(layer: Modality) -> Graph:
    return Graph.of(encoding.stored_image(layer, layer.source, FULL))


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
def test_every_layer_interpolates_what_is_stored(engine, layer):
    graph = graph_of(layer)
    assert graph.interpolated_too_late() == []
    assert layer.resampling == "nearest" or "Image.resample" in graph.functions()


def test_a_new_file_interpolates_what_is_stored(engine, tmp_path):
    (layer,) = catalog.of_file(write_skeleton("greenness", tmp_path))
    graph = graph_of(replace(layer, resampling="bilinear"))
    assert graph.functions().count("Image.resample") == 1 and graph.interpolated_too_late() == []


def test_each_image_of_a_window_is_interpolated_and_not_their_composite(engine):
    source = around_anchor(tiny_earth.RADAR, ("VV",), 9, lambda images: images.mean())
    graph = graph_of(replace(SMOOTH, source=source))
    assert "Image.resample" in graph.functions() and graph.interpolated_too_late() == []


IMAGES = {
    "Image.multiply": lambda: ee.Image("a/b").multiply(2),
    "Image.addBands": lambda: ee.Image("a/b").addBands(ee.Image("a/c")),
    "Image.updateMask": lambda: ee.Image("a/b").updateMask(ee.Image("a/b").neq(0)),
    "reduce.mean": lambda: ee.ImageCollection("a").mean(),
    "reduce.mosaic": lambda: ee.ImageCollection("a").mosaic().setDefaultProjection("EPSG:4326"),
    "Image.add": lambda: ee.Image(ee.ImageCollection("a").map(lambda image: image.add(1)).first()),
}


@pytest.mark.parametrize("function", ["Image.multiply", "Image.addBands", "Image.updateMask", "reduce.mean"])
def test_what_is_interpolated_after_arithmetic_is_named(engine, function):
    graph = graph_of(replace(SMOOTH, source=static(IMAGES[function])))
    assert graph.interpolated_too_late() == [function]


@pytest.mark.parametrize("function", ["reduce.mosaic", "Image.add"])
def test_a_projection_from_elsewhere_or_images_that_were_computed_are_seen(engine, function):
    assert graph_of(replace(SMOOTH, source=static(IMAGES[function]))).interpolated_too_late()


def test_images_computed_in_a_map_before_are_not_stored_ones(engine):
    """The client gives the arguments of both functions the same name."""
    doubled = ee.ImageCollection("a").map(lambda image: image.multiply(2))
    assert Graph.of(doubled.map(lambda image: image.resample()).mean()).interpolated_too_late()
    chosen = between(FULL, "a", *seasons(2019)["summer"]).select("b")
    assert not Graph.of(chosen.map(lambda image: image.resample()).mean()).interpolated_too_late()


def test_images_that_say_their_pixels_again_in_a_map_may_be_interpolated(engine):
    def again(image: ee.Image, named: ee.Image) -> ee.Image:
        return on_pixels_of(image.multiply(2), named)

    stored = ee.ImageCollection("a")
    own = stored.map(lambda image: again(image, image)).map(lambda image: image.resample()).mean()
    assert Graph.of(own).interpolated_too_late() == []
    computed = stored.map(lambda image: again(image, image.add(1))).map(lambda image: image.resample()).mean()
    assert Graph.of(computed).interpolated_too_late()


def test_a_function_of_ones_own_that_is_called_by_itself_has_no_pixels_of_its_own(engine):
    signature = {"name": "doubled", "returns": "Image", "args": [{"name": "image", "type": "Image"}]}
    doubled = ee.CustomFunction(signature, lambda image: image.multiply(2))
    graph = Graph.of(ee.Image(doubled.call(ee.Image("a/b"))).resample())
    assert "Image.resample" in graph.functions() and graph.interpolated_too_late()


def test_pixels_that_are_named_again_may_be_interpolated(engine):
    stored = tiles(FULL, "a", ["b"])
    slope = on_pixels_of(ee.Terrain.slope(stored.toFloat()), stored)
    assert Graph.of(slope.resample()).interpolated_too_late() == []


def test_a_preview_says_what_is_interpolated_too_late(engine):
    layer = replace(SMOOTH, assets=(tiny_earth.ASTER,), source=static(lambda: ee.Image(tiny_earth.ASTER).divide(4)))
    assert any("interpolates the result of Image.divide" in line for line in preview_layer(engine, layer, [FULL]).said)

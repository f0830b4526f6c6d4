"""Expressions are written as the client writes them, to the last key: a request has the same bytes."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from types import SimpleNamespace

import ee
import numpy as np
import pytest

from exporters import catalog
from exporters.earth_engine import compute_pixels, expression
from exporters.earth_engine.compute_pixels import grid_request
from exporters.earth_engine.expression import encoded
from exporters.pull import encoding
from exporters.pull.pull import Puller, _Column
from exporters.sources import Pixels
from tests.exporters import tiny_earth
from tests.exporters.chips import chip
from tests.exporters.tiny_earth import day

FULL = chip(day(2019, 6, 2), "l2a", day(2019, 6, 5), day(2019, 5, 30))
OTHER = chip(day(2019, 7, 2), "l2a", day(2019, 7, 5), place=3)


def same(item) -> bool:
    """Whether both write an expression with equal texts, and ours did not leave it to the client."""
    nodes = expression._Nodes()
    ours = expression._Written(nodes.all, nodes.number(item)).expression
    return json.dumps(ours) == json.dumps(ee.serializer.encode(item)) == json.dumps(encoded(item))


def test_all_layers_of_a_chip_are_written_as_by_the_client(engine):
    layers = [layer for layer in catalog.modalities() if isinstance(layer.source, Pixels)]
    images = [encoding.stored_image(layer, layer.source, FULL) for layer in layers]
    assert len(images) > 5 and all(same(image) for image in images)
    assert same(ee.Image.cat(images))


def test_what_other_expressions_contain_too_changes_nothing(engine):
    layers = [layer for layer in catalog.modalities() if isinstance(layer.source, Pixels)]
    images = [encoding.stored_image(layer, layer.source, FULL) for layer in layers]
    shared = expression.Shared()
    for some in (images[::2], images[1::3], [object()], [images[0]]):
        shared.add(some)
        for item in (ee.Image.cat(images), images[0], ee.Image.cat(some).add(1) if some[0] is images[0] else 7):
            assert json.dumps(encoded(item, shared)) == json.dumps(ee.serializer.encode(item))


def _nested_maps():
    images = ee.ImageCollection(tiny_earth.RADAR)
    inner = ee.ImageCollection(tiny_earth.DYNAMIC_WORLD)
    return images.map(lambda outer: outer.addBands(inner.map(lambda image: image.add(outer.mod(image))).sum()))


def _deep(levels: int):
    image = ee.Image(0)
    for level in range(levels):
        image = image.add(level % 3)
    return image


ITEMS = {
    "numbers": lambda: ee.List([1, 1.0, True, 0, -0.0, False, None, 2**53 + 1, 2**53, 1e300, "1", "true"]),
    "infinite": lambda: ee.List([float("nan"), float("inf"), np.float64(1.5), 1.5]),
    "texts": lambda: ee.List(["a", "a", ee.String("a"), ee.String("b"), ee.String("a").cat("b")]),
    "empty": lambda: ee.List([[], {}, ee.Dictionary({}), ee.List([]), [[]]]),
    "shared": lambda: ee.List([["a", "b"], ["a", "b"], ee.Number(3), {"x": ["a", "b"], "a": ee.Number(3)}]),
    "geometry": lambda: ee.Geometry.Rectangle([500000, 4e6, 500640, 4000640], proj="EPSG:32632", geodesic=False),
    "filter": lambda: ee.ImageCollection("a").filterBounds(ee.Geometry.Point(7, 46).buffer(200, 20)).size(),
    "dates": lambda: ee.ImageCollection("a").filterDate("2019-01-01", ee.Date("2020-01-01").advance(1, "day")),
    "nested maps": _nested_maps,
    "iterate": lambda: ee.List.sequence(1, 4).iterate(lambda item, total: ee.Number(total).add(item), 0),
    "reducer": lambda: ee.Image("a").reduce(ee.Reducer.percentile([5, 50]).combine(ee.Reducer.mean(), None, True)),
    "deep": lambda: _deep(60),
    "constant": lambda: 7,
    "text": lambda: "seven",
}


@pytest.mark.parametrize("name", ITEMS)
def test_every_kind_of_value_is_written_as_by_the_client(engine, name):
    assert same(ITEMS[name]())


def _grown(random_numbers: random.Random, steps: int) -> list:
    """Objects each made of earlier ones, so that some occur once, some often, and some at great depth."""
    made: list = ["a", "b", 1, 1.0, 2**60 + 1, None, True, ee.Image("a")]
    image = made[-1]
    for _ in range(steps):
        few = random_numbers.choices(made[-12:], k=random_numbers.randint(0, 3))
        other = ee.Image(random_numbers.choice(["a", "b", 1, 1.5]))
        image = random_numbers.choice([image.add(other), image.addBands([image, other]), image.set("p", few), other])
        made.append(random_numbers.choice([few, dict(zip("zyx", few, strict=False)), ee.List(few), image, image]))
    return made


@pytest.mark.parametrize("seed", range(40))
def test_expressions_at_random_are_written_as_by_the_client(engine, seed):
    assert same(_grown(random.Random(seed), 12 + 3 * seed))


def test_what_is_left_to_the_client_is_written_by_it(engine):
    item = ["a", datetime(2020, 1, 1, tzinfo=UTC)]
    assert encoded(item) == ee.serializer.encode(item)
    with pytest.raises(ee.EEException, match="Cannot encode object"):
        encoded([object()])
    with pytest.raises(ee.EEException, match="client-side"):
        encoded(ee.Image(ee.ComputedObject(None, None)))


def test_a_request_for_pixels_has_the_bytes_of_the_clients_own(engine, monkeypatch):
    bodies = []
    exchange = engine._transport._exchange

    def kept(uri, method, body, headers):
        bodies.append((uri, method, body, headers))
        return exchange(uri, method, body, headers)

    monkeypatch.setattr(engine._transport, "_exchange", kept)
    image = ee.Image(tiny_earth.ASTER).toFloat().rename(["a"])
    request = {"expression": image, "fileFormat": "NPY", "grid": grid_request(FULL.grid)}
    contents = [compute_pixels.compute_pixels(image, FULL.grid), ee.data.computePixels(request)]
    only_public = {name: value for name, value in vars(ee.data).items() if not name.startswith("_")}
    monkeypatch.setattr(compute_pixels, "ee", SimpleNamespace(data=SimpleNamespace(**only_public), Image=ee.Image))
    contents.append(compute_pixels.compute_pixels(image, FULL.grid))
    assert bodies[0] == bodies[1] == bodies[2] and contents[0] == contents[1] == contents[2]


def test_every_chip_is_asked_for_as_if_it_were_the_only_one(engine, monkeypatch):
    layers = [layer for layer in catalog.modalities() if isinstance(layer.source, Pixels)]
    fixed = [layer for layer in layers if layer.source.everywhere]
    images = []
    monkeypatch.setattr(engine, "pixels", lambda image, grid, shared: images.append((image, shared)) or _empty())
    puller = Puller(engine)
    for of, wanted in ((FULL, layers), (OTHER, layers), (FULL, fixed), (OTHER, fixed), (OTHER, layers[:2])):
        puller._columns(of, *_columns(puller, of, wanted))
        alone = ee.Image.cat([encoding.stored_image(layer, layer.source, of) for layer in wanted])
        assert json.dumps(encoded(*images[-1])) == json.dumps(ee.serializer.encode(alone))
    assert images[2][0] is images[3][0] and len(fixed) > 1


def _columns(puller, of, layers):
    columns = [_Column(layer, band) for layer in layers for band in layer.band_names]
    return columns, {layer.name: puller._image(layer, of) for layer in layers}


def _empty():
    return np.zeros((1, 1), [("a", "u1")])

"""A graph with places for a chip's images, filled in, is the one that is built for that chip."""

from __future__ import annotations

import ee
import pytest

from exporters import catalog
from exporters.earth_engine.expression import encoded
from exporters.pull import encoding
from exporters.pull.template import Template
from exporters.sources import Pixels
from tests.exporters.chips import chip
from tests.exporters.tiny_earth import day

DAYS = [day(2019, 6, 2), day(2019, 7, 2), day(2019, 8, 1), day(2019, 9, 1)]
CHIPS = [chip(date, "l2a", DAYS[0], DAYS[1], place) for place, date in enumerate(DAYS)]
LAYERS = [layer for layer in catalog.everything() if isinstance(layer.source, Pixels)]


class Counted:
    """A function of images, and how often it was called."""

    def __init__(self, then) -> None:
        self.then, self.calls = then, 0

    def __call__(self, parts) -> ee.Image:
        self.calls += 1
        return self.then(*parts)


def images(then, count: int = 5) -> tuple[int, list[bool]]:
    """How often it was called for so many chips, and whether each chip's graph is the one that it builds."""
    build = Counted(then)
    template = Template(build)
    parts = [(ee.Image(f"a/{number}"), ee.ImageCollection(f"b/{number}"), None) for number in range(count)]
    filled = [encoded(template.image(some)) for some in parts]
    return build.calls, [image == ee.serializer.encode(then(*some)) for image, some in zip(filled, parts, strict=True)]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
def test_every_layer_is_what_is_built_for_the_chip(engine, layer):
    def built(parts) -> ee.Image:
        return encoding.stored(layer, layer.source.then(*parts))

    build = Counted(lambda *parts: built(parts))
    template = Template(build)
    for of in CHIPS:
        parts = layer.source.loaded(of, layer.resampling)
        alone = ee.serializer.encode(encoding.stored_image(layer, layer.source, of))
        assert encoded(template.image(parts)) == alone
    assert build.calls == 3  # two chips, and the places


def test_a_graph_is_built_once_and_filled_in(engine):
    def then(image, collection, nothing):
        return image.addBands([collection.mean(), image]).select([0, 1]).where(image.gt(3), collection.first())

    assert images(then) == (3, [True] * 5)


def test_a_mapped_function_with_a_chips_image_is_built_for_every_chip(engine):
    def then(image, collection, nothing):
        return collection.map(lambda other: other.subtract(image)).max()

    assert images(then) == (6, [True] * 5)


def test_images_in_lists_and_dictionaries_are_those_of_the_chip(engine):
    for then in (
        lambda image, collection, nothing: ee.Image(ee.List([image, collection.first()]).get(0)),
        lambda image, collection, nothing: ee.Image(ee.Dictionary({"a": image}).get("a")),
        lambda image, collection, nothing: image.set("other", [image, {"a": image.get("b")}]),
    ):
        assert images(then)[1] == [True] * 5


def test_what_looks_into_its_images_is_built_for_every_chip(engine):
    assert images(lambda image, collection, nothing: image.set("name", image.args["id"])) == (6, [True] * 5)


def test_every_kind_of_chip_has_a_graph_of_its_own(engine):
    build = Counted(lambda first, second: (first or ee.Image(0)).addBands(second or ee.Image(1)))
    template = Template(build)
    for number in range(8):
        parts = (ee.Image(f"a/{number}") if number % 2 else None, ee.Image(f"b/{number}"))
        assert encoded(template.image(parts)) == ee.serializer.encode(build.then(*parts))
    assert build.calls == 6


def test_an_error_of_a_layer_is_raised_for_every_chip(engine):
    def fails(parts) -> ee.Image:
        raise ee.EEException("no")

    template = Template(fails)
    for _ in range(4):
        with pytest.raises(ee.EEException, match="no"):
            template.image([ee.Image("a")])

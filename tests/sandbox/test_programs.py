"""What the requests of one service share, and what they leave behind."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator

import ee
import pytest

from sandbox.limits import KIND
from sandbox.programs import Frame, Programs
from sandbox.raster.stored import Catalog, StoredImage
from sandbox.service.server import Sandbox
from tests.sandbox import world
from tests.sandbox.arrays import ArrayCatalog

SCENE = f"{world.S2}/20190610T103021_T32TNS"


class Asked(ArrayCatalog):
    """A catalogue that counts how often an image is looked up."""

    def __init__(self, other: ArrayCatalog) -> None:
        super().__init__(other.single, other.collections, other.tables)
        self.times: Counter[str] = Counter()

    def image(self, asset_id: str) -> StoredImage | None:
        self.times[asset_id] += 1
        return super().image(asset_id)


@pytest.fixture
def asked() -> Iterator[Asked]:
    catalog: Catalog = Asked(world.catalog())
    with Sandbox(catalog, limits=KIND) as sandbox:
        world.connect(sandbox)
        yield catalog  # type: ignore[misc]


def test_an_image_of_constants_is_looked_up_once_for_all_requests(asked: Asked) -> None:
    first = world.pixels(ee.Image(SCENE).select("B2").multiply(2))
    assert asked.times[SCENE] == 1
    assert (world.pixels(ee.Image(SCENE).select("B2").multiply(2)) == first).all()
    assert (world.pixels(ee.Image(SCENE).select("B2").multiply(3))["B2"] == first["B2"] * 1.5).all()
    assert asked.times[SCENE] == 1


def test_numbers_that_are_equal_but_of_other_types_are_not_shared(asked: Asked) -> None:
    assert ee.List([1, 1.0, True, 0.0, -0.0]).map(lambda each: ee.Algorithms.String(each)).getInfo() == [
        ee.Algorithms.String(each).getInfo() for each in (1, 1.0, True, 0.0, -0.0)
    ]
    kinds = [world.pixels(ee.Image.constant(value)).dtype[0].kind for value in (1, 1.0)]
    assert kinds == ["u", "f"]


def test_kept_images_count_as_used(sandbox: Sandbox) -> None:
    def used() -> dict[str, int]:
        sandbox.reset_counters()
        world.pixels(ee.Image(SCENE).select("B3").add(7))
        return dict(sandbox.counters()["algorithms"])

    assert used() == used()


def test_a_request_leaves_no_frames_for_the_garbage_collector(asked: Asked) -> None:
    gc.collect()
    gc.disable()
    try:
        before = {id(each) for each in gc.get_objects() if isinstance(each, Frame)}  # of other tests' servers
        images = ee.ImageCollection(world.S2).map(lambda image: ee.Image(image).select("B2").add(1))
        world.pixels(images.mosaic())
        assert [each for each in gc.get_objects() if isinstance(each, Frame) and id(each) not in before] == []
    finally:
        gc.enable()


def test_nodes_that_are_asked_for_again_stay_and_others_go() -> None:
    from sandbox import programs

    nodes, made = Programs(), Counter[object]()

    def ask(key: object) -> None:
        nodes.node(key, lambda: made.update([key]) or programs.constant(key))

    for number in range(4 * programs._MOST):
        ask(number)
        ask("hot")
    ask(0)
    assert made["hot"] == 1
    assert made[0] == 2

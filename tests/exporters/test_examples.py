"""The worked examples in examples/modalities: each builds and serialises; what the planet has is pulled from it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import ee
import numpy as np
import pytest

from exporters import catalog
from exporters.earth_engine.client import Connection, EarthEngine, connect
from exporters.expressions import seasons
from exporters.pull import encoding
from exporters.pull.pull import Puller
from pipeline.chip import Acquisition, Chip, Scene
from pipeline.grid import Grid, utm_crs
from pipeline.location import Location, location_id
from pipeline.modality import Modality
from sandbox.planet import Planet
from sandbox.service.server import Sandbox
from tests.exporters.chips import chip
from tests.exporters.conftest import IMPATIENT
from tests.exporters.test_modalities import calls
from tests.exporters.tiny_earth import day

FILES = sorted((Path(__file__).parents[2] / "examples" / "modalities").glob("*.py"))
TITLES = (Path(__file__).parents[2] / "docs" / "modalities.md").read_text()
FULL = chip(day(2019, 6, 2), "l2a", day(2019, 6, 5), day(2019, 5, 30))


def layer_of(path: Path) -> Modality:
    (layer,) = catalog.modalities([path.stem], [path])
    return layer


def place(lon: float, lat: float, size_px: int = 24) -> Chip:
    """A chip of 2019 on the planet; the examples that are pulled ask for no anchor scene."""
    location = Location(location_id(lon, lat), lon, lat, "7", 4, "Temperate", 664, "Somewhere", "Palearctic")
    date = datetime(2019, 6, 2, 10, tzinfo=UTC)
    scene = Scene("COPERNICUS/S2_HARMONIZED/20190602T100000_20190602T100000_T32TPS", date)
    return Chip(location, Grid.around((lon, lat), utm_crs((lon, lat)), size_px), Acquisition(scene, "l1c"))


def test_all_are_here():
    assert len(FILES) == 3


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_example_builds_serialises_and_is_documented(path, engine):
    layer = layer_of(path)
    graph = ee.serializer.encode(encoding.stored_image(layer, layer.source, FULL))
    text = json.dumps(graph)
    assert all(asset in text for asset in layer.assets)
    assert not any(name.startswith("Image.reproject") for name, _ in calls(graph))
    assert Modality.from_specification(json.loads(json.dumps(layer.specification()))) == layer
    assert layer.reference.startswith("https://") and layer.display.style != "none"
    assert set(layer.display.bands) <= set(layer.band_names)
    assert f"`{path.name}`" in TITLES


def test_examples_are_not_among_the_layers_by_default():
    assert not {path.stem for path in FILES} & {layer.name for layer in catalog.modalities()}


def test_seasons_are_whole_and_meet():
    spans = list(seasons(2020).values())
    assert spans[0] == (datetime(2019, 12, 1, tzinfo=UTC), datetime(2020, 3, 1, tzinfo=UTC))
    assert all(item[1] == other[0] for item, other in zip(spans, spans[1:], strict=False))
    assert spans[-1][1] == datetime(2020, 12, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def planet() -> Iterator[EarthEngine]:
    with Sandbox(Planet(0)) as server:
        yield connect(Connection("demo-project", url=server.url, patience=IMPATIENT))


def pulled(engine: EarthEngine, name: str, where: Chip) -> np.ndarray:
    """Physical values, NaN for none."""
    layer = layer_of(next(path for path in FILES if path.stem == name))
    answer = Puller(engine).pixels(where, [layer])
    assert not answer.missing, answer.missing
    return np.asarray(layer.physical(answer.values[name]))


def test_the_elevation_model_has_no_seam_where_tiles_meet(planet):
    values = pulled(planet, "copernicus_dem", place(66.0, 49.77))
    assert np.isfinite(values).all()
    elevation, slope = values
    steps = np.abs(np.diff(elevation, axis=1)).max(axis=0)
    assert steps.max() < 10 * (np.median(steps) + 1)
    # The same slope from the heights on the chip's own 10 m pixels, where interpolation has smoothed both.
    rise_y, rise_x = np.gradient(elevation.astype(float), 10.0)
    expected = np.degrees(np.arctan(np.hypot(rise_x, rise_y)))
    assert np.abs(np.median(slope) - np.median(expected)) < 0.25 * np.median(expected) + 1

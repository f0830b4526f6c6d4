"""Every layer that is discovered: it constructs, survives storage, and its graph says what its specification says."""

from __future__ import annotations

import json
import re

import ee
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters import catalog
from exporters.expressions import month_start
from exporters.modalities.era5 import WINDOWS
from exporters.modalities.polygon_share import polygon_share
from exporters.pull import encoding
from exporters.sources import Local, Pixels, Region
from pipeline.encoding import is_rounded, stored_limits, stored_values
from pipeline.errors import Fatal, Transient
from pipeline.licence import OWN
from pipeline.manifest import Manifest
from pipeline.modality import Band, Category, Modality
from tests.exporters.chips import chip
from tests.exporters.tiny_earth import day

LAYERS = catalog.everything()
USUAL = catalog.modalities()
FULL = chip(day(2019, 6, 2), "l2a", day(2019, 6, 5), day(2019, 5, 30))
ASKED = [layer for layer in LAYERS if not isinstance(layer.source, Local)]
ROUNDED = [layer for layer in LAYERS if is_rounded(layer)]


def each(layers: list[Modality]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("layer", layers, ids=lambda layer: layer.name)


USER_FILE = """
from exporters.expressions import static
from pipeline.modality import Band, Modality
mine = Modality(name="{name}", title="Mine", bands=(Band("a"),), dtype="float32", nodata=-1.0, source=static(None))
"""


def calls(graph: object) -> list[tuple[str, dict]]:
    """Every function call of an encoded graph with its arguments."""
    if isinstance(graph, dict):
        inner = [result for value in graph.values() for result in calls(value)]
        call = graph.get("functionInvocationValue")
        return [(call["functionName"], call.get("arguments", {})), *inner] if call else inner
    return [result for value in graph for result in calls(value)] if isinstance(graph, list) else []


def graph_of(layer: Modality) -> dict:
    """The layer's graph for a chip that has every scene."""
    if isinstance(layer.source, Pixels):
        return ee.serializer.encode(encoding.stored_image(layer, layer.source, FULL))
    return ee.serializer.encode(layer.source.image(FULL))


@each(LAYERS)
def test_every_layer_says_under_which_licence_it_is(layer):
    licence = layer.licence
    assert licence is not None
    if isinstance(layer.source, Local) and not layer.assets:
        assert licence == OWN
    else:
        assert licence.url.startswith("http") and licence.attribution.endswith((".", "5571936", "02206-6", "bix014"))


def test_the_published_corpus_has_these_layers():
    assert {layer.name: len(layer.bands) for layer in USUAL} == {
        "sentinel2": 13, "sentinel2_cloudmask": 1, "sentinel2_cloudprod": 1, "sentinel2_scl": 1, "sentinel1": 8,
        "aster": 2, "era5": 12, "dynamic_world": 1, "canopy_height_eth": 2, "esa_worldcover": 1, "lat": 2, "lon": 2,
        "month": 2, "biome": 1, "eco_region": 1,
    }  # fmt: skip


def test_optional_layers_are_there_by_name_alone():
    optional = {layer.name: len(layer.bands) for layer in LAYERS if layer not in USUAL}
    assert optional == {
        "sentinel2_seasonal_rgb": 12, "sentinel1_seasonal_amplitude": 16, "gssic_coherence": 16, "modis_tree_cover": 1,
        "ghsl_built_up": 1,
    }  # fmt: skip
    assert [layer.name for layer in catalog.modalities(["lat", *optional])] == ["lat", *optional]


@each([*LAYERS, polygon_share])
def test_the_specification_survives_storage(layer):
    stored = json.loads(json.dumps(layer.specification()))
    assert Modality.from_specification(stored) == layer


@each([*LAYERS, polygon_share])
def test_no_range_is_for_bands_in_different_units(layer):
    of_the_layer = {band.units for band in layer.bands if band.valid_range is None}
    assert layer.valid_range is None or len(of_the_layer) == 1


@each([*LAYERS, polygon_share])
def test_a_reader_finds_what_they_need(layer):
    assert layer.title and all(band.units for band in layer.bands)
    assert all(re.fullmatch("#[0-9a-f]{6}", category.colour) for category in layer.categories)
    if not isinstance(layer.source, Local):
        assert layer.assets and layer.reference.startswith("https://")
    if layer.extent == "pixel":
        assert layer.display.style != "none"


@each(ASKED)
def test_the_graph_says_what_the_specification_says(layer, engine):
    result = calls(graph_of(layer))
    names = [name for name, _ in result]
    assert ("Image.resample" in names) == (layer.resampling == "bilinear")
    # Where a chip's pixels are coarser than a map's, the map is held at its own, or a level of its pyramid would come.
    assert ("Image.reproject" in names) == (layer.name == "esa_worldcover")
    if isinstance(layer.source, Pixels):
        (unmasked,) = [arguments for name, arguments in result if name == "Image.unmask"]
        assert unmasked["sameFootprint"] == {"constantValue": False}


@each(ASKED)
def test_the_graph_touches_no_asset_but_those_it_names(layer, engine):
    text = json.dumps(graph_of(layer))
    loaded = set(re.findall(r'"((?:COPERNICUS|ECMWF|Earth_Big_Data|MODIS|JRC|GOOGLE|ESA|users|projects)/[^"]+)"', text))
    assert loaded
    assert all(any(asset.startswith(known) for known in layer.assets) for asset in loaded)


@given(st.datetimes(min_value=month_start(day(2016, 1, 1)).replace(tzinfo=None)), st.sampled_from(sorted(WINDOWS)))
def test_climate_windows_are_whole_months_that_end_with_the_anchors(date, window):
    if date.year > 9990:
        return
    start, end = (month_start(date, months) for months in WINDOWS[window])
    months = (end.year - start.year) * 12 + end.month - start.month
    assert months == {"previous_month": 1, "current_month": 1, "year": 12}[window]
    assert start.day == end.day == 1
    this_month = month_start(date)
    assert end == (this_month if window == "previous_month" else month_start(date, 1))


@each(ROUNDED)
def test_stored_values_keep_data_apart_from_nodata(layer):
    extremes = stored_values(layer, np.array([-1e12, 0.0, 1e12, np.nan]))
    assert layer.valid(extremes).tolist() == [True, True, True, False]


@given(st.floats(-300, 300), st.sampled_from(ROUNDED))
def test_rounding_loses_no_more_than_half_a_step(value, layer):
    low, high = (limit * layer.scale for limit in stored_limits(layer))
    (stored,) = layer.physical(stored_values(layer, np.array([value])))
    assert stored == pytest.approx(min(max(value, low), high), abs=layer.scale * 0.5001)


def test_nan_travels_as_a_number_and_comes_back():
    layer = Modality(name="x", title="X", bands=(Band("a"),), dtype="float32", nodata=float("nan"))
    arrived = encoding.arrived(layer, [np.array([[encoding.NAN_SENTINEL, 1.5]], dtype=np.float32)])
    assert np.isnan(arrived[0, 0, 0]) and arrived[0, 0, 1] == 1.5


CLASSES = (Category(1, "one"), Category(2, "two"))
DOORS = {
    "uint16": Modality(name="x", title="X", bands=(Band("a"),), dtype="uint16", nodata=0),
    "float32": Modality(name="x", title="X", bands=(Band("a"),), dtype="float32", nodata=float("nan")),
    "uint8": Modality(name="x", title="X", bands=(Band("a"),), dtype="uint8", nodata=255, categories=CLASSES),
}  # fmt: skip


@pytest.mark.parametrize(
    ("dtype", "value"),
    [("uint16", 70000.7), ("uint16", -1.0), ("uint16", 3.5), ("uint16", np.nan), ("float32", 1e300), ("uint8", 257.0)],
)
def test_a_number_that_the_dtype_cannot_hold_is_no_other_number(dtype, value):
    with pytest.raises(Transient, match=f"'x' arrived as float64 with .* which {dtype} cannot hold"):
        encoding.arrived(DOORS[dtype], [np.array([[1.0, value]])])


@pytest.mark.parametrize("kind", ["<u2", ">u2", "<i4", "<f4", "<f8"])
def test_the_same_numbers_in_another_dtype_are_welcome(kind):
    arrived = encoding.arrived(DOORS["uint16"], [np.array([[0, 7, 65535]], dtype=kind)])
    assert arrived.dtype == np.uint16 and arrived.tolist() == [[[0, 7, 65535]]]


def test_the_stray_code_is_neither_class_nor_nodata():
    assert encoding.stray_code(DOORS["uint8"]) == 254
    full = Modality(
        "x", "X", (Band("a"),), "int8", -128, categories=tuple(Category(c, str(c)) for c in range(-127, 128))
    )
    assert encoding.stray_code(full) is None


def test_a_dtype_that_earth_engine_lacks_is_refused(engine):
    layer = Modality(name="x", title="X", bands=(Band("a"),), dtype="int64", nodata=-1, source=Pixels(lambda c: None))
    with pytest.raises(Fatal, match="int64"):
        encoding.stored_image(layer, Pixels(lambda of: ee.Image(1)), FULL)


def test_a_file_with_a_name_that_the_store_has_for_itself_is_refused(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(USER_FILE.format(name="time"))
    with pytest.raises(Fatal, match=f"a modality cannot be called 'time', as in {path}: the store has that name"):
        catalog.of_file(path)


def test_names_keep_the_order_they_are_asked_in():
    assert [layer.name for layer in catalog.modalities(["lon", "aster", "lat"])] == ["lon", "aster", "lat"]


def test_an_unknown_name_offers_the_nearest():
    with pytest.raises(Fatal, match="'sentinel_2'.*did you mean 'sentinel2'"):
        catalog.modalities(["sentinel_2"])


def test_a_name_asked_for_twice_is_refused():
    with pytest.raises(Fatal, match="twice"):
        catalog.modalities(["lat", "lon", "lat"])


def test_a_users_file_adds_a_layer(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(USER_FILE.format(name="mine"))
    assert [layer.name for layer in catalog.modalities(["mine", "lat"], [path])] == ["mine", "lat"]


def test_a_users_file_may_hold_a_dataclass_whose_annotations_are_texts(tmp_path):
    path = tmp_path / "mine.py"
    rule = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\nclass Rule:\n    a: int\n"
    )
    path.write_text(rule + USER_FILE.format(name="mine").replace("from __future__ import annotations\n", ""))
    assert [layer.name for layer in catalog.modalities(["mine"], [path])] == ["mine"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{}['a']", "mine.py cannot be read: KeyError"),
        (USER_FILE.format(name="aster"), "defined twice"),
        ("x = 1", "defines no Modality"),
        ("def broken(:", "SyntaxError"),
        ("import nowhere_to_be_found", "nowhere_to_be_found"),
        (USER_FILE.replace(", source=static(None)", "").format(name="mine"), "no source"),
    ],
)
def test_a_users_file_that_cannot_serve_is_refused(tmp_path, content, said):
    path = tmp_path / "mine.py"
    path.write_text(content)
    with pytest.raises(Fatal, match=said):
        catalog.modalities(None, [path])


def test_a_users_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(Fatal, match="absent.py"):
        catalog.modalities(None, [tmp_path / "absent.py"])


def test_ecoregion_classes_come_from_the_manifest():
    manifest = Manifest.freeze([FULL], 0)
    (layer,) = catalog.bound(catalog.modalities(["eco_region"]), manifest)
    assert [(category.code, category.name) for category in layer.categories] == [(664, "Somewhere")]
    assert isinstance(layer.source, Local) and not isinstance(layer.source, Region)

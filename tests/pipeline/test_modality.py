"""A modality refuses nonsense, and survives the trip into a store's attributes."""

from __future__ import annotations

import copy
import json
import math
import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline.errors import Fatal
from pipeline.modality import Band, Category, Display, Modality
from tests.pipeline.chips import CLIMATE, MODALITIES, OPTICAL

PLAIN: dict[str, Any] = {"name": "layer", "title": "Layer", "bands": (Band("b"),), "dtype": "uint8", "nodata": 255}
TREES = (Category(10, "trees"),)


@pytest.mark.parametrize(
    "change",
    [
        {"dtype": "int8"},
        {"nodata": -1},
        {"nodata": 0.5},
        {"nodata": math.nan},
        {"dtype": "float32", "nodata": 0.1},
        {"categories": TREES, "resampling": "bilinear"},
        {"categories": TREES, "scale": 0.1},
        {"categories": TREES, "dtype": "float32", "nodata": -9999},
        {"categories": (*TREES, Category(10, "again"))},
        {"categories": (Category(300, "too large"),)},
        {"categories": (Category(255, "also nodata"),)},
        {"bands": ()},
        {"bands": (Band("b"), Band("b"))},
        {"scale": 0.0},
        {"valid_range": (0, 255)},
        {"display": Display("grey", ("other",))},
        {"name": "two words"},
    ],
)
def test_nonsense_is_refused(change: dict[str, Any]) -> None:
    Modality(**PLAIN)
    with pytest.raises(Fatal, match="modality"):
        Modality(**{**PLAIN, **change})


@pytest.mark.parametrize("modality", MODALITIES, ids=lambda modality: modality.name)
def test_specification_round_trips_through_json(modality: Modality) -> None:
    data = json.loads(json.dumps(modality.specification(), allow_nan=False))
    again = Modality.from_specification(data)
    assert again == modality
    assert again.digest == modality.digest


def test_source_is_no_part_of_the_specification() -> None:
    assert Modality(**PLAIN, source=object()) == Modality(**PLAIN)


def test_physical_values_are_scaled_and_masked() -> None:
    stored = np.array([0, 1, 10_000], dtype=np.uint16)
    np.testing.assert_array_equal(OPTICAL.physical(stored), [np.nan, 1e-4, 1.0])
    assert CLIMATE.valid(np.array([np.nan, 1.0], dtype=np.float32)).tolist() == [False, True]


def test_a_layer_in_units_has_its_range_in_them() -> None:
    assert (OPTICAL.in_units("float32").valid_range, OPTICAL.valid_range) == ((1e-4, 2.0), (1, 20000))
    falling = replace(OPTICAL, scale=-1.0, offset=5.0).in_units("float64")
    assert falling.valid_range == (-19995.0, 4.0) and (falling.scale, falling.offset) == (1.0, 0.0)
    stored = np.array([0, 3], np.uint16)
    assert falling.valid(OPTICAL.physical(stored)).tolist() == [False, True]
    assert CLIMATE.in_units("float64").valid_range is None


@pytest.mark.parametrize("again", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])  # noqa: S301 (our own)
@pytest.mark.parametrize("modality", MODALITIES, ids=lambda modality: modality.name)
def test_a_copy_is_equal_whatever_object_its_nan_is(modality: Modality, again: Any) -> None:
    same = again(modality)
    assert same == modality and hash(same) == hash(modality)
    assert modality in [same] and len({same, modality}) == 1


def test_equality_is_that_of_what_is_stored() -> None:
    shown = replace(CLIMATE, display=Display("grey", ("rain",), float("nan"), 1.0))
    stored = json.loads(json.dumps(shown.specification()))
    assert Modality.from_specification(stored) == shown != CLIMATE
    assert Modality(**PLAIN) == Modality(**PLAIN | {"nodata": 255.0}), "one number, however it is written"
    assert Modality(**PLAIN) != replace(CLIMATE, name="layer")
    assert CLIMATE != replace(CLIMATE, nodata=-9999.0)
    assert CLIMATE != CLIMATE.specification()

"""The tensors' way from stored values to the net against NumPy's, over every dtype, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.modality import Band, Category, Modality
from training.batch import Raw
from training.data.prepare import Preparation
from training.layer import Layer
from training.standardiser import Moments

CPU = torch.device("cpu")
NUMBERS = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32", "float64")
CODES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "int64")
GROUPS = ("l1c", "l2a", "l3")  # No statistics know the last.


def prepared(layer: Layer, stored: NDArray, groups: list[str]) -> tuple[NDArray, NDArray]:
    known = list(layer.groups)
    places = torch.tensor([known.index(group) if group in known else len(known) for group in groups])
    named = {"layer": places} if layer.modality.statistics_by else {}
    raw = Raw({"layer": torch.from_numpy(stored)}, named, torch.zeros(1), tuple(range(len(stored))))
    batch = Preparation([layer], CPU)(raw)
    return batch.values["layer"].numpy(), batch.valid["layer"].numpy()


def assert_as_numpy(layer: Layer, stored: NDArray, groups: list[str]) -> None:
    with np.errstate(all="ignore"):  # Random bits make infinite and huge floats.
        values, valid = layer.values(stored, groups)
    result, known = prepared(layer, stored[:, list(layer.bands)], groups)
    assert result.dtype == values.dtype and known.dtype == valid.dtype
    assert np.array_equal(known, valid)
    assert np.array_equal(result, values, equal_nan=result.dtype.kind == "f")


def moments(random: np.random.Generator, bands: int) -> Moments:
    mean, std = random.normal(100, 300, bands), random.uniform(0.1, 900, bands)
    return Moments(mean.astype(np.float32), std.astype(np.float32), random.random(bands) < 0.8)


def random_values(random: np.random.Generator, layer: Layer, size: int, share: float) -> NDArray:
    """Random bits; a share of the values is nodata, or a class if there are classes."""
    shape = (4, *layer.modality.shape(size))
    dtype = np.dtype(layer.modality.dtype)
    values = random.integers(0, 256, (*shape, dtype.itemsize), dtype=np.uint8).view(dtype)[..., 0]
    special = np.array([*layer.modality.codes, layer.modality.fill], dtype)
    return np.where(random.random(shape) < share, random.choice(special, shape), values)


@settings(max_examples=60, deadline=None)
@given(
    dtype=st.sampled_from(NUMBERS), seed=st.integers(0, 2**32), extent=st.sampled_from(["pixel", "image"]),
    grouped=st.booleans(), data=st.data(),
)  # fmt: skip
def test_numbers_as_numpy(dtype: str, seed: int, extent: str, grouped: bool, data: st.DataObject) -> None:
    random = np.random.default_rng(seed)
    special = [0, -99.0, float("nan"), float("inf")] if dtype.startswith("f") else [0, np.iinfo(dtype).max]
    modality = Modality(
        "layer", "Layer", (Band("a"), Band("b"), Band("c")), dtype, data.draw(st.sampled_from(special)), extent=extent,
        statistics_by="level" if grouped else None,
    )  # fmt: skip
    bands = data.draw(st.permutations(range(3)))[: data.draw(st.integers(1, 3))]
    known = GROUPS[:2] if grouped else ("all",)
    layer = Layer(modality, tuple(bands), {group: moments(random, len(bands)) for group in known})
    groups = random.choice(GROUPS if grouped else known, 4).tolist()
    assert_as_numpy(layer, random_values(random, layer, 5, 0.3), groups)


@settings(max_examples=60, deadline=None)
@given(dtype=st.sampled_from(CODES), seed=st.integers(0, 2**32), count=st.integers(1, 9))
def test_classes_as_numpy(dtype: str, seed: int, count: int) -> None:
    random, limits = np.random.default_rng(seed), np.iinfo(dtype)
    low, high = max(limits.min, -(2**40)), min(limits.max, 2**40)
    codes = list(dict.fromkeys(random.integers(low + 1, high, count, endpoint=True).tolist()))
    classes = tuple(Category(code, f"class {code}") for code in codes)
    layer = Layer(Modality("layer", "Layer", (Band("class"),), dtype, low, categories=classes), (0,), {})
    assert_as_numpy(layer, random_values(random, layer, 6, 0.6), ["all"] * 4)


@pytest.mark.parametrize("classes", [(), (Category(3, "three"),)])
def test_a_layer_without_statistics_holds_no_data_unless_it_has_classes(classes: tuple[Category, ...]) -> None:
    layer = Layer(Modality("layer", "Layer", (Band("b"),), "uint8", 0, categories=classes), (0,), {})
    stored = np.full((2, 1, 2, 2), 3, np.uint8)
    assert_as_numpy(layer, stored, ["all", "all"])
    assert prepared(layer, stored, ["all", "all"])[1].all() == bool(classes)

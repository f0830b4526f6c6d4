"""Stored numbers, standardised and back: against arithmetic number by number, on arrays and tensors, and a circle."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.modality import Band, Category, Modality
from training.layer import Layer
from training.standardiser import Moments, Standardiser, no_moments

GROUPS = ("l1c", "l2a")


def moments(random: np.random.Generator, bands: int) -> Moments:
    mean, std = random.normal(100, 300, bands), random.uniform(0.1, 900, bands)
    return Moments(mean.astype(np.float32), std.astype(np.float32), random.random(bands) < 0.8)


def number_by_number(values: NDArray[np.float32], groups: list[int], known: list[Moments]) -> NDArray[np.float32]:
    """Single floats, with no table and no broadcasting."""
    every = np.empty_like(values)
    for index in np.ndindex(values.shape):
        of_group = known[groups[index[0]]]
        every[index] = (values[index] - of_group.mean[index[1]]) / of_group.std[index[1]]
    return every


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), bands=st.integers(1, 4), pixels=st.booleans())
def test_arrays_and_tensors_as_number_by_number(seed: int, bands: int, pixels: bool) -> None:
    random = np.random.default_rng(seed)
    known = [moments(random, bands), moments(random, bands), no_moments(bands)]
    tables = Standardiser.of(dict(zip(GROUPS, known, strict=False)), bands)
    values = random.normal(0, 1e3, (5, bands, 3, 2) if pixels else (5, bands)).astype(np.float32)
    groups = random.integers(0, 3, 5)
    expected = number_by_number(values, groups.tolist(), known)
    np.testing.assert_array_equal(tables.standardise(values.copy(), groups), expected)
    tensors = tables.moved(torch.from_numpy)
    indices = torch.from_numpy(groups)
    assert np.array_equal(tensors.standardise(torch.from_numpy(values.copy()), indices).numpy(), expected)
    restored = tables.restore(expected, groups)
    np.testing.assert_allclose(restored, values, rtol=1e-5, atol=1e-3)
    assert np.array_equal(tensors.restore(torch.from_numpy(expected), indices).numpy(), restored)
    has_data = np.stack([known[group].has_data for group in groups])
    assert np.array_equal(tables.known(values, groups).reshape(has_data.shape), has_data)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    dtype=st.sampled_from(["uint8", "int8", "uint16", "int16", "float32", "float64"]),
    extent=st.sampled_from(["pixel", "image"]),
)
def test_what_a_layer_shows_the_net_gives_the_stored_numbers_back(seed: int, dtype: str, extent: Any) -> None:
    random, whole = np.random.default_rng(seed), not dtype.startswith("f")
    low, high = (np.iinfo(dtype).min, np.iinfo(dtype).max) if whole else (-30_000, 30_000)
    modality = Modality("layer", "Layer", (Band("a"), Band("b"), Band("c")), dtype, low if whole else float("nan"),
                        extent=extent, statistics_by="level")  # fmt: skip
    layer = Layer(modality, (2, 0), {group: moments(random, 2) for group in GROUPS})
    stored = random.uniform(low, high, (6, *modality.shape(4)))
    stored = (np.round(stored) if whole else stored).astype(dtype)
    stored[random.random(stored.shape) < 0.2] = modality.fill
    groups = random.choice(GROUPS, 6).tolist()
    values, valid = layer.values(stored, groups)
    back = layer.stored(values, groups)
    assert back.dtype == np.dtype(dtype)
    np.testing.assert_allclose(
        back[valid], stored[:, [2, 0]][valid], rtol=0 if whole else 1e-5, atol=0 if whole else 1e-2
    )


def test_classes_give_their_codes_back() -> None:
    classes = (Category(30, "Rock"), Category(10, "Wood"))
    layer = Layer(Modality("layer", "Layer", (Band("class"),), "uint8", 255, categories=classes), (0,), {})
    codes = np.array([[[[30, 10]]], [[[10, 30]]]], dtype=np.uint8)
    indices, _ = layer.values(codes, ["all"] * 2)
    back = layer.stored(indices, ["all"] * 2)
    assert back.dtype == np.uint8 and np.array_equal(back, codes)

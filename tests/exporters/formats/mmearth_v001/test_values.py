"""Encodings of values, one by one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from exporters.catalog import modalities
from exporters.formats.mmearth_v001 import datasets
from exporters.formats.mmearth_v001.layer_values import Encoding, refuse_other
from exporters.formats.mmearth_v001.place_values import place_values
from exporters.formats.mmearth_v001.tile_chunk import compressed, filters
from pipeline.errors import Fatal
from pipeline.location import Location
from pipeline.modality import Band, Category
from tests.pipeline.chips import make_chip

LAYERS = {modality.name: modality for modality in modalities()}


@settings(max_examples=40)
@given(
    st.sampled_from(["uint8", "int8", "uint16", "int16", "float32"]).flatmap(
        lambda dtype: arrays(dtype, array_shapes(min_dims=1, max_dims=3, max_side=5))
    )
)
def test_every_chunk_is_read_back_by_hdf5(values):
    with h5py.File.in_memory() as file:
        options = filters(values.dtype)
        array = file.create_dataset("a", (1, *values.shape), values.dtype, chunks=(1, *values.shape), **options)
        array.id.write_direct_chunk((0,) * array.ndim, compressed(values))
        np.testing.assert_array_equal(array[0], values)


def test_hundredths_of_a_decibel_come_back_from_float32():
    """Every stored number of the radar layer."""
    modality = LAYERS[datasets.RADAR.name]
    stored = np.tile(np.arange(-32768, 32768, dtype=np.int16).reshape(1, 1, 256, 256), (1, 8, 1, 1))
    values, valid = Encoding(datasets.RADAR, modality, 256).encoded(stored)
    assert values.dtype == np.float32 and not valid[0, 0, 0, 0] and values[0, 0, 0, 0] == -np.inf
    np.testing.assert_array_equal(np.rint(values[valid].astype(np.float64) * 100), stored[valid])


@given(arrays("float32", (1, 2, 4, 4), elements=st.floats(-500, 40000, width=32)))
def test_relief_is_rounded_and_stays_within_its_dtype(stored):
    values, _ = Encoding(datasets.RELIEF, LAYERS[datasets.RELIEF.name], 4).encoded(stored)
    assert values.dtype == np.int16
    assert np.all(np.abs(values - np.minimum(stored, 32767)) <= 0.5)


def test_reflectance_of_another_scale_is_in_digital_numbers():
    coarse = replace(LAYERS[datasets.OPTICAL.name], scale=1e-3)
    stored = np.full((1, 13, 2, 2), 7, np.uint16)
    stored[0, :, 0, 0] = 0
    values, _ = Encoding(datasets.OPTICAL, coarse, 2).encoded(stored)
    assert values[0, 3].tolist() == [[0, 70], [70, 70]] and values.dtype == np.uint16


@pytest.mark.parametrize("dataset", datasets.LAYERS, ids=lambda dataset: dataset.name)
def test_our_own_layers_are_what_is_expected(dataset):
    refuse_other(dataset, LAYERS[dataset.name])


@pytest.mark.parametrize(
    ("dataset", "change", "words"),
    [
        (datasets.RELIEF, {"bands": (Band("elevation", "m"),)}, "has no band slope"),
        (datasets.RELIEF, {"bands": (Band("elevation", "m"), Band("slope", "rad"))}, "slope in 'rad', not in 'degree'"),
        (datasets.CLIMATE, {"extent": "pixel"}, "pixel level"),
        (datasets.SEASONS, {"categories": (Category(1, "water"), Category(12, "moss"))}, "has the class 12"),
    ],
)
def test_a_layer_that_means_something_else_is_refused(dataset, change, words):
    with pytest.raises(Fatal, match=f"{dataset.name} .*{words}"):
        refuse_other(dataset, replace(LAYERS[dataset.name], **change))


def test_regions_that_are_not_known_have_no_class():
    chip = make_chip(1)
    strange = replace(chip, location=Location("a", 8.0, 50.0, ecoregion=117, ecoregion_name="my field"))
    values = place_values([strange])
    assert not values[datasets.BIOME].any() and not values[datasets.ECOREGION].any()
    np.testing.assert_allclose(values[datasets.LATITUDE][0] @ values[datasets.LATITUDE][0], 1, rtol=1e-6)


def test_chunks_of_many_threads_are_the_same():
    tiles = np.random.default_rng(0).integers(0, 99, (8, 13, 16, 16)).astype(np.uint16)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(compressed, tiles)) == [compressed(tile) for tile in tiles]

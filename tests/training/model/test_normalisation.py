"""What travels with weights prepares the same input as the corpus did."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray

import geocorpus
from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.modality import Band, Modality
from pipeline.observed import CloudDetection, Observed
from training.layer import Layer, groups_of, layer_of
from training.model.normalisation import Normalisation
from training.standardiser import Moments


def make(corpus: Corpus) -> Normalisation:
    """Three inputs: two of three bands in another order, floats, and classes; through JSON, as files keep it."""
    light = layer_of(corpus, "light", {"light": ("green", "red")})
    layers = [light, layer_of(corpus, "echo", {}), layer_of(corpus, "ground", {})]
    return Normalisation.from_dict(json.loads(json.dumps(Normalisation.of(layers).to_dict())))


def stored(corpus: Corpus) -> dict[str, np.ndarray]:
    every = {name: corpus.read(name, slice(0, 6)) for name in ("light", "echo", "ground")}
    return every | {"light": every["light"][:, [2, 0]]}


def test_the_image_is_each_layer_normalised_by_hand(corpus: Corpus) -> None:
    normalisation, raw = make(corpus), stored(corpus)
    levels = [str(item) for item in corpus.manifest.column("level")[:6]]
    image = normalisation.image(raw, levels)
    assert image.shape == (6, 2 + 2 + 3, 32, 32) and image.dtype == torch.float32
    assert normalisation.channels == 7
    for row, level in enumerate(levels):
        for band, place in enumerate((2, 0)):
            moments = corpus.statistics("light")[level][place]
            values = raw["light"][row, band].astype(float)
            expected = np.where(values == 0, 0, (values - moments.mean) / moments.std)
            np.testing.assert_allclose(image[row, band], expected, atol=1e-4)
        up = corpus.statistics("echo")["all"][0]
        np.testing.assert_allclose(image[row, 2], (raw["echo"][row, 0] - up.mean) / up.std, atol=1e-4)
        classes = np.stack([raw["ground"][row, 0] == code for code in (30, 10, 20)])
        assert np.array_equal(image[row, 4:].numpy(), classes)


def test_the_corpus_and_the_file_agree(corpus: Corpus) -> None:
    """Layers for reading a corpus take its arrays as they are, with all of their bands."""
    normalisation = make(corpus)
    levels = corpus.manifest.column("level")[:6]
    for layer in normalisation.layers_of(corpus.modalities):
        mine, valid = layer.values(corpus.read(layer.name, slice(0, 6)), groups_of(corpus, layer)[:6])
        own = next(item for item in normalisation.layers if item.name == layer.name)
        groups = levels if layer.modality.statistics_by else ["all"] * 6
        theirs, also = own.values(stored(corpus)[layer.name], groups)
        assert np.array_equal(mine, theirs) and np.array_equal(valid, also)


def test_some_bands_of_a_layer_that_detects_clouds_are_an_input(corpus: Corpus) -> None:
    """What the whole layer tells of the sky is not said of a part of its bands, which lacks what that takes."""
    layer = layer_of(corpus, "light", {"light": ("green", "red")})
    observed = Observed(detection=CloudDetection(("haze",), "l1c"))
    (restricted,) = Normalisation.of([replace(layer, modality=replace(layer.modality, observed=observed))]).layers
    assert restricted.modality.band_names == ("green", "red")


def test_nan_as_nodata_is_the_corpus_own(corpus: Corpus) -> None:
    """Whatever object it is: a modality from another process has one of its own."""
    echo = layer_of(corpus, "echo", {})
    real = replace(echo, modality=replace(echo.modality, nodata=float("nan")))
    there = pickle.loads(pickle.dumps(real.modality))  # noqa: S301 (our own)
    normalisation = Normalisation.of([real])
    assert [item.modality for item in normalisation.layers_of({"echo": there})] == [real.modality]
    with pytest.raises(Fatal, match=r"is stored otherwise .* with nodata -9999.0 \(the weights: NaN\)"):
        normalisation.layers_of({"echo": replace(echo.modality, nodata=-9999.0)})


LIGHT = Modality("light", "Light", (Band("red"), Band("green")), "uint16", 0, scale=1e-4, valid_range=(1, 20000))
RANGE = r"'light' came as {} .*, and these weights know it stored as uint16 1 to 20000 \(one is 0.0001 .*; give "


def scaled(*bands: str) -> Normalisation:
    """Weights of reflectances that are stored times 10,000."""
    chosen = [LIGHT.band_names.index(name) for name in bands or LIGHT.band_names]
    mean, std = np.full(len(chosen), 2000, np.float32), np.full(len(chosen), 900, np.float32)
    layer = Layer(LIGHT, tuple(chosen), {"all": Moments(mean, std, np.ones(len(chosen), bool))})
    return Normalisation.from_dict(json.loads(json.dumps(Normalisation.of([layer]).to_dict())))


def reflectances(seed: int = 0) -> np.ndarray:
    """Stored numbers of three images, a few of them nodata."""
    numbers = np.random.default_rng(seed).integers(1, 9000, (3, 2, 16, 16)).astype(np.uint16)
    numbers[0, :, :3] = 0
    return numbers


def test_physical_values_have_their_own_entry_and_give_the_same_image() -> None:
    numbers = reflectances()
    physical, expected = LIGHT.physical(numbers), scaled().image({"light": numbers})
    assert torch.equal(scaled().image_from_physical({"light": physical}), expected)
    assert torch.equal(scaled().image_from_physical({"light": physical.astype(np.float32)}), expected)
    assert torch.equal(scaled().image_from_physical({"light": torch.from_numpy(physical)}), expected)
    masked = np.ma.masked_array(np.nan_to_num(physical, nan=0.5), numbers == 0)
    assert torch.equal(scaled().image_from_physical({"light": masked}), expected)
    assert np.array_equal(scaled().stored({"light": physical})["light"], numbers)


@pytest.mark.parametrize("kind", ["<f8", "<f4", "<f2"])
def test_physical_values_are_no_stored_numbers(kind: str) -> None:
    physical = np.nan_to_num(LIGHT.physical(reflectances())).astype(kind)
    with pytest.raises(Fatal, match=RANGE.format("float..") + ".*physical values to `image_from_physical`"):
        scaled().image({"light": physical})


@pytest.mark.parametrize("kind", ["<u2", "<i4", "<f4"])
def test_stored_numbers_are_no_physical_values(kind: str) -> None:
    with pytest.raises(Fatal, match=RANGE.format("float64") + "values in its units, or stored numbers to `image`"):
        scaled().image_from_physical({"light": reflectances().astype(kind)})


@pytest.mark.parametrize("kind", [">u2", "<i2", "<i8", "<u4"])
def test_stored_numbers_may_come_in_a_wider_integer(kind: str) -> None:
    numbers = reflectances()
    assert torch.equal(scaled().image({"light": numbers.astype(kind)}), scaled().image({"light": numbers}))


@pytest.mark.parametrize(
    "strange",
    [
        np.full((1, 2, 4, 4), 200, np.uint8),  # could not hold what the weights have seen
        np.full((1, 2, 4, 4), 70_000, np.int32),
        np.full((1, 2, 4, 4), -1, np.int16),
        np.full((1, 2, 4, 4), 30_000, np.uint16),  # nearly everything beyond the valid range
        np.ones((1, 2, 4, 4), bool),
        np.full((1, 2, 4, 4), "1"),
    ],
    ids=lambda array: str(array.dtype),
)
def test_numbers_that_the_layer_cannot_have_are_refused(strange: np.ndarray) -> None:
    with pytest.raises(Fatal, match="'light' came as .*; give the stored numbers"):
        scaled().image({"light": strange})


def test_a_few_bright_clouds_are_welcome() -> None:
    numbers = reflectances()
    numbers[1, :, :6] = 24_000
    assert torch.equal(
        scaled().image_from_physical({"light": LIGHT.physical(numbers)}), scaled().image({"light": numbers})
    )


def test_codes_are_no_class_indices(corpus: Corpus) -> None:
    ground = Normalisation.of([layer_of(corpus, "ground", {})])
    codes = corpus.read("ground", slice(0, 2))
    physical = corpus.modality("ground").physical(codes)
    assert torch.equal(ground.image_from_physical({"ground": physical}), ground.image({"ground": codes}))
    with pytest.raises(Fatal, match="'ground' came as int64 0 to 2, .* uint8 classes 30, 10, 20; give"):
        ground.image({"ground": np.arange(3).reshape(1, 1, 1, 3)})


def test_nan_is_no_number_of_a_layer_with_another_nodata() -> None:
    height = Modality("height", "Height", (Band("dem", "m"),), "float32", -9999)
    weights = Normalisation.of(
        [Layer(height, (0,), {"all": Moments(*(np.ones(1, np.float32),) * 2, np.ones(1, bool))})]
    )
    holed = np.array([[[[1.0, np.nan]]]], np.float32)
    with pytest.raises(Fatal, match="image_from_physical"):
        weights.image({"height": holed})
    assert weights.image_from_physical({"height": holed}).tolist() == [[[[0.0, 0.0]]]]


def labelled(numbers: np.ndarray, names: list[str], along: str = "band_light") -> xarray.DataArray:
    return xarray.DataArray(
        numbers, dims=("chip", along, "y", "x"), coords={along: names, "level": ("chip", list("abc"))}
    )


@pytest.mark.parametrize("along", ["band_light", "band"])
def test_named_bands_are_found_in_any_order(along: str) -> None:
    numbers = reflectances()
    expected = scaled().image({"light": numbers})
    turned = labelled(
        np.concatenate([numbers[:, ::-1], numbers[:, :1] * 0 + 7], axis=1), ["green", "red", "haze"], along
    )
    assert torch.equal(scaled().image({"light": turned}), expected)
    assert torch.equal(
        scaled().image_from_physical(xarray.Dataset({"light": turned.where(turned > 0) * 1e-4})), expected
    )
    assert torch.equal(scaled().image({"light": turned.transpose("chip", "y", "x", along)}), expected)
    assert torch.equal(scaled("green").image({"light": turned}), scaled("green").image({"light": numbers[:, 1:]}))
    with pytest.raises(Fatal, match="unknown band of light in the array that was given 'red'"):
        scaled().image({"light": turned.isel({along: [0, 2]})})


def test_bands_without_names_are_taken_by_position() -> None:
    numbers = reflectances()
    plain = labelled(numbers, [1, 2], "band")  # type: ignore[list-item]
    assert torch.equal(scaled().image({"light": plain}), scaled().image({"light": numbers}))


def test_what_xarray_opens_is_an_image(corpus: Corpus) -> None:
    """Bands by name, physical values, and processing levels out of one Dataset."""
    normalisation, levels = make(corpus), [str(level) for level in corpus.manifest.column("level")[:6]]
    data = geocorpus.open(corpus.folder).xarray().isel(chip=slice(0, 6))
    assert torch.equal(normalisation.image_from_physical(data), normalisation.image(stored(corpus), levels))


def test_refuses_what_does_not_fit_in_one_sentence(corpus: Corpus) -> None:
    normalisation, raw = make(corpus), stored(corpus)
    with pytest.raises(Fatal, match="need layer 'light', and only echo, ground were given"):
        normalisation.image({"echo": raw["echo"], "ground": raw["ground"]}, "l1c")
    with pytest.raises(Fatal, match=r"give \(rows, 2, y, x\) with green, red"):
        normalisation.image(raw | {"light": corpus.read("light", slice(0, 6))}, "l1c")
    with pytest.raises(Fatal, match="unknown level of light 'all'; known are: l1c, l2a"):
        normalisation.image(raw)
    with pytest.raises(Fatal, match="'light' has 6 rows and 2 groups"):
        normalisation.image(raw, ["l1c", "l2a"])
    with pytest.raises(Fatal, match="'ground', which the corpus lacks"):
        normalisation.layers_of({name: corpus.modalities[name] for name in ("light", "echo")})

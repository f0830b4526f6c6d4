"""Embeddings of chips are what the encoder gives, however they are asked for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from tests.training.embedded import convnext_of, tower_of, towers_of
from tests.training.sensor_corpus import SENSORS, make_sensors
from training.data.centre import read_centre
from training.evaluate.embedder import Embedder
from training.evaluate.views import Views, together, views_of
from training.layer import groups_of
from training.model.image import image_of
from training.weights.pretrained import Pretrained

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def sensors(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return make_sensors(tmp_path_factory.mktemp("sensors"), 20)


def close(one: NDArray[np.float32], other: NDArray[np.float32]) -> None:
    np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-6)


def by_views(view: Views) -> NDArray[np.float32]:
    return np.where(view.present[:, None], view.vectors, np.nan)


def plain(pretrained: Pretrained, corpus: Corpus, row: int, left_out: tuple[str, ...] = ()) -> NDArray[np.float32]:
    """The mean feature of one chip alone, read without the loader; bands in `left_out` are at their means."""
    values, valid = {}, {}
    layers = pretrained.normalisation.layers_of(corpus.modalities)
    for layer in layers:
        stored = read_centre(corpus, layer.name, np.array([row]), corpus.manifest.size_px)
        numbers, known = layer.values(stored, groups_of(corpus, layer)[[row]])
        for place, band in enumerate(pretrained.normalisation.band_names[layer.name]):
            if f"{layer.name}.{band}" in left_out or layer.name in left_out:
                numbers[:, place], known[:, place] = 0, False
        values[layer.name], valid[layer.name] = torch.from_numpy(numbers), torch.from_numpy(known)
    with torch.inference_mode():
        return pretrained.encoder(image_of(layers, values, valid)).mean(dim=(2, 3))[0].numpy()


@pytest.mark.parametrize("names", [("light",), ("light", "ground")])
def test_a_chip_has_the_mean_feature_of_its_own_in_any_order_and_batch(sensors: Corpus, names: tuple[str]) -> None:
    pretrained = convnext_of(sensors, names)
    embedder = Embedder.of([pretrained], CPU)
    assert embedder.views == ("+".join(names),) and embedder.width == pretrained.encoder.width
    rows = np.array([19, 3, 3, 11, 0, 7])
    for batch_rows in (1, 2, 64):
        vectors = embedder.embed(sensors, rows, batch_rows=batch_rows)["+".join(names)]
        assert vectors.dtype == np.float32
        for row, vector in zip(rows, vectors, strict=True):
            close(vector, plain(pretrained, sensors, int(row)))


def test_a_response_normalised_over_a_batch_is_that_of_the_chip_alone(sensors: Corpus) -> None:
    """In the batch of training a chip has other features in other company."""
    pretrained = convnext_of(sensors, ["light"], "batch")
    vectors = Embedder.of([pretrained], CPU).embed(sensors, np.arange(20))["light"]
    for row in (0, 5, 19):
        close(vectors[row], plain(pretrained, sensors, row))


def test_views_of_sensors_and_their_mean(sensors: Corpus) -> None:
    towers, rows = towers_of(sensors), np.arange(20)
    views = [views_of(tower, sensors, rows) for tower in towers]
    embedder = Embedder.of(towers, CPU)
    assert embedder.views == (*SENSORS, "fused") and embedder.width == 16
    vectors = embedder.embed(sensors, rows, batch_rows=7)
    for name, view in zip(SENSORS, views, strict=True):
        close(vectors[name], by_views(view))
    assert np.isnan(vectors["echo"][1]).all() and not np.isnan(vectors["fused"]).any()
    close(vectors["fused"], by_views(together(views)))


def test_channels_and_sensors_are_left_out(sensors: Corpus) -> None:
    towers, rows = towers_of(sensors), np.arange(20)
    embedder = Embedder.of(towers, CPU)
    vectors = embedder.embed(sensors, rows, ["light.red", "ground"])
    close(vectors["light"], by_views(views_of(towers[0], sensors, rows, ["red"])))
    assert np.isnan(vectors["ground"]).all()
    both = [views_of(towers[0], sensors, rows, ["red"]), views_of(towers[1], sensors, rows)]
    close(vectors["fused"], by_views(together(both)))
    alone = embedder.embed(sensors, rows, ["light", "ground"])
    close(alone["fused"], alone["echo"])
    of_two = convnext_of(sensors, ["light", "ground"])
    vectors = Embedder.of([of_two], CPU).embed(sensors, rows[:2], ["light.red", "ground"])
    close(vectors["light+ground"][1], plain(of_two, sensors, 1, ("light.red", "ground")))


def test_a_tower_alone_is_one_view(sensors: Corpus) -> None:
    embedder = Embedder.of([tower_of(sensors, "echo")], CPU)
    assert embedder.views == ("echo",)
    assert embedder.embed(sensors, np.empty(0, np.int64))["echo"].shape == (0, 16)


def test_what_cannot_be_embedded_is_said(sensors: Corpus) -> None:
    embedder, rows = Embedder.of(towers_of(sensors), CPU), np.arange(3)
    with pytest.raises(Fatal, match="unknown sensor to leave out 'ligth'; did you mean 'light'"):
        embedder.embed(sensors, rows, ["ligth"])
    with pytest.raises(Fatal, match="unknown channel of light to leave out 'rde'; did you mean 'red'"):
        embedder.embed(sensors, rows, ["light.rde"])
    with pytest.raises(Fatal, match="nothing is left of light, echo, ground to look at"):
        embedder.embed(sensors, rows, SENSORS)
    with pytest.raises(Fatal, match="the rows of .* are 0 to 19"):
        embedder.embed(sensors, np.array([20]))
    with pytest.raises(Fatal, match="look at the same layers"):
        Embedder.of([tower_of(sensors, "echo"), tower_of(sensors, "echo")], CPU)
    with pytest.raises(Fatal, match="other widths"):
        Embedder.of([tower_of(sensors, "echo"), tower_of(sensors, "light", 8)], CPU)

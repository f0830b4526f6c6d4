"""What travels with weights prepares the same input as the corpus did."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from training.layer import groups_of, layer_of
from training.model.normalisation import Normalisation


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


def test_refuses_what_does_not_fit_in_one_sentence(corpus: Corpus) -> None:
    normalisation, raw = make(corpus), stored(corpus)
    with pytest.raises(Fatal, match="need layer 'light', and only echo, ground were given"):
        normalisation.image({"echo": raw["echo"], "ground": raw["ground"]}, "l1c")
    with pytest.raises(Fatal, match=r"give \(rows, 2, y, x\) with green, red"):
        normalisation.image(raw | {"light": corpus.read("light", slice(0, 6))}, "l1c")
    with pytest.raises(Fatal, match="unknown level of light 'all'; known are: l1c, l2a"):
        normalisation.image(raw)
    with pytest.raises(Fatal, match="'ground', which the corpus lacks"):
        normalisation.layers_of({name: corpus.modalities[name] for name in ("light", "echo")})

"""Frozen features are what an encoder gives, a vector per chip; a chip without data has none."""

from __future__ import annotations

import torch

from pipeline.corpus import Corpus
from tests.training.corpora import CONFIG
from training.architecture import SIZES
from training.model.conv_tower import ConvTower
from training.model.encoder import Encoder
from training.model.frozen import frozen_features
from training.model.image import image_of
from training.model.tower import Tower
from training.model.vit import VIT_SIZES, VitArchitecture
from training.pretrain.resolved_run import resolve_run


def test_of_an_encoder_and_of_towers(corpus: Corpus) -> None:
    resolved = resolve_run(corpus, CONFIG)
    layers, batch = resolved.inputs, resolved.loader.batch(0)
    batch.valid["light"][1], batch.values["light"][1] = False, 0
    image = image_of(layers, batch.values, batch.valid)
    encoder = Encoder(2, SIZES["zepto"], 8)
    towers = [Tower(VitArchitecture(2, VIT_SIZES["zepto"], 8, 24, 16)), ConvTower(encoder.architecture, 16)]
    with torch.no_grad():
        found = [frozen_features(item.eval(), layers, batch) for item in (encoder, *towers)]
        torch.testing.assert_close(found[0][0], encoder(image).mean(dim=(2, 3))[0])
    assert [item.shape[1] for item in found] == [encoder.width, 16, 16]
    assert all(torch.isnan(item[1]).all() and torch.isfinite(item[[0, 2, 3]]).all() for item in found)
    assert all(torch.allclose(item[[0, 2, 3]].norm(dim=1), torch.ones(3)) for item in found[1:])

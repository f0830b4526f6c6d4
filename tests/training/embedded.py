"""Encoders with random weights for the tiny corpora: towers of three sensors, and a ConvNeXt of one or two layers."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from pipeline.corpus import Corpus
from tests.training.sensor_corpus import SENSORS
from training.architecture import SIZES
from training.layer import layer_of
from training.model.encoder import Encoder, initialise
from training.model.normalisation import Normalisation
from training.model.tower import Tower
from training.model.vit import VIT_SIZES, VitArchitecture
from training.weights.pretrained import Pretrained

PATCH_PX = 8


def normalisation_of(corpus: Corpus, names: Sequence[str]) -> Normalisation:
    return Normalisation.of([layer_of(corpus, name, {}) for name in names])


def tower_of(corpus: Corpus, name: str, embedding_width: int = 16) -> Pretrained:
    """A tower of one sensor, of images of 24 px."""
    normalisation = normalisation_of(corpus, [name])
    torch.manual_seed(SENSORS.index(name))
    architecture = VitArchitecture(normalisation.channels, VIT_SIZES["zepto"], PATCH_PX, 24, embedding_width)
    return Pretrained(Tower(architecture, "fan-in").eval(), normalisation)


def towers_of(corpus: Corpus) -> list[Pretrained]:
    return [tower_of(corpus, name) for name in SENSORS]


def convnext_of(corpus: Corpus, names: Sequence[str], grn_scope: str = "image") -> Pretrained:
    normalisation = normalisation_of(corpus, names)
    torch.manual_seed(0)
    encoder = Encoder(normalisation.channels, SIZES["zepto"], PATCH_PX, grn_scope=grn_scope)  # type: ignore[arg-type]
    initialise(encoder, "fan-in")
    for name, item in encoder.named_parameters():
        if "grn" in name:
            torch.nn.init.normal_(item, std=0.5)
    return Pretrained(encoder.eval(), normalisation)

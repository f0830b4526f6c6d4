"""Embeddings of chips by one sensor of contrastive pretraining, with any of its channels left out."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.corpus import Corpus
from pipeline.errors import Fatal, unknown_name
from training.data.centre import read_centre
from training.layer import Layer, groups_of
from training.model.conv_tower import ConvTower
from training.model.image import image_of
from training.model.tower import Tower
from training.model.vit import known_patches
from training.weights.pretrained import Pretrained

_READ_ROWS = 128


@dataclass(frozen=True)
class Views:
    """Unit `vectors` (rows, width) float32 of chips, and which chips the sensor saw at all: `present` (rows,) bool."""

    vectors: NDArray[np.float32]
    present: NDArray[np.bool_]


def views_of(pretrained: Pretrained, corpus: Corpus, rows: NDArray[np.int64], without: Collection[str] = ()) -> Views:
    """Views of the centres of the chips in manifest `rows` (ascending), without the bands named in `without`.

    Centres have the size that a ViT was trained on. Raises `Fatal` for weights that are no tower, a band that it
    does not know, and a corpus that lacks its layer.
    """
    tower = pretrained.encoder
    if not isinstance(tower, Tower | ConvTower):
        raise Fatal("views need the encoder of one sensor, and these weights are another; give an encoder-… file.")
    (layer,) = pretrained.normalisation.layers_of(corpus.modalities)
    kept = _kept(pretrained.normalisation.band_names[layer.name], without)
    parts = [
        _views(tower, layer, corpus, part, kept) for part in np.split(rows, range(_READ_ROWS, len(rows), _READ_ROWS))
    ]
    vectors, present = (torch.cat([part[index] for part in parts]).numpy() for index in (0, 1))
    return Views(vectors, present)


def together(views: Collection[Views]) -> Views:
    """The mean of the views that each chip has, of length 1; present where it has any."""
    present = np.stack([item.present for item in views])
    total = (np.stack([item.vectors for item in views]) * present[..., None]).sum(axis=0)
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return Views(total / np.where(length > 0, length, 1), np.asarray(present.any(axis=0)))


def _kept(names: tuple[str, ...], without: Collection[str]) -> Tensor:
    for name in without:
        if name not in names:
            raise unknown_name("band", name, names)
    return torch.tensor([name not in without for name in names])


def _image_px(tower: Tower | ConvTower, size_px: int) -> int:
    """What a ViT was trained on; of a ConvNeXt all whole patches."""
    whole_px = size_px // tower.patch_px * tower.patch_px
    return min(tower.architecture.image_px, whole_px) if isinstance(tower, Tower) else whole_px


def _views(
    tower: Tower | ConvTower, layer: Layer, corpus: Corpus, rows: NDArray[np.int64], kept: Tensor
) -> tuple[Tensor, Tensor]:
    stored = read_centre(corpus, layer.name, rows, _image_px(tower, corpus.manifest.size_px))
    values, valid = (torch.from_numpy(item) for item in layer.values(stored, groups_of(corpus, layer)[rows]))
    known = known_patches(valid & kept[None, :, None, None], tower.patch_px)
    known = known.repeat_interleave(max(1, layer.classes), dim=1)
    trained = tower.training
    with torch.inference_mode():
        image = image_of((layer,), {layer.name: values}, {layer.name: valid})
        vectors = tower.eval().embedding(image, known)
    tower.train(trained)
    return vectors, known.flatten(1).any(dim=1)

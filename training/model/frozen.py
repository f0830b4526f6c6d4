"""Features of chips by an encoder as it is, one vector per chip."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from training.batch import Batch
from training.layer import Layer
from training.model.conv_tower import ConvTower
from training.model.encoder import Encoder
from training.model.image import image_of
from training.model.tower import Tower
from training.model.vit import known_patches


def frozen_features(encoder: Encoder | Tower, layers: Sequence[Layer], batch: Batch) -> Tensor:
    """Features (rows, width) float32 of unmasked images of `layers`, NaN in rows without any data of them.

    The mean of the last stage's map, or of a tower the vector in the space that it shares with others.
    """
    image = image_of(layers, batch.values, batch.valid)
    parts = [batch.valid[layer.name].repeat_interleave(max(1, layer.classes), dim=1) for layer in layers]
    known = known_patches(torch.cat(parts, dim=1), encoder.patch_px)
    if isinstance(encoder, Tower | ConvTower):
        features = encoder.embedding(image, known)
    else:
        features = encoder(image).mean(dim=(2, 3))
    return torch.where(known.flatten(1).any(dim=1)[:, None], features.float(), torch.nan)

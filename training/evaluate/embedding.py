"""Features of manifest rows: reads chips in order and normalises their centres as in training, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.corpus import Corpus
from training.data.centre import read_centre
from training.layer import Layer, groups_of
from training.model.image import image_of

_READ_ROWS = 256  # About 0.3 GB of the twelve MMEarth layers at 128 px.


def features_of(
    corpus: Corpus,
    layers: Sequence[Layer],
    rows: NDArray[np.int64],
    image_px: int,
    features: Callable[[Tensor], NDArray[np.float32]],
) -> NDArray[np.float32]:
    """Features (rows, width) float32 of the chips in manifest `rows` (rows,), ascending.

    `features` computes them from images (rows, channels, image_px, image_px) float32, the centres of the chips.
    `layers` are the inputs, with the moments with which the encoder was trained.
    """
    groups = [groups_of(corpus, layer) for layer in layers]
    parts = []
    for part in np.array_split(rows, range(_READ_ROWS, len(rows), _READ_ROWS)):
        stored = [read_centre(corpus, layer.name, part, image_px) for layer in layers]
        result = [layer.values(item, group[part]) for layer, item, group in zip(layers, stored, groups, strict=True)]
        values = {layer.name: torch.from_numpy(item) for layer, (item, _) in zip(layers, result, strict=True)}
        valid = {layer.name: torch.from_numpy(item) for layer, (_, item) in zip(layers, result, strict=True)}
        parts.append(features(image_of(layers, values, valid)))
    return np.concatenate(parts)


def band_statistics(images: Tensor) -> NDArray[np.float32]:
    """Mean and standard deviation per channel of `images` (n, channels, y, x): (n, 2 * channels) float32.

    A baseline without a network. Images have the mean where a layer has no data.
    """
    return np.asarray(torch.cat([images.mean(dim=(2, 3)), images.std(dim=(2, 3))], dim=1).numpy(), dtype=np.float32)

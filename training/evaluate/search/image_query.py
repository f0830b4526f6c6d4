"""The vector of an image that is no chip of a corpus: of its middle, by the encoders whose layers it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.errors import Fatal
from training.batch import Batch
from training.evaluate.encoder_view import EncoderView
from training.layer import Layer
from training.model.tower import Tower
from training.model.units import stored_numbers
from training.weights.pretrained import Pretrained

Stored = Mapping[str, NDArray[Any]]


def vectors_of(encoders: Sequence[Pretrained], stored: Stored, groups: Mapping[str, str]) -> dict[str, NDArray[Any]]:
    """Vectors (width,) float32 by view of an image's layers (bands, y, x) in stored numbers, in the bands' order.

    `groups` is the group of statistics of each layer. Of several encoders there is a view "fused" as well, of those
    that see something. Raises `Fatal` where no encoder finds its layers, where the image is smaller than what they look
    at, and for numbers that cannot be the stored ones.
    """
    sensors = [EncoderView.of(item) for item in encoders]
    able = [item for item in sensors if all(layer.name in stored for layer in item.normalisation.layers)]
    if not able:
        needed = "; ".join(item.name for item in sensors)
        raise Fatal(
            f"the image has the layers {', '.join(sorted(stored)) or 'of none'}, and the encoder needs {needed}."
        )
    vectors = {item.name: _vector(item, stored, groups) for item in able}
    if len(sensors) > 1:
        units = [vector / np.linalg.norm(vector) for vector in vectors.values() if np.isfinite(vector).all()]
        vectors["fused"] = np.mean(units, axis=0) if units else next(iter(vectors.values()))
    return vectors


@torch.inference_mode()
def _vector(sensor: EncoderView, stored: Stored, groups: Mapping[str, str]) -> NDArray[np.float32]:
    layers = sensor.normalisation.layers
    size_px = min(min(stored[layer.name].shape[1:]) for layer in layers)
    image_px = sensor.chip_px(size_px)
    if image_px < _least_px(sensor):
        raise Fatal(
            f"the image has {size_px} px a side, and the encoder looks at {_least_px(sensor)}; give a larger one."
        )
    values, valid = {}, {}
    for layer in layers:
        numbers, known = _normalised(layer, stored[layer.name], groups.get(layer.name, ""), image_px)
        values[layer.name], valid[layer.name] = torch.from_numpy(numbers), torch.from_numpy(known)
    batch = Batch(values, valid, torch.zeros(0), (0,))
    kept = {layer.name: torch.ones(len(layer.bands), dtype=torch.bool) for layer in layers}
    vector, _share = sensor.of_chips(layers, batch, kept)
    return _array(vector)


def _least_px(sensor: EncoderView) -> int:
    """What a tower was trained on; of another encoder, a patch."""
    encoder = sensor.encoder
    return encoder.architecture.image_px if isinstance(encoder, Tower) else encoder.patch_px


def _array(vector: Tensor) -> NDArray[np.float32]:
    return np.asarray(vector[0].cpu().numpy(), np.float32)


def _normalised(
    layer: Layer, stored: NDArray[Any], group: str, image_px: int
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Values and mask (1, bands, y, x) of the middle of a layer."""
    top, left = ((size - image_px) // 2 for size in stored.shape[1:])
    middle = stored[None, :, top : top + image_px, left : left + image_px]
    return layer.values(stored_numbers(layer.modality, np.ascontiguousarray(middle)), [group])

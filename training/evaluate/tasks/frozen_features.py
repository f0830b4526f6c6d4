"""Features of labelled images that are compared: an encoder's, those of random weights, and statistics of bands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from training.evaluate.embedding import band_statistics
from training.evaluate.fit import fitted, unfitted
from training.evaluate.probe import embed
from training.evaluate.probed import BANDS, RANDOM, THIS, untrained
from training.evaluate.recipe import Fit
from training.model.encoder import Encoder
from training.model.tower import Tower
from training.weights.pretrained import Pretrained

BLIND = "without looking"


@dataclass(frozen=True)
class Frozen:
    """`of_images` gives (rows, width) float32 of normalised images, `of_pixels` (rows, width, y, x)."""

    of_images: Callable[[Tensor], NDArray[np.float32]]
    of_pixels: Callable[[Tensor], Tensor]


def frozen_features(pretrained: Pretrained, fit: Fit, seed: int) -> Mapping[str, Frozen]:
    """What a probe compares, by name: this encoder, random weights drawn by `seed`, statistics, and nothing at all."""
    random = untrained(pretrained.encoder, seed)
    random.to(next(pretrained.encoder.parameters()).device)
    patch = pretrained.encoder.patch_px
    return {
        THIS: _of_encoder(pretrained.encoder, fit),
        RANDOM: _of_encoder(random, fit),
        BANDS: Frozen(band_statistics, lambda images: _around(images, patch)),
        BLIND: Frozen(
            lambda images: np.zeros((len(images), 1), np.float32), lambda images: torch.zeros_like(images[:, :1])
        ),
    }


def _of_encoder(encoder: Encoder | Tower, fit: Fit) -> Frozen:
    def of_images(images: Tensor) -> NDArray[np.float32]:
        return embed(encoder, fitted(images, encoder.patch_px, fit))

    def of_pixels(images: Tensor) -> Tensor:
        return _enlarged(encoder, images, fit)

    return Frozen(of_images, of_pixels)


def _enlarged(encoder: Encoder | Tower, images: Tensor, fit: Fit) -> Tensor:
    """The last stage's map, interpolated to the pixels of the images."""
    whole = fitted(images, encoder.patch_px, fit)
    device = next(encoder.parameters()).device
    with torch.inference_mode():
        maps = encoder.eval()(whole.to(device)).float().cpu()
    fine = functional.interpolate(maps, whole.shape[-2:], mode="bilinear", align_corners=False)
    return unfitted(fine, (images.shape[-2], images.shape[-1]), fit)


def _around(images: Tensor, patch_px: int) -> Tensor:
    """Each pixel's own bands, and their mean and deviation over the patch around it."""
    side = patch_px // 2 * 2 + 1
    mean, square = (functional.avg_pool2d(part, side, 1, side // 2, count_include_pad=False)
                    for part in (images, images**2))  # fmt: skip
    return torch.cat([images, mean, (square - mean**2).clamp(min=0).sqrt()], dim=1)

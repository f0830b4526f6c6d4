"""What an encoder or a fine-tuned model says of chips, place by place: probabilities of classes, and features."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.corpus import Corpus
from training.evaluate.finetuned import Finetuned, best_device
from training.evaluate.probe import embed
from training.evaluate.samples import images_of
from training.layer import IGNORED
from training.model.normalisation import Normalisation
from training.weights.pretrained import Pretrained

_BATCH = 64


def image_px_of(corpus: Corpus, patch_px: int) -> int:
    """The side of the largest image of whole patches in a chip, which is its centre."""
    return corpus.manifest.size_px // patch_px * patch_px


def on_best_device(pretrained: Pretrained) -> Pretrained:
    """The same, on a GPU where torch finds one."""
    pretrained.encoder.to(best_device())
    return pretrained


def probabilities_of(tuned: Finetuned, corpus: Corpus, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Probabilities (rows, classes[, y, x]) of the centres of chips; NaN where no input has data.

    Per pixel, or one per chip, as the model was fine-tuned. `rows` (rows,) are of the manifest, ascending. Raises
    `Fatal` for a corpus that lacks an input.
    """
    image_px = image_px_of(corpus, tuned.model.encoder.patch_px)
    parts = []
    for part in _batches(rows):
        stored, groups = images_of(corpus, tuned.normalisation, part, image_px)
        seen = _seen(tuned.normalisation, stored)
        known = seen if tuned.dense else seen.any(axis=(1, 2))
        parts.append(_where(known, tuned.probabilities(stored, groups)))
    return np.concatenate(parts)


def classes_of(probabilities: NDArray[np.float32]) -> NDArray[np.int64]:
    """Indices (rows[, y, x]) of the largest of probabilities (rows, classes[, y, x]); `IGNORED` where they are NaN."""
    unknown = np.isnan(probabilities).any(axis=1)
    return np.where(unknown, IGNORED, probabilities.argmax(axis=1))


def chip_features_of(pretrained: Pretrained, corpus: Corpus, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Features (rows, width) of the centres of chips, as `embed` gives them; NaN where no input has data.

    Raises `Fatal` for a corpus that lacks an input.
    """
    parts = []
    for part in _batches(rows):
        images, seen = _images(pretrained, corpus, part)
        parts.append(_where(seen.any(axis=(1, 2)), embed(pretrained.encoder, images)))
    return np.concatenate(parts)


def patch_features_of(pretrained: Pretrained, corpus: Corpus, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Features (rows, width, y / patch, x / patch) of the centres of chips; NaN for a patch without data in any input.

    Raises `Fatal` for a corpus that lacks an input, and for an encoder without a site for each patch.
    """
    pretrained.encoder.refuse_unpadded("a map of features")
    encoder, parts = pretrained.encoder.eval(), []
    device = next(encoder.parameters()).device
    for part in _batches(rows):
        images, seen = _images(pretrained, corpus, part)
        with torch.inference_mode():
            features = encoder(images.to(device)).float().cpu().numpy()
        parts.append(_where(_in_patches(seen, encoder.patch_px), features))
    return np.concatenate(parts)


def _batches(rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return np.split(rows, range(_BATCH, len(rows), _BATCH))


def _images(pretrained: Pretrained, corpus: Corpus, rows: NDArray[np.int64]) -> tuple[torch.Tensor, NDArray[np.bool_]]:
    image_px = image_px_of(corpus, pretrained.encoder.patch_px)
    stored, groups = images_of(corpus, pretrained.normalisation, rows, image_px)
    return pretrained.normalisation.image(stored, groups), _seen(pretrained.normalisation, stored)


def _where(known: Any, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Values (rows, channels[, y, x]) where `known` (rows[, y, x]), NaN elsewhere."""
    return np.where(np.expand_dims(known, 1), values, np.float32(np.nan))


def _seen(normalisation: Normalisation, stored: dict[str, NDArray[Any]]) -> NDArray[np.bool_]:
    """Where some band of some input has data, (rows, y, x)."""
    valid = [layer.modality.valid(stored[layer.name]).any(axis=1) for layer in normalisation.layers]
    return np.asarray(np.logical_or.reduce(valid))


def _in_patches(seen: NDArray[np.bool_], patch_px: int) -> NDArray[np.bool_]:
    """Whether some pixel of a patch is seen, (rows, y / patch, x / patch)."""
    rows, height, width = seen.shape
    blocks = seen.reshape(rows, height // patch_px, patch_px, width // patch_px, patch_px)
    return np.asarray(blocks.any(axis=(2, 4)))

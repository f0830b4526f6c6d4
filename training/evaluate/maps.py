"""What a fine-tuned model says of chips, place by place: probabilities, or numbers in their units."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.corpus import Corpus
from training.evaluate.finetuned import Finetuned
from training.evaluate.samples import images_of
from training.layer import IGNORED
from training.model.normalisation import Normalisation

_BATCH = 64


def image_px_of(corpus: Corpus, patch_px: int) -> int:
    """The side of the largest image of whole patches in a chip, which is its centre."""
    return corpus.manifest.size_px // patch_px * patch_px


def estimates_of(tuned: Finetuned, corpus: Corpus, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """`Finetuned.estimates` (rows, names[, y, x]) of the centres of chips; NaN where no input has data.

    Per pixel, or one per chip, as the model was fine-tuned. `rows` (rows,) are of the manifest, ascending. Raises
    `Fatal` for a corpus that lacks an input.
    """
    image_px = image_px_of(corpus, tuned.model.encoder.patch_px)
    parts = []
    for part in _batches(rows):
        stored, groups = images_of(corpus, tuned.normalisation, part, image_px)
        seen = _seen(tuned.normalisation, stored)
        known = seen if tuned.dense else seen.any(axis=(1, 2))
        parts.append(_where(known, tuned.estimates(stored, groups)))
    return np.concatenate(parts)


def classes_of(probabilities: NDArray[np.float32]) -> NDArray[np.int64]:
    """Indices (rows[, y, x]) of the largest of probabilities (rows, classes[, y, x]); `IGNORED` where they are NaN."""
    unknown = np.isnan(probabilities).any(axis=1)
    return np.where(unknown, IGNORED, probabilities.argmax(axis=1))


def _batches(rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return np.split(rows, range(_BATCH, len(rows), _BATCH))


def _where(known: Any, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Values (rows, channels[, y, x]) where `known` (rows[, y, x]), NaN elsewhere."""
    return np.where(np.expand_dims(known, 1), values, np.float32(np.nan))


def _seen(normalisation: Normalisation, stored: dict[str, NDArray[Any]]) -> NDArray[np.bool_]:
    """Where some band of some input has data, (rows, y, x)."""
    valid = [layer.modality.valid(stored[layer.name]).any(axis=1) for layer in normalisation.layers]
    return np.asarray(np.logical_or.reduce(valid))

"""Linear probes: linear models on frozen features, with bootstrap intervals."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from pipeline.errors import Fatal
from training.model.encoder import Encoder
from training.model.tower import Tower

Features = NDArray[np.float32]

# Penalties from very strong to very weak, and the reverse; features have a standard deviation of 1.
_STRENGTHS = tuple(10.0**power for power in range(-3, 2))  # C of scikit-learn: 1 / penalty
_PENALTIES = tuple(10.0**power for power in range(-2, 6))
_MOST_ITERATIONS = 200
_FOLDS = 3
_RESAMPLES = 2000
_PERCENTILES = (2.5, 97.5)


def embed(encoder: Encoder | Tower, images: Tensor, batch_size: int = 64) -> Features:
    """Features (n, width) float32 of unmasked `images` (n, channels, y, x): the mean of the last stage over each image.

    `images` are normalised as in the training of the encoder, with edges that are multiples of the patch. Raises
    `ValueError` for other edges.
    """
    device = next(encoder.parameters()).device
    trained = encoder.training
    encoder.eval()
    with torch.inference_mode():
        parts = [encoder(part.to(device)).mean(dim=(2, 3)).float().cpu() for part in images.split(batch_size)]
    encoder.train(trained)
    return np.asarray(torch.cat(parts).numpy(), dtype=np.float32)


@dataclass(frozen=True)
class Probe:
    """The losses of a linear model on test samples; all arrays are (test samples,) float64.

    For classes, `losses` are 0 or 1 and `scales` are 1, so `score` is the accuracy. For numbers, they are squared
    errors and squared distances from the mean, so `score` is R2. `guesses` are the losses of a constant prediction:
    the commonest class, or the mean, of the training part.
    """

    losses: NDArray[np.float64]
    guesses: NDArray[np.float64]
    scales: NDArray[np.float64]

    @property
    def score(self) -> float:
        """1 - sum(losses) / sum(scales)."""
        return _score(self.losses, self.scales)

    @property
    def chance(self) -> float:
        """The score of the constant prediction."""
        return _score(self.guesses, self.scales)

    def interval(self, seed: int = 0) -> tuple[float, float]:
        """The 95 % bootstrap interval of the score, over resamples of the test samples."""
        return estimate([self], seed).interval


@dataclass(frozen=True)
class Estimate:
    """A mean over training seeds, and its 95 % bootstrap interval over resamples of seeds and of test samples."""

    mean: float
    interval: tuple[float, float]


def linear_probe(
    train_x: Features, train_y: NDArray[Any], test_x: Features, test_y: NDArray[Any], seed: int = 0
) -> Probe:
    """Fit a linear model to the training part, with a penalty chosen by cross-validation in that part, and test it.

    `train_x` and `test_x` are (samples, features) float32; they are standardised by the training part. Integer labels
    (samples,) are classes: logistic regression. Floating-point labels, (samples,) or (samples, columns), are numbers:
    ridge regression. `seed` draws the folds. Raises `Fatal` for an empty part, unequal numbers of features and labels,
    fewer than two classes, or non-finite features.
    """
    _check(train_x, train_y, test_x, test_y)
    if np.issubdtype(train_y.dtype, np.integer):
        return _probe_classes(train_x, train_y, test_x, test_y, seed)
    return _probe_numbers(train_x, _columns(train_y), test_x, _columns(test_y))


def estimate(probes: Sequence[Probe], seed: int = 0) -> Estimate:
    """The mean score of `probes`, one per training seed, on the same test samples."""
    return _resampled(lambda index, rows: _score_at(probes[index], rows), len(probes), len(probes[0].losses), seed)


def difference(first: Sequence[Probe], second: Sequence[Probe], seed: int = 0) -> Estimate:
    """The mean score of `first` minus that of `second`, probes of the same test samples, in pairs.

    A resample draws test samples, the same for both, and pairs. Raises `ValueError` for sequences of unequal length.
    """
    pairs = list(zip(first, second, strict=True))

    def score_difference(index: int, rows: NDArray[np.int64]) -> float:
        return _score_at(pairs[index][0], rows) - _score_at(pairs[index][1], rows)

    return _resampled(score_difference, len(pairs), len(first[0].losses), seed)


def _resampled(score: Callable[[int, NDArray[np.int64]], float], count: int, samples: int, seed: int) -> Estimate:
    random = np.random.default_rng(seed)
    scores = []
    for _ in range(_RESAMPLES):
        rows = random.integers(0, samples, samples)
        scores.append(np.mean([score(index, rows) for index in random.integers(0, count, count)]))
    low, high = np.percentile(scores, _PERCENTILES)
    every_row = np.arange(samples)
    return Estimate(float(np.mean([score(index, every_row) for index in range(count)])), (float(low), float(high)))


def _score_at(probe: Probe, rows: NDArray[np.int64]) -> float:
    return _score(probe.losses[rows], probe.scales[rows])


def _score(losses: NDArray[np.float64], scales: NDArray[np.float64]) -> float:
    total = float(scales.sum())
    return 1 - float(losses.sum()) / total if total else 0.0


def _probe_classes(
    train_x: Features, train_y: NDArray[Any], test_x: Features, test_y: NDArray[Any], seed: int
) -> Probe:
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=_MOST_ITERATIONS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Warnings about rare classes and strong penalties are expected.
        search = GridSearchCV(model, {"logisticregression__C": _STRENGTHS}, cv=_folds(train_y, seed))
        search.fit(train_x, train_y)
    missed = (search.predict(test_x) != test_y).astype(np.float64)
    classes, counts = np.unique(train_y, return_counts=True)
    guessed = (test_y != classes[counts.argmax()]).astype(np.float64)
    return Probe(missed, guessed, np.ones(len(test_y)))


def _folds(labels: NDArray[Any], seed: int) -> StratifiedKFold | KFold:
    """Stratified folds where the classes have enough samples."""
    most = int(np.unique(labels, return_counts=True)[1].max())
    if most < 2:
        return KFold(2, shuffle=True, random_state=seed)
    return StratifiedKFold(min(_FOLDS, most), shuffle=True, random_state=seed)


def _probe_numbers(train_x: Features, train_y: NDArray[Any], test_x: Features, test_y: NDArray[Any]) -> Probe:
    """Columns have equal weight: errors are divided by the standard deviation of the column in the test part."""
    model = make_pipeline(StandardScaler(), RidgeCV(_PENALTIES))
    model.fit(train_x, train_y)
    std = test_y.std(axis=0)
    std = np.where(std > 0, std, 1.0)
    predicted = model.predict(test_x).reshape(test_y.shape)
    losses, guessed, scales = (
        (((test_y - answer) / std) ** 2).mean(axis=1)
        for answer in (predicted, train_y.mean(axis=0), test_y.mean(axis=0))
    )
    return Probe(losses, guessed, scales)


def _columns(labels: NDArray[Any]) -> NDArray[np.float64]:
    return labels.astype(np.float64).reshape(len(labels), -1)


def _check(train_x: Features, train_y: NDArray[Any], test_x: Features, test_y: NDArray[Any]) -> None:
    if not len(train_y) or not len(test_y):
        raise Fatal("a probe needs samples to fit and others to test; give it rows of two splits.")
    if len(train_x) != len(train_y) or len(test_x) != len(test_y):
        raise Fatal("a probe needs one label per row of features; give it as many.")
    if not (np.isfinite(train_x).all() and np.isfinite(test_x).all()):
        raise Fatal("some features are not finite; the encoder's weights or its input are damaged.")
    if np.issubdtype(train_y.dtype, np.integer) and len(np.unique(train_y)) < 2:
        raise Fatal("all training labels are of one class; there is nothing to probe, choose another label.")

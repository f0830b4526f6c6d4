"""Linear probes: what a plain linear model reads off frozen features, with what is left to chance."""

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

Features = NDArray[np.float32]

# From hardly any freedom to hardly any restraint; features have a standard deviation of 1.
_STRENGTHS = tuple(10.0**power for power in range(-3, 2))  # of scikit-learn's C: one over the penalty
_PENALTIES = tuple(10.0**power for power in range(-2, 6))
_MOST_ITERATIONS = 200
_FOLDS = 3
_RESAMPLES = 2000
_PERCENTILES = (2.5, 97.5)


def embed(encoder: Encoder, images: Tensor, batch_size: int = 64) -> Features:
    """Features (n, width) of unmasked `images` (n, channels, y, x): the last stage's, averaged over each image.

    `images` are what the encoder was trained on: normalised, cut to a multiple of the patch.
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
    """How well a linear model does on samples that it has not seen; all arrays are (test samples,).

    For classes `losses` are 0 or 1 and `scales` 1, so that `score` is the accuracy; for numbers they are squared errors
    and squared distances from the mean, so that it is R2. `guesses` are the losses of always answering the training
    part's commonest class, or its mean.
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
        """The score of the constant answer."""
        return _score(self.guesses, self.scales)

    def interval(self, seed: int = 0) -> tuple[float, float]:
        """Where the score of 95 % of the bootstrap's resamples of the test samples lies."""
        return estimate([self], seed).interval


@dataclass(frozen=True)
class Estimate:
    """A mean over training seeds, and where it lies in 95 % of the resamples of seeds and of test samples."""

    mean: float
    interval: tuple[float, float]


def linear_probe(
    train_x: Features, train_y: NDArray[Any], test_x: Features, test_y: NDArray[Any], seed: int = 0
) -> Probe:
    """Fit a linear model to the training part, its penalty chosen by cross-validation inside that part, and test it.

    `train_x` and `test_x` are (samples, features), standardised here by the training part. Whole-number labels
    (samples,) are classes: logistic regression. Others (samples,) or (samples, columns) are numbers: ridge
    regression. `seed` draws the folds. Raises `Fatal` for an empty part, fewer than two classes,
    or features that are not finite.
    """
    _check(train_x, train_y, test_x, test_y)
    if np.issubdtype(train_y.dtype, np.integer):
        return _probe_classes(train_x, train_y, test_x, test_y, seed)
    return _probe_numbers(train_x, _columns(train_y), test_x, _columns(test_y))


def estimate(probes: Sequence[Probe], seed: int = 0) -> Estimate:
    """The mean score of `probes` of the same test samples, one per training seed."""
    return _resampled(lambda place, rows: _score_at(probes[place], rows), len(probes), len(probes[0].losses), seed)


def difference(one: Sequence[Probe], other: Sequence[Probe], seed: int = 0) -> Estimate:
    """The mean score of `one` minus that of `other`, probes of the same test samples, pair by pair.

    A resample draws samples, the same for both sides, and pairs. Raises `ValueError` for sides of different lengths.
    """
    pairs = list(zip(one, other, strict=True))

    def gap(place: int, rows: NDArray[np.int64]) -> float:
        return _score_at(pairs[place][0], rows) - _score_at(pairs[place][1], rows)

    return _resampled(gap, len(pairs), len(one[0].losses), seed)


def _resampled(score: Callable[[int, NDArray[np.int64]], float], count: int, samples: int, seed: int) -> Estimate:
    random = np.random.default_rng(seed)
    result = []
    for _ in range(_RESAMPLES):
        rows = random.integers(0, samples, samples)
        result.append(np.mean([score(place, rows) for place in random.integers(0, count, count)]))
    low, high = np.percentile(result, _PERCENTILES)
    whole = np.arange(samples)
    return Estimate(float(np.mean([score(place, whole) for place in range(count)])), (float(low), float(high)))


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
        warnings.simplefilter("ignore")  # Rare classes and strong penalties are expected; scores tell.
        search = GridSearchCV(model, {"logisticregression__C": _STRENGTHS}, cv=_folds(train_y, seed))
        search.fit(train_x, train_y)
    missed = (search.predict(test_x) != test_y).astype(np.float64)
    classes, counts = np.unique(train_y, return_counts=True)
    guessed = (test_y != classes[counts.argmax()]).astype(np.float64)
    return Probe(missed, guessed, np.ones(len(test_y)))


def _folds(labels: NDArray[Any], seed: int) -> StratifiedKFold | KFold:
    """Folds that hold every class where its samples suffice."""
    most = int(np.unique(labels, return_counts=True)[1].max())
    if most < 2:
        return KFold(2, shuffle=True, random_state=seed)
    return StratifiedKFold(min(_FOLDS, most), shuffle=True, random_state=seed)


def _probe_numbers(train_x: Features, train_y: NDArray[Any], test_x: Features, test_y: NDArray[Any]) -> Probe:
    """Columns count alike: each is divided by its standard deviation in the test part."""
    model = make_pipeline(StandardScaler(), RidgeCV(_PENALTIES))
    model.fit(train_x, train_y)
    spread = test_y.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    predicted = model.predict(test_x).reshape(test_y.shape)
    losses, guessed, scales = (
        (((test_y - answer) / spread) ** 2).mean(axis=1)
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

"""Logistic regression (scikit-learn) on the directions that the labelled chips span: the same model, less work."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import KFold, StratifiedKFold

from training.evaluate.fewshot.ridge import Spectrum
from training.evaluate.fewshot.scaled import Floats, scaled

STRENGTHS = tuple(10.0**power for power in range(-3, 2))  # C of scikit-learn: 1 / penalty
FOLDS = 3
_MOST_ITERATIONS = 200


def logistic(train_x: Floats, train_y: NDArray[Any], test_x: Floats, seed: int = 0) -> Mapping[str, NDArray[np.int64]]:
    """Predictions (tests,) of the head "logistic"; the penalty has the best balanced accuracy in folds of the draw.

    Features are in units of the draw's deviation. With a quadratic penalty the weights lie in the span of the
    features, so a rotation into it changes nothing. `seed` draws the folds.
    """
    train, test = scaled(train_x, test_x)
    right = Spectrum.of(train).right
    if not right.shape[1]:
        return {"logistic": np.full(len(test), np.bincount(train_y).argmax(), dtype=np.int64)}
    train, test = train @ right, test @ right
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of rare classes and of strong penalties, which are expected.
        model = LogisticRegression(C=_best(train, train_y, seed), max_iter=_MOST_ITERATIONS).fit(train, train_y)
    return {"logistic": model.predict(test).astype(np.int64)}


def _best(features: Floats, labels: NDArray[Any], seed: int) -> float:
    guesses = np.zeros((len(STRENGTHS), len(labels)), dtype=labels.dtype)
    for fitted, left in folds_of(labels, seed).split(features, labels):
        if len(np.unique(labels[fitted])) < 2:
            guesses[:, left] = labels[fitted][0]
            continue
        model = LogisticRegression(max_iter=_MOST_ITERATIONS, warm_start=True)
        for number, strength in enumerate(STRENGTHS):
            model.set_params(C=strength).fit(features[fitted], labels[fitted])
            guesses[number, left] = model.predict(features[left])
    scores = [balanced_accuracy_score(labels, guess) for guess in guesses]
    return STRENGTHS[int(np.argmax(scores))]


def folds_of(labels: NDArray[Any], seed: int) -> StratifiedKFold | KFold:
    """Stratified folds where the classes have enough samples."""
    most = int(np.unique(labels, return_counts=True)[1].max())
    if most < 2:
        return KFold(2, shuffle=True, random_state=seed)
    return StratifiedKFold(min(FOLDS, most), shuffle=True, random_state=seed)

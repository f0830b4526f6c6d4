"""Linear models on frozen features for every kind of labels, with penalties chosen among the training samples."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import f1_score
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits
from torch import Tensor

from pipeline.errors import Fatal
from training.evaluate.tasks.label_task import LabelTask
from training.evaluate.tasks.multi_label import MultiLabel
from training.evaluate.tasks.regression import Regression

Features = NDArray[np.float32]
Model = Callable[[Features], Tensor]
_STRENGTHS = tuple(10.0**power for power in range(-3, 2))  # C of scikit-learn: 1 / penalty; features are standardised
_PENALTIES = tuple(10.0**power for power in range(-2, 6))
_ITERATIONS, _FOLDS = 200, 3
_MANY = 2_000_000  # numbers from which on several threads are worth it; on few they wait for each other
_SURE = 1e4  # the output for a label that no, or every, training sample has


def fit_linear(task: LabelTask, features: Features, labels: NDArray[Any], seed: int = 0) -> Model:
    """A linear model of (samples, width) float32 for labels of `task`, which gives outputs (samples, names) of others.

    Logistic regression for classes and for each of several labels, ridge regression for numbers. Every sample has a
    label. Raises `Fatal` for features that are not finite, no samples, or classes of which there is one only.
    """
    if not len(features):
        raise Fatal("a linear model needs samples with labels; give more.")
    if not np.isfinite(features).all():
        raise Fatal("some features are not finite; the encoder's weights or its input are damaged.")
    with warnings.catch_warnings(), threadpool_limits(_threads(features)):
        warnings.simplefilter("ignore")  # Rare classes and strong penalties are expected.
        if isinstance(task, Regression):
            return _ridge(task, features, labels)
        if isinstance(task, MultiLabel):
            return _logistic_each(features, labels, seed)
        return _logistic(len(task.names), features, labels, seed)


def folds_of(task: LabelTask, labels: NDArray[Any], folds: int, seed: int) -> list[tuple[Any, Any]]:
    """Indices (train, test) of cross-validation; equal shares of the classes where each has enough samples."""
    classes = task.kind == "single-label" and labels.ndim == 1
    if classes and int(np.unique(labels, return_counts=True)[1].min()) >= folds:
        return list(StratifiedKFold(folds, shuffle=True, random_state=seed).split(labels, labels))
    return list(KFold(min(folds, len(labels)), shuffle=True, random_state=seed).split(labels))


def _logistic(count: int, features: Features, labels: NDArray[Any], seed: int) -> Model:
    classes = np.unique(labels)
    if len(classes) < 2:
        raise Fatal("all training labels are of one class; there is nothing to probe, choose others.")
    scaler = StandardScaler().fit(features)
    scaled = scaler.transform(features)
    model = LogisticRegression(C=_strength(scaled, labels, seed), max_iter=_ITERATIONS).fit(scaled, labels)

    def outputs(others: Features) -> Tensor:
        result = np.full((len(others), count), -_SURE)
        result[:, classes] = model.predict_log_proba(scaler.transform(others))
        return torch.from_numpy(np.maximum(result, -_SURE)).float()

    return outputs


def _strength(features: Features, labels: NDArray[Any], seed: int) -> float:
    """The one with the best accuracy in folds of the training samples."""
    hits = np.zeros(len(_STRENGTHS))
    for train, test in _inner_folds(labels, seed).split(features, labels):
        if len(np.unique(labels[train])) < 2:
            continue
        model = LogisticRegression(max_iter=_ITERATIONS, warm_start=True)
        for index, strength in enumerate(_STRENGTHS):
            model.set_params(C=strength).fit(features[train], labels[train])
            hits[index] += (model.predict(features[test]) == labels[test]).sum()
    return _STRENGTHS[int(hits.argmax())]


def _inner_folds(labels: NDArray[Any], seed: int) -> KFold | StratifiedKFold:
    most = int(np.unique(labels, return_counts=True)[1].max())
    if most < 2:
        return KFold(2, shuffle=True, random_state=seed)
    return StratifiedKFold(min(_FOLDS, most), shuffle=True, random_state=seed)


def _logistic_each(features: Features, labels: NDArray[Any], seed: int) -> Model:
    """One for each label, with the penalty that all of them do best with on a fifth of the training samples."""
    order = np.random.default_rng(seed).permutation(len(features))
    held, rest = order[: max(1, len(order) // 5)], order[max(1, len(order) // 5) :]
    scores = {
        strength: f1_score(
            labels[held], _each(features[rest], labels[rest], strength)(features[held]).numpy() > 0,
            average="micro", zero_division=0,
        )
        for strength in _STRENGTHS
    }  # fmt: skip
    return _each(features, labels, max(scores, key=lambda strength: scores[strength]))


def _each(features: Features, labels: NDArray[Any], strength: float) -> Model:
    scaler = StandardScaler().fit(features)
    scaled = scaler.transform(features)
    models = [_one(scaled, column, strength) for column in labels.T]
    return lambda others: torch.from_numpy(np.stack([model(scaler.transform(others)) for model in models], 1)).float()


def _one(features: Features, labels: NDArray[Any], strength: float) -> Callable[[Features], NDArray[Any]]:
    if len(np.unique(labels)) < 2:
        constant = _SURE if len(labels) and labels[0] else -_SURE
        return lambda others: np.full(len(others), constant)
    model = LogisticRegression(C=strength, max_iter=_ITERATIONS).fit(features, labels)
    return lambda others: np.asarray(model.decision_function(others))


def _ridge(task: Regression, features: Features, labels: NDArray[Any]) -> Model:
    """Of standardised numbers, column by column, as a sample may lack some of them."""
    mean, std = np.array(task.mean), np.array(task.std)
    models = []
    for column, values in enumerate(((labels - mean) / std).T):
        known = np.isfinite(values)
        if not known.any():
            raise Fatal(f"column {task.names[column]!r} has no number among the training labels.")
        models.append(make_pipeline(StandardScaler(), RidgeCV(_PENALTIES)).fit(features[known], values[known]))
    return lambda others: torch.from_numpy(np.stack([model.predict(others) for model in models], axis=1)).float()


def _threads(features: Features) -> int | None:
    return None if features.size > _MANY else 1

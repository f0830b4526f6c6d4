"""Scores of frozen features against scikit-learn and plain arithmetic: what was planted is found, and noise is not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import RidgeCV
from sklearn.neighbors import KNeighborsRegressor

from training.evaluate.retrieval import recall_at_1 as plain_recall
from training.model.frozen_scores import _PENALTIES, by_neighbours, by_ridge, frozen_scores
from training.model.recall import recall_at_1

RANDOM = np.random.default_rng(0)
TRAIN, TEST = RANDOM.normal(size=(90, 7)), RANDOM.normal(size=(40, 7))
SLOPES = RANDOM.normal(size=(7, 2))


def test_ridge_is_that_of_scikit_learn() -> None:
    targets = TRAIN @ SLOPES + RANDOM.normal(size=(90, 2))
    train = (TRAIN - TRAIN.mean(axis=0)) / TRAIN.std(axis=0)
    model = RidgeCV(_PENALTIES).fit(train, targets)
    np.testing.assert_allclose(by_ridge(train, targets, TEST), model.predict(TEST), rtol=1e-6, atol=1e-8)


def test_neighbours_are_those_of_scikit_learn() -> None:
    unit = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in (TRAIN, TEST)]
    targets = TRAIN @ SLOPES
    model = KNeighborsRegressor(5, weights=lambda far: np.exp(-(far**2) / 2 / 0.07)).fit(unit[0], targets)
    np.testing.assert_allclose(by_neighbours(TRAIN, targets, TEST, 5), model.predict(unit[1]), rtol=1e-6)


def test_planted_labels_are_found_and_shuffled_ones_are_not() -> None:
    numbers = [part @ SLOPES for part in (TRAIN, TEST)]
    assert frozen_scores(TRAIN, numbers[0], TEST, numbers[1])["linear"] > 0.99
    classes = [(item[:, 0] > 0).astype(np.int64) * 3 + 2 for item in numbers]
    found = frozen_scores(TRAIN, classes[0], TEST, classes[1])
    assert found["linear"] > 0.8 and found["knn"] > 0.75
    shuffled = frozen_scores(TRAIN, RANDOM.permutation(classes[0]), TEST, classes[1])
    assert max(shuffled.values()) < 0.75


def test_one_sample_says_nothing() -> None:
    assert all(np.isnan(item) for item in frozen_scores(TRAIN[:1], np.array([1]), TEST, np.ones(40, int)).values())


def test_recall_is_the_mean_of_both_directions_over_chips_with_both() -> None:
    views = RANDOM.normal(size=(30, 2, 4)).astype(np.float32)
    views[:20, 1] = views[:20, 0] + 0.3 * views[:20, 1]
    views /= np.linalg.norm(views, axis=2, keepdims=True)
    present = RANDOM.random((30, 2)) > 0.2
    one, other = (views[present.all(axis=1), sensor] for sensor in (0, 1))
    expected = (plain_recall(one, other).score + plain_recall(other, one).score) / 2
    found = recall_at_1(torch.from_numpy(views), torch.from_numpy(present), (0, 1))
    assert float(found) == pytest.approx(expected) and 0.2 < expected < 1
    nothing = recall_at_1(torch.from_numpy(views), torch.zeros(30, 2, dtype=torch.bool), (0, 1))
    assert bool(nothing.isnan())

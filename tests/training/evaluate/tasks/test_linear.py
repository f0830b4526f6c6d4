"""Linear models of every kind of labels are scikit-learn's own, and find what frozen features hold."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pipeline.errors import Fatal
from training.evaluate.tasks import linear
from training.evaluate.tasks.linear import fit_linear, folds_of
from training.evaluate.tasks.multi_label import MultiLabel
from training.evaluate.tasks.regression import Regression
from training.evaluate.tasks.single_label import SingleLabel

RANDOM = np.random.default_rng(5)
FEATURES = RANDOM.normal(size=(150, 6)).astype(np.float32)
TRUE = FEATURES @ RANDOM.normal(size=(6, 3)) + RANDOM.normal(size=(150, 3))
TRAIN, TEST = slice(0, 100), slice(100, 150)


def test_classes_as_scikit_learn_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "_STRENGTHS", (0.1,))
    labels = 1 + TRUE.argmax(axis=1)  # the first of four classes never occurs
    plain = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=200)).fit(FEATURES[TRAIN], labels[TRAIN])
    task = SingleLabel(("none", "a", "b", "c"))
    outputs = fit_linear(task, FEATURES[TRAIN], labels[TRAIN])(FEATURES[TEST])
    assert np.array_equal(task.answers(outputs), plain.predict(FEATURES[TEST]))
    np.testing.assert_allclose(outputs[:, 1:].exp(), plain.predict_proba(FEATURES[TEST]), atol=1e-5)


def test_several_labels_as_scikit_learn_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "_STRENGTHS", (0.1,))
    labels = np.concatenate([TRUE > 0.3, np.ones((150, 1))], axis=1).astype(int)  # the last one everywhere
    outputs = fit_linear(MultiLabel(tuple("abcd")), FEATURES[TRAIN], labels[TRAIN])(FEATURES[TEST]).numpy()
    for label in range(3):
        plain = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=200))
        plain.fit(FEATURES[TRAIN], labels[TRAIN, label])
        np.testing.assert_allclose(outputs[:, label], plain.decision_function(FEATURES[TEST]), atol=1e-4)
    assert (outputs[:, 3] > 0).all()


def test_numbers_as_scikit_learn_has_them() -> None:
    labels = TRUE * [1, 1000, 3] + [0, 5e4, 1]
    labels[3, 0] = np.nan
    task = Regression(("a", "b", "c")).fitted([labels[TRAIN]])
    answers = task.answers(fit_linear(task, FEATURES[TRAIN], labels[TRAIN])(FEATURES[TEST]))
    for column in (1, 2):
        plain = make_pipeline(StandardScaler(), RidgeCV([10.0**power for power in range(-2, 6)]))
        plain.fit(FEATURES[TRAIN], labels[TRAIN, column])
        np.testing.assert_allclose(answers[:, column], plain.predict(FEATURES[TEST]), rtol=1e-3)


def test_folds_and_refusals() -> None:
    labels = np.arange(40) % 4
    for train, test in folds_of(SingleLabel(tuple("abcd")), labels, 5, 0):
        assert np.bincount(labels[test]).tolist() == [2] * 4 and not set(train) & set(test)
    assert len(folds_of(SingleLabel(("a", "b")), np.array([0, 0, 1]), 5, 0)) == 3
    task = SingleLabel(("a", "b"))
    with pytest.raises(Fatal, match="all training labels are of one class"):
        fit_linear(task, FEATURES[:5], np.zeros(5, int))
    with pytest.raises(Fatal, match="features are not finite"):
        fit_linear(task, FEATURES[:5] * np.nan, np.arange(5) % 2)
    with pytest.raises(Fatal, match="needs samples with labels"):
        fit_linear(task, FEATURES[:0], np.zeros(0, int))

"""Every model, beside scikit-learn's own on the same draw."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pipeline.errors import Fatal
from training.evaluate.fewshot.forest import LEAVES, TREES
from training.evaluate.fewshot.heads import predictions
from training.evaluate.fewshot.logistic import STRENGTHS, folds_of
from training.evaluate.fewshot.ridge import PENALTIES
from training.evaluate.fewshot.task import Task

NUMBERS = Task("cover", np.zeros(0))
CLASSES = Task("kind", np.zeros(0, np.int64), ("a", "b", "c"))


def made(labels: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Features of train and test, and numbers and classes of train that depend on them."""
    random = np.random.default_rng(seed)
    train, test = random.normal(3, 2, (labels, width)), random.normal(3, 2, (40, width))
    numbers = train[:, 0] - 0.5 * train[:, 1] + random.normal(0, 0.3, labels)
    return train, test, numbers, np.digitize(numbers, np.quantile(numbers, [0.3, 0.6]))


@pytest.mark.parametrize(("labels", "width"), [(10, 30), (60, 8), (30, 30), (25, 200)])
def test_ridge_is_that_of_scikit_learn(labels: int, width: int) -> None:
    train, test, numbers, _ = made(labels, width)
    answer = predictions(["linear"], (train, numbers), test, NUMBERS)
    plain = make_pipeline(StandardScaler(), RidgeCV(PENALTIES)).fit(train, numbers)
    np.testing.assert_allclose(answer["ridge"], plain.predict(test), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("labels", [2, 15, 200])
def test_neighbours_are_those_of_scikit_learn(labels: int) -> None:
    train, test, numbers, classes = made(labels, 5)
    of_numbers = predictions(["nearest"], (train, numbers), test, NUMBERS)
    of_classes = predictions(["nearest"], (train, classes), test, CLASSES)
    for count in (1, 3, 20):
        plain = make_pipeline(StandardScaler(), KNeighborsRegressor(min(count, labels))).fit(train, numbers)
        np.testing.assert_allclose(of_numbers[f"k-NN {count}"], plain.predict(test))
        plain = make_pipeline(StandardScaler(), KNeighborsClassifier(min(count, labels))).fit(train, classes)
        np.testing.assert_array_equal(of_classes[f"k-NN {count}"], plain.predict(test))


@pytest.mark.parametrize(("labels", "width"), [(20, 40), (90, 6)])
def test_logistic_regression_is_that_of_scikit_learn(labels: int, width: int) -> None:
    train, test, _, classes = made(labels, width)
    answer = predictions(["linear"], (train, classes), test, CLASSES, seed=4)["logistic"]
    scaled = StandardScaler().fit(train)
    search = GridSearchCV(
        LogisticRegression(max_iter=2000), {"C": STRENGTHS}, cv=folds_of(classes, 4), scoring="balanced_accuracy"
    )
    best = search.fit(scaled.transform(train), classes)
    assert (answer == best.predict(scaled.transform(test))).mean() >= 0.95


def test_a_forest_is_that_of_scikit_learn_with_the_better_leaf() -> None:
    train, test, numbers, classes = made(50, 9)
    for kind, task, labels in ((RandomForestRegressor, NUMBERS, numbers), (RandomForestClassifier, CLASSES, classes)):
        answer = predictions(["forest"], (train, labels), test, task, seed=1)["forest"]
        plain = [
            kind(TREES, min_samples_leaf=leaf, max_features="sqrt", oob_score=True, random_state=1).fit(train, labels)
            for leaf in LEAVES
        ]
        best = max(plain, key=lambda model: model.oob_score_)
        np.testing.assert_array_equal(answer, best.predict(test))


def test_features_without_spread_give_the_mean_or_the_commonest_class() -> None:
    _, _, numbers, classes = made(12, 3)
    flat, test = np.full((12, 3), 0.1), np.full((4, 3), 7.0)
    np.testing.assert_allclose(predictions(["linear"], (flat, numbers), test, NUMBERS)["ridge"], numbers.mean())
    answer = predictions(["linear"], (flat, classes), test, CLASSES)["logistic"]
    assert set(answer) == {np.bincount(classes).argmax()}


def test_a_family_that_there_is_not() -> None:
    train, test, numbers, _ = made(12, 3)
    with pytest.raises(Fatal, match="unknown family of heads 'forests'; did you mean 'forest'"):
        predictions(["forests"], (train, numbers), test, NUMBERS)

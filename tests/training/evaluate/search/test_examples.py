"""A direction from a few examples: logistic regression, and from one of each the line between the two."""

from __future__ import annotations

import numpy as np
import pytest

from training.evaluate.search.examples import Direction
from training.evaluate.search.nearest import nearest
from training.evaluate.search.unit_rows import unit_rows


def two_clouds() -> tuple[np.ndarray, np.ndarray]:
    draws = np.random.default_rng(0)
    centres = draws.standard_normal((2, 16))
    is_wanted = draws.random(400) < 0.3
    return centres[is_wanted.astype(int)] + 0.6 * draws.standard_normal((400, 16)), is_wanted


def test_one_of_each_gives_the_line_between_them() -> None:
    values, _ = two_clouds()
    one, other = values[:1] / np.linalg.norm(values[0]), values[1:2] / np.linalg.norm(values[1])
    found = Direction.of(values[:1], values[1:2])
    line = (one - other)[0]
    assert found.weights @ line / np.linalg.norm(found.weights) / np.linalg.norm(line) == pytest.approx(1, abs=1e-6)
    middle = (one + other)[0] / 2
    assert found.weights @ middle + found.bias == pytest.approx(0, abs=1e-3)


def test_a_few_examples_rank_the_others_as_scikit_learn_would() -> None:
    from sklearn.metrics import roc_auc_score

    values, is_wanted = two_clouds()
    wanted, unwanted = np.flatnonzero(is_wanted)[:5], np.flatnonzero(~is_wanted)[:5]
    found = Direction.of(values[wanted], values[unwanted])
    ranked = nearest(unit_rows(values), found.weights[None], k=400)[0]
    probabilities = found.probabilities(ranked.similarity)
    assert (np.diff(probabilities) <= 0).all() and probabilities[0] > 0.8 and probabilities[-1] < 0.2
    assert roc_auc_score(is_wanted[ranked.rows], probabilities) > 0.95


def test_probabilities_are_those_of_the_vectors_themselves() -> None:
    values, is_wanted = two_clouds()
    found = Direction.of(values[is_wanted][:9], values[~is_wanted][:9])
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    logits = unit @ found.weights + found.bias
    cosines = unit @ found.weights / np.linalg.norm(found.weights)
    assert np.allclose(found.probabilities(cosines), 1 / (1 + np.exp(-logits)))


def test_examples_that_say_nothing_are_refused() -> None:
    values, _ = two_clouds()
    for wanted, unwanted in [(values[:1], values[:1]), (values[:0], values[:1]), (values[:1], values[:0])]:
        with pytest.raises(ValueError, match="wanted and unwanted"):
            Direction.of(wanted, unwanted)

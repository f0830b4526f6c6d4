"""Clusters of embeddings: those that are there are found, by the seed alone, as a plain computation has them."""

from __future__ import annotations

import numpy as np
import pytest

from training.evaluate.search.clusters import NO_CLUSTER, clusters


def blobs(sizes: tuple[int, ...], seed: int = 0, width: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Rows round centres far from each other, in no order, and the number of the centre of each."""
    random = np.random.default_rng(seed)
    own = random.permutation(np.repeat(np.arange(len(sizes)), sizes))
    centres = 10 * np.eye(len(sizes), width)
    return (centres[own] + random.normal(0, 0.3, (len(own), width))).astype(np.float32), own


def test_groups_that_are_apart_are_found_the_largest_first() -> None:
    values, own = blobs((30, 90, 60, 10))
    found = clusters(values, 4)
    wanted = np.array([2, 0, 1, 3])[own]
    np.testing.assert_array_equal(found, wanted)


def test_every_row_is_with_the_centre_that_is_nearest() -> None:
    """By plain loops, on rows without groups."""
    values = np.random.default_rng(3).normal(size=(200, 5)).astype(np.float32)
    found = clusters(values, 7, seed=5)
    centres = [values[found == code].mean(axis=0) for code in range(7)]
    for row, code in zip(values, found, strict=True):
        distances = [float(((row - centre) ** 2).sum()) for centre in centres]
        assert distances[code] <= min(distances) + 1e-4
    assert np.bincount(found).tolist() == sorted(np.bincount(found), reverse=True)


def test_the_seed_alone_decides() -> None:
    values = np.random.default_rng(3).normal(size=(300, 5))
    assert clusters(values, 5, seed=1).tolist() == clusters(values.copy(), 5, seed=1).tolist()
    assert any(
        clusters(values, 5, seed=1).tolist() != clusters(values, 5, seed=other).tolist() for other in range(2, 6)
    )


def test_rows_without_values_have_none_and_equal_rows_are_one() -> None:
    values = np.ones((6, 3), np.float16)
    values[2] = np.nan
    assert clusters(values, 4).tolist() == [0, 0, NO_CLUSTER, 0, 0, 0]
    assert clusters(values[2:3], 4).tolist() == [NO_CLUSTER]


def test_more_rows_than_are_fitted_to(monkeypatch: pytest.MonkeyPatch) -> None:
    values, own = blobs((3000, 1000, 2000))
    from training.evaluate.search import clusters as module

    monkeypatch.setattr(module, "_FITTED_ON", 500)
    np.testing.assert_array_equal(module.clusters(values, 3), np.array([0, 2, 1])[own])

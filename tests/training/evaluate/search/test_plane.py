"""Main directions, colours and the plane: against plain computations, and the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from tests.extras import NO_SKLEARN
from training.evaluate.search.plane import colours, plane, principal, tsne


def clouds() -> np.ndarray:
    draws = np.random.default_rng(0)
    return np.repeat(draws.standard_normal((3, 12)) * 3, 30, axis=0) + draws.standard_normal((90, 12))


def test_main_directions_are_those_of_a_singular_value_decomposition() -> None:
    values = clouds()
    _, _, directions = np.linalg.svd(values - values.mean(axis=0), full_matrices=False)
    expected = (values - values.mean(axis=0)) @ directions[:3].T
    found = principal(values, 3)
    assert np.allclose(np.abs(found), np.abs(expected))
    assert np.array_equal(found, principal(values, 3))


def test_colours_are_between_0_and_1_and_unknown_where_the_embedding_is() -> None:
    values = clouds()
    values[7] = np.nan
    found = colours(values)
    assert np.isnan(found[7]).all() and np.isfinite(np.delete(found, 7, axis=0)).all()
    assert np.nanmin(found) == 0 and np.nanmax(found) == 1
    assert np.isnan(colours(np.full((2, 3), np.nan))).all()
    assert (colours(np.ones((4, 5))) == 0.5).all()
    assert colours(np.eye(4)[:, :2]).shape == (4, 3)


def test_the_plane_keeps_clouds_apart_and_is_the_same_for_the_same_seed() -> None:
    pytest.importorskip("sklearn", reason=NO_SKLEARN)
    values = clouds()
    name, xy = plane(values, seed=3)
    assert name in ("t-SNE", "UMAP") and xy.shape == (90, 2)
    middles = xy.reshape(3, 30, 2).mean(axis=1)
    nearest = np.linalg.norm(xy[:, None] - middles, axis=2).argmin(axis=1)
    assert (nearest == np.repeat([0, 1, 2], 30)).mean() > 0.95
    assert np.array_equal(tsne(values, 3), tsne(values, 3))
    assert tsne(values[:5]).shape == (5, 2)


def test_too_few_points_have_no_plane() -> None:
    with pytest.raises(ValueError, match="too few"):
        plane(np.ones((3, 5)))

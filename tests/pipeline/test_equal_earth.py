"""PROJ's Equal Earth beside the published formula."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.equal_earth import HALF_WIDTH, equal_earth


def formula(lonlat: NDArray[np.float64]) -> NDArray[np.float64]:
    """Savric, Patterson and Jenny (2018), equations 1 to 3."""
    a1, a2, a3, a4 = 1.340264, -0.081106, 0.000893, 0.003796
    theta = np.arcsin(np.sqrt(3) / 2 * np.sin(np.radians(lonlat[:, 1])))
    slope = 9 * a4 * theta**8 + 7 * a3 * theta**6 + 3 * a2 * theta**2 + a1
    x = 2 * np.sqrt(3) / 3 * np.radians(lonlat[:, 0]) * np.cos(theta) / slope
    return np.column_stack([x, theta * (a4 * theta**8 + a3 * theta**6 + a2 * theta**2 + a1)])


def test_it_is_the_published_projection_and_runs_on_beyond_the_antimeridian() -> None:
    rng = np.random.default_rng(0)
    lonlat = np.column_stack([rng.uniform(-200, 200, 10_000), rng.uniform(-90, 90, 10_000)])
    lonlat[:3] = [[180.0, 0.0], [-180.0, 0.0], [0.0, 90.0]]
    ours = equal_earth(lonlat)
    assert np.allclose(ours, formula(lonlat), rtol=0, atol=1e-12)
    assert ours[0].tolist() == pytest.approx([HALF_WIDTH, 0.0]) and ours[1].tolist() == pytest.approx([-HALF_WIDTH, 0])


def test_no_places_have_no_positions() -> None:
    assert equal_earth(np.empty((0, 2))).shape == (0, 2)

"""Cells have one area, neighbours share a split, shares come out as asked, and only the place decides."""

import numpy as np
import pytest
from shapely import box

from pipeline.errors import Fatal
from sampling.candidates import draw_in
from sampling.splits import CellSplits, cells

GLOBE = draw_in(box(-180, -90, 180, 90), 100_000, 0, "globe")
FRACTIONS = (0.8, 0.15, 0.05)


def test_cells_have_equal_area() -> None:
    numbers = cells(GLOBE, 15.0)
    counts = np.bincount(numbers)
    # Poisson: the variance of equally likely cells equals their mean.
    assert 0.7 < counts.var() / counts.mean() < 1.4
    assert numbers.min() == 0 and 180 < len(counts) < 200


def test_shares_come_out() -> None:
    found = CellSplits(FRACTIONS, 1, 2.0).of(GLOBE)
    shares = [np.mean(found == name) for name in ("train", "val", "test")]
    assert np.allclose(shares, FRACTIONS, atol=0.015)


def test_a_cell_is_never_cut() -> None:
    found = CellSplits(FRACTIONS, 1, 5.0).of(GLOBE)
    numbers = cells(GLOBE, 5.0)
    assert len(set(zip(numbers.tolist(), found.tolist(), strict=True))) == len(set(numbers.tolist()))


def test_only_place_and_seed_decide() -> None:
    found = CellSplits(FRACTIONS, 1).of(GLOBE)
    assert np.array_equal(found[500:600], CellSplits(FRACTIONS, 1).of(GLOBE[500:600]))
    assert not np.array_equal(found, CellSplits(FRACTIONS, 2).of(GLOBE))


def test_all_train_and_the_edges_of_the_map() -> None:
    corners = np.array([[-180, -90], [180, 90], [180, -90], [-180, 90], [0, 0]], dtype=float)
    assert (CellSplits((1.0, 0.0, 0.0), 0).of(corners) == "train").all()
    assert (CellSplits((0.0, 0.0, 1.0), 0).of(corners) == "test").all()
    assert cells(np.array([[180.0, 10.0]]), 1.0) == cells(np.array([[-180.0, 10.0]]), 1.0)


@pytest.mark.parametrize(("fractions", "cell_deg"), [((0.5, 0.5, 0.5), 1), ((1.2, -0.2, 0), 1), ((1, 0, 0), 0)])
def test_nonsense_is_refused(fractions: tuple[float, float, float], cell_deg: float) -> None:
    with pytest.raises(Fatal):
        CellSplits(fractions, 0, cell_deg)

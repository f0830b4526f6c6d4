"""The shortest distance between two sets, however far apart they are and however dense."""

import tracemalloc

import numpy as np
import pytest
from pyproj import Geod

from pipeline.nearest_pair import smallest_distance_m

GEOD = Geod(ellps="WGS84")


def lattice(side: int, west: float, south: float) -> np.ndarray:
    """Points (side * side, 2) a kilometre apart."""
    steps = np.arange(side) / 111.0
    return np.stack(np.meshgrid(west + steps, south + steps), axis=-1).reshape(-1, 2)


def test_sets_of_many_parts_are_searched_whole() -> None:
    """Only one point of the last part has a near neighbour."""
    ours, theirs = lattice(100, 0, 0), lattice(110, 3, 0)
    ours = np.concatenate([ours, [[2.95, 0.5]]])
    *_, metres = GEOD.inv(*np.tile(ours[-1:], (len(theirs), 1)).T, *theirs.T)
    assert smallest_distance_m(ours, theirs) == pytest.approx(metres.min(), rel=1e-12)
    assert smallest_distance_m(theirs, ours) == pytest.approx(metres.min(), rel=1e-12)


@pytest.mark.parametrize("gap_deg", [0.01, 0.3, 20.0])
def test_memory_follows_neither_the_distance_nor_the_number_of_pairs(gap_deg: float) -> None:
    """Two dense squares, of which a search by radius sees millions of pairs at once when they are far apart."""
    ours = lattice(150, 0, 0)
    theirs = lattice(150, float(ours[:, 0].max()) + gap_deg, 0)
    tracemalloc.start()
    metres = smallest_distance_m(ours, theirs)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    north = float(ours[:, 1].max())  # where meridians are nearest to each other
    assert metres == pytest.approx(GEOD.inv(0, north, gap_deg, north)[2], rel=1e-9)
    assert peak < 80e6


def test_points_in_one_place_are_no_distance_apart() -> None:
    crowd = np.full((3000, 2), 7.0)
    assert smallest_distance_m(crowd, lattice(20, 7, 7)) == 0.0

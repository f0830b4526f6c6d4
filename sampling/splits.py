"""Train, validation and test by place: whole equal-area cells go to one split, so that neighbours stay together."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import Fatal
from pipeline.manifest import SPLITS
from sampling import authalic

_TOLERANCE = 1e-6


def assign_splits(
    lonlat: NDArray[Any], fractions: tuple[float, float, float], seed: int, cell_deg: float = 1.0
) -> NDArray[np.str_]:
    """Each point's split, train, val or test; `lonlat` is (n, 2) in degrees.

    A cell of about `cell_deg` squared is hashed with `seed` and goes as a whole to the split in whose share of
    `fractions` (train, val, test) its hash falls; so a point's split depends on nothing but its place.
    Raises `Fatal` for fractions that do not sum to 1 or a cell size outside 0 to 90 degrees.
    """
    _check(fractions, cell_deg)
    draws = _hash(cells(lonlat, cell_deg), seed)
    edges = np.cumsum(fractions)[:-1]
    return np.asarray(SPLITS)[np.searchsorted(edges, draws, side="right")]


def _check(fractions: tuple[float, float, float], cell_deg: float) -> None:
    if len(fractions) != len(SPLITS) or min(fractions) < 0 or abs(sum(fractions) - 1) > _TOLERANCE:
        raise Fatal(f"split fractions must be three shares that sum to 1 (train, val, test), not {fractions}.")
    if not 0 < cell_deg <= 90:
        raise Fatal(f"the cell size must lie between 0 and 90 degrees, not {cell_deg}.")


def cells(lonlat: NDArray[Any], cell_deg: float) -> NDArray[np.int64]:
    """Number of the equal-area cell of each point (n, 2) in degrees.

    Rows of about `cell_deg` of latitude hold as many cells as make them square on the ground; the row borders
    are then moved so that all cells have exactly one area (as in Leopardi 2006, A partition of the unit sphere).
    """
    columns = _columns_per_row(cell_deg)
    first = np.concatenate([[0], np.cumsum(columns)])
    share = (authalic.height_of(lonlat[:, 1]) + 1) / 2 * first[-1]
    row = np.clip(np.searchsorted(first, share, side="right") - 1, 0, len(columns) - 1)
    column = np.floor((lonlat[:, 0] + 180) % 360 / 360 * columns[row]).astype(np.int64)
    return np.asarray(first[row] + column, dtype=np.int64)


def _columns_per_row(cell_deg: float) -> NDArray[np.int64]:
    rows = max(1, round(180 / cell_deg))
    middles_deg = (np.arange(rows) + 0.5) * (180 / rows) - 90
    around = np.round(360 / cell_deg * np.cos(np.radians(middles_deg)))
    return np.maximum(1, around).astype(np.int64)


def _hash(keys: NDArray[np.int64], seed: int) -> NDArray[np.float64]:
    """Uniform in [0, 1) from a key and the seed: the finaliser of SplitMix64 (Steele, Lea and Flood 2014), twice."""
    mixed = _mix(keys.astype(np.uint64) ^ _mix(np.array([seed % 2**64], dtype=np.uint64)))
    return (mixed >> np.uint64(11)).astype(np.float64) / 2**53


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))

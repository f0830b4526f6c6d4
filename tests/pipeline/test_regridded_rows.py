"""Centres of chips lie where arithmetic on their grids puts them, in every way in which rows are read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.manifest import Manifest
from tests.pipeline.chips import make_chip

CHIP_PX = 30


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    return Manifest.freeze([make_chip(number, CHIP_PX) for number in range(7)], 0)


@given(st.integers(1, 5), st.integers(1, 6))
def test_centres(manifest, factor, pixels):
    moved = manifest.regridded(factor * pixels, factor)
    margin_px = (CHIP_PX - factor * pixels) // 2
    assert (moved.size_px, moved.resolution_m) == (pixels, 10.0 * factor)
    for before, after in zip(manifest, moved, strict=True):
        (left, top), grid = before.grid.origin_xy, after.grid
        assert grid.origin_xy == (left + 10 * margin_px, top - 10 * margin_px)
        assert (grid.shape_yx, grid.resolution_m, grid.crs) == ((pixels, pixels), 10 * factor, before.grid.crs)
        assert replace(after, grid=before.grid) == before
    for name in ("origin_x_m", "resolution_m", "crs", "id"):
        pieces = np.concatenate([piece for (piece,) in moved.pieces(name)])
        assert moved.column(name).tolist() == pieces.tolist() == moved.column(name, slice(0, 7)).tolist()

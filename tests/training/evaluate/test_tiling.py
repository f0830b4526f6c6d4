"""Tiles cover an area, and what they say is put together without seams."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from training.evaluate.tiling import Corner, Tiling


def of_field(field: np.ndarray, tile: int):  # noqa: ANN201
    """What gives tiles of a field (bands, y, x), NaN beyond it."""
    padded = np.pad(field, ((0, 0), (0, tile), (0, tile)), constant_values=np.nan).astype(np.float32)

    def compute(corners: Sequence[Corner]) -> np.ndarray:
        return np.stack([padded[:, top : top + tile, left : left + tile] for top, left in corners])

    return compute


@pytest.mark.parametrize("shape_yx", [(23, 40), (8, 8), (5, 9), (64, 7)])
@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.8])
def test_tiles_of_a_field_give_the_field(shape_yx: tuple[int, int], overlap: float) -> None:
    field = np.random.default_rng(0).normal(size=(3, *shape_yx)).astype(np.float32)
    field[:, 1, 2] = np.nan
    tiling = Tiling.of(shape_yx, 8, overlap)
    stripes = list(tiling.blended(of_field(field, 8), 3))
    assert [top for top, _ in stripes] == list(np.cumsum([0, *(item.shape[1] for _, item in stripes[:-1])]))
    np.testing.assert_allclose(np.concatenate([item for _, item in stripes], axis=1), field, rtol=1e-5)


def test_answers_of_tiles_that_differ_go_over_into_each_other() -> None:
    tiling = Tiling.of((8, 12), 8, 0.5)
    assert tiling.count == 2

    def compute(corners: Sequence[Corner]) -> np.ndarray:
        return np.stack([np.full((1, 8, 8), float(left > 0), np.float32) for _, left in corners])

    ((_, values),) = tiling.blended(compute, 1)
    row = values[0, 4]
    assert row[:4].tolist() == [0] * 4 and row[-4:].tolist() == [1] * 4
    np.testing.assert_allclose(row[4:8], [0.2, 0.4, 0.6, 0.8], rtol=1e-6)

"""The nearest rows: those of a plain NumPy sort over exact cosines, in blocks of any size, in memory or in a file."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pipeline.errors import NotInstalled
from training.evaluate.search import nearest as searching
from training.evaluate.search.faiss_index import FaissIndex
from training.evaluate.search.nearest import nearest
from training.evaluate.search.unit_rows import unit_rows

Rows = NDArray[np.int64]


def made(rows: int = 700, width: int = 24, seed: int = 0) -> NDArray[np.float32]:
    """Vectors around a common direction, as embeddings are, with some repeated and some unknown."""
    draws = np.random.default_rng(seed)
    values = draws.standard_normal((rows, width), dtype=np.float32) * 0.2 + draws.standard_normal(width) * 0.1
    values[rows // 2 : rows // 2 + 20] = values[3]
    values[::50] = np.nan
    return np.asarray(values, np.float32)


def by_sorting(matrix: NDArray[np.float16], query: NDArray[np.float32], k: int) -> tuple[Rows, NDArray[np.float64]]:
    """All cosines in double precision, and a stable sort."""
    values, direction = matrix.astype(np.float64), query.astype(np.float64)
    cosines = (values * (direction / np.linalg.norm(direction))).sum(axis=1) / np.sqrt((values * values).sum(axis=1))
    order = np.argsort(-np.nan_to_num(cosines, nan=-np.inf), kind="stable")[:k]
    return order, cosines[order]


@pytest.mark.parametrize("block_rows", [1, 7, 64, 1000])
@pytest.mark.parametrize("k", [1, 5, 30])
def test_the_answer_is_that_of_a_sort_over_all_cosines(block_rows: int, k: int) -> None:
    values = made()
    matrix = unit_rows(values)
    queries = values[[3, 17, 33]]
    for found, query in zip(nearest(matrix, queries, k, block_rows), queries, strict=True):
        rows, cosines = by_sorting(matrix, query, k)
        assert found.rows.tolist() == rows.tolist()
        assert np.allclose(found.similarity, cosines, rtol=0, atol=1e-7)


def test_equal_cosines_come_in_the_order_of_rows() -> None:
    matrix = unit_rows(np.ones((40, 8)))
    (found,) = nearest(matrix, np.ones((1, 8)), k=6, block_rows=7)
    assert found.rows.tolist() == [0, 1, 2, 3, 4, 5]


def test_a_chip_is_its_own_nearest_also_among_copies_of_it() -> None:
    matrix = unit_rows(made())
    (found,) = nearest(matrix, np.asarray(matrix[355:356], np.float32), k=30)
    assert found.rows[0] == 3 and found.similarity[0] == found.similarity[1]
    assert found.beginning_with(355).rows[:3].tolist() == [355, 3, 351]


def test_rows_without_an_embedding_are_never_found() -> None:
    matrix = unit_rows(made(rows=100))
    (found,) = nearest(matrix, -np.ones((1, 24)), k=100)
    assert len(found) == 98 and not set(found.rows.tolist()) & {0, 50}
    assert len(nearest(unit_rows(np.full((3, 4), np.nan)), np.ones((1, 4)), k=2)[0]) == 0
    assert len(nearest(np.empty((0, 4), np.float16), np.ones((1, 4)), k=2)[0]) == 0


def test_many_queries_are_answered_as_each_alone() -> None:
    values = made()[1:40]
    matrix, queries = unit_rows(made()), values[~np.isnan(values[:, 0])]
    together = nearest(matrix, queries, k=4)
    alone = [nearest(matrix, query[None], k=4)[0] for query in queries]
    assert [item.rows.tolist() for item in together] == [item.rows.tolist() for item in alone]


def test_a_memory_mapped_file_gives_the_same(tmp_path: Path) -> None:
    matrix, query = unit_rows(made()), made()[5:6]
    np.save(tmp_path / "matrix.npy", matrix)
    mapped = np.load(tmp_path / "matrix.npy", mmap_mode="c")
    assert nearest(mapped, query, 9)[0].rows.tolist() == nearest(matrix, query, 9)[0].rows.tolist()


def test_half_precision_moves_a_cosine_by_no_more_than_is_said() -> None:
    values = made(rows=2000, width=256)[1:50]
    exact = values.astype(np.float64) / np.linalg.norm(values.astype(np.float64), axis=1, keepdims=True)
    halves = unit_rows(values).astype(np.float64)
    halves /= np.linalg.norm(halves, axis=1, keepdims=True)
    moved = np.abs(halves @ exact.T - exact @ exact.T)
    assert moved.max() < 0.0005
    assert np.sqrt((moved**2).mean()) < 0.00002


def test_products_that_are_too_rough_choose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def rough(matrix: NDArray[np.float16], queries: NDArray[np.float32], block_rows: int) -> torch.Tensor:
        return torch.arange(len(matrix), dtype=torch.float16).expand(len(queries), -1)

    matrix, query = unit_rows(made()), made()[5:6]
    rows, _ = by_sorting(matrix, query[0], 9)
    monkeypatch.setattr(searching, "rough_products", rough)
    assert nearest(matrix, query, 9)[0].rows.tolist() == rows.tolist()


def test_faiss_gives_the_same_answers() -> None:
    pytest.importorskip("faiss", reason="FAISS is not installed")
    matrix, queries = unit_rows(made()), made()[[3, 17, 33]]
    for k in (1, 30, 700):
        ours = [found.rows.tolist() for found in nearest(matrix, queries, k)]
        assert [found.rows.tolist() for found in FaissIndex(matrix).nearest(queries, k)] == ours


def test_without_faiss_its_index_says_how_to_install_it() -> None:
    if find_spec("faiss"):
        pytest.skip("FAISS is installed")
    with pytest.raises(NotInstalled, match="pip install faiss-cpu"):
        FaissIndex(unit_rows(made()))


@pytest.mark.parametrize("query", [np.zeros((1, 24)), np.full((1, 24), np.nan), np.ones((1, 5)), np.ones(24)])
def test_a_query_without_a_direction_or_of_another_width_is_refused(query: NDArray[np.float64]) -> None:
    with pytest.raises(ValueError, match="queries|query"):
        nearest(unit_rows(made()), query, 3)

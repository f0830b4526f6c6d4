"""Embeddings in the explorer: neighbours and directions equal a plain computation; those of others are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from tests.extras import NO_TORCH

pytest.importorskip("torch", reason=NO_TORCH)

from exporters.formats.embeddings.store import EmbeddingStore
from flows.viewer.server import Beside, application
from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from tests.training.conftest import one_thread  # noqa: F401 (a fixture that every test here uses)

ROWS = 16


def test_neighbours_are_the_largest_cosines(sensors: Corpus, vectors: Path) -> None:
    client = TestClient(application(sensors, Beside(vectors)), base_url="http://127.0.0.1")
    assert client.get("/data/corpus.json").json()["likeness"] is True
    values = EmbeddingStore.open(vectors).values("fused").astype(float)
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    cosines = unit[5] @ unit.T
    near = client.get("/data/chips/5/near.json").json()
    assert [item["row"] for item in near] == [row for row in np.argsort(-cosines) if row != 5][:12]
    np.testing.assert_allclose([item["similarity"] for item in near], np.sort(cosines)[-2:-14:-1], atol=2e-3)


def test_directions_are_columns(sensors: Corpus, vectors: Path) -> None:
    client = TestClient(application(sensors, Beside(vectors)), base_url="http://127.0.0.1")
    first = np.frombuffer(client.get("/data/columns/likeness:1.bin").content, np.float32)
    second = np.frombuffer(client.get("/data/columns/likeness:2.bin").content, np.float32)
    assert len(first) == ROWS and np.var(first) >= np.var(second) > 0
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.05


def test_clusters_are_a_column_of_every_chip(sensors: Corpus, vectors: Path) -> None:
    """Each chip is with the centre that is nearest, by plain loops."""
    client = TestClient(application(sensors, Beside(vectors, clusters=3)), base_url="http://127.0.0.1")
    column = client.get("/data/columns/cluster.json").json()
    assert column["labels"] == ["cluster 1", "cluster 2", "cluster 3"] and column["kind"] == "class"
    codes = np.frombuffer(client.get("/data/columns/cluster.bin").content, column["dtype"])
    assert len(codes) == ROWS and np.bincount(codes).tolist() == sorted(np.bincount(codes), reverse=True)
    values = EmbeddingStore.open(vectors).values("fused").astype(float)
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    centres = [unit[codes == code].mean(axis=0) for code in range(3)]
    for row, code in zip(unit, codes, strict=True):
        distances = [((row - centre) ** 2).sum() for centre in centres]
        assert distances[code] <= min(distances) + 1e-3


def test_embeddings_of_another_corpus_and_none_are_refused(
    sensors: Corpus, vectors: Path, corpus: Corpus, tmp_path: Path
) -> None:
    with pytest.raises(Fatal, match="are of another corpus"):
        application(corpus, Beside(vectors))
    with pytest.raises(Fatal, match="is no store of embeddings"):
        application(sensors, Beside(tmp_path))
    plain = TestClient(application(sensors), base_url="http://127.0.0.1")
    assert plain.get("/data/corpus.json").json()["likeness"] is False
    assert "has nothing under 'near.json'" in plain.get("/data/chips/5/near.json").json()["error"]

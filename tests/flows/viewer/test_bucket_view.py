"""The explorer of a corpus whose pixels lie in a bucket: equal to the store, and a sentence where that is away."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import rasterio
from starlette.testclient import TestClient

from flows.viewer.server import application
from pipeline.corpus import Corpus
from tests.buckets import BUCKET, service
from tests.exporters.report_corpus import make_corpus

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("bucket")]


def test_layers_come_from_the_bucket_and_without_it_each_says_so(tmp_path: Path) -> None:
    with service() as s3:
        here = make_corpus(tmp_path / "here", count=8, size_px=16)
        away = make_corpus(tmp_path / "away", count=8, size_px=16, store_url=f"s3://{BUCKET}/away/corpus.zarr")
        assert not (tmp_path / "away" / "corpus.zarr").exists()
        client = TestClient(application(Corpus.open(away.folder)), base_url="http://127.0.0.1")
        with rasterio.open(io.BytesIO(client.get("/data/chips/3/relief.tif").content)) as file:
            np.testing.assert_array_equal(file.read(), here.read("relief", slice(3, 4))[0])
        assert client.get("/data/chips/3/photo.png").headers["content-type"] == "image/png"
        s3.stop()
        answer = client.get("/data/chips/4/relief.tif")
        assert answer.status_code == 404 and BUCKET in answer.json()["error"] and "\n" not in answer.json()["error"]
        assert client.get("/data/corpus.json").status_code == client.get("/data/columns/biome.json").status_code == 200
        s3.start()
        assert client.get("/data/chips/4/relief.tif").status_code == 200

"""Two chips of a corpus of ours, and the plain client connected to the Earth that they were pulled from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import ee
import pytest

from exporters.earth_engine import local_client
from flows import stages
from flows.progress.display import display
from flows.settings import parse
from pipeline.corpus import Corpus
from sandbox.service.quotas import OFF
from sandbox.service.server import Sandbox
from tests.sandbox.planets import shared_planet

SIZE_PX = 32
LAYERS = ["sentinel2", "sentinel2_scl", "aster", "esa_worldcover"]


@pytest.fixture(scope="session")
def served() -> Iterator[Sandbox]:
    with Sandbox(shared_planet(), quotas=OFF) as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def corpus(served: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("ours") / "corpus"
    settings = parse({
        "corpus": {"folder": str(folder), "size_px": SIZE_PX, "shard_rows": 8, "modalities": LAYERS},
        "source": {"url": served.url},
        "sampling": {"locations": 10},
    })  # fmt: skip
    with display() as progress, stages.earth_engine(settings) as engine:
        stages.sample(settings, engine, progress)
        stages.anchor(settings, engine, progress)
        stages.export(settings, engine, progress)
    return Corpus.open(Path(folder))


@pytest.fixture
def client(corpus: Corpus, served: Sandbox) -> Iterator[type[ee.Image]]:
    """The plain client, after the corpus was made with ours."""
    with local_client.initialised(served.url, "guest"):
        yield ee.Image

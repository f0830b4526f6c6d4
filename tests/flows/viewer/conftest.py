"""A corpus of every kind of layer, one shard unfinished and with a training run, and the explorer's address of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn
from starlette.types import ASGIApp

from flows.viewer.server import application, bound
from pipeline.corpus import Corpus
from tests.exporters.report_corpus import add_neighbours, make_corpus
from tests.extras import NO_TORCH
from tests.flows.viewer.run_folder import make_run


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    made = make_corpus(tmp_path_factory.mktemp("explorer") / "taster", unfinished=1)
    add_neighbours(made.folder)
    make_run(made, "first <i>try", steps=80)
    return made


@contextmanager
def served(page: ASGIApp) -> Iterator[str]:
    """The address of an explorer that is served until the end."""
    listening = bound(0)
    server = uvicorn.Server(uvicorn.Config(page, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join(30)


@pytest.fixture(scope="session")
def address(corpus: Corpus) -> Iterator[str]:
    with served(application(corpus)) as url:
        yield url


@pytest.fixture(scope="session")
def sensors(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """16 chips of three sensors."""
    pytest.importorskip("torch", reason=NO_TORCH)
    from tests.training.sensor_corpus import make_sensors

    return make_sensors(tmp_path_factory.mktemp("alike") / "sensors", 16)


@pytest.fixture(scope="session")
def vectors(sensors: Corpus) -> Path:
    """Embeddings of their chips."""
    from exporters.formats.choice import Choice
    from flows.embedding import EMBEDDINGS, EmbeddingFile, Source
    from pipeline.progress import Silent
    from tests.training.embedded import towers_of
    from tests.training.sensor_corpus import SENSORS
    from training.weights.weights import save_encoder

    for name, tower in zip(SENSORS, towers_of(sensors), strict=True):
        save_encoder(sensors.folder / "runs" / "towers" / f"encoder-{name}.safetensors", tower)
    path = sensors.folder.parent / "vectors"
    EmbeddingFile(path, EMBEDDINGS).write(Source(str(sensors.folder / "runs" / "towers")), Choice(), Silent())
    return path

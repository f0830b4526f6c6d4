"""A corpus of every kind of layer, one shard unfinished, and the explorer's address of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import uvicorn

from flows.viewer.server import application, bound
from pipeline.corpus import Corpus
from tests.exporters.report_corpus import add_neighbours, make_corpus


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    made = make_corpus(tmp_path_factory.mktemp("explorer") / "taster", unfinished=1)
    add_neighbours(made.folder)
    return made


@pytest.fixture(scope="session")
def address(corpus: Corpus) -> Iterator[str]:
    listening = bound(0)
    server = uvicorn.Server(uvicorn.Config(application(corpus), log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
    server.should_exit = True
    thread.join(30)

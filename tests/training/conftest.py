"""Few threads: tests of several people and packages share the machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from pipeline.corpus import Corpus
from tests.training.corpora import make_corpus


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Twenty chips of every made-up layer; read-only."""
    return make_corpus(tmp_path_factory.mktemp("corpus"))

"""Few threads: tests of several people and packages share the machine. Without PyTorch, what needs it is skipped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from pipeline.corpus import Corpus
from tests.training.corpora import make_corpus

EXTRA = ("torch", "safetensors", "sklearn", "tensorboard")


class Module(pytest.Module):
    """A file of tests, which is skipped where it needs a package of the extra `train` that is not installed."""

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        try:
            return super().collect()
        except self.CollectError as error:
            absent = getattr(error.__cause__, "name", None)
            if absent in EXTRA and find_spec(absent) is None:
                pytest.skip(f"{absent} is not installed: pip install 'geocorpus[train]'", allow_module_level=True)
            raise


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> Module:
    return Module.from_parent(parent, path=module_path)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    if find_spec("torch") is None:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Twenty chips of every made-up layer; read-only."""
    return make_corpus(tmp_path_factory.mktemp("corpus"))

"""A finished corpus, and copies of it that a test may damage."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.pipeline.damage import finished_corpus


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_corpus(tmp_path_factory.mktemp("finished")).folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """A copy elsewhere, whose seal is as good."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))

"""The embeddings of the demo's tiles as a table, in a folder beside the corpus."""

from __future__ import annotations

import os
from pathlib import Path

from exporters.formats.choice import Choice
from flows.embedding import GEOPARQUET, EmbeddingFile, Source
from flows.settings import Settings
from flows.stages import run_name
from pipeline.lock import RUNS
from pipeline.progress import Progress

EMBEDDINGS = "embeddings.parquet"


def run_of(settings: Settings) -> Path:
    """The folder of the demo's training run."""
    return settings.folder / RUNS / run_name(settings)


def results(settings: Settings) -> Path:
    """The folder beside the corpus for what is made of it."""
    folder = settings.folder.absolute()
    return Path(os.path.relpath(folder.with_name(f"{folder.name}-results")))


def embedded(settings: Settings, progress: Progress) -> str:
    """Write the vectors of every tile, by each sensor and all together; returns a line about it. Raises `Fatal`."""
    file = EmbeddingFile(results(settings) / EMBEDDINGS, GEOPARQUET, overwrite=True)
    return file.write(Source(str(run_of(settings)), settings.folder), Choice(), progress)

"""Several corpora as one, as far apart in their splits as their settings ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from exporters.formats.corpora.merger import Merger
from flows.settings import SAVED_AS, SplitSettings, saved
from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.progress import Progress


def merge(
    folders: Sequence[Path], target: Path, how: Merger, buffer_m: float | None, overwrite: bool, progress: Progress
) -> str:
    """Write the corpora in `folders` as one to `target`; returns a line about it.

    `buffer_m` None is the widest that their settings ask for between splits. Raises `Fatal` for fewer than two
    folders, and as `Merger.write` does.
    """
    if len(folders) < 2:
        raise Fatal("merge needs two corpora and a target; write: geocorpus merge FIRST SECOND TARGET.")
    wanted_m = max(map(_buffer_m, folders)) if buffer_m is None else buffer_m
    corpora = [Corpus.open(folder) for folder in folders]
    return replace(how, buffer_m=wanted_m).write(corpora, target, overwrite, progress)


def _buffer_m(folder: Path) -> float:
    """What lies between the splits of a corpus by its settings, or else usually; metres."""
    settings = saved(folder / SAVED_AS)
    return (settings.split if settings else SplitSettings()).buffer_m

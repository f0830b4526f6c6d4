"""Publishing a corpus: what its publisher says, and the layers whose licences are known here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from exporters import catalog
from exporters.publication.about import read_about
from exporters.publication.publish import Publication
from flows.settings import SAVED_AS, load
from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.modality import Modality
from pipeline.progress import Progress

ABOUT = "publish.toml"  # in the corpus folder


def publish(
    folder: Path,
    target: Path,
    about: Path | None,
    given: Mapping[str, Any],
    links: bool,
    overwrite: bool,
    progress: Progress,
) -> str:
    """Write the corpus in `folder` as a data set to `target`; returns lines about it.

    `about` is a TOML file, `publish.toml` in the folder without one; what is `given` stands in its place. Raises
    `Fatal` for what is not said or not understood, and as `Publication.write` does.
    """
    corpus = Corpus.open(folder)
    beside = folder / ABOUT
    said = read_about(about or (beside if beside.exists() else None), given)
    return Publication(corpus, said, _known(folder), links).write(target, overwrite, progress)


def _known(folder: Path) -> dict[str, Modality]:
    """The layers of geocorpus and of the files that the settings name, by name; without those that cannot be read."""
    files: tuple[Path, ...] = ()
    if (folder / SAVED_AS).exists():
        files = tuple(load(str(folder)).corpus.modality_files)
    try:
        return {layer.name: layer for layer in catalog.everything(files)}
    except Fatal:
        return {layer.name: layer for layer in catalog.everything()}

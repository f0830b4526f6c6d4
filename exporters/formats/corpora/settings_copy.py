"""The settings of a corpus that chips were taken from, for the new one: how to train on it, what it may be given."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from typing import Any

import tomli_w

from pipeline import durable
from pipeline.corpus import Corpus
from pipeline.corpus_folder import SOURCES
from pipeline.errors import Fatal

SETTINGS = "config.toml"
_OF_THE_FOLDER = ("folder", "store", "shard_rows")  # a corpus folder is given where its settings are used


def copy_settings(sources: Sequence[Corpus], target: Corpus) -> None:
    """Write the settings of the first source that has any, for the layers and shards of `target`.

    Files of layers are those of all sources. Raises `Fatal` for settings that cannot be read.
    """
    known = [(corpus, _read(corpus)) for corpus in sources if (corpus.folder / SETTINGS).exists()]
    if not known:
        return
    first, data = known[0]
    section = {key: value for key, value in data.get("corpus", {}).items() if key not in _OF_THE_FOLDER}
    files = [path for _, other in known for path in other.get("corpus", {}).get("modality_files", ())]
    section |= {"shard_rows": target.shard_rows, "modality_files": list(dict.fromkeys(files))}
    if set(target.modalities) != set(first.modalities):
        section["modalities"] = sorted(target.modalities)
    durable.write_text(target.folder / SETTINGS, tomli_w.dumps(data | {"corpus": section}))
    _copy_lists(first, target)


def _copy_lists(source: Corpus, target: Corpus) -> None:
    """Of layers that the settings read from files: from which ones they were read."""
    for path in (source.folder / SOURCES).glob("*.parquet"):
        if path.stem in target.modalities:
            durable.write_bytes(target.folder / SOURCES / path.name, path.read_bytes())


def described_layers(corpus: Corpus) -> list[str]:
    """The layers of files that the settings of a corpus describe. Raises `Fatal` for settings that cannot be read."""
    return list(_read(corpus).get("layers", {})) if (corpus.folder / SETTINGS).exists() else []


def _read(corpus: Corpus) -> dict[str, Any]:
    path = corpus.folder / SETTINGS
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Fatal(f"{path} cannot be read as TOML ({error}); mend it, or move it away.") from error

"""What a corpus put together from others must be to the byte: made by writing decoded values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pipeline.corpus import Corpus, empty_block
from pipeline.corpus_folder import MANIFEST
from pipeline.manifest import Manifest
from pipeline.modality import Modality

Chosen = Sequence[tuple[Corpus, int]]  # a corpus, and a row of it


def written(folder: Path, manifest: Manifest, layers: Sequence[Modality], chosen: Chosen, shard_rows: int) -> Corpus:
    """Every chip decoded by zarr-python and written as an export writes it."""
    folder.mkdir()
    manifest.write(folder / MANIFEST)
    corpus = Corpus.create(folder, layers, shard_rows)
    for shard in corpus.shards:
        for modality in layers:
            block = empty_block(modality, len(shard), manifest.size_px)
            missing = dict[int, str]()
            for place, (source, row) in enumerate(chosen[shard.start : shard.stop]):
                if modality.name not in source.modalities:
                    missing[shard.start + place] = f"the corpus {source.folder.name} has no such layer"
                    continue
                block[place] = source.read(modality.name, slice(row, row + 1))[0]
                reason = reasons(source, modality.name).get(row)
                missing |= {shard.start + place: reason} if reason else {}
            corpus.write(shard, modality.name, block, missing)
    corpus.finalize()
    return corpus


def reasons(corpus: Corpus, name: str) -> Mapping[int, str]:
    """Why rows of a layer have no data."""
    return {row: reason for entry in corpus.findings(name) for row, reason in entry.missing.items()}


def files(folder: Path) -> dict[str, bytes]:
    """Every file that follows from chips and layers."""
    names = [MANIFEST, "statistics.json", "corpus.zarr", "ledger"]
    found = [path for name in names for path in [folder / name, *(folder / name).rglob("*")] if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(found)}


def assert_same(folder: Path, expected: Path) -> None:
    """All these files are the same, to the byte."""
    ours, theirs = files(folder), files(expected)
    assert sorted(ours) == sorted(theirs)
    assert [name for name in ours if ours[name] != theirs[name]] == []


def columns_of(manifest: Manifest) -> dict[str, list[object]]:
    """All columns, NaN told from None by its text."""
    names = [*manifest.frame.columns.drop("geometry")]
    return {name: np.asarray(manifest.column(name)).astype(str).tolist() for name in names}

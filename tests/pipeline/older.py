"""Corpora as older releases left them: of format 1, with entries that know no checksums."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.corpus import Corpus
from tests.pipeline.chips import CLIMATE, COVER, OPTICAL, make_block, make_manifest

SIZE_PX = 16
LAYERS = (OPTICAL, COVER, CLIMATE)


def made(folder: Path, format_version: int, store_url: str | None = None) -> Corpus:
    """Three shards of eight rows of every layer; row 3 is all nodata, and in one layer the whole second shard."""
    make_manifest(folder, 21, SIZE_PX)
    corpus = Corpus.create(folder, LAYERS, 8, store_url, format_version=format_version)
    for shard in corpus.shards:
        for modality in LAYERS:
            write(corpus, modality.name, shard.index)
    return corpus


def with_layer_called(folder: Path, name: str, format_version: int) -> Corpus:
    """A finished corpus with a layer that has a name which its release did not yet keep for a coordinate."""
    make_manifest(folder, 21, SIZE_PX)
    with pytest.MonkeyPatch.context() as context:
        context.setattr("pipeline.corpus.is_reserved", lambda _: False)
        context.setattr("pipeline.corpus.is_taken", lambda _: False)
        corpus = Corpus.create(folder, [COVER, replace(CLIMATE, name=name)], 8, format_version=format_version)
    for shard in corpus.shards:
        for modality in (COVER, CLIMATE):
            block = make_block(modality, len(shard), SIZE_PX, shard.index)
            corpus.write(shard, name if modality is CLIMATE else modality.name, block, {})
    corpus.finalize()
    return aged(corpus)


def write(corpus: Corpus, name: str, index: int) -> None:
    """Write a shard of a layer as `made` does."""
    shard, modality = corpus.shards[index], corpus.modality(name)
    block = make_block(modality, len(shard), SIZE_PX, index)
    block[3 : 8 if modality is COVER and index == 1 else 4] = modality.fill
    if modality == COVER and index == 1:
        block[:] = modality.fill
    corpus.write(shard, name, block, {shard.start + 3: "no scene"})


def aged(corpus: Corpus) -> Corpus:
    """The same with entries of an older release, and without a seal."""
    for path in corpus.ledger.folder.rglob("*.json"):
        text = re.sub(r' "index_crc32c": ("[0-9a-f]+"|null),\n', "", path.read_text())
        path.write_text(re.sub(r',\n "text_crc32c": "[0-9a-f]{8}"', "", text))
    corpus.unseal()
    return Corpus.open(corpus.folder)


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}

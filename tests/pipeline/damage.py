"""What may happen to files of a corpus, and the export that makes good for it."""

from __future__ import annotations

import json
from pathlib import Path

from pipeline.corpus import Corpus
from tests.pipeline.chips import MODALITIES, make_block, make_manifest

SIZE_PX = 16


def finished_corpus(folder: Path, chips: int = 21, shard_rows: int = 8) -> Corpus:
    """A finished corpus of all layers of `MODALITIES`; every value is legal, about a tenth nodata."""
    folder.mkdir(parents=True, exist_ok=True)
    make_manifest(folder, chips, SIZE_PX)
    corpus = Corpus.create(folder, MODALITIES, shard_rows)
    fill(corpus)
    corpus.finalize()
    return Corpus.open(folder)


def fill(corpus: Corpus) -> None:
    """Write every shard that is missing; the same bytes for the same shard."""
    for shard, names in corpus.missing().items():
        for name in names:
            corpus.write(shard, name, make_block(corpus.modality(name), len(shard), SIZE_PX, shard.index), {})


def flip(path: Path, bit: int | None = None) -> None:
    content = bytearray(path.read_bytes())
    at = len(content) * 4 if bit is None else bit
    content[at // 8] ^= 1 << at % 8
    path.write_bytes(content)


def edit_title(path: Path) -> None:
    path.write_text(path.read_text().replace('"title": "geocorpus"', '"title": "something else"'))


def edit_mean(path: Path) -> None:
    data = json.loads(path.read_text())
    next(iter(data["summary"].values()))[0]["mean"] += 1.0
    path.write_text(json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])

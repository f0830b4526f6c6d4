"""SHA-256 of every file of a data set, in the form that `sha256sum -c` checks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from pipeline import durable
from pipeline.corpus import Corpus
from pipeline.corpus_folder import MANIFEST, STORE
from pipeline.ledger import ABSENT
from pipeline.seal import SEAL

SUMS = "SHA256SUMS"


def write_checksums(corpus: Corpus, but: str) -> None:
    """Write the sums of all files of a corpus `but` one; those of shards are in its ledger, and not read again."""
    known = _of_shards(corpus)
    names = sorted(set(_files(corpus.folder)) - {SUMS, but})
    with (corpus.folder / SUMS).open("w", encoding="utf-8", newline="\n") as file:
        for name in names:
            file.write(f"{known.get(name) or durable.file_digest(corpus.folder / name)}  {name}\n")


def _of_shards(corpus: Corpus) -> dict[str, str]:
    """Digests by path of the objects of all shards."""
    known = {}
    for name in corpus.modalities:
        for mark in corpus.ledger.marks(name, sorted(corpus.finished(name))):
            if mark.digest != ABSENT:
                key = corpus.object_key(name, corpus.shards[mark.shard])
                known[f"{STORE}/{key}"] = mark.digest.removeprefix("sha256:")
    return known


def _files(folder: Path) -> Iterator[str]:
    for root, _, names in os.walk(folder):
        for name in names:
            yield (Path(root) / name).relative_to(folder).as_posix()


def sums_left(folder: Path) -> set[str]:
    """What a publication left in a folder: whatever its sums are of, and a corpus is among that."""
    path = folder / SUMS
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    summed = {line.partition("  ")[2].partition("/")[0] for line in lines}
    return {SUMS, *summed} if {MANIFEST, SEAL} <= summed else set()  # other people's folders have sums as well

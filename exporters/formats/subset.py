"""A selection as a corpus of its own: a taster, a split, a region, some layers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from exporters.formats.corpora.assembly import assemble, corpus_left
from exporters.formats.corpora.composition import Composition
from exporters.formats.format import Format, Options
from exporters.formats.selection import Selection
from pipeline.errors import Fatal
from pipeline.progress import Progress


def _write(selection: Selection, target: Path, options: Options, progress: Progress) -> str:
    corpus = selection.corpus
    which = np.zeros(len(selection), dtype=np.int8)
    layers = tuple(corpus.modality(name) for name in selection.layers)
    composition = Composition((corpus,), which, selection.rows, layers)
    made = assemble(composition, target, _shard_rows(options, corpus.shard_rows), "convert", progress)
    return f"{len(made.manifest)} chips with {len(layers)} layers in {len(made.shards)} shards, finished and sealed."


def _shard_rows(options: Options, usual: int) -> int:
    text = options.get("shard_rows", str(usual))
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise Fatal(f"--set shard_rows={text} is no number of rows; give a whole number from 1 on.")
    return int(text)


CORPUS = Format(
    "corpus", "A corpus of its own with these chips, in their order", _write,
    {"shard_rows": "rows of a shard; those of the corpus by default, which copies shards taken whole"},
    leaves=corpus_left,
)  # fmt: skip

"""How many files a data set has, and how many a hub takes: looked at before anything is written."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from pipeline.coordinates import CHUNK_ROWS, COORDINATE_NAMES
from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.ledger import ABSENT

# https://huggingface.co/docs/hub/storage-limits: of a folder, and of a repository.
PER_FOLDER, PER_REPOSITORY = 10_000, 100_000
_RECORDS = 12  # the files beside store and ledger
_SMALL_OBJECTS = 2  # metadata and one chunk of an array that is no layer


@dataclass(frozen=True)
class Size:
    """Files in all, and entries of the fullest folder with its name."""

    files: int
    fullest: int
    folder: str


def size_of(corpus: Corpus) -> Size:
    """What the published form of a finished corpus takes; reads the ledger. Raises `Fatal` for a damaged entry."""
    counts = Counter[str]()
    for name in sorted(corpus.modalities):
        marks = corpus.ledger.marks(name, sorted(corpus.finished(name)))
        counts[f"corpus.zarr/{name}/c"] = sum(mark.digest != ABSENT for mark in marks)
        counts[f"ledger/{name}"] = len(marks)
    coordinates = len(COORDINATE_NAMES) * (_SMALL_OBJECTS + len(corpus.manifest) // CHUNK_ROWS)
    # Each layer has metadata of its own and an array of its bands' names.
    small = _RECORDS + coordinates + len(corpus.modalities) * (1 + _SMALL_OBJECTS)
    folder, fullest = counts.most_common(1)[0] if counts else ("", 0)
    return Size(sum(counts.values()) + small, fullest, folder)


def refuse_too_many(corpus: Corpus) -> Size:
    """The size; raises `Fatal` for more files than a hub takes, with the rows a shard that would do."""
    size = size_of(corpus)
    over = max(size.files / PER_REPOSITORY, size.fullest / PER_FOLDER)
    if over >= 1:
        rows = _power_of_two(corpus.shard_rows * over)
        what = f"{size.fullest:,} files in {size.folder}" if size.fullest >= PER_FOLDER else f"{size.files:,} files"
        raise Fatal(
            f"{corpus.folder} would be {what}; hubs take fewer than {PER_FOLDER:,} a folder and {PER_REPOSITORY:,} in "
            f"all: make shards larger with `geocorpus convert {corpus.folder} LARGER --to corpus --set "
            f"shard_rows={rows}`, and publish that."
        )
    return size


def _power_of_two(least: float) -> int:
    """The smallest power of two above."""
    return 1 << int(least).bit_length()

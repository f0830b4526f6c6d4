"""Hubs take fewer than 10,000 files a folder and 100,000 in all: told before anything is written."""

from __future__ import annotations

import pytest

from exporters.publication import limits
from pipeline.errors import Fatal
from tests.pipeline.damage import finished_corpus


class _Whole:
    """The ledger of a finished corpus of so many rows and layers, without its files."""

    def __init__(self, rows: int, layers: int, shard_rows: int) -> None:
        self.folder, self.shard_rows, self.manifest = "big", shard_rows, range(rows)
        self.modalities = {f"layer{number}": None for number in range(layers)}
        self.ledger = self

    def finished(self, name: str) -> range:
        return range(-(-len(self.manifest) // self.shard_rows))

    def marks(self, name: str, shards: list[int]) -> list[_Whole]:
        return [self] * len(shards)

    digest = "sha256:0"


def test_a_million_places_with_fifteen_layers_fit():
    size = limits.refuse_too_many(_Whole(1_200_000, 15, 512))
    assert size.fullest == 2344 and 2 * 15 * 2344 < size.files < 71_000


@pytest.mark.parametrize(("rows", "layers", "shard_rows"), [(1_200_000, 15, 100), (1_200_000, 25, 512), (80_000, 1, 4)])
def test_too_many_are_refused_with_the_shard_that_would_do(rows, layers, shard_rows):
    with pytest.raises(Fatal, match="hubs take fewer than 10,000 a folder and 100,000") as error:
        limits.refuse_too_many(_Whole(rows, layers, shard_rows))
    larger = int(str(error.value).split("shard_rows=")[1].split("`")[0])
    assert limits.refuse_too_many(_Whole(rows, layers, larger)).files < 100_000


def test_a_small_corpus_is_counted(tmp_path):
    corpus = finished_corpus(tmp_path, chips=9, shard_rows=4)
    size = limits.size_of(corpus)
    assert size.fullest == 3 and size.files >= 2 * 3 * 3

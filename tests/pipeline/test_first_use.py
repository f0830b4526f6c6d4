"""Shards of another place are not taken for the right ones, whoever reads them; damage is named by shard and row."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.modality import Modality
from tests.pipeline.chips import CLIMATE, COVER, OPTICAL, make_block, make_manifest

SIZE_PX = 16
OTHER = Modality("other", "Other image", OPTICAL.bands, "uint16", 0)
NOTHING = Modality("nothing", "Nothing", OPTICAL.bands, "uint16", 0)


def written(folder: Path, **options: int) -> Corpus:
    """Three shards of every layer; the chips of `nothing` are all nodata."""
    make_manifest(folder, 21, SIZE_PX)
    corpus = Corpus.create(folder, (OPTICAL, COVER, CLIMATE, OTHER, NOTHING), shard_rows=8, **options)
    for seed, (name, modality) in enumerate(corpus.modalities.items()):
        for shard in corpus.shards:
            block = make_block(modality, len(shard), SIZE_PX, 3 * seed + shard.index)
            corpus.write(shard, name, block * (name != "nothing"), {})
    return Corpus.open(folder)


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return written(tmp_path)


def exchange(one: Path, other: Path) -> None:
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


@pytest.mark.parametrize("name", ["optical", "cover", "climate"])
def test_exchanged_shards_are_named(corpus: Corpus, name: str) -> None:
    exchange(corpus.object_path(name, corpus.shards[0]), corpus.object_path(name, corpus.shards[1]))
    assert corpus.read(name, corpus.shards[2].slice).size
    with pytest.raises(Fatal, match=f"shard 0 of '{name}' in .* is not what the ledger says .*; run `geocorpus verify"):
        corpus.read(name, slice(0, 21))


def test_shards_of_one_value_are_told_apart(corpus: Corpus) -> None:
    for shard, value in zip(corpus.shards, COVER.codes, strict=True):
        corpus.write(shard, "cover", np.full((len(shard), 1, SIZE_PX, SIZE_PX), value, np.uint8), {})
    paths = [corpus.object_path("cover", shard) for shard in corpus.shards[:2]]
    assert paths[0].stat().st_size == paths[1].stat().st_size
    exchange(*paths)
    with pytest.raises(Fatal, match="shard 0 of 'cover'"):
        Corpus.open(corpus.folder).read("cover", slice(0, 8))


def test_a_shard_of_another_layer_is_named(corpus: Corpus) -> None:
    shard = corpus.shards[1]
    corpus.object_path("optical", shard).write_bytes(corpus.object_path("other", shard).read_bytes())
    with pytest.raises(Fatal, match="shard 1 of 'optical' in .* is not what the ledger says"):
        corpus.read("optical", shard.slice)


def test_a_shard_where_none_should_be_is_named(corpus: Corpus) -> None:
    shard = corpus.shards[1]
    path = corpus.object_path("nothing", shard)
    path.parent.mkdir(parents=True)
    path.write_bytes(corpus.object_path("other", shard).read_bytes())
    with pytest.raises(Fatal, match=r"shard 1 of 'nothing' in .* \(nothing should be stored\)"):
        corpus.read("nothing", shard.slice)


def test_a_shard_is_looked_at_once(corpus: Corpus) -> None:
    shard = corpus.shards[0]
    before = corpus.read("optical", shard.slice)
    path = corpus.ledger.path("optical", 0)
    path.write_text(re.sub('"index_crc32c": "[0-9a-f]+"', '"index_crc32c": "00000000"', path.read_text()))
    assert np.array_equal(corpus.read("optical", shard.slice), before)


def flips(content: bytes, count: int) -> Iterator[bytes]:
    """The bytes with one bit of them flipped, so many times."""
    for bit in np.random.default_rng(0).choice(8 * len(content), count, replace=False).tolist():
        yield content[: bit // 8] + bytes([content[bit // 8] ^ 1 << bit % 8]) + content[bit // 8 + 1 :]


def zeroed(content: bytes, count: int) -> Iterator[bytes]:
    """The bytes with up to a hundred of them zero, so many times."""
    length = min(100, len(content) // 2)
    for start in np.random.default_rng(0).integers(0, len(content) - length, count).tolist():
        yield content[:start] + bytes(length) + content[start + length :]


@pytest.mark.parametrize("damage", [flips, zeroed])
@pytest.mark.parametrize("name", ["optical", "climate"])
def test_damage_is_named_or_harmless(
    corpus: Corpus, name: str, damage: Callable[[bytes, int], Iterator[bytes]]
) -> None:
    shard = corpus.shards[1]
    path, before = corpus.object_path(name, shard), corpus.read(name, shard.slice)
    named = 0
    for content in damage(path.read_bytes(), 60):
        path.write_bytes(content)
        try:
            assert Corpus.open(corpus.folder).read(name, shard.slice).tobytes() == before.tobytes()
        except Fatal as error:
            assert f"shard 1 of '{name}' in {corpus.folder} is" in str(error)
            assert f"run `geocorpus verify {corpus.folder}`" in str(error)
            named += 1
    assert named >= 58


def test_the_damaged_row_is_named(corpus: Corpus) -> None:
    path = corpus.object_path("optical", corpus.shards[1])
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(Fatal, match=r"shard 1 of 'optical' in .* is damaged \(row 1[12] cannot be decoded\)"):
        corpus.read("optical", slice(3, 21))


def test_entries_of_older_releases_pass(tmp_path: Path) -> None:
    corpus = written(tmp_path, format_version=1)
    before = corpus.read("optical", slice(0, 21))
    for path in (corpus.ledger.folder / "optical").glob("*.json"):
        text = re.sub(r' "index_crc32c": "[0-9a-f]+",\n', "", path.read_text())
        path.write_text(re.sub(r',\n "text_crc32c": "[0-9a-f]{8}"', "", text))
    assert np.array_equal(Corpus.open(tmp_path).read("optical", slice(0, 21)), before)

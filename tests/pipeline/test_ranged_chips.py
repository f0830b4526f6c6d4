"""Chips that are read alone are those that zarr-python reads; damage is named; a shard that is written anew is seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.ledger import Mark
from pipeline.ranged_chips import RangedChips
from tests.pipeline.chips import OPTICAL, make_block
from tests.pipeline.test_first_use import SIZE_PX, exchange, flips, written, zeroed


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return written(tmp_path)


def mark_of(corpus: Corpus, name: str, row: int) -> Mark:
    return corpus.ledger.marks(name, [row // corpus.shard_rows])[0]


def read(corpus: Corpus, name: str) -> np.ndarray:
    chips = RangedChips(corpus, name)
    return np.stack([chips.values(row, mark_of(corpus, name, row)) for row in range(21)])


@pytest.mark.parametrize("name", ["optical", "cover", "nothing"])
def test_they_are_those_of_zarr(corpus: Corpus, name: str) -> None:
    if name == "optical":  # a chip without bytes between others
        shard = corpus.shards[1]
        block = make_block(OPTICAL, len(shard), SIZE_PX, 5)
        block[3] = OPTICAL.fill
        corpus.write(shard, name, block, {})
    got = read(corpus, name)
    assert got.dtype == corpus.modality(name).dtype
    np.testing.assert_array_equal(got, Corpus.open(corpus.folder).read(name, slice(0, 21)))


@pytest.mark.parametrize("damage", [flips, zeroed])
def test_damage_is_named_or_harmless(corpus: Corpus, damage) -> None:  # type: ignore[no-untyped-def]
    path, before = corpus.object_path("optical", corpus.shards[1]), corpus.read("optical", slice(0, 21))
    named = 0
    for content in damage(path.read_bytes(), 60):
        path.write_bytes(content)
        try:
            np.testing.assert_array_equal(read(corpus, "optical"), before)
        except Fatal as error:
            assert f"shard 1 of 'optical' in {corpus.folder} is" in str(error)
            named += 1
    assert named >= 58


def test_exchanged_lost_and_unexpected_shards_are_named(corpus: Corpus) -> None:
    paths = [corpus.object_path("optical", shard) for shard in corpus.shards]
    exchange(paths[0], paths[1])
    with pytest.raises(Fatal, match=r"shard 0 of 'optical' in .* \(its index is another one\)"):
        read(corpus, "optical")
    unexpected = corpus.object_path("nothing", corpus.shards[0])
    unexpected.parent.mkdir(parents=True)
    unexpected.write_bytes(paths[2].read_bytes())
    with pytest.raises(Fatal, match=r"shard 0 of 'nothing' in .* \(nothing should be stored\)"):
        read(corpus, "nothing")
    corpus.object_path("other", corpus.shards[1]).unlink()
    with pytest.raises(Fatal, match="shard 1 of 'other' in .* is not finished"):
        read(corpus, "other")


def test_a_shard_that_is_written_anew_is_read_anew(corpus: Corpus) -> None:
    chips, shard = RangedChips(corpus, "optical"), corpus.shards[0]
    before = chips.values(2, mark_of(corpus, "optical", 2))
    block = make_block(OPTICAL, len(shard), SIZE_PX, 77)
    Corpus.open(corpus.folder).write(shard, "optical", block, {})
    after = chips.values(2, mark_of(corpus, "optical", 2))
    np.testing.assert_array_equal(after, block[2])
    assert not np.array_equal(after, before)


def test_layers_without_checksums_of_chips_are_not_for_it(tmp_path: Path, corpus: Corpus) -> None:
    with pytest.raises(Fatal, match="are not compressed singly, with checksums"):
        RangedChips(corpus, "climate")
    with pytest.raises(Fatal, match="are not compressed singly, with checksums"):
        RangedChips(written(tmp_path / "older", format_version=1), "optical")

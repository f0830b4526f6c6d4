"""Chips by ranged requests: the same values and errors as from files, few requests, and none behind a lock."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.modality import Band, Modality
from pipeline.store import Buffer, FolderStore
from tests.buckets import BUCKET, S3, service
from tests.pipeline.chips import make_manifest
from tests.training.data.test_reader import DTYPES, ROWS, SHARD_ROWS, SIZE_PX, chips, layer_of, same_bits, written
from training.data.chip_cache import ChipCache
from training.data.chip_reader import ChipReader
from training.data.chunk_layout import ChunkLayout
from training.data.range_reader import RangeReader
from training.data.reader import open_reader
from training.data.stored_layer import StoredLayer

LAYER = Modality("layer", "Layer", (Band("a"), Band("b")), "int16", -1)


class Asked(FolderStore):
    """A store in a folder that keeps what it is asked for."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.asked: list[Any] = []

    def end(self, key: str, count: int) -> tuple[bytes, int] | None:
        self.asked.append(key)
        return super().end(key, count)

    def ranges(self, key: str, spans: Sequence[tuple[int, int]]) -> list[Buffer] | None:
        self.asked.append((key, len(spans)))
        return super().ranges(key, spans)


def ranged(corpus: Corpus, span_rows: int = 4, name: str = "layer", cache: ChipCache | None = None) -> RangeReader:
    """The corpus opened anew, and read as one in a bucket is."""
    opened = Corpus.open(corpus.folder)
    opened.store = Asked(corpus.folder / "corpus.zarr")
    array = zarr.open_array(corpus.folder / "corpus.zarr" / name, mode="r")
    return RangeReader(StoredLayer(opened, name, ChunkLayout.of(opened, array)), span_rows, cache)


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """A layer of every dtype; read-only."""
    return written(tmp_path_factory.mktemp("every"), [layer_of(number) for number in range(len(DTYPES))])


@pytest.fixture
def full(tmp_path: Path) -> Corpus:
    """Every chip holds data."""
    make_manifest(tmp_path, ROWS, SIZE_PX)
    corpus = Corpus.create(tmp_path, [LAYER], SHARD_ROWS)
    for shard in corpus.shards:
        block = np.random.default_rng(shard.index).integers(0, 99, (len(shard), 2, SIZE_PX, SIZE_PX), dtype=np.int16)
        corpus.write(shard, "layer", block, {})
    return corpus


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=3, deadline=None)
@given(rows=st.permutations(range(ROWS)), span_rows=st.integers(1, 20))
def test_reads_what_a_disk_gives(every: Corpus, dtype: str, rows: list[int], span_rows: int) -> None:
    """By spans that nobody announced, and runs that were fetched before; also chips and shards without data."""
    stored, reader = every.read(dtype, slice(0, ROWS)), ranged(every, span_rows, dtype)
    assert same_bits(chips(reader, stored, rows), stored[rows])
    for index in range(3):
        of_shard = sorted(row for row in rows[:12] if row // SHARD_ROWS == index)
        if of_shard:
            assert same_bits(chips(reader.fetched(of_shard), stored, of_shard), stored[of_shard])


def test_an_index_is_fetched_once_and_a_run_at_once(full: Corpus) -> None:
    reader = ranged(full)
    reader.fetched([1, 2, 3])
    reader.fetched([4, 7])
    chips(reader, full.read("layer", slice(0, ROWS)), [0, 1, 2, 3])
    first = full.object_key("layer", full.shards[0])
    asked = [first, (first, 1), (first, 2), (first, 1)]  # Chips that touch are one span.
    assert reader._layer.corpus.store.asked == asked


def test_requests_wait_for_no_other(full: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads are in a request at the same time: each waits for the other."""
    together, ranges = threading.Barrier(2, timeout=30), Asked.ranges

    def slow(store: Asked, key: str, spans: Sequence[tuple[int, int]]) -> list[Buffer] | None:
        together.wait()
        return ranges(store, key, spans)

    monkeypatch.setattr(Asked, "ranges", slow)
    reader, stored = ranged(full), full.read("layer", slice(0, ROWS))
    with ThreadPoolExecutor(2) as pool:
        read = list(pool.map(lambda row: chips(reader, stored, [row]), (0, 5)))
    assert all(same_bits(one, stored[[row]]) for one, row in zip(read, (0, 5), strict=True))


def test_a_run_that_comes_cut_off_is_damaged_from_there_on(full: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service may answer with fewer bytes."""
    ranges, stored = Asked.ranges, full.read("layer", slice(0, ROWS))
    monkeypatch.setattr(Asked, "ranges", lambda *asked: [part[:-30] for part in ranges(*asked) or []])
    run = ranged(full).fetched([1, 2, 3])
    assert same_bits(chips(run, stored, [1, 2]), stored[[1, 2]])
    with pytest.raises(Fatal, match="row 3 has another size"):
        run.chip(3, np.empty((2, SIZE_PX, SIZE_PX), np.int16))


def test_one_chip_of_a_block_holds_no_block(full: Corpus, tmp_path: Path) -> None:
    """In a batch of several processes, each has few chips of a block, and many blocks are ahead."""
    reader = ranged(full, cache=ChipCache(tmp_path / "cache", 10**6))
    ((chip, place),) = reader.fetched([3])._chips.values()
    assert isinstance(chip.content.base, bytes) and chip.content.nbytes == reader._index(0).byte_ranges[3, 1]
    assert place == 0


def test_a_cache_spares_requests_and_gives_the_same(full: Corpus, tmp_path: Path) -> None:
    stored, rows = full.read("layer", slice(0, ROWS)), [[0, 2, 3], [9, 15], [16, 18], [1, 7]]
    cache = ChipCache(tmp_path / "cache", 10**6)
    for asked in (6, 3):  # Without what is kept: the indices, and a block of each shard.
        reader = ranged(full, cache=cache)
        for some in rows:
            assert same_bits(chips(reader.fetched(some), stored, some), stored[some])
        assert len(reader._layer.corpus.store.asked) == asked
    shutil.rmtree(tmp_path / "cache")
    assert same_bits(chips(reader.fetched(rows[0]), stored, rows[0]), stored[rows[0]])


def test_damage_is_not_kept(full: Corpus, tmp_path: Path) -> None:
    """Once it is mended, the chip is read."""
    path, cache = full.object_path("layer", full.shards[0]), ChipCache(tmp_path / "cache", 10**6)
    whole, stored = path.read_bytes(), full.read("layer", slice(0, ROWS))
    path.write_bytes(whole[:16] + b"\xff" * 4 + whole[20:])
    assert "row 0 has another checksum" in refusal(ranged(full, cache=cache))
    path.write_bytes(whole)
    assert same_bits(chips(ranged(full, cache=cache), stored, [0]), stored[[0]])


DAMAGES = [
    (lambda content: content[:50], "it is shorter than its index"),
    (lambda content: content[:-9] + bytes([content[-9] ^ 1]) + content[-8:], "its index has another checksum"),
    (lambda content: content[20:], "its index points outside the file"),
    (lambda content: b"\xff" * 8 + content[8:], "row 0 has another size"),
    (lambda content: content[:16] + b"\xff" * 4 + content[20:], "row 0 has another checksum"),
]


def refusal(reader: ChipReader) -> str:
    with pytest.raises(Fatal) as refused:
        reader.chip(0, np.empty((2, SIZE_PX, SIZE_PX), np.int16))
    return str(refused.value)


def on_disk(corpus: Corpus) -> ChipReader:
    return open_reader(Corpus.open(corpus.folder), "layer", 4)


@pytest.mark.parametrize(("damage", "message"), DAMAGES)
def test_damage_is_named_as_on_a_disk(full: Corpus, damage, message: str) -> None:
    path = full.object_path("layer", full.shards[0])
    path.write_bytes(damage(path.read_bytes()))
    said = refusal(ranged(full))
    assert message in said and said == refusal(on_disk(full))


def test_unfinished_absent_and_exchanged_shards_are_named_as_on_a_disk(full: Corpus) -> None:
    paths = [full.object_path("layer", shard) for shard in full.shards]
    first, second = paths[0].read_bytes(), paths[1].read_bytes()
    paths[0].write_bytes(second)
    assert "is not what the ledger says" in refusal(ranged(full)) == refusal(on_disk(full))
    paths[0].unlink()
    assert "is not finished" in refusal(ranged(full)) == refusal(on_disk(full))
    paths[0].write_bytes(first)
    full.ledger.path("layer", 0).unlink()
    assert "is not finished" in refusal(ranged(full)) == refusal(on_disk(full))


def test_an_object_that_goes_while_it_is_read_is_not_nodata(full: Corpus) -> None:
    reader = ranged(full)
    reader.fetched([0])
    full.object_path("layer", full.shards[0]).unlink()
    with pytest.raises(Fatal, match="shard 0 of 'layer' in .* is not finished"):
        reader.fetched([1])


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with service() as result:
        yield result


def test_a_bucket_is_read_like_a_disk(s3: S3, full: Corpus, caplog: pytest.LogCaptureFixture) -> None:
    """Also objects that are absent, empty or damaged, with the same words."""
    folder = full.folder / "far"
    make_manifest(folder, ROWS, SIZE_PX)
    corpus = Corpus.create(folder, [LAYER], SHARD_ROWS, f"s3://{BUCKET}/ranged.zarr")
    stored = full.read("layer", slice(0, ROWS)).copy()
    stored[[1, *range(8, 16)]] = LAYER.fill
    for shard in corpus.shards:
        corpus.write(shard, "layer", stored[shard.slice], {})
    with caplog.at_level(logging.WARNING):
        reader = open_reader(Corpus.open(folder), "layer", 4)
    assert isinstance(reader, RangeReader) and "zarr-python" not in caplog.text
    assert same_bits(chips(reader, stored, list(range(ROWS))[::-1]), stored[::-1])
    key = f"ranged.zarr/{corpus.object_key('layer', corpus.shards[0])}"
    whole = s3.get(key)
    for damage, message in [*DAMAGES, (lambda content: b"", "it is shorter than its index")]:
        s3.put(key, damage(whole))
        assert message in refusal(on_disk(corpus))
    s3.client.delete_object(Bucket=BUCKET, Key=key)
    assert "shard 0 of 'layer'" in refusal(on_disk(corpus))

"""The thin reader against zarr-python, bit for bit; what it refuses, and what it leaves to zarr-python."""

from __future__ import annotations

import logging
import shutil
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, ShardingCodec, ZstdCodec

from pipeline.corpus import Corpus
from pipeline.errors import Fatal
from pipeline.modality import Band, Modality
from tests.pipeline.chips import make_manifest
from training.reader import ChipReader, RunReader, ShardReader, obstacle, open_reader

ROWS, SHARD_ROWS, SIZE_PX = 19, 8, 6  # The last of three shards is short.
DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32", "float64")


def written(folder: Path, dtype: str, bands: int, nodata: float, seed: int) -> Corpus:
    """A corpus of one layer: some chips are all nodata, one shard is, the others hold random bits."""
    names = tuple(Band(f"b{number}") for number in range(bands))
    layer = Modality("layer", "Layer", names, dtype, nodata)
    make_manifest(folder, ROWS, SIZE_PX)
    corpus = Corpus.create(folder, [layer], SHARD_ROWS)
    random = np.random.default_rng(seed)
    for shard in corpus.shards:
        bits = random.integers(0, 256, (len(shard), *layer.shape(SIZE_PX), np.dtype(dtype).itemsize), dtype=np.uint8)
        block = bits.view(dtype)[..., 0]
        if shard.index == seed % 4:
            block[:] = layer.fill
        block[random.random(len(shard)) < 0.3] = layer.fill
        with np.errstate(all="ignore"):  # Random bits make huge floats.
            corpus.write(shard, "layer", block, {})
    return corpus


def chips(reader: ChipReader, like: NDArray, rows: list[int]) -> NDArray:
    """The chips of `rows`, each by a call of its own into one reused array that is dirty from the one before."""
    scratch = np.empty(like.shape[1:], like.dtype)
    return np.stack([reader.chip(row, scratch).copy() for row in rows])


def same_bits(one: NDArray, other: NDArray) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


@settings(max_examples=12, deadline=None)
@given(dtype=st.sampled_from(DTYPES), bands=st.integers(1, 4), seed=st.integers(0, 2**32), data=st.data())
def test_reads_what_zarr_python_reads(
    tmp_path_factory: pytest.TempPathFactory, dtype: str, bands: int, seed: int, data: st.DataObject
) -> None:
    special = [0.0, float("nan"), float("inf"), -99.0] if np.dtype(dtype).kind == "f" else [0.0, 101.0]
    corpus = written(tmp_path_factory.mktemp("corpus"), dtype, bands, data.draw(st.sampled_from(special)), seed)
    stored = np.asarray(zarr.open_array(corpus.folder / "corpus.zarr" / "layer", mode="r")[:])
    reader = open_reader(corpus, "layer", 4)
    assert isinstance(reader, ShardReader)
    rows = data.draw(st.permutations(range(ROWS)))
    assert same_bits(chips(reader, stored, rows), stored[rows])
    assert same_bits(chips(RunReader(corpus, "layer", data.draw(st.integers(1, 20))), stored, rows), stored[rows])


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return written(tmp_path, "int16", 2, -1, 3)


@pytest.fixture
def full(tmp_path: Path) -> Corpus:
    """Every chip holds data: row 0 is at the start of the first file, and all objects exist."""
    make_manifest(tmp_path, ROWS, SIZE_PX)
    corpus = Corpus.create(tmp_path, [Modality("layer", "Layer", (Band("a"), Band("b")), "int16", -1)], SHARD_ROWS)
    for shard in corpus.shards:
        block = np.random.default_rng(shard.index).integers(0, 99, (len(shard), 2, SIZE_PX, SIZE_PX), dtype=np.int16)
        corpus.write(shard, "layer", block, {})
    return corpus


def shard_file(corpus: Corpus, index: int) -> Path:
    return corpus.object_path("layer", corpus.shards[index])


def first_chip(corpus: Corpus) -> NDArray:
    return open_reader(corpus, "layer", 4).chip(0, np.empty((2, SIZE_PX, SIZE_PX), np.int16))


def test_many_threads_read_the_same(corpus: Corpus) -> None:
    stored, reader = corpus.read("layer", slice(0, ROWS)), open_reader(corpus, "layer", 4)
    rows = np.random.default_rng(0).integers(0, ROWS, (40, 10)).tolist()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda some: chips(reader, stored, some), rows))
    assert all(same_bits(one, stored[some]) for one, some in zip(found, rows, strict=True))


def test_other_threads_run_while_it_decodes(tmp_path: Path) -> None:
    make_manifest(tmp_path, 1, 2048)
    big = Modality("layer", "Layer", (Band("b"),), "uint16", 0)
    corpus = Corpus.create(tmp_path, [big], 1)
    corpus.write(corpus.shards[0], "layer", np.random.default_rng(0).integers(1, 999, (1, 1, 2048, 2048), "uint16"), {})
    reader, scratch = open_reader(corpus, "layer", 1), np.empty((1, 2048, 2048), np.uint16)
    assert turns_of_others(lambda: reader.chip(0, scratch)) >= 5
    assert turns_of_others(lambda: sum(range(1_000_000))) == 0  # What holds the interpreter's lock.


def turns_of_others(work: Callable[[], object]) -> int:
    """How often another thread has a turn inside of ten calls of `work`, which runs in no main thread, as in a feed."""
    turns, stop = [0], threading.Event()

    def take_turns() -> None:
        while not stop.wait(0.0002):
            turns[0] += 1

    def measure() -> int:
        inside = 0
        for _ in range(10):
            before = turns[0]
            work()
            inside += turns[0] - before
        return inside

    other, interval = threading.Thread(target=take_turns), sys.getswitchinterval()
    sys.setswitchinterval(60)  # Nobody is made to give the lock up: only who releases it lets others run.
    other.start()
    try:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(measure).result()
    finally:
        sys.setswitchinterval(interval)
        stop.set()
        other.join()


def test_refuses_a_shard_that_is_not_finished(corpus: Corpus) -> None:
    corpus.ledger.forget("layer", 0)
    with pytest.raises(Fatal, match="shard 0 of 'layer' in .* is not finished; run `geocorpus export`"):
        first_chip(corpus)


def test_a_file_that_is_gone_is_not_nodata(corpus: Corpus) -> None:
    shard_file(corpus, 0).unlink()
    for opened in (corpus, Corpus.open(corpus.folder)):  # One that knew it as finished, and one that looks anew.
        with pytest.raises(Fatal, match="shard 0 of 'layer' in .* is not finished"):
            first_chip(opened)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[:50], "it is shorter than its index"),
        (lambda content: b"", "cannot mmap an empty file"),
        (lambda content: content[:-9] + bytes([content[-9] ^ 1]) + content[-8:], "its index has another checksum"),
        (lambda content: content[20:], "its index points outside the file"),
        (lambda content: b"\xff" * 8 + content[8:], "row 0 has another size"),
        (lambda content: content[:12] + b"\xff" * 4 + content[16:], "row 0 has another size"),
        (lambda content: content[:16] + b"\xff" * 4 + content[20:], "row 0 cannot be decoded"),
    ],
)
def test_names_a_damaged_shard(full: Corpus, damage, message: str) -> None:
    path = shard_file(full, 0)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(Fatal, match="shard 0 of 'layer' .* is damaged .*; run `geocorpus verify") as refusal:
        first_chip(full)
    assert message in str(refusal.value)


def rebuilt(corpus: Corpus, **settings) -> None:
    """Store the same values in an array that was made with other settings."""
    folder = corpus.folder / "corpus.zarr" / "layer"
    stored = zarr.open_array(folder, mode="r")[:]
    attributes = dict(zarr.open_array(folder, mode="r").attrs)
    shutil.rmtree(folder)
    made = {"shape": stored.shape, "dtype": stored.dtype, "fill_value": -1, "attributes": attributes, **settings}
    zarr.create_array(folder, **made)[:] = stored


WHOLE = (1, 2, SIZE_PX, SIZE_PX)
SHARD = (SHARD_ROWS, 2, SIZE_PX, SIZE_PX)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"chunks": WHOLE}, "is not sharded"),
        ({"chunks": (1, 1, SIZE_PX, SIZE_PX), "shards": SHARD}, "is not cut into shards of whole chips"),
        ({"chunks": WHOLE, "shards": (4, 2, SIZE_PX, SIZE_PX)}, "is not cut into shards of whole chips"),
        ({"chunks": WHOLE, "shards": SHARD, "compressors": ZstdCodec()}, "is not compressed by Blosc alone"),
        ({"chunks": WHOLE, "shards": SHARD, "compressors": None}, "is not compressed by Blosc alone"),
        ({"chunks": WHOLE, "shards": SHARD, "compressors": BloscCodec(), "serializer": BytesCodec(endian="big")},
         "is not compressed by Blosc alone"),
        ({"chunks": SHARD, "compressors": None, "serializer": ShardingCodec(
            chunk_shape=WHOLE, codecs=[BytesCodec(), BloscCodec()], index_codecs=[BytesCodec(), Crc32cCodec()],
            index_location="start")}, "has its shard index at the start"),
        ({"chunks": SHARD, "compressors": None, "serializer": ShardingCodec(
            chunk_shape=WHOLE, codecs=[BytesCodec(), BloscCodec()], index_codecs=[BytesCodec()])},
         "has a shard index of unknown codecs"),
    ],
)  # fmt: skip
def test_leaves_to_zarr_python_what_it_does_not_know(
    full: Corpus, caplog: pytest.LogCaptureFixture, settings: dict, problem: str
) -> None:
    stored = full.read("layer", slice(0, ROWS))
    rebuilt(full, **settings)
    array = zarr.open_array(full.folder / "corpus.zarr" / "layer", mode="r")
    assert obstacle(full, array) == problem
    with caplog.at_level(logging.WARNING):
        reader = open_reader(full, "layer", 5)
    assert isinstance(reader, RunReader)
    assert f"'layer' {problem}; it is read through zarr-python" in caplog.text
    assert same_bits(chips(reader, stored, list(range(ROWS))), stored)


@pytest.mark.parametrize("codec", ["lz4", "lz4hc", "zstd", "zlib", "blosclz"])
@pytest.mark.parametrize("shuffle", ["noshuffle", "shuffle", "bitshuffle"])
def test_reads_whatever_blosc_packs(full: Corpus, codec: str, shuffle: str) -> None:
    stored = full.read("layer", slice(0, ROWS))
    rebuilt(full, chunks=WHOLE, shards=SHARD, compressors=BloscCodec(cname=codec, shuffle=shuffle))
    reader = open_reader(full, "layer", 5)
    assert isinstance(reader, ShardReader)
    assert same_bits(chips(reader, stored, list(range(ROWS))), stored)

"""The thin reader against zarr-python, bit for bit; what it refuses, and what it leaves to zarr-python."""

from __future__ import annotations

import json
import logging
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
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
from pipeline.ledger import Ledger
from pipeline.modality import Band, Modality
from tests.pipeline.chips import make_manifest
from training.data.chip_reader import ChipReader
from training.data.chunk_layout import obstacle
from training.data.open_files import shards_at_once
from training.data.reader import ShardReader, SpanReader, open_reader
from training.data.stored_layer import StoredLayer

ROWS, SHARD_ROWS, SIZE_PX = 19, 8, 6  # The last of three shards is short.
DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32", "float64")


NODATA = (float("nan"), float("inf"), -99.0)


def layer_of(number: int) -> Modality:
    """A layer of the dtype of that number, with one to four bands; floats have every kind of nodata."""
    dtype = np.dtype(DTYPES[number])
    nodata = NODATA[number % 3] if dtype.kind == "f" else (0, 101)[number % 2]
    return Modality(dtype.name, "Layer", tuple(Band(f"b{band}") for band in range(1 + number % 4)), dtype.name, nodata)


def written(folder: Path, layers: list[Modality]) -> Corpus:
    """Some chips are all nodata, and a whole shard in three layers of four; the others hold random bits."""
    make_manifest(folder, ROWS, SIZE_PX)
    corpus = Corpus.create(folder, layers, SHARD_ROWS)
    random = np.random.default_rng(0)
    for number, layer in enumerate(layers):
        for shard in corpus.shards:
            size = np.dtype(layer.dtype).itemsize
            bits = random.integers(0, 256, (len(shard), *layer.shape(SIZE_PX), size), np.uint8)
            block = bits.view(layer.dtype)[..., 0]
            block[random.random(len(shard)) < (1 if shard.index == number % 4 else 0.3)] = layer.fill
            with np.errstate(all="ignore"):  # Random bits make huge floats.
                corpus.write(shard, layer.name, block, {})
    return corpus


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """A layer of every dtype; read-only."""
    return written(tmp_path_factory.mktemp("every"), [layer_of(number) for number in range(len(DTYPES))])


def chips(reader: ChipReader, like: NDArray, rows: list[int]) -> NDArray:
    """The chips of `rows`, each by a call of its own into one reused array that is dirty from the one before."""
    scratch = np.empty(like.shape[1:], like.dtype)
    return np.stack([reader.chip(row, scratch).copy() for row in rows])


def same_bits(one: NDArray, other: NDArray) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=3, deadline=None)
@given(rows=st.permutations(range(ROWS)), run=st.integers(1, 20))
def test_reads_what_zarr_python_reads(every: Corpus, dtype: str, rows: list[int], run: int) -> None:
    stored = np.asarray(zarr.open_array(every.folder / "corpus.zarr" / dtype, mode="r")[:])
    reader = open_reader(every, dtype, run)
    assert isinstance(reader, ShardReader)
    assert same_bits(chips(reader, stored, rows), stored[rows])
    assert same_bits(chips(SpanReader(every, dtype, run), stored, rows), stored[rows])


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    """One layer, of which only the first shard is all nodata."""
    return written(tmp_path, [Modality("layer", "Layer", (Band("a"), Band("b")), "int16", -1)])


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
        result = list(pool.map(lambda some: chips(reader, stored, some), rows))
    assert all(same_bits(one, stored[some]) for one, some in zip(result, rows, strict=True))


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
    corpus.ledger.path("layer", 0).unlink()
    with pytest.raises(Fatal, match="shard 0 of 'layer' in .* is not finished; run `geocorpus export "):
        first_chip(corpus)


def test_the_ledger_is_listed_once_however_many_shards_are_opened(
    full: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed, done = [], Ledger.done
    monkeypatch.setattr(Ledger, "done", lambda ledger, name: listed.append(name) or done(ledger, name))
    reader, stored = open_reader(full, "layer", 4), full.read("layer", slice(0, ROWS))
    listed.clear()
    assert same_bits(chips(reader, stored, list(range(ROWS))), stored)
    assert listed == ["layer"]


def test_a_shard_that_is_finished_later_is_read(tmp_path: Path) -> None:
    make_manifest(tmp_path, ROWS, SIZE_PX)
    corpus = Corpus.create(tmp_path, [Modality("layer", "Layer", (Band("a"),), "int16", -1)], SHARD_ROWS)
    blocks = [np.full((len(shard), 1, SIZE_PX, SIZE_PX), shard.index, np.int16) for shard in corpus.shards]
    corpus.write(corpus.shards[0], "layer", blocks[0], {})
    reader, scratch = open_reader(corpus, "layer", 4), blocks[0][0].copy()
    assert reader.chip(0, scratch).max() == 0
    with pytest.raises(Fatal):
        reader.chip(SHARD_ROWS, scratch)
    corpus.write(corpus.shards[1], "layer", blocks[1], {})
    assert reader.chip(SHARD_ROWS, scratch).min() == 1


def test_a_file_that_is_gone_is_not_nodata(full: Corpus) -> None:
    shard_file(full, 0).unlink()
    for opened in (full, Corpus.open(full.folder)):  # One that knew it as finished, and one that looks anew.
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
        (lambda content: content[:16] + b"\xff" * 4 + content[20:], "row 0 has another checksum"),
    ],
)
def test_names_a_damaged_shard(full: Corpus, damage, message: str) -> None:
    path = shard_file(full, 0)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(Fatal, match="shard 0 of 'layer' .* is damaged .*; run `geocorpus verify") as refusal:
        first_chip(full)
    assert message in str(refusal.value)


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """A layer like an image of twelve bands: smooth with noise, half of the range unused, one shard of eight chips."""
    folder = tmp_path_factory.mktemp("photo")
    manifest = make_manifest(folder, 8, 32)
    corpus = Corpus.create(
        folder, [Modality("layer", "Layer", tuple(Band(f"b{band}") for band in range(12)), "uint16", 0)], 8
    )
    random, shape = np.random.default_rng(0), (len(manifest), 12, 32, 32)
    block = 2000 + np.cumsum(random.integers(-40, 41, shape), axis=-1) + random.integers(0, 30, shape)
    corpus.write(corpus.shards[0], "layer", block.clip(1, 9000).astype(np.uint16), {})
    return corpus


def flipped(content: bytes, count: int) -> Iterator[bytes]:
    for bit in np.random.default_rng(0).choice(8 * len(content), count, replace=False).tolist():
        yield content[: bit // 8] + bytes([content[bit // 8] ^ 1 << bit % 8]) + content[bit // 8 + 1 :]


def zeroed(content: bytes, count: int) -> Iterator[bytes]:
    for start in np.random.default_rng(0).integers(0, len(content) - 100, count).tolist():
        yield content[:start] + bytes(100) + content[start + 100 :]


def by_shards(corpus: Corpus) -> NDArray:
    reader = open_reader(corpus, "layer", 8)
    assert isinstance(reader, ShardReader)
    return chips(reader, np.empty((1, 12, 32, 32), np.uint16), list(range(8)))


def by_spans(corpus: Corpus) -> NDArray:
    return chips(SpanReader(corpus, "layer", 8), np.empty((1, 12, 32, 32), np.uint16), list(range(8)))


@pytest.mark.parametrize("damage", [flipped, zeroed])
@pytest.mark.parametrize(("read", "count"), [(by_shards, 400), (by_spans, 60)])
def test_damage_is_named_or_harmless(
    photo: Corpus, read: Callable[[Corpus], NDArray], count: int, damage: Callable[[bytes, int], Iterator[bytes]]
) -> None:
    path, named = shard_file(photo, 0), 0
    whole, before = path.read_bytes(), read(photo)
    try:
        for content in damage(whole, count):
            path.write_bytes(content)
            try:
                assert same_bits(read(Corpus.open(photo.folder)), before)
            except Fatal as error:
                assert "shard 0 of 'layer'" in str(error) and "run `geocorpus verify" in str(error)
                named += 1
    finally:
        path.write_bytes(whole)
    assert named == count


def test_exchanged_shards_are_named(full: Corpus) -> None:
    first, second = shard_file(full, 0).read_bytes(), shard_file(full, 1).read_bytes()
    shard_file(full, 0).write_bytes(second)
    shard_file(full, 1).write_bytes(first)
    with pytest.raises(Fatal, match="shard 0 of 'layer' in .* is not what the ledger says .*; run `geocorpus verify"):
        first_chip(full)


def test_a_shard_that_is_opened_again_is_not_looked_up_again(full: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    """The runs of a batch are in more shards than are kept open; one that was exchanged meanwhile is named anyway."""
    monkeypatch.setattr("training.data.reader.shards_at_once", lambda: 1)
    looked_up: list[int] = []
    mark = StoredLayer.mark
    monkeypatch.setattr(StoredLayer, "mark", lambda layer, index: looked_up.append(index) or mark(layer, index))
    reader, like = open_reader(full, "layer", 8), full.read("layer", slice(0, ROWS))
    rows = [0, 8, 1, 9, 2, 10, 0]
    assert same_bits(chips(reader, like, rows), like[rows]) and looked_up == [0, 1]
    shard_file(full, 1).write_bytes(shard_file(full, 0).read_bytes())
    with pytest.raises(Fatal, match="shard 1 of 'layer' in .* is not what the ledger says"):
        chips(reader, like, [8])


def test_as_many_shards_stay_open_as_the_system_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    for limit, shards in ((256, 32), (1024, 32), (6400, 100), (1 << 20, 512), (resource.RLIM_INFINITY, 512)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, limit=limit: (limit, limit))
        assert shards_at_once() == shards


def test_a_digest_changed_in_the_ledger_is_named(full: Corpus) -> None:
    path = full.ledger.path("layer", 0)
    path.write_text(path.read_text().replace("sha256:", "sha256:0"))
    with pytest.raises(Fatal, match=r"layer/00000\.json is damaged"):
        first_chip(full)


def test_an_object_where_nothing_should_be_is_named(corpus: Corpus) -> None:
    assert not shard_file(corpus, 0).exists()
    shard_file(corpus, 0).parent.mkdir(parents=True, exist_ok=True)
    shard_file(corpus, 0).write_bytes(shard_file(corpus, 1).read_bytes())
    with pytest.raises(Fatal, match=r"shard 0 of 'layer' in .* \(nothing should be stored\)"):
        first_chip(corpus)


def test_a_chip_with_a_checksum_is_read_in_a_store_without(full: Corpus) -> None:
    """As while a store is being upgraded; its checksum is looked at."""
    stored = full.read("layer", slice(0, ROWS))
    path = full.folder / "corpus.zarr" / "layer" / "zarr.json"
    data = json.loads(path.read_text())
    data["codecs"][0]["configuration"]["codecs"].pop()
    path.write_text(json.dumps(data))
    reader = open_reader(Corpus.open(full.folder), "layer", 4)
    assert isinstance(reader, ShardReader) and same_bits(chips(reader, stored, list(range(ROWS))), stored)
    content = bytearray(shard_file(full, 0).read_bytes())
    content[40] ^= 1
    shard_file(full, 0).write_bytes(content)
    with pytest.raises(Fatal, match="row 0 has another checksum"):
        first_chip(Corpus.open(full.folder))


def rebuilt(corpus: Corpus, **settings) -> None:
    """Store the same values in an array that was made with other settings, with entries of an older release."""
    for shard in corpus.shards:
        corpus.ledger.mark(replace(corpus.ledger.read("layer", shard.index), index_crc32c=None))
    folder = corpus.folder / "corpus.zarr" / "layer"
    stored = zarr.open_array(folder, mode="r")[:]
    attributes = dict(zarr.open_array(folder, mode="r").attrs)
    shutil.rmtree(folder)
    made = {"shape": stored.shape, "dtype": stored.dtype, "fill_value": -1, "attributes": attributes, **settings}
    zarr.create_array(folder, **made)[:] = stored


WHOLE_BATCH = (1, 2, SIZE_PX, SIZE_PX)
SHARD = (SHARD_ROWS, 2, SIZE_PX, SIZE_PX)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"chunks": WHOLE_BATCH}, "is not sharded"),
        ({"chunks": (1, 1, SIZE_PX, SIZE_PX), "shards": SHARD}, "is not cut into shards of whole chips"),
        ({"chunks": WHOLE_BATCH, "shards": (4, 2, SIZE_PX, SIZE_PX)}, "is not cut into shards of whole chips"),
        ({"chunks": WHOLE_BATCH, "shards": SHARD, "compressors": ZstdCodec()}, "is not compressed by Blosc alone"),
        ({"chunks": WHOLE_BATCH, "shards": SHARD, "compressors": None}, "is not compressed by Blosc alone"),
        ({"chunks": WHOLE_BATCH, "shards": SHARD, "compressors": BloscCodec(), "serializer": BytesCodec(endian="big")},
         "is not compressed by Blosc alone"),
        ({"chunks": SHARD, "compressors": None, "serializer": ShardingCodec(
            chunk_shape=WHOLE_BATCH, codecs=[BytesCodec(), BloscCodec()], index_codecs=[BytesCodec(), Crc32cCodec()],
            index_location="start")}, "has its shard index at the start"),
        ({"chunks": SHARD, "compressors": None, "serializer": ShardingCodec(
            chunk_shape=WHOLE_BATCH, codecs=[BytesCodec(), BloscCodec()], index_codecs=[BytesCodec()])},
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
    assert isinstance(reader, SpanReader)
    assert f"'layer' {problem}; it is read through zarr-python" in caplog.text
    assert same_bits(chips(reader, stored, list(range(ROWS))), stored)


@pytest.mark.parametrize("codec", ["lz4", "lz4hc", "zstd", "zlib", "blosclz"])
@pytest.mark.parametrize("shuffle", ["noshuffle", "shuffle", "bitshuffle"])
def test_reads_whatever_blosc_packs(full: Corpus, codec: str, shuffle: str) -> None:
    stored = full.read("layer", slice(0, ROWS))
    rebuilt(full, chunks=WHOLE_BATCH, shards=SHARD, compressors=BloscCodec(cname=codec, shuffle=shuffle))
    reader = open_reader(full, "layer", 5)
    assert isinstance(reader, ShardReader)
    assert same_bits(chips(reader, stored, list(range(ROWS))), stored)

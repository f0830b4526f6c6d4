"""Our loader where chips are not in memory: on a disk whose pages were put out, and in a bucket that is far away.

Part of `python -m benchmarks.loader --cold --bucket`. Every turn is a process of its own that is made ready, and then
reads all chips once. For cold turns the pages of all objects are put out of memory in between.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import os
import shutil
import statistics
import tarfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import obstore
from numcodecs import blosc
from numpy.typing import NDArray
from obstore.store import S3Store

from benchmarks.delayed_s3 import BUCKET, delayed_s3
from benchmarks.loader_peers import PEERS, arrow, hdf5_blosc, write_peers
from benchmarks.loading import (
    BATCH,
    Contender,
    Read,
    Spent,
    Task,
    contender_process,
    decoding_alone,
    ours,
    per_core_s,
    per_s,
)
from pipeline import durable
from pipeline.corpus import Corpus
from pipeline.corpus_folder import LEDGER, MANIFEST, PLACE, STORE
from pipeline.shard_object import EMPTY, ShardIndex

Found = Mapping[str, list[Spent]]
Fetched = tuple[str, int, Any, NDArray[np.uint64]]
FAR, TARS = "far", "tars"  # the corpus whose arrays are in the bucket, and the bucket's folder of tar files
DELAY_S, _AT_ONCE, _TENSORSTORE_AT_ONCE, _RUN_ROWS, _TAR_ROWS = 0.03, 16, 64, 64, 128


class Layers:
    """Where the compressed chips of all pixel layers lie: file, key and byte ranges (rows, 2) of each shard."""

    def __init__(self, folder: Path) -> None:
        corpus = Corpus.open(folder)
        self.shard_rows, self.rows = corpus.shard_rows, len(corpus.manifest)
        self.shapes = {
            name: (modality.shape(corpus.manifest.size_px), modality.dtype)
            for name, modality in corpus.modalities.items() if modality.extent == "pixel"
        }  # fmt: skip
        self.keys = {
            (name, shard.index): corpus.object_key(name, shard) for name in self.shapes for shard in corpus.shards
        }
        self.paths = {place: folder / STORE / key for place, key in self.keys.items()}
        self.ranges = {place: _ranges(path, self.shard_rows) for place, path in self.paths.items()}

    def chunks(self, rows: Iterable[int]) -> Iterator[tuple[Path, int, int]]:
        """File, offset and length of every chunk of some rows."""
        for row in rows:
            index, place = divmod(row, self.shard_rows)
            for name in self.shapes:
                offset, length = (int(item) for item in self.ranges[name, index][place])
                if length != EMPTY:
                    yield self.paths[name, index], offset, length


def _ranges(path: Path, shard_rows: int) -> NDArray[np.uint64]:
    content = np.fromfile(path, np.uint8)
    return ShardIndex.of(content, shard_rows, len(content)).byte_ranges


def _in_our_order(task: Task, chips: int) -> list[int]:
    loader = task.loader()
    rows = [loader.order(epoch) for epoch in range(chips // len(loader.rows) + 1)]
    return np.concatenate(rows)[: chips // BATCH * BATCH].tolist()


def reading_alone(task: Task) -> Read:
    """The same chunks in the same order by 16 concurrent reads, and nothing is decoded."""
    layers = Layers(task.folder)

    def read(chips: int) -> int:
        rows = _in_our_order(task, chips)
        files = {path: os.open(path, os.O_RDONLY) for path in layers.paths.values()}
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(lambda chunk: len(os.pread(files[chunk[0]], chunk[2], chunk[1])), layers.chunks(rows)))
        for descriptor in files.values():
            os.close(descriptor)
        return len(rows)

    return read


def tensorstore_disk(task: Task) -> Read:
    """Tensorstore over the same store, 64 chips at once, decoding by as many threads."""
    return _tensorstore(task, lambda name: {"driver": "file", "path": f"{task.folder / STORE / name}/"})


def tensorstore_bucket(task: Task) -> Read:
    """The same from the bucket."""
    endpoint = {"endpoint": os.environ["AWS_ENDPOINT_URL"], "aws_region": "us-east-1"}
    return _tensorstore(task, lambda name: {"driver": "s3", "bucket": BUCKET, "path": f"{STORE}/{name}/", **endpoint})


def _tensorstore(task: Task, store: Callable[[str], dict[str, Any]]) -> Read:
    import tensorstore

    layers = Layers(task.folder)
    context = tensorstore.Context(
        {"cache_pool": {"total_bytes_limit": 10_000_000}, "data_copy_concurrency": {"limit": task.workers}}
    )
    opened = [
        tensorstore.open(
            {"driver": "zarr3", "kvstore": store(name), "recheck_cached_data": "open"}, context=context
        ).result()
        for name in layers.shapes
    ]

    def read(chips: int) -> int:
        rows, pending = _in_our_order(task, chips), deque[Any]()
        for row in rows:
            pending.extend(array[row].read() for array in opened)
            while len(pending) > _TENSORSTORE_AT_ONCE:
                pending.popleft().result()
        for item in pending:
            item.result()
        return len(rows)

    return read


class Runs:
    """Whole runs of 64 chips in random order, a request a layer, by a client that has nothing else to do."""

    def __init__(self, task: Task) -> None:
        self._layers = Layers(task.folder)
        self._client = S3Store(
            BUCKET, endpoint=os.environ["AWS_ENDPOINT_URL"], client_options={"allow_http": True}, region="us-east-1",
            skip_signature=True,
        )  # fmt: skip

    def drawn(self, chips: int) -> list[tuple[str, int, int]]:
        """Layer, shard and place in it of the first chip of each."""
        starts = np.random.default_rng(chips).permutation(np.arange(0, self._layers.rows, _RUN_ROWS))
        chosen = starts[: chips // _RUN_ROWS].tolist()
        return [(name, *divmod(start, self._layers.shard_rows)) for start in chosen for name in self._layers.shapes]

    def fetch(self, run: tuple[str, int, int]) -> Fetched:
        """A run's layer, the offset of its first byte, its bytes, and offsets and lengths of its chips (chips, 2)."""
        name, index, place = run
        pairs = self._layers.ranges[name, index][place : place + _RUN_ROWS]
        stored = pairs[pairs[:, 1] != EMPTY]
        if not len(stored):
            return name, 0, b"", stored
        key, first = f"{STORE}/{self._layers.keys[name, index]}", int(stored[:, 0].min())
        return name, first, obstore.get_range(self._client, key, start=first, end=int(stored.sum(axis=1).max())), stored

    def decode(self, fetched: Fetched) -> None:
        """Decode all chips of a run into one array; their checksums are not looked at."""
        name, first, content, stored = fetched
        view, into = memoryview(content), np.empty(*self._layers.shapes[name])
        for offset, length in stored.tolist():
            blosc.decompress(view[offset - first :][:length], into)


def bare_client(task: Task) -> Read:
    """Whole runs of 64 chips in random order, a request a layer, 16 at once; nothing is decoded."""
    runs = Runs(task)

    def read(chips: int) -> int:
        drawn = runs.drawn(chips)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            deque(pool.map(runs.fetch, drawn), maxlen=0)
        return chips // _RUN_ROWS * _RUN_ROWS

    return read


def decoding_client(task: Task) -> Read:
    """The same, and what comes is decoded at once by as many threads as the others have: the limit of both together."""
    runs = Runs(task)

    def read(chips: int) -> int:
        drawn = runs.drawn(chips)
        with ThreadPoolExecutor(_AT_ONCE) as pool, ThreadPoolExecutor(task.workers) as decoders:
            deque(decoders.map(runs.decode, pool.map(runs.fetch, drawn)), maxlen=0)
        return chips // _RUN_ROWS * _RUN_ROWS

    return read


def ours_from_bucket(task: Task) -> Read:
    """Our loader over the corpus whose arrays are in the bucket."""
    return ours(Task(task.folder / FAR, task.workers))


def webdataset_bucket(task: Task) -> Read:
    """WebDataset over tar files of the same compressed chunks, decoded by as many worker processes, shuffled by 512."""
    from torch.utils.data import DataLoader

    webdataset: Any = importlib.import_module("webdataset")
    layers, tars = Layers(task.folder), sorted(path.name for path in (task.folder / BUCKET / TARS).iterdir())
    urls = [f"{os.environ['AWS_ENDPOINT_URL']}/{BUCKET}/{TARS}/{name}" for name in tars]

    def read(chips: int) -> int:
        chosen = urls[: max(1, chips // _TAR_ROWS)]
        samples = webdataset.WebDataset(chosen, shardshuffle=len(chosen), workersplitter=webdataset.split_by_worker)
        samples = samples.shuffle(512).map(_Decoded(layers.shapes)).batched(BATCH, collation_fn=None)
        workers = min(task.workers, len(chosen))
        loader: Any = DataLoader(samples, batch_size=None, num_workers=workers, multiprocessing_context="fork")
        return sum(len(batch) for batch in loader)

    return read


class _Decoded:
    """Decodes all layers of a sample."""

    def __init__(self, shapes: Mapping[str, Any]) -> None:
        self._shapes = shapes

    def __call__(self, sample: Mapping[str, bytes]) -> dict[str, NDArray[Any]]:
        return {name: self._array(name, sample.get(f"{name}.blosc")) for name in self._shapes}

    def _array(self, name: str, content: bytes | None) -> NDArray[Any]:
        into = np.empty(*self._shapes[name])
        if content:
            blosc.decompress(content, into)
        return into


def write_tars(folder: Path) -> None:
    """The same compressed chunks as tar files of 128 chips, for WebDataset."""
    layers, tars = Layers(folder), folder / BUCKET / TARS
    tars.mkdir(parents=True, exist_ok=True)
    for start in range(0, layers.rows, _TAR_ROWS):
        with tarfile.open(tars / f"{start:07}.tar", "w") as tar:
            for row in range(start, min(start + _TAR_ROWS, layers.rows)):
                _add(tar, layers, row)


def _add(tar: tarfile.TarFile, layers: Layers, row: int) -> None:
    index, place = divmod(row, layers.shard_rows)
    for name in layers.shapes:
        offset, length = (int(item) for item in layers.ranges[name, index][place])
        if length != EMPTY:
            with layers.paths[name, index].open("rb") as stream:
                stream.seek(offset)
                content = stream.read(length)
            described = tarfile.TarInfo(f"{row:07}.{name}.blosc")
            described.size = length
            tar.addfile(described, io.BytesIO(content))


def put_out(folder: Path) -> None:
    """Put a store and the peers' files out of memory; those that a process has mapped would stay."""
    for path in [*(folder / STORE).rglob("*"), *(folder / PEERS).rglob("*")]:
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def far_corpus(folder: Path) -> None:
    """The same corpus with its arrays in the bucket: its folder, and a bucket with links to the same files."""
    far, bucket = folder / FAR, folder / BUCKET
    if not (bucket / STORE).exists():
        shutil.copytree(folder / STORE, bucket / STORE, copy_function=os.link)
    if not far.exists():
        far.mkdir()
        shutil.copy(folder / MANIFEST, far)
        shutil.copytree(folder / LEDGER, far / LEDGER)
        durable.write_json(far / PLACE, {"store": f"s3://{BUCKET}/{STORE}"})


COLD = {
    "reading alone, 16 at once": Contender(reading_alone, 1),
    "decoding alone, from memory": Contender(decoding_alone, 1),
    "tensorstore": Contender(tensorstore_disk, 1),
    "HDF5 with Blosc": Contender(hdf5_blosc, 1),
    "Hugging Face Arrow, uncompressed": Contender(arrow, 1),
    "ours": Contender(ours, 1),
}
AFAR = {
    "bare client, runs of 64, 16 at once, nothing decoded": Contender(bare_client, 1),
    "bare client that decodes": Contender(decoding_client, 1),
    "decoding alone, from memory": Contender(decoding_alone, 1),
    "tensorstore, 64 at once": Contender(tensorstore_bucket, 1),
    "WebDataset": Contender(webdataset_bucket, 1),
    "ours": Contender(ours_from_bucket, 1),
}
_NEEDS = {
    "tensorstore": "tensorstore", "tensorstore, 64 at once": "tensorstore", "WebDataset": "webdataset",
    "HDF5 with Blosc": "hdf5plugin", "Hugging Face Arrow, uncompressed": "datasets",
}  # fmt: skip


def installed(contenders: Mapping[str, Contender]) -> dict[str, Contender]:
    """Those whose package is there; says which are left out."""
    absent = [name for name in contenders if name in _NEEDS and importlib.util.find_spec(_NEEDS[name]) is None]
    for name in absent:
        print(f"{name}: not measured, as {_NEEDS[name]} is not installed")
    return {name: item for name, item in contenders.items() if name not in absent}


def turns(
    contenders: Mapping[str, Contender], task: Task, chips: int, rounds: int, before: Callable[[], None]
) -> dict[str, list[Spent]]:
    """What each took in each round."""
    found: dict[str, list[Spent]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            with contender_process(contender, task) as pipe:
                before()
                pipe.send(chips)
                found[name].append(pipe.recv())
    return found


def cold(task: Task, chips: int, rounds: int) -> dict[str, list[Spent]]:
    """From the disk, with nothing in memory."""
    contenders = installed(COLD)
    write_peers(task.folder, contenders)
    return turns(contenders, task, chips, rounds, lambda: put_out(task.folder))


def afar(task: Task, chips: int, rounds: int) -> dict[str, list[Spent]]:
    """From a bucket 30 ms away."""
    far_corpus(task.folder)
    contenders = installed(AFAR)
    if "WebDataset" in contenders and not (task.folder / BUCKET / TARS).exists():
        write_tars(task.folder)
    with delayed_s3(task.folder, DELAY_S):
        return turns(contenders, task, chips, rounds, lambda: None)


def cold_result(found: Found) -> dict[str, float]:
    """Ours over the smaller of reading and decoding, and over others."""
    limits = zip(found["reading alone, 16 at once"], found["decoding alone, from memory"], strict=True)
    least = statistics.median(min(one.chips / one.wall_s, two.chips / two.wall_s) for one, two in limits)
    return {
        "cold_fraction": round(per_s(found["ours"]) / least, 3),
        **_over(found, "cold_x_tensorstore", "tensorstore"),
        **_over(found, "cold_x_hdf5_blosc", "HDF5 with Blosc"),
        **_over(found, "cold_x_arrow", "Hugging Face Arrow, uncompressed"),
    }


def afar_result(found: Found) -> dict[str, float]:
    """Ours over the bare client, over the smaller of that and decoding, and over others."""
    bare = "bare client, runs of 64, 16 at once, nothing decoded"
    return {
        "bucket_fraction": round(per_s(found["ours"]) / per_s(found[bare]), 3),
        "bucket_fraction_of_least": _of_least(found, bare, "decoding alone, from memory"),
        **_over(found, "bucket_fraction_of_decoding_client", "bare client that decodes"),
        **_over(found, "bucket_x_webdataset", "WebDataset"),
        **_over(found, "bucket_x_tensorstore", "tensorstore, 64 at once"),
    }


def _of_least(found: Found, *limits: str) -> float:
    """Ours over the slowest of some limits, round by round."""
    rounds = zip(found["ours"], *(found[name] for name in limits), strict=True)
    speeds = [[spent.chips / spent.wall_s for spent in turns] for turns in rounds]
    return round(statistics.median(mine / min(others) for mine, *others in speeds), 3)


def _over(found: Found, key: str, other: str) -> dict[str, float]:
    """Ours over another, by the clock and by core-seconds, which other work disturbs less."""
    if other not in found:
        return {}
    by_clock, by_core = (round(of(found["ours"]) / of(found[other]), 2) for of in (per_s, per_core_s))
    return {key: by_clock, f"{key}_per_core": by_core}

"""What people would pick today for chips on a disk: HDF5 with Blosc, and Hugging Face's data sets; where installed.

Both get the same pixels in files of their own, in random order, in as many worker processes as the others have threads.
"""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable, Collection, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from benchmarks.loading import BATCH, Read, Task
from pipeline.corpus import Corpus

PEERS = "peers"  # the folder of their files
_HDF5, _ARROW = "blosc.h5", "arrow"
Sample = dict[str, NDArray[Any]]


def hdf5_blosc(task: Task) -> Read:
    """One HDF5 file, a chunk a chip, with the codec of the corpus."""
    importlib.import_module("hdf5plugin")
    return _in_workers(task, lambda row: {name: data[row] for name, data in _hdf5(task.folder).items()})


@cache
def _hdf5(folder: Path) -> dict[str, Any]:
    """Opened once in each process."""
    import h5py

    file = h5py.File(folder / PEERS / _HDF5)
    return {name: file[name] for name in file}


def arrow(task: Task) -> Read:
    """Rows of an Arrow table in memory-mapped files, uncompressed, as Hugging Face's library keeps them."""
    datasets: Any = importlib.import_module("datasets")
    table, corpus = datasets.load_from_disk(str(task.folder / PEERS / _ARROW)), Corpus.open(task.folder)
    kinds = {item.name: (item.dtype, item.shape(corpus.manifest.size_px)) for item in _pixels(corpus)}

    def sample(row: int) -> Sample:
        # Copied, as views of the file would read nothing.
        return {
            name: np.frombuffer(item, kinds[name][0]).reshape(kinds[name][1]).copy()
            for name, item in table[row].items()
        }

    return _in_workers(task, sample)


class _Samples:
    """A data set of chosen rows."""

    def __init__(self, sample: Callable[[int], Sample], rows: list[int]) -> None:
        self._sample, self._rows = sample, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, place: int) -> Sample:
        return self._sample(self._rows[place])


def _in_workers(task: Task, sample: Callable[[int], Sample]) -> Read:
    count = len(Corpus.open(task.folder).manifest)

    def read(chips: int) -> int:
        rows = np.random.default_rng(chips).permutation(count)[: chips // BATCH * BATCH].tolist()
        loader: Any = DataLoader(
            _Samples(sample, rows),  # type: ignore[arg-type]
            batch_size=BATCH, num_workers=task.workers, multiprocessing_context="fork",
        )  # fmt: skip
        return sum(len(next(iter(batch.values()))) for batch in loader)

    return read


def write_peers(folder: Path, contenders: Collection[str]) -> None:
    """The files of those that are measured, unless they are there."""
    corpus, place = Corpus.open(folder), folder / PEERS
    place.mkdir(exist_ok=True)
    for name, file, write in (
        ("HDF5 with Blosc", _HDF5, _write_hdf5),
        ("Hugging Face Arrow, uncompressed", _ARROW, _write_arrow),
    ):
        if name in contenders and not (place / file).exists():
            partial = place / f"{file}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            write(corpus, partial)
            partial.rename(place / file)


def _write_hdf5(corpus: Corpus, path: Path) -> None:
    import h5py

    codec: Any = importlib.import_module("hdf5plugin").Blosc(cname="zstd", clevel=3, shuffle=1)
    with h5py.File(path, "w") as file:
        for item in _pixels(corpus):
            shape = item.shape(corpus.manifest.size_px)
            data = file.create_dataset(
                item.name, (len(corpus.manifest), *shape), item.dtype, chunks=(1, *shape), **codec
            )
            for shard in corpus.shards:
                data[shard.slice] = corpus.read(item.name, shard.slice)


def _write_arrow(corpus: Corpus, path: Path) -> None:
    datasets: Any = importlib.import_module("datasets")
    names = [item.name for item in _pixels(corpus)]

    def rows() -> Iterator[dict[str, bytes]]:
        for shard in corpus.shards:
            blocks = {name: corpus.read(name, shard.slice) for name in names}
            for place in range(len(shard)):
                yield {name: block[place].tobytes() for name, block in blocks.items()}

    features = datasets.Features({name: datasets.Value("binary") for name in names})
    cache_folder = path.with_name(f"{_ARROW}.cache")
    datasets.Dataset.from_generator(rows, features=features, cache_dir=str(cache_folder)).save_to_disk(str(path))
    shutil.rmtree(cache_folder)


def _pixels(corpus: Corpus) -> list[Any]:
    return [item for item in corpus.modalities.values() if item.extent == "pixel"]

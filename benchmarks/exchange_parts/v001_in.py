"""MMEarth v001 in, beside a plain loop of h5py that reads the same tiles and writes them into Zarr.

The plain loop is what a person would write: each dataset of a file in the published layout (a chunk per tile, gzip 4)
is read with h5py and written, as it is, by zarr-python into an array of a corpus's layout and codecs, a shard at a time
in one thread. It converts, checks and describes nothing. `x_h5py_read` is its time divided by that of the whole import:
description and splits read, manifest, values converted and checked, statistics, compression, digests, ledger,
statistics of the whole and seal; without the pictures of the report, which take the same few seconds for any number of
tiles. `x_h5py_read_alone` is that of a loop that compresses nothing: `dataset[row]` for every tile, and a file of as
many bytes as the corpus takes on disk, forced to disk. A corpus cannot reach 1 there, since its compression alone takes
longer. `_cpu` is of the seconds that processors spent in all threads.
"""

from __future__ import annotations

import os
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import zarr

from benchmarks.exchange_parts.mmearth_corpus import mmearth_corpus
from benchmarks.exchange_parts.part import Part, interleaved, ratios
from exporters import catalog
from exporters.formats.choice import Choice
from exporters.formats.convert import write_out
from exporters.formats.format import format_of
from exporters.formats.importer import Incoming, importer_of
from exporters.pull.intake import Intake
from pipeline.compression import FORMAT_VERSION, chip_codecs
from pipeline.corpus import Corpus
from pipeline.corpus_folder import MANIFEST
from pipeline.progress import Silent
from pipeline.sizes import SHARD_ROWS

_ROUNDS = 3


def measure(folder: Path, quick: bool) -> Part:
    """Some hundred tiles of 128 px with all datasets; ten times fewer if `quick`."""
    source = _published(folder, 48 if quick else 512)
    _import(source, folder / "ours")
    stored = sum(path.stat().st_size for path in (folder / "ours").rglob("*") if path.is_file())
    ways = {
        "geocorpus import": partial(_import, source, folder / "ours"),
        "plain h5py loop into Zarr": partial(_into_zarr, source, folder / "plain.zarr"),
        "h5py loop that only reads, and as many bytes": partial(_reading_alone, source, folder / "plain.bin", stored),
    }
    spent = interleaved(ways, 1 if quick else _ROUNDS)
    megabytes = sum(np.prod(shape) * size for shape, size in _shapes(source)) / 1e6
    ours, plain, alone = spent.values()
    return Part(
        f"MMEarth v001 in: {megabytes:.0f} MB of values, {stored / 1e6:.0f} MB as a corpus",
        megabytes,
        spent,
        ratios("x_h5py_read", [plain], ours) | ratios("x_h5py_read_alone", [alone], ours),
    )


def _published(folder: Path, tiles: int) -> Path:
    """Four files of made-up tiles, the arrays in the published layout."""
    corpus = mmearth_corpus(folder / "corpus", tiles)
    write_out(format_of("mmearth-v001", {}), Choice().of(corpus), folder / "out", {}, True, Silent())
    shutil.rmtree(folder / "corpus")
    path = next((folder / "out").glob("*/*.h5"))
    ours = path.rename(path.with_suffix(".own"))
    with h5py.File(ours) as read, h5py.File(path, "w") as file:
        for name, array in read.items():
            chunks = (1, *array.shape[1:])
            file.create_dataset(name, data=array[:], chunks=chunks, compression="gzip", compression_opts=4)
    ours.unlink()
    return path.parent


def _shapes(source: Path) -> list[tuple[tuple[int, ...], int]]:
    with h5py.File(next(source.glob("*.h5"))) as file:
        return [(array.shape, array.dtype.itemsize) for array in file.values()]


def _import(source: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    chosen = importer_of(source, None, {})
    incoming = chosen.open(source, {}, {layer.name: layer for layer in catalog.modalities()})
    layers = tuple(catalog.bound(incoming.layers, incoming.manifest))
    incoming.manifest.write(folder / MANIFEST)
    corpus = Corpus.create(folder, layers, SHARD_ROWS)
    Intake(Incoming(corpus.manifest, layers, incoming.read), corpus).run(Silent())
    corpus.finalize()


def _reading_alone(source: Path, path: Path, size_bytes: int) -> None:
    with h5py.File(next(source.glob("*.h5"))) as file:
        for array in file.values():
            for row in range(len(array)):
                array[row]
    block = np.random.default_rng(0).bytes(1 << 20)
    with path.open("wb") as stream:
        for _ in range(size_bytes >> 20):
            stream.write(block)
        stream.flush()
        os.fsync(stream.fileno())


def _into_zarr(source: Path, path: Path) -> None:
    root = zarr.open_group(path, mode="w")
    with h5py.File(next(source.glob("*.h5"))) as file:
        for name, array in file.items():
            if array.ndim == 4:
                _copy(array, root, name)


def _copy(array: Any, root: Any, name: str) -> None:
    shape: tuple[int, ...] = array.shape
    target = root.create_array(
        name, shape=shape, dtype=array.dtype, chunks=(1, *shape[1:]), shards=(SHARD_ROWS, *shape[1:]),
        compressors=chip_codecs(array.dtype.name, FORMAT_VERSION),
    )  # fmt: skip
    for start in range(0, len(array), SHARD_ROWS):
        target[start : start + SHARD_ROWS] = array[start : start + SHARD_ROWS]

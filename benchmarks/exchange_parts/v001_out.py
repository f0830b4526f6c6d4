"""MMEarth v001 out, beside a plain loop of h5py that writes the same values.

The plain loop is what a person would write: every tile of every dataset, `dataset[row] = values[row]`, in the published
layout (a chunk per tile, gzip 4, one thread). Its values lie in memory, in the dtypes of the file: it reads and
converts nothing. `x_h5py_write` is its time divided by that of the whole conversion, which reads the corpus, converts,
gathers statistics and writes all four files; above 1 the conversion is the faster one. Names that end with `_cpu` are
of the seconds that processors spent in all threads. "reading alone" is
`Corpus.read` of all layers, block by block, for the "same bytes alone": (reading + plain loop) / conversion is
`x_h5py_copy`.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from benchmarks.exchange_parts.mmearth_corpus import mmearth_corpus
from benchmarks.exchange_parts.part import Part, interleaved, ratios
from exporters.formats.choice import Choice
from exporters.formats.convert import write_out
from exporters.formats.format import format_of
from pipeline.corpus import Corpus
from pipeline.progress import Silent

_ROUNDS = 3
_GZIP_LEVEL = 4  # h5py's default, which the published converter leaves


def measure(folder: Path, quick: bool) -> Part:
    """Some hundred chips of 128 px with all layers; ten times fewer if `quick`."""
    corpus = mmearth_corpus(folder / "corpus", 48 if quick else 512)
    _convert(corpus, folder / "ours")
    values = _values(folder / "ours")
    ways = {
        "geocorpus convert --to mmearth-v001": partial(_convert, corpus, folder / "ours"),
        "plain h5py loop, published gzip": partial(_plain_loop, values, folder / "plain.h5", {}),
        "plain h5py loop, gzip with shuffle": partial(_plain_loop, values, folder / "shuffled.h5", {"shuffle": True}),
        "reading the corpus alone": partial(_read, corpus),
    }
    spent = interleaved(ways, 1 if quick else _ROUNDS)
    megabytes = sum(array.nbytes for array in values.values()) / 1e6
    ours, plain, _, reading = spent.values()
    bytes_written = next((folder / "ours").glob("*/*.h5")).stat().st_size / (folder / "plain.h5").stat().st_size
    return Part(
        f"MMEarth v001 out: {len(corpus.manifest)} tiles, {megabytes:.0f} MB",
        megabytes,
        spent,
        ratios("x_h5py_write", [plain], ours)
        | ratios("x_h5py_copy", [plain, reading], ours)
        | {"x_h5py_bytes": bytes_written},
    )


def _convert(corpus: Corpus, target: Path) -> None:
    write_out(format_of("mmearth-v001", {}), Choice().of(corpus), target, {}, True, Silent())


def _values(root: Path) -> dict[str, NDArray[Any]]:
    with h5py.File(next(root.glob("*/*.h5"))) as file:
        return {name: np.asarray(array[:]) for name, array in file.items()}


def _plain_loop(values: dict[str, NDArray[Any]], path: Path, options: dict[str, Any]) -> None:
    with h5py.File(path, "w") as file:
        arrays = {
            name: file.create_dataset(
                name, array.shape, array.dtype, chunks=(1, *array.shape[1:]), compression="gzip",
                compression_opts=_GZIP_LEVEL, **options,
            )
            for name, array in values.items()
        }  # fmt: skip
        for row in range(len(values["metadata"])):
            for name, array in values.items():
                arrays[name][row] = array[row]


def _read(corpus: Corpus) -> None:
    selection = Choice().of(corpus)
    for name in selection.layers:
        for _ in selection.blocks(name):
            pass

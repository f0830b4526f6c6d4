"""Chips a second into training: ours, zarr-python, the published HDF5 loader, and what decoding alone would allow.

    python -m benchmarks.loader [--quick] [--cold] [--bucket] [--chips N] [--workers N] [--keep FOLDER]

All read the same chips in random order, in one run: after a warm-up round, each has its turn in every round, in a
process of its own. Ours and the limit decode with as many threads as the others have worker processes. The last line
is one JSON object: x_hdf5_per_core (chips per core-second, ours over the published way), fraction_of_codec (chips
per second, ours over Blosc alone on the same chunks and threads), chips_per_s (ours). Ours ends with the raw batch
that a GPU fetches; x_hdf5_per_core_prepared has the CPU do the GPU's part too. fraction_of_codec_per_core is by core-
seconds, which other work on the machine disturbs less than the clock. x_own_loader is chips per core-second of
`Corpus.torch_dataset` by threads over those of ours prepared on the CPU (x_own_loader_workers: by a DataLoader's
processes): all give whole chips as float32, class indices and masks, shuffled by blocks. x_without_checksums is ours
over ours from a store of format 1, which has no checksums (chips per core-second): what looking at them costs.

With --cold and --bucket as well (`benchmarks/loader_places.py`), by the clock: cold_fraction (ours over the smaller of
reading the same chunks at 16 at once and decoding them), cold_x_tensorstore, cold_x_hdf5_blosc, cold_x_arrow (Hugging
Face's), bucket_fraction (ours over a bare client that fetches whole runs of chips and decodes nothing),
bucket_fraction_of_least (over the smaller of that and decoding alone), bucket_fraction_of_decoding_client (over a bare
client that decodes what it fetched, the limit of cores that do both), bucket_x_webdataset, bucket_x_tensorstore; all
over a package or over that client also by core-seconds (..._per_core). Figures over packages that are not installed
are left out, and a line says so.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

import geocorpus
from benchmarks import loader_places
from benchmarks.loading import (
    BATCH,
    CROP_PX,
    Contender,
    Read,
    Spent,
    Task,
    contender_process,
    decoding_alone,
    exhausted,
    ours,
    per_core_s,
    per_s,
)
from benchmarks.published_loader import moments_of, published_loader, write_hdf5
from benchmarks.resampled import TWELVE, resampled
from pipeline.corpus import Corpus
from pipeline.corpus_folder import MANIFEST
from training.data.masking import crops_yx
from training.data.shuffled_chips import ShuffledBatches
from training.data.stream import default_workers
from training.layer import groups_of, layer_of

_ROUNDS = 3
_HDF5 = "data.h5"
_OLDER = "format-1"  # the folder of the same corpus without checksums


def published(task: Task) -> Read:
    """The published loader's way."""
    path, count = task.folder / _HDF5, len(Corpus.open(task.folder).manifest)
    moments = moments_of(path)

    def read(chips: int) -> int:
        rows = np.random.default_rng(chips).permutation(count)[:chips]
        return sum(len(ids) for ids, _ in published_loader(path, moments, rows, BATCH, task.workers))

    return read


class ZarrSamples(Dataset[dict[str, NDArray[Any]]]):
    """What one would write first: every modality of a row through zarr-python, then NumPy."""

    def __init__(self, corpus: Corpus, rows: NDArray[np.int64]) -> None:
        self._corpus, self._rows = corpus, rows
        self._layers = [layer_of(corpus, name, {}) for name in TWELVE]
        self._groups = {layer.name: groups_of(corpus, layer) for layer in self._layers}
        self._corners = crops_yx(0, 0, rows, corpus.manifest.size_px, CROP_PX)
        self._arrays: dict[str, zarr.Array[Any]] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, place: int) -> dict[str, NDArray[Any]]:
        row, (y, x) = int(self._rows[place]), self._corners[place]
        sample = {}
        for layer in self._layers:
            stored = np.asarray(self._array(layer.name)[row : row + 1])
            if layer.pixel:
                stored = stored[:, :, y : y + CROP_PX, x : x + CROP_PX]
            sample[layer.name] = layer.values(stored, self._groups[layer.name][row : row + 1])[0][0]
        return sample

    def _array(self, name: str) -> zarr.Array[Any]:
        if name not in self._arrays:
            self._arrays[name] = zarr.open_array(self._corpus.store.zarr(read_only=True), path=name, mode="r")
        return self._arrays[name]


def through_zarr(task: Task) -> Read:
    """The same store through zarr-python."""
    corpus = Corpus.open(task.folder)

    def read(chips: int) -> int:
        rows = np.random.default_rng(chips).permutation(len(corpus.manifest))[:chips]
        loader = DataLoader(
            ZarrSamples(corpus, rows), batch_size=BATCH, num_workers=task.workers, drop_last=True,
            multiprocessing_context="fork",
        )  # fmt: skip
        return sum(len(batch[TWELVE[0]]) for batch in loader)

    return read


def ours_without_checksums(task: Task) -> Read:
    """The same from a store of format 1."""
    return ours(Task(task.folder / _OLDER, task.workers))


def ours_prepared(task: Task) -> Read:
    """Our loader, with the batches prepared by the CPU as well."""
    loader = task.loader()
    return lambda chips: exhausted(loader.batches(0, chips // BATCH))


def ours_whole(task: Task) -> Read:
    """Our loader, with whole chips prepared by the CPU: what `torch_dataset` gives, normalised."""
    loader = task.loader(Corpus.open(task.folder).manifest.size_px)
    return lambda chips: exhausted(loader.batches(0, chips // BATCH))


def torch_dataset(task: Task) -> Read:
    """The dataset for a loop of one's own, by threads: in physical units, with masks."""
    batches = geocorpus.open(task.folder).torch_dataset(TWELVE).shuffled().batches(BATCH, task.workers)
    return _of_epochs(batches, DataLoader(batches, batch_size=None))


def torch_workers(task: Task) -> Read:
    """The same by the processes of a DataLoader, which hand batches over in shared memory."""
    batches = geocorpus.open(task.folder).torch_dataset(TWELVE).shuffled().batches(BATCH)
    workers = {"num_workers": task.workers, "multiprocessing_context": "fork", "persistent_workers": True}
    return _of_epochs(batches, DataLoader(batches, batch_size=None, **workers))  # type: ignore[arg-type]


def _of_epochs(batches: ShuffledBatches, loader: DataLoader[dict[str, Any]]) -> Read:
    """Reads whole epochs, so that nothing is read ahead of the next turn."""

    def read(chips: int) -> int:
        epochs = range(max(1, chips // batches.chips.chips_per_epoch))
        return sum(len(batch["chip"]["row"]) for _ in epochs for batch in loader)

    return read


CONTENDERS = {
    "published HDF5 loader": Contender(published, 0.25),
    "zarr-python": Contender(through_zarr, 0.25),
    "ours, prepared on the CPU": Contender(ours_prepared, 2),
    "ours, whole chips prepared on the CPU": Contender(ours_whole, 2),
    "torch_dataset, by threads": Contender(torch_dataset, 2),
    "torch_dataset, by a DataLoader's workers": Contender(torch_workers, 2),
    "ours": Contender(ours, 4),
    "ours, without checksums": Contender(ours_without_checksums, 4),
    "decoding alone": Contender(decoding_alone, 4),
}


def measure(task: Task, chips: int, rounds: int) -> dict[str, list[Spent]]:
    """What each contender took in each round; they take turns, and the first round does not count."""
    outcome: dict[str, list[Spent]] = {name: [] for name in CONTENDERS}
    with ExitStack() as stack:
        pipes = {name: stack.enter_context(contender_process(item, task)) for name, item in CONTENDERS.items()}
        for round_ in range(rounds + 1):
            for name, pipe in pipes.items():
                pipe.send(max(BATCH, int(chips * CONTENDERS[name].share)))
                spent = pipe.recv()
                if round_:
                    outcome[name].append(spent)
    return outcome


def result(found: dict[str, list[Spent]]) -> dict[str, float]:
    """The figures that the goals are about."""
    return {
        "x_hdf5_per_core": round(per_core_s(found["ours"]) / per_core_s(found["published HDF5 loader"]), 2),
        "x_hdf5_per_core_prepared": round(
            per_core_s(found["ours, prepared on the CPU"]) / per_core_s(found["published HDF5 loader"]), 2
        ),
        "fraction_of_codec": round(statistics.median(
            (mine.chips / mine.wall_s) / (limit.chips / limit.wall_s)
            for mine, limit in zip(found["ours"], found["decoding alone"], strict=True)
        ), 3),
        "fraction_of_codec_per_core": round(per_core_s(found["ours"]) / per_core_s(found["decoding alone"]), 3),
        "x_own_loader": round(
            per_core_s(found["torch_dataset, by threads"])
            / per_core_s(found["ours, whole chips prepared on the CPU"]),
            2,
        ),
        "x_own_loader_workers": round(
            per_core_s(found["torch_dataset, by a DataLoader's workers"])
            / per_core_s(found["ours, whole chips prepared on the CPU"]),
            2,
        ),
        "x_without_checksums": round(statistics.median(
            (mine.chips / mine.cpu_s) / (other.chips / other.cpu_s)
            for mine, other in zip(found["ours"], found["ours, without checksums"], strict=True)
        ), 3),
        "chips_per_s": round(per_s(found["ours"]), 1),
    }  # fmt: skip


def show(where: str, found: Mapping[str, list[Spent]]) -> None:
    """A table."""
    print(f"| {where} | chips a second | CPU ms a chip | chips per core-second |\n|---|---|---|---|")
    for name, spent in found.items():
        print(f"| {name} | {per_s(spent):.0f} | {1e3 / per_core_s(spent):.2f} | {per_core_s(spent):.0f} |")


@contextmanager
def folder_for(keep: Path | None) -> Iterator[Path]:
    """The folder to keep, or one that goes with the block."""
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep
        return
    with tempfile.TemporaryDirectory() as temporary:
        yield Path(temporary)


def made(folder: Path, chips: int) -> tuple[float, float]:
    """Make the corpus and the HDF5 file unless they are there; the kB that a chip takes in each."""
    if not (folder / _HDF5).exists():
        write_hdf5(resampled(folder, chips), folder / f"{_HDF5}.partial", TWELVE)
        (folder / f"{_HDF5}.partial").rename(folder / _HDF5)
    corpus = Corpus.open(folder)
    if not (folder / _OLDER).exists():
        write_older(corpus, folder / f"{_OLDER}.partial")
        (folder / f"{_OLDER}.partial").rename(folder / _OLDER)
    objects = [corpus.object_path(name, shard) for name in TWELVE for shard in corpus.shards]
    stored = sum(path.stat().st_size for path in objects if path.exists())
    count = 1e3 * len(corpus.manifest)
    return stored / count, (folder / _HDF5).stat().st_size / count


def write_older(corpus: Corpus, folder: Path) -> None:
    """The same corpus in format 1."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    shutil.copy(corpus.folder / MANIFEST, folder)
    older = Corpus.create(folder, corpus.modalities.values(), corpus.shard_rows, format_version=1)
    for shard, names in older.missing().items():
        for name in names:
            older.write(shard, name, corpus.read(name, shard.slice), {})


def main() -> None:
    """Make the data, measure, print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="256 chips, one round")
    parser.add_argument("--chips", type=int, default=1280, help="how many there are")
    parser.add_argument("--workers", type=int, default=0, help="threads or processes of each; 0: one per core")
    parser.add_argument("--cold", action="store_true", help="also from a disk whose pages were put out of memory")
    parser.add_argument("--bucket", action="store_true", help="also from an S3 service that waits 30 ms")
    parser.add_argument("--keep", type=Path, help="make the data here, or use what is here, and leave it")
    arguments = parser.parse_args()
    chips, rounds = (256, 1) if arguments.quick else (arguments.chips, _ROUNDS)
    workers = arguments.workers or default_workers()
    with folder_for(arguments.keep) as folder:
        kb_zarr, kb_hdf5 = made(folder, chips)
        print(f"{workers} workers; a chip takes {kb_zarr:.0f} kB in the store, {kb_hdf5:.0f} kB in HDF5")
        task = Task(folder, workers)
        outcome = measure(task, chips, rounds)
        show("from memory", outcome)
        figures = result(outcome)
        if arguments.cold:
            show("from a cold disk", found := loader_places.cold(task, chips, rounds))
            figures |= loader_places.cold_result(found)
        if arguments.bucket:
            show("from a bucket 30 ms away", found := loader_places.afar(task, chips, rounds))
            figures |= loader_places.afar_result(found)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

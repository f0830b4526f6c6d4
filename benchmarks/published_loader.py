"""The published MMEarth loader's way: one gzip HDF5 file, read and converted sample by sample in worker processes.

An equivalent of its access pattern, written anew: `metadata` and every modality are read for each sample, bands by a
list of indices, classes and nodata are replaced by chains of `where` in double precision, and a collate function stacks
the samples. It crops on the GPU later, so nothing is cropped here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from pipeline.corpus import Corpus

_CLASSES = {"dynamic_world": range(1, 10), "esa_worldcover": (10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 100)}
_ONE_HOT = {"biome": (14, "uint8"), "eco_region": (846, "uint16")}
_SENTINEL2_BANDS = [*range(10), 11, 12]  # Without B10.
# As the published files have them: Sentinel-1 in dB, elevation and slope as whole numbers, heights as int8.
_DTYPES = {"sentinel1": "float32", "aster": "int16", "canopy_height_eth": "int8"}
_NODATA = {"sentinel2": 0, "sentinel1": -np.inf, "aster": -np.inf, "canopy_height_eth": 255,
           "dynamic_world": 0, "esa_worldcover": 0, "era5": np.nan}  # fmt: skip
Moments = dict[str, tuple[NDArray[Any], NDArray[Any]]]
_GZIP_LEVEL = 4  # h5py's default, which the published converter leaves.


def write_hdf5(corpus: Corpus, path: Path, names: tuple[str, ...]) -> float:
    """The same chips in the layout of the published files; returns the kB that a chip takes."""
    rows = len(corpus.manifest)
    with h5py.File(path, "w") as file:
        for name in names:
            values = published_values(corpus, name)
            file.create_dataset(
                name, data=values, chunks=(1, *values.shape[1:]), compression="gzip", compression_opts=_GZIP_LEVEL
            )
        kinds = np.dtype([("tile_id", "S100"), ("S2_type", "S10")])
        levels = corpus.manifest.column("level")
        described = np.array([(str(row), level) for row, level in enumerate(levels)], dtype=kinds)
        file.create_dataset("metadata", data=described, chunks=(1,))
    return path.stat().st_size / rows / 1e3


def published_values(corpus: Corpus, name: str) -> NDArray[Any]:
    """A modality's stored values as the published files encode them."""
    modality = corpus.modality(name)
    stored = corpus.read(name, slice(0, len(corpus.manifest)))
    if name in _ONE_HOT:
        count, dtype = _ONE_HOT[name]
        return np.eye(count, dtype=dtype)[np.clip(stored[:, 0], 0, count - 1)]
    if name == "sentinel1":
        # Decibels have more digits there than the hundredths that are stored here.
        digits = np.random.default_rng(0).uniform(-0.5, 0.5, stored.shape)
        decibels = np.where(modality.valid(stored), (stored + digits) * modality.scale, -np.inf)
        return decibels.astype(np.float32)
    return np.where(modality.valid(stored), stored, 0).astype(_DTYPES.get(name, stored.dtype))


class PublishedSamples(Dataset[dict[str, Any]]):
    """Samples of an HDF5 file, opened by whichever process reads first."""

    def __init__(self, path: Path, moments: Moments, rows: NDArray[Any]) -> None:
        self._path, self._moments, self._rows = path, moments, rows
        self._file: h5py.File | None = None

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, place: int) -> dict[str, Any]:
        """One sample: float32 arrays, or int64 for classes, and its id."""
        if self._file is None:
            self._file = h5py.File(self._path, "r")
        row = int(self._rows[place])
        sample: dict[str, Any] = {"id": self._file["metadata"][row][0].decode("utf-8")}
        for name in self._file:
            if name != "metadata":
                sample[name] = self._converted(name, self._stored(name, row))
        return sample

    def _stored(self, name: str, row: int) -> NDArray[Any]:
        assert self._file is not None
        dataset = self._file[name]
        if name in _ONE_HOT:
            return np.array(dataset[row, ...])
        bands = _SENTINEL2_BANDS if name == "sentinel2" else list(range(dataset.shape[1]))
        return np.array(dataset[row, bands, ...])

    def _converted(self, name: str, stored: NDArray[Any]) -> NDArray[Any]:
        if name in _ONE_HOT:
            return stored.astype(np.int64)
        values = np.where(stored == _NODATA.get(name, -np.inf), np.nan, stored)
        if name in _CLASSES:
            for index, code in enumerate(_CLASSES[name]):
                values = np.where(values == code, index, values)
            values = np.where(values > len(_CLASSES[name]) - 1, np.nan, values)
            return np.where(np.isnan(values), -1, values).astype(np.int64)
        mean, std = (item.reshape(-1, *(1,) * (values.ndim - 1)) for item in self._moments[name])
        return ((values - mean) / std).astype(np.float32)


def moments_of(path: Path) -> Moments:
    """Per-band mean and standard deviation of some samples, float64, as its JSON file of statistics holds them."""
    result = {}
    with h5py.File(path, "r") as file:
        for name in set(file) - {"metadata", *_CLASSES, *_ONE_HOT}:
            bands = _SENTINEL2_BANDS if name == "sentinel2" else slice(None)
            some = np.array(file[name][:32], dtype=np.float64)[:, bands]
            some = np.where(np.isfinite(some), some, 0.0)
            axes = (0, *range(2, some.ndim))
            result[name] = (some.mean(axes), some.std(axes) + 1e-6)
    return result


def stacked(samples: list[dict[str, Any]]) -> tuple[list[str], dict[str, Tensor]]:
    """The collate function: one tensor per modality, and the ids."""
    names = [name for name in samples[0] if name != "id"]
    tensors = {name: torch.stack([torch.from_numpy(item[name]) for item in samples]) for name in names}
    return [item["id"] for item in samples], tensors


def published_loader(path: Path, moments: Moments, rows: NDArray[Any], batch: int, workers: int) -> DataLoader[Any]:
    """Batches of the rows in their order, read by `workers` processes."""
    samples = PublishedSamples(path, moments, rows)
    return DataLoader(
        samples, batch_size=batch, num_workers=workers, collate_fn=stacked, drop_last=True,
        multiprocessing_context="fork",
    )  # fmt: skip

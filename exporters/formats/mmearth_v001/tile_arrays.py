"""`<name>.h5`: the datasets, written tile by tile."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from exporters.formats.mmearth_v001.datasets import METADATA, METADATA_DTYPE, Dataset
from exporters.formats.mmearth_v001.hdf5 import h5py_module
from exporters.formats.mmearth_v001.tile_chunk import compressed, filters


class TileArrays(AbstractContextManager["TileArrays"]):
    """An HDF5 file of so many tiles of `size_px`, a chunk per tile and dataset, and `metadata` with ids and levels."""

    def __init__(self, path: Path, datasets: Iterable[Dataset], tiles: int, size_px: int) -> None:
        self._file = h5py_module().File(path, "w")
        self._arrays = {
            item: self._create(item.name, np.dtype(item.dtype), tiles, item.shape(size_px)) for item in datasets
        }
        self._metadata = self._create(METADATA, METADATA_DTYPE, tiles, ())

    def _create(self, name: str, dtype: np.dtype[Any], tiles: int, shape: tuple[int, ...]) -> Any:
        return self._file.create_dataset(name, (tiles, *shape), dtype, chunks=(1, *shape), **filters(dtype))

    def write(self, index: int, tile_id: str, level: str, chunks: Mapping[Dataset, bytes]) -> None:
        """One tile: for every dataset what `tile_chunk.compressed` made of its values."""
        for dataset, array in self._arrays.items():
            array.id.write_direct_chunk((index, *(0,) * (array.ndim - 1)), chunks[dataset])
        about = np.array([(tile_id.encode(), level.encode())], METADATA_DTYPE)
        self._metadata.id.write_direct_chunk((index,), compressed(about))

    def __exit__(self, *_: object) -> None:
        self._file.close()

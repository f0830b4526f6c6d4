"""`<name>.h5` as it is read: its datasets checked against v001, and values of neighbouring tiles."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from exporters.formats.mmearth_v001.datasets import LAYERS, METADATA, PLACES, Dataset
from exporters.formats.mmearth_v001.hdf5 import h5py_module
from pipeline.errors import Fatal

_DIRECT = (None, "gzip")  # filters that are undone here, in any thread: HDF5 knows one at a time
_METADATA_AT_ONCE = 1 << 16


class TileFile:
    """An open file of v001: `tiles` and their `size_px`, and the `datasets` that it has. Safe for many threads."""

    def __init__(self, path: Path) -> None:
        """Raises `Fatal` for a file that cannot be read, or is not one of v001."""
        self.path = path
        self._file = self._opened()
        try:
            self._look()
        except (OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError, MemoryError) as error:
            raise Fatal(f"{self.path} is damaged ({_first(error)}); copy it again.") from error

    def _look(self) -> None:
        self._refuse_groups()
        if METADATA not in self._file:
            raise self._other(f"it has no dataset {METADATA!r}")
        self.tiles = int(self._file[METADATA].shape[0])
        self.datasets = tuple(item for item in (*LAYERS, *PLACES) if item.name in self._file)
        if not self.tiles or not self.datasets:
            raise self._other("it has no tiles" if self.datasets else "it has none of the published datasets")
        self.size_px = self._size_px()
        for dataset in self.datasets:
            self._refuse_other_shape(dataset)
        self._tiles = {item: _Tiles.of(self.path, self._file[item.name]) for item in self.datasets}

    def _opened(self) -> Any:
        try:
            return h5py_module().File(self.path, "r")
        except OSError as error:
            raise Fatal(f"{self.path} cannot be read as HDF5 ({_first(error)}); copy it again.") from error

    def _other(self, why: str) -> Fatal:
        return Fatal(f"{self.path} is not a file of MMEarth v001: {why}; name another format with --from.")

    def _refuse_groups(self) -> None:
        """Raise `Fatal` for a name of v001 that is something else than an array with rows."""
        for name in (METADATA, *(item.name for item in (*LAYERS, *PLACES))):
            if name in self._file and not getattr(self._file[name], "shape", None):
                raise self._other(f"{name} is no array of tiles")

    def _size_px(self) -> int:
        shapes = [self._file[item.name].shape for item in self.datasets if item.extent == "pixel"]
        sides = {shape[-1] for shape in shapes if len(shape) == 4}
        if len(sides) != 1:
            raise self._other(f"its tiles are {', '.join(map(str, sorted(sides))) or 'not known how many'} px wide")
        return int(sides.pop())

    def _refuse_other_shape(self, dataset: Dataset) -> None:
        array, expected = self._file[dataset.name], (self.tiles, *dataset.shape(self.size_px))
        if array.shape != expected:
            raise self._other(f"{dataset.name} is {array.shape}, where v001 has {expected}")
        if array.dtype.kind not in "iuf":
            raise self._other(f"{dataset.name} is {array.dtype}, where v001 has {dataset.dtype}")

    @property
    def strangers(self) -> tuple[str, ...]:
        """Names in the file that are none of v001."""
        known = {METADATA, *(item.name for item in self.datasets)}
        return tuple(sorted(set(self._file) - known))

    def ids(self) -> list[str]:
        """The id of every tile, from the first field of `metadata`. Raises `Fatal` where it has none, or is damaged."""
        metadata = self._file[METADATA]
        if metadata.ndim != 1 or not metadata.dtype.names or metadata.dtype[0].kind != "S":
            raise self._other(f"{METADATA} is {metadata.dtype}, where v001 has ids and levels")
        found: list[str] = []
        for start in range(0, self.tiles, _METADATA_AT_ONCE):
            piece = _Tiles.of(self.path, metadata).by_hdf5(start, min(start + _METADATA_AT_ONCE, self.tiles))
            found += [text.decode("utf-8", "replace") for text in piece[metadata.dtype.names[0]].tolist()]
        return found

    def read(self, dataset: Dataset, start: int, stop: int) -> NDArray[Any]:
        """Values (tiles, bands[, y, x]) or (tiles, classes) in the file's dtype; raises `Fatal` for damage."""
        return self._tiles[dataset].read(start, stop)


@dataclass(frozen=True)
class _Tiles:
    """A dataset of the file at `path`, of which h5py is asked once what it is: a question takes as long as a tile."""

    path: Path
    array: Any
    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    is_direct: bool
    is_compressed: bool
    is_shuffled: bool

    @classmethod
    def of(cls, path: Path, array: Any) -> Self:
        plain = array.compression in _DIRECT and not array.fletcher32 and array.scaleoffset is None
        is_direct = plain and array.chunks == (1, *array.shape[1:])
        is_shuffled = bool(array.shuffle) and array.dtype.itemsize > 1
        name, shape = array.name.lstrip("/"), tuple(array.shape[1:])
        return cls(path, array, name, array.dtype, shape, is_direct, bool(array.compression), is_shuffled)

    def read(self, start: int, stop: int) -> NDArray[Any]:
        if not self.is_direct:
            return self.by_hdf5(start, stop)
        values = np.empty((stop - start, *self.shape), self.dtype)
        for row in range(start, stop):
            values[row - start] = self._tile(row)
        return values

    def by_hdf5(self, start: int, stop: int) -> NDArray[Any]:
        """Whatever the lay-out is, in one thread at a time."""
        try:
            return np.asarray(self.array[start:stop])
        except (OSError, RuntimeError, ValueError) as error:
            raise self._damage(start, stop - 1, error) from error

    def _tile(self, row: int) -> NDArray[Any]:
        """One chunk; of one that was never written, or written without its filters, what HDF5 makes of it."""
        try:
            skipped, content = self.array.id.read_direct_chunk((row, *(0,) * len(self.shape)))
        except (OSError, RuntimeError, ValueError):
            return self.by_hdf5(row, row + 1)[0]
        if skipped:
            return self.by_hdf5(row, row + 1)[0]
        try:
            return self._decoded(content)
        except (zlib.error, ValueError) as error:
            raise self._damage(row, row, error) from error

    def _decoded(self, content: bytes) -> NDArray[Any]:
        size_bytes = math.prod(self.shape) * self.dtype.itemsize
        plain = zlib.decompress(content, bufsize=max(1, size_bytes)) if self.is_compressed else content
        if self.is_shuffled:
            plain = np.frombuffer(plain, np.uint8).reshape(self.dtype.itemsize, -1).T.tobytes()
        return np.frombuffer(plain, self.dtype).reshape(self.shape)

    def _damage(self, first: int, last: int, error: Exception) -> Fatal:
        rows = f"row {first}" if first == last else f"rows {first} to {last}"
        return Fatal(
            f"{self.path} is damaged in {self.name}, {rows} ({_first(error)}); copy it again and repeat the command."
        )


def _first(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__

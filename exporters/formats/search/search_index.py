"""The matrix that a search reads, float16 beside a store of embeddings: made once, whole or absent, with a digest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import durable
from pipeline.errors import Fatal, GeocorpusError

Half = NDArray[np.float16]


@dataclass(frozen=True)
class _Record:
    """What the matrix was made of (`source`), its bytes, and the file's time when these were last compared."""

    source: str
    sha256: str
    size_bytes: int
    changed_ns: int


@dataclass(frozen=True)
class SearchIndex:
    """The matrix of one view: `path` is an .npy file, `source` the digest of the values that it is made of."""

    path: Path
    source: str

    @classmethod
    def beside(cls, store: Path, view: str, source: str) -> SearchIndex:
        """The one of a view of a store, in the folder NAME.search beside it."""
        return cls(store.with_name(f"{store.name}.search") / f"{view}.npy", source)

    def matrix(self, make: Callable[[], Half]) -> Half:
        """The matrix (n, width) float16, mapped into memory; made by `make` where there is none of this source.

        A file that is not as it was written is made anew. Where nothing can be written it stays in memory.
        """
        if not self._is_good():
            made = make()
            try:
                self._write(made)
            except Fatal:
                return made
        return np.asarray(np.load(self.path, mmap_mode="c"))

    def _is_good(self) -> bool:
        try:
            record = durable.read_as(self._record_path, _Record, "delete it")
        except (GeocorpusError, OSError):
            return False
        if record.source != self.source or not self.path.exists():
            return False
        now = self.path.stat()
        if (now.st_size, now.st_mtime_ns) == (record.size_bytes, record.changed_ns):
            return True
        return durable.file_digest(self.path) == record.sha256

    def _write(self, matrix: Half) -> None:
        durable.remove(self._record_path)
        durable.publish(self.path, lambda temporary: _save(temporary, matrix))
        now = self.path.stat()
        record = {"source": self.source, "sha256": durable.file_digest(self.path), "size_bytes": now.st_size,
                  "changed_ns": now.st_mtime_ns}  # fmt: skip
        durable.write_json(self._record_path, record)

    @property
    def _record_path(self) -> Path:
        return self.path.with_suffix(".json")


def _save(path: Path, matrix: NDArray[Any]) -> None:
    with path.open("wb") as stream:
        np.save(stream, matrix)

"""The store of a corpus's arrays: a folder, or a bucket of S3 or Google Cloud Storage, with the same few methods."""

from __future__ import annotations

import hashlib
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from zarr.storage import LocalStore

from pipeline import durable

METADATA = "zarr.json"


class Store(ABC):
    """Objects by key, such as `sentinel2/c/0/0/0/0`. An object is whole or absent in every kind of store.

    A bucket raises `Fatal` when it refuses a request and `Transient` when it does not answer. A folder raises `Fatal`
    when it cannot be written to, and `OSError` for other faults of the disk.
    """

    url: str
    folder: Path | None  # of a store on a disk; None for a bucket

    @abstractmethod
    def zarr(self, *, read_only: bool) -> Any:
        """This store as a zarr-python store, for `zarr` and `xarray.open_zarr`."""

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Turn errors of reads through `zarr` into our own types."""
        yield

    @abstractmethod
    def check(self) -> None:
        """Raise unless objects can be written and removed here: `Fatal`, or `Transient` when nothing answers."""

    @abstractmethod
    def get(self, key: str) -> bytes | None:
        """An object's bytes; None when there is none."""

    @abstractmethod
    def put(self, key: str, *parts: memoryview | bytes) -> None:
        """Publish an object, given in one or more parts, under its key; it replaces an older one."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove an object; does nothing when there is none."""

    @abstractmethod
    def present(self, keys: Iterable[str]) -> frozenset[str]:
        """Those of `keys` that have an object."""

    @abstractmethod
    def names(self) -> list[str]:
        """The names directly below the store, sorted: those of its arrays."""

    @abstractmethod
    def digest(self, key: str) -> str | None:
        """SHA-256 of an object's stored bytes, as "sha256:..."; None when there is no object."""

    @abstractmethod
    def size_bytes(self) -> int:
        """Size of all objects in bytes."""

    @abstractmethod
    def adopt(self, objects: Mapping[str, memoryview]) -> None:
        """Publish the objects of a new store. The store exists with all of them or not at all."""

    @property
    def exists(self) -> bool:
        """Whether a store was created here."""
        return self.get(METADATA) is not None

    def replace(self, key: str, parts: Sequence[bytes]) -> str | None:
        """Publish an object and return its digest; without parts, remove the object and return None."""
        if not parts:
            self.delete(key)
            return None
        self.put(key, *parts)
        digest = hashlib.sha256()
        for part in parts:
            digest.update(part)
        return f"sha256:{digest.hexdigest()}"


class FolderStore(Store):
    """A store in a folder. Every object is written under a temporary name, forced to disk, and renamed."""

    def __init__(self, folder: Path) -> None:
        self.folder: Path = folder
        self.url = str(folder)

    def zarr(self, *, read_only: bool) -> LocalStore:
        return LocalStore(self.folder, read_only=read_only)

    def check(self) -> None:
        probe = self.folder.with_name(f".{self.folder.name}-check{durable.TEMPORARY_SUFFIX}")
        durable.write_bytes(probe, b"geocorpus")
        probe.unlink()

    def get(self, key: str) -> bytes | None:
        try:
            return (self.folder / key).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def put(self, key: str, *parts: memoryview | bytes) -> None:
        durable.write_bytes(self.folder / key, *parts)

    def delete(self, key: str) -> None:
        (self.folder / key).unlink(missing_ok=True)

    def present(self, keys: Iterable[str]) -> frozenset[str]:
        return frozenset(key for key in keys if (self.folder / key).exists())

    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir() if path.is_dir())

    def digest(self, key: str) -> str | None:
        try:
            with (self.folder / key).open("rb") as stream:
                return f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"
        except (FileNotFoundError, NotADirectoryError):
            return None

    def size_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    def adopt(self, objects: Mapping[str, memoryview]) -> None:
        draft = self.folder.with_name(f".{self.folder.name}{durable.TEMPORARY_SUFFIX}")
        shutil.rmtree(draft, ignore_errors=True)
        for key, content in objects.items():
            durable.write_bytes(draft / key, content)
        draft.replace(self.folder)

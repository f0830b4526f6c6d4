"""The store of a corpus's arrays: a folder, or a bucket of S3 or Google Cloud Storage, with the same few methods."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import Any, TypeVar

from zarr.storage import LocalStore

from pipeline import durable, fence
from pipeline.errors import Fatal

METADATA = "zarr.json"
Result = TypeVar("Result")
Buffer = Any  # whatever has the buffer protocol, for which Python before 3.12 knows no type


class Unreadable(Fatal):
    """An object is there and cannot be read: a folder has its name, its rights forbid it, or the disk fails."""


def digest_of(content: bytes) -> str:
    """SHA-256 as the ledger keeps it."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


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
    def tail(self, key: str, count: int) -> bytes | None:
        """The last `count` bytes of an object, or all of a shorter one; None when there is none."""

    @abstractmethod
    def end(self, key: str, count: int) -> tuple[bytes, int] | None:
        """As `tail`, and the size of the object in bytes."""

    @abstractmethod
    def ranges(self, key: str, spans: Sequence[tuple[int, int]]) -> list[Buffer] | None:
        """The bytes [start, stop) of an object for each of `spans`; None when there is no object.

        Spans that lie near each other are read at once. An object that is shorter gives fewer bytes, or `Fatal`.
        """

    @abstractmethod
    def put(self, key: str, *parts: memoryview | bytes) -> None:
        """Publish an object, given in one or more parts, under its key; it replaces an older one."""

    @abstractmethod
    def create(self, key: str, content: bytes) -> bool:
        """Publish an object if there is none under its key, and return whether there was none: one condition, one step.

        A bucket whose service knows no conditions replaces the object.
        """

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

    def adopt(self, objects: Mapping[str, memoryview]) -> None:
        """Publish the objects of a new store, the root's metadata last: the store exists with all of them or not."""
        for key in sorted(objects, key=lambda key: key == METADATA):
            self.put(key, objects[key])

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
        return self._read(key, lambda stream: stream.read())

    def _read(self, key: str, read: Callable[[BufferedReader], Result]) -> Result | None:
        """What `read` makes of a file; None where there is none. Raises `Unreadable`, as for a folder of that name."""
        path = self.folder / key
        try:
            with path.open("rb") as stream:
                return read(stream)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise Unreadable(f"{path} cannot be read ({error.strerror or error}); mend that, or remove it.") from error

    def tail(self, key: str, count: int) -> bytes | None:
        return self._read(key, partial(_last, count=count))

    def end(self, key: str, count: int) -> tuple[bytes, int] | None:
        return self._read(key, lambda stream: (_last(stream, count), stream.tell()))

    def ranges(self, key: str, spans: Sequence[tuple[int, int]]) -> list[Buffer] | None:
        return self._read(key, lambda stream: [_between(stream, start, stop) for start, stop in spans])

    def put(self, key: str, *parts: memoryview | bytes) -> None:
        durable.write_bytes(self.folder / key, *parts)

    def create(self, key: str, content: bytes) -> bool:
        return durable.create(self.folder / key, content)

    def delete(self, key: str) -> None:
        fence.check()
        (self.folder / key).unlink(missing_ok=True)

    def present(self, keys: Iterable[str]) -> frozenset[str]:
        return frozenset(key for key in keys if (self.folder / key).exists())

    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir() if path.is_dir()) if self.folder.is_dir() else []

    def digest(self, key: str) -> str | None:
        return self._read(key, lambda stream: f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}")

    def size_bytes(self) -> int:
        return sum(_sizes_bytes(self.folder))


def _sizes_bytes(folder: Path | str) -> Iterator[int]:
    """The sizes of all files below a folder; with a path object for each, a large store would take half a minute."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _sizes_bytes(entry.path)
            elif entry.is_file():
                yield entry.stat().st_size


def _last(stream: BufferedReader, count: int) -> bytes:
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, size - count))
    return stream.read()


def _between(stream: BufferedReader, start: int, stop: int) -> bytes:
    stream.seek(start)
    return stream.read(stop - start)

"""A folder that keeps what was fetched from a bucket, up to a size; what was used longest ago goes first."""

from __future__ import annotations

import logging
import os
import threading
from contextlib import suppress
from pathlib import Path

from pipeline.durable import temporary_beside
from pipeline.shard_object import CRC_BYTES
from pipeline.sharding import crc32c

_LOOKED_AT_AFTER = 64  # The folder is looked through when this process has added that part of its size.
_OURS = "geocorpus-chips"  # below the user's folder, which may hold anything else
_ROOM = 0.95  # what is left of the limit, so that it is not looked through at once again

_log = logging.getLogger(__name__)


class ChipCache:
    """Parts of objects by key, in files of at most `limit_bytes` together; for any number of processes.

    They are in a folder of their own in `folder`, and nothing else there is counted or deleted.
    A file is whole or absent, ends with its checksum, and is dropped where that does not fit. Processes know of each
    other's files when they look the folder through: the limit may be passed by a sixty-fourth for each of them.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder, self._limit_bytes = folder / _OURS, limit_bytes
        self._lock = threading.Lock()
        self._added_bytes = limit_bytes  # so that the first thing that is put looks the folder through
        self._full = False

    def get(self, key: str) -> memoryview | None:
        """What was put under a key; None where it is not there, or not any more."""
        path = self._folder / key
        try:
            content = memoryview(path.read_bytes())
        except OSError:
            return None
        with suppress(OSError):  # of somebody else, who lets us read only
            os.utime(path)  # By these times the oldest are known.
        if len(content) < CRC_BYTES or crc32c(bytes(content[:-CRC_BYTES])) != content[-CRC_BYTES:]:
            _drop(path)
            return None
        return content[:-CRC_BYTES]

    def put(self, key: str, content: memoryview) -> None:
        """Keep something; where the disk does not take it, the log says so once, and it is not kept."""
        path = self._folder / key
        try:
            _publish(path, content)
        except OSError as error:
            if not self._full:
                _log.warning("the cache in %s takes no more (%s); reading goes on without.", self._folder, error)
            self._full = True
            return
        if self._is_time(len(content)):
            self._drop_oldest()

    def _is_time(self, added_bytes: int) -> bool:
        with self._lock:
            self._added_bytes += added_bytes
            if self._added_bytes * _LOOKED_AT_AFTER < self._limit_bytes:
                return False
            self._added_bytes = 0
            return True

    def _drop_oldest(self) -> None:
        files = sorted(_files(self._folder))
        total = sum(size for _, size, _ in files)
        if total <= self._limit_bytes:
            return
        for _, size, path in files:
            if total <= self._limit_bytes * _ROOM:
                return
            total -= size if _drop(path) else 0


def _publish(path: Path, content: memoryview) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(path)
    try:
        with temporary.open("wb") as stream:
            stream.writelines([content, crc32c(bytes(content))])
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _drop(path: Path) -> bool:
    """Delete a file; whether it is gone: that of somebody else may have to stay."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return False
    return True


def _files(folder: Path) -> list[tuple[int, int, Path]]:
    """When each was last used, its size, and where it is; also temporary ones that a killed process left."""
    result = []
    for path in folder.rglob("*"):
        with suppress(OSError):
            if path.is_file():
                described = path.stat()
                result.append((described.st_mtime_ns, described.st_size, path))
    return result

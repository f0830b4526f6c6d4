"""One writer per target: a lock beside it, which ends with the process that has it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

from pipeline.errors import Fatal
from pipeline.stopping import at_stop

_LOCK = ".lock.tmp"


@contextmanager
def target_locked(target: Path) -> Iterator[None]:
    """Keep other processes from writing to `target`, whose folder is there.

    Raises `Fatal` while another one does, and `OSError` for a folder that cannot be written to.
    """
    path = target.with_name(f".{target.name}{_LOCK}")
    descriptor = _taken(path, target)
    try:
        with at_stop(lambda: path.unlink(missing_ok=True)):
            yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _taken(path: Path, target: Path) -> int:
    """The descriptor that has the lock; another process may remove the file between opening and locking it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _lock(descriptor)
        except BlockingIOError as error:
            os.close(descriptor)
            raise Fatal(f"another process is writing {target}; wait for it, or choose another target.") from error
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    """Raises `BlockingIOError` where another has it; on a file system without locks nobody has."""
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return

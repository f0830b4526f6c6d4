"""Has parts of files brought into memory outside of the interpreter's lock, so that nobody waits for a disk inside."""

from __future__ import annotations

import os
import threading
from pathlib import Path

_STEP_BYTES = 256 * 1024  # Small enough that what is read, and thrown away, stays in a core's cache.
_here = threading.local()


def bring_in(path: Path, start: int, stop: int) -> None:
    """Read the bytes [start, stop) of a file unless they are in memory; of each 256 KiB, the end is looked at.

    Where the system cannot say what is in memory (all but Linux), they are read anyway. Raises `OSError`.
    """
    with path.open("rb", buffering=0) as stream:
        for offset in range(start, stop, _STEP_BYTES):
            end = min(offset + _STEP_BYTES, stop)
            if not _is_in_memory(stream.fileno(), end - 1):
                stream.seek(offset)
                stream.readinto(_scratch()[: end - offset])


def _is_in_memory(descriptor: int, offset: int) -> bool:
    """Whether a byte can be had without waiting; if not, Linux begins to read it and what follows."""
    if not hasattr(os, "RWF_NOWAIT"):
        return False
    try:
        return os.preadv(descriptor, [_scratch()[:1]], offset, os.RWF_NOWAIT) > 0
    except OSError:  # It would have to wait, or the file system cannot tell.
        return False


def _scratch() -> memoryview:
    """Of this thread."""
    if not hasattr(_here, "scratch"):
        _here.scratch = memoryview(bytearray(_STEP_BYTES))
    result: memoryview = _here.scratch
    return result

"""Parts of files are in memory after they were brought in, on systems that can tell and on others."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from training.data.pages import bring_in

MIB = 2**20
needs_linux = pytest.mark.skipif(not hasattr(os, "RWF_NOWAIT"), reason="only Linux says what is in memory")


def in_memory(path: Path, offset: int) -> bool:
    with path.open("rb") as stream:
        try:
            return os.preadv(stream.fileno(), [bytearray(1)], offset, os.RWF_NOWAIT) == 1
        except BlockingIOError:
            return False


def put_out(path: Path) -> None:
    """Write a file to disk, and its pages out of memory."""
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@needs_linux
@pytest.mark.parametrize("knows_what_is_in_memory", [True, False])
def test_a_part_of_a_file_is_in_memory(
    tmp_path: Path, knows_what_is_in_memory: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(3 * MIB + 5))
    put_out(path)
    if in_memory(path, 2 * MIB):
        pytest.skip("this file system keeps everything in memory")
    put_out(path)  # Looking at it begins to read it.
    with monkeypatch.context() as system:
        if not knows_what_is_in_memory:
            system.delattr(os, "RWF_NOWAIT")
        bring_in(path, MIB + 7, 3 * MIB + 5)
    assert all(in_memory(path, offset) for offset in range(MIB + 7, 3 * MIB + 5, 4096))

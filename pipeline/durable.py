"""Files that are whole or absent (temporary name, fsync, rename), and a reader for JSON that explains errors."""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from pipeline.errors import Fatal

TEMPORARY_SUFFIX = ".tmp"
# Only our temporary files and zarr-python's, as a folder may hold files of other programs.
_LEFTOVER = re.compile(r"\..+\.[0-9a-f]{32}\.tmp|.+\.[0-9a-f]{32}\.partial")


def sync_folder(folder: Path) -> None:
    """Make the renames inside a folder survive a power cut; raises `OSError`."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Force a file that is already written, and its name, to disk; raises `OSError`."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
    sync_folder(path.parent)


def publish(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file beside `path`, then give it its name in one step.

    Raises `Fatal` if the folder cannot be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}{TEMPORARY_SUFFIX}")
        try:
            write(temporary)
            sync_file(temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise Fatal(f"cannot write {path}: {error.strerror or error}; check the path and the space on disk.") from error


def write_bytes(path: Path, *parts: bytes | memoryview) -> None:
    """Publish a file with the given parts, one after another; raises `Fatal` as `publish` does."""
    publish(path, lambda temporary: _write_all(temporary, parts))


def _write_all(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    with path.open("wb") as stream:
        stream.writelines(parts)


def write_checkable(path: Path, parts: Iterable[bytes]) -> None:
    """Publish a file that holds its own checksum, without fsync; for many small files.

    If the process is killed, the file is whole or absent. After a power cut, files of the last half minute may be
    absent or incomplete, so a reader must check the checksum. On a busy disk, one fsync per file took longer than a
    request. Raises `Fatal` if the folder cannot be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}{TEMPORARY_SUFFIX}")
        try:
            _write_all(temporary, parts)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise Fatal(f"cannot write {path}: {error.strerror or error}; check the path and the space on disk.") from error


def write_text(path: Path, content: str) -> None:
    """Publish UTF-8 text; raises `Fatal` as `publish` does."""
    write_bytes(path, content.encode())


def write_json(path: Path, content: Any) -> None:
    """Publish JSON with sorted keys, so that equal contents are equal bytes; raises `Fatal` as `publish` does."""
    write_text(path, json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Parse a JSON file; raises `Fatal` naming the file when it is absent or not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise Fatal(f"{path} does not exist; run the stage that makes it first.") from error
    except (OSError, ValueError) as error:
        raise Fatal(f"{path} cannot be read as JSON ({error}).") from error


def sweep(folder: Path, spared: str = "") -> None:
    """Remove temporary files that a killed process left, ours and zarr-python's, except those below `spared`."""
    for child in [path for path in folder.glob("*") if path.name != spared]:
        for leftover in [child, *child.rglob("*")] if child.is_dir() else [child]:
            if _LEFTOVER.fullmatch(leftover.name) and leftover.is_file():
                leftover.unlink(missing_ok=True)

"""Files that are whole or absent: temporary name, fsync, rename; and one reader for JSON that says what is wrong."""

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
# Ours, and zarr-python's; nobody else's, for a folder may hold other things.
_LEFTOVER = re.compile(r"\..+\.[0-9a-f]{32}\.tmp|.+\.[0-9a-f]{32}\.partial")


def sync_folder(folder: Path) -> None:
    """Make the renames inside a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Force a file that someone else wrote, and its name, to disk."""
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
    """Publish bytes, one part behind another."""
    publish(path, lambda temporary: _write_all(temporary, parts))


def _write_all(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    with path.open("wb") as stream:
        stream.writelines(parts)


def write_checkable(path: Path, parts: Iterable[bytes]) -> None:
    """Publish bytes that tell by themselves whether they are whole, by a checksum; for many small files.

    Nothing is synced: a killed process leaves them whole or absent, but a power cut may take those of the last half
    minute, or leave a part of one, so whoever reads must check. On a busy disk a sync of each took longer than a
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
    """Publish UTF-8 text."""
    write_bytes(path, content.encode())


def write_json(path: Path, content: Any) -> None:
    """Publish JSON with sorted keys, so that equal contents are equal bytes."""
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
    """Remove temporary files that a killed process left, zarr-python's among them, but for those below `spared`."""
    for inside in [path for path in folder.glob("*") if path.name != spared]:
        for leftover in [inside, *inside.rglob("*")] if inside.is_dir() else [inside]:
            if _LEFTOVER.fullmatch(leftover.name) and leftover.is_file():
                leftover.unlink(missing_ok=True)

"""Files that are whole or absent (temporary name, fsync, rename), and a reader for JSON that explains errors."""

from __future__ import annotations

import hashlib
import json
import os
import re
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from pipeline import fence
from pipeline.errors import Fatal, Unwritable

Kind = TypeVar("Kind")
TEMPORARY_SUFFIX = ".tmp"
# Only our temporary files and zarr-python's, as a folder may hold files of other programs.
_LEFTOVER = re.compile(r"\..+\.[0-9a-f]{32}\.tmp|.+\.[0-9a-f]{32}\.partial")


def sync_folder(folder: Path) -> None:
    """Make the renames inside a folder survive a power cut; raises `OSError`."""
    _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Force a file that is already written, and its name, to disk; raises `OSError`."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
    sync_folder(path.parent)


def sync_tree(path: Path) -> None:
    """Force a file, or a folder with all that is in it, to disk, each file and each folder once; raises `OSError`."""
    for part in [path, *path.rglob("*")] if path.is_dir() else [path]:
        if part.is_file() or part.is_dir():
            _sync(part)


def temporary_beside(path: Path) -> Path:
    """A new name in the folder of `path`, which `sweep` knows as one of ours."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}{TEMPORARY_SUFFIX}")


def publish(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file beside `path`, then give it its name in one step.

    Raises `Unwritable` if the folder cannot be written to, or another process has taken over the corpus.
    """
    with _explained(path):
        _publish(path, write)
        sync_folder(path.parent)


def _publish(
    path: Path,
    write: Callable[[Path], None],
    sync: Callable[[Path], None] = sync_file,
    name: Callable[[Path, Path], object] = Path.replace,
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(path)
    try:
        write(temporary)
        sync(temporary)
        fence.check()  # last, as writing takes long
        name(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn errors of the disk into `Unwritable`."""
    try:
        yield
    except OSError as error:
        fence.check()  # whoever has taken over has removed our temporary file
        raise unwritable(path, error) from error


def unwritable(path: Path, error: OSError) -> Unwritable:
    """The error about a file that cannot be written."""
    why = str(error.strerror or error.__cause__ or error).rstrip(".")  # rasterio names a file's fault as the cause
    return Unwritable(f"cannot write {path}: {why}; check the path and the space on disk.")


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
    request. Raises `Fatal` as `publish` does.
    """
    with _explained(path):
        _publish(path, lambda temporary: _write_all(temporary, parts), sync=lambda temporary: None)


def create(path: Path, content: bytes) -> bool:
    """Publish a file if there is none at `path`, and return whether there was none; raises as `publish` does."""
    with _explained(path):
        try:
            _publish(path, lambda temporary: _write_all(temporary, [content]), name=_link)
        except FileExistsError:
            return False
        sync_folder(path.parent)
    return True


def _link(temporary: Path, path: Path) -> None:
    """Give a file a second name, if that is free; raises `FileExistsError` otherwise."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without second names
        with path.open("xb") as stream:
            stream.write(temporary.read_bytes())
            os.fsync(stream.fileno())


def write_text(path: Path, content: str) -> None:
    """Publish UTF-8 text; raises `Fatal` as `publish` does."""
    write_bytes(path, content.encode())


def json_text(content: Any) -> str:
    """JSON with sorted keys, so that equal contents are equal texts."""
    return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def write_json(path: Path, content: Any) -> None:
    """Publish JSON with sorted keys, so that equal contents are equal bytes; raises `Fatal` as `publish` does."""
    write_text(path, json_text(content))


def read_json(path: Path) -> Any:
    """Parse a JSON file; raises `Fatal` naming the file when it is absent or not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise Fatal(f"{path} does not exist; run the stage that makes it first.") from error
    except (OSError, ValueError) as error:
        raise Fatal(f"{path} cannot be read as JSON ({error}).") from error


def remove(path: Path) -> None:
    """Remove a file, if there is one, for good; raises `Fatal` as `publish` does, and for a folder of that name."""
    try:
        fence.check()
        path.unlink()
        sync_folder(path.parent)
    except FileNotFoundError:
        return
    except OSError as error:
        raise Fatal(f"cannot remove {path}: {error.strerror or error}; remove it yourself, or mend that.") from error


def read_object(path: Path, remedy: str) -> dict[str, Any]:
    """A JSON object, whose keys are texts; raises `Fatal` with `remedy` when there is none, or something else."""
    return read_as(path, dict[str, Any], remedy)


def read_as(path: Path, kind: type[Kind], remedy: str) -> Kind:
    """A JSON file as `kind`: a type such as `dict[str, float]`, or a dataclass, which pydantic checks.

    Raises `Fatal` that says what is wrong with the file, and ends with `remedy`.
    """
    try:
        checked: Kind = _reader(kind).validate_json(path.read_bytes())  # type: ignore[arg-type]
    except FileNotFoundError as error:
        raise Fatal(f"{path} does not exist; {remedy}.") from error
    except OSError as error:
        raise Fatal(f"{path} cannot be read ({error.strerror or error}); {remedy}.") from error
    except ValidationError as error:
        raise Fatal(f"{path} is damaged ({_first(error)}); {remedy}.") from error
    return checked


@cache
def _reader(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _first(error: ValidationError) -> str:
    """What is wrong in one of the places."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg'].lower()}" if where else first["msg"].lower()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes as hex digits; raises `OSError`."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def absent_folders(folder: Path) -> list[Path]:
    """The folders that must be made for `folder` to be there, innermost first."""
    return [item for item in (folder, *folder.parents) if not item.exists()]


def remove_empty(folders: Iterable[Path]) -> None:
    """Remove those that stayed empty, and leave the others."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def sweep(folder: Path, spared: str = "") -> None:
    """Remove temporary files that a killed process left, ours and zarr-python's, except those below `spared`."""
    for child in [path for path in folder.glob("*") if path.name != spared]:
        for leftover in [child, *child.rglob("*")] if child.is_dir() else [child]:
            if _LEFTOVER.fullmatch(leftover.name) and leftover.is_file():
                leftover.unlink(missing_ok=True)

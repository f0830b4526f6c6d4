"""One writer per corpus: a lock file in the folder that names its holder, and that ends with the holder's process."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

from pipeline import durable
from pipeline.errors import Fatal

LOCK = ".lock"
RUNS = "runs"  # of training runs, which take no lock: they read finished shards, and write only here


@dataclass(frozen=True)
class Holder:
    """A process on a host. `started` distinguishes two processes that had the same process id one after the other."""

    host: str
    pid: int
    started: str

    @classmethod
    def me(cls) -> Holder:
        """This process."""
        return cls(socket.gethostname(), os.getpid(), _start_of(os.getpid()))

    @property
    def may_live(self) -> bool:
        """Whether the process may still run; always true for another host, where it cannot be checked."""
        if self.host != socket.gethostname():
            return True
        return _is_running(self.pid) and _start_of(self.pid) == self.started


def _start_of(pid: int) -> str:
    """The start time of a process, in the kernel's ticks since boot (Linux); empty where it cannot be read."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the corpus in `folder` for writing. On exit the lock file and folders that stayed empty are removed.

    Temporary files that a killed holder left are removed first. Where the file system has `flock`, the kernel's lock
    decides: it ends with its process. Elsewhere, and between hosts that share a folder, the file's content decides.
    Raises `Fatal` while another process holds the corpus, and when the folder cannot be written to.
    """
    path = folder / LOCK
    created = _create_folder(folder)
    stream = _acquire(path)
    try:
        durable.sweep(folder, spared=RUNS)
        yield
    finally:
        # Removed before it is released: otherwise the next holder could lock a file that is then removed.
        path.unlink(missing_ok=True)
        stream.close()
        for empty in created:
            with contextlib.suppress(OSError):
                empty.rmdir()


def holder_of(folder: Path) -> Holder | None:
    """The process named in the lock file of `folder`, or None. `Holder.may_live` says whether it may still run."""
    try:
        with (folder / LOCK).open() as stream:
            return _holder(stream)
    except OSError:
        return None


def _create_folder(folder: Path) -> list[Path]:
    """Create the folder; returns the folders that did not exist, innermost first."""
    absent = [item for item in (folder, *folder.parents) if not item.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Fatal(f"cannot write {folder}: {error.strerror}; check the path and the space on disk.") from error
    return absent


def _acquire(path: Path) -> IO[str]:
    while True:
        stream = _open(path)
        flocked = _flock(stream)
        holder = _holder(stream)
        if flocked is False or _may_hold(holder, flocked):
            stream.close()
            raise _refusal(path, holder)
        if _is_same_file(path, stream):
            _write(stream)
            return stream
        stream.close()


def _may_hold(holder: Holder | None, flocked: bool | None) -> bool:
    """Whether the process that wrote the file may still run. On this host it does not if we got the kernel's lock."""
    if holder is None or (flocked and holder.host == socket.gethostname()):
        return False
    return holder.may_live


def _open(path: Path) -> IO[str]:
    try:
        return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+")
    except OSError as error:
        raise Fatal(f"cannot write {path}: {error.strerror}; check the path and the space on disk.") from error


def _flock(stream: IO[str]) -> bool | None:
    """Try to take the kernel's lock, and return whether we got it; None if the system or file system has no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _is_same_file(path: Path, stream: IO[str]) -> bool:
    """Whether the opened file is still at `path`: its former holder may have removed it in between."""
    try:
        return os.path.samestat(path.stat(), os.fstat(stream.fileno()))
    except FileNotFoundError:
        return False


def _holder(stream: IO[str]) -> Holder | None:
    """The process that wrote the file; None when the file is new or incomplete."""
    stream.seek(0)
    try:
        return Holder(**json.loads(stream.read()))
    except (ValueError, TypeError):
        return None


def _write(stream: IO[str]) -> None:
    stream.seek(0)
    stream.truncate()
    json.dump(asdict(Holder.me()), stream)
    stream.flush()


def _refusal(path: Path, holder: Holder | None) -> Fatal:
    who = f"process {holder.pid} on {holder.host}" if holder else "another process"
    return Fatal(
        f"{who} is working on {path.parent} already; wait for it or stop it, "
        f"and delete {path} only if you know that it is gone."
    )

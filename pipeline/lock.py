"""One writer per corpus: a lock in the folder that says who holds it, and that a dead process does not keep."""

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
RUNS = "runs"  # of trainings, which do not hold the corpus: they read what is finished, and write here


@dataclass(frozen=True)
class Holder:
    """A process on a host. `started` tells two processes apart that were given the same number one after the other."""

    host: str
    pid: int
    started: str

    @classmethod
    def me(cls) -> Holder:
        """This process."""
        return cls(socket.gethostname(), os.getpid(), _start_of(os.getpid()))

    @property
    def may_live(self) -> bool:
        """Whether the process may still be there; of another host nobody can say no."""
        if self.host != socket.gethostname():
            return True
        return _is_running(self.pid) and _start_of(self.pid) == self.started


def _start_of(pid: int) -> str:
    """When a process began, in the kernel's ticks since boot (Linux); empty where that cannot be read."""
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
    """Hold the corpus in `folder` for writing; leaves nothing behind, not even a folder that nobody wrote to.

    Temporary files that a killed holder left are removed first.
    The kernel's lock (`flock`) is the truth where there is one: it ends with its process. The file's content decides
    elsewhere, and for folders shared between hosts. Raises `Fatal` while another process holds it.
    """
    path = folder / LOCK
    made = _make(folder)
    stream = _take(path)
    try:
        durable.sweep(folder, spared=RUNS)
        yield
    finally:
        # Removed before it is released: whoever waited would else hold a file that no longer has the name.
        path.unlink(missing_ok=True)
        stream.close()
        for empty in made:
            with contextlib.suppress(OSError):
                empty.rmdir()


def holder_of(folder: Path) -> Holder | None:
    """Who says to be working on the corpus in `folder`; whether it still does is `Holder.may_live`'s to tell."""
    try:
        with (folder / LOCK).open() as stream:
            return _holder(stream)
    except OSError:
        return None


def _make(folder: Path) -> list[Path]:
    """Make the folder; returns what was not there, innermost first."""
    absent = [item for item in (folder, *folder.parents) if not item.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Fatal(f"cannot write {folder}: {error.strerror}; check the path and the space on disk.") from error
    return absent


def _take(path: Path) -> IO[str]:
    while True:
        stream = _open(path)
        kernel_says = _flocked(stream)
        holder = _holder(stream)
        if kernel_says is False or _holds(holder, kernel_says):
            stream.close()
            raise _refusal(path, holder)
        if _is_still(path, stream):
            _write(stream)
            return stream
        stream.close()


def _holds(holder: Holder | None, ours: bool | None) -> bool:
    """Whether the one who wrote the file may still work. The kernel's lock being `ours` settles it for this host."""
    if holder is None or (ours and holder.host == socket.gethostname()):
        return False
    return holder.may_live


def _open(path: Path) -> IO[str]:
    try:
        return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+")
    except OSError as error:
        raise Fatal(f"cannot write {path}: {error.strerror}; check the path and the space on disk.") from error


def _flocked(stream: IO[str]) -> bool | None:
    """Take the kernel's lock: whether it is ours; None where the system or the file system has none."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _is_still(path: Path, stream: IO[str]) -> bool:
    """Whether the opened file still has the name: its former holder may have removed it in between."""
    try:
        return os.path.samestat(path.stat(), os.fstat(stream.fileno()))
    except FileNotFoundError:
        return False


def _holder(stream: IO[str]) -> Holder | None:
    """Who wrote the file; None when it is new or was cut."""
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

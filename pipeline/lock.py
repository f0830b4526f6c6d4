"""One writer per corpus and per training run: a lock file in the folder names its holder, who renews it while it lives.

On one host the kernel's lock or the process id says whether the holder lives. Of a holder on another host only signs of
life tell: it counts up in the file, and whoever waits watches for a change by its own clock. Whoever takes over puts a
file of its own in place, with another token; the former holder, if it wakes up, finds that out before it publishes
anything (`pipeline.fence`). Nothing of this needs a file system with locks.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

from pipeline import durable, fence
from pipeline.errors import Fatal, Unwritable
from pipeline.holder import Holder
from pipeline.stopping import at_stop

LOCK = ".lock"
RUNS = "runs"  # of training runs, each with a lock of its own: they read finished shards, and write only here
BEAT_S = 3.0  # between two signs of life
SILENCE_S = 45.0  # without one, a holder on another host counts as dead: file servers answer late, hosts swap
_POLL_S = 0.5
_ATTEMPTS = 20  # while others try to take over the same dead holder's lock
_HOLDER = tuple(field.name for field in fields(Holder))


@dataclass(frozen=True)
class Found:
    """The content of a lock file. `holder` is None if it was cut; `token` is empty in files of older versions."""

    content: bytes
    holder: Holder | None
    token: str

    @classmethod
    def at(cls, path: Path) -> Found | None:
        """What is at `path` now; None when there is no file. Raises `OSError` when it cannot be read."""
        try:
            content = _read(path)
        except FileNotFoundError:
            return None
        try:
            data = json.loads(content)
            return cls(content, Holder(**{name: data[name] for name in _HOLDER if name in data}), data.get("token", ""))
        except (ValueError, TypeError, AttributeError):
            return cls(content, None, "")


def _read(path: Path) -> bytes:
    """The file's bytes; again when a file server says that another file has taken its place in between."""
    for _ in range(_ATTEMPTS):
        try:
            return path.read_bytes()
        except OSError as error:
            if error.errno != errno.ESTALE:
                raise
    return path.read_bytes()


class _Lock:
    """A lock file that this process has written: `stream` is open, and has the kernel's lock where there is one."""

    def __init__(self, path: Path, stream: BinaryIO, token: str) -> None:
        self.path, self.token = path, token
        self._stream, self._beats = stream, 0
        self._released = threading.Event()

    def renew(self) -> None:
        """Give a sign of life. It goes into our own file, even if that is no longer the one at `path`."""
        self._beats += 1
        with contextlib.suppress(OSError):  # the work itself reports a disk that is lost
            self._stream.seek(0)
            self._stream.write(_content(self.token, self._beats))
            os.fsync(self._stream.fileno())

    def renew_repeatedly(self) -> None:
        """Give signs of life until the lock is released."""
        while not self._released.wait(BEAT_S):
            self.renew()

    def release(self) -> None:
        """Remove the file, if it is still ours, then give up the kernel's lock.

        In this order: otherwise the next holder could lock a file that is then removed.
        """
        self._released.set()
        with contextlib.suppress(OSError):
            found = Found.at(self.path)
            if found and found.token == self.token:
                self.path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._stream.close()


def _to_stderr(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


@contextmanager
def locked(folder: Path, say: Callable[[str], None] = _to_stderr) -> Iterator[None]:
    """Hold the corpus or run in `folder` for writing. On exit the lock file and folders that stayed empty are removed.

    Temporary files that a killed holder left are removed first. The lock of a dead holder is taken over: on this host
    at once, from another host after `SILENCE_S` without a sign of life, for which `say` is told a sentence. Raises
    `Fatal` while another process holds it, and when the folder cannot be written to.
    """
    created = _create_folder(folder)
    lock = _acquired(folder / LOCK, say)
    release = partial(_release, lock, created)
    with at_stop(release), fence.guarded(partial(refuse_lost, folder, lock.token)):
        threading.Thread(target=lock.renew_repeatedly, daemon=True).start()
        try:
            durable.sweep(folder, spared=RUNS)
            yield
        finally:
            release()


def holder_of(folder: Path) -> Holder | None:
    """The process named in the lock file of `folder`, or None. `Holder.may_live` says whether it may still run."""
    try:
        found = Found.at(folder / LOCK)
    except OSError:
        return None
    return found.holder if found else None


def token_of(folder: Path) -> str:
    """The token of the lock of `folder`, for the workers of its holder; empty when nobody holds it."""
    found = Found.at(folder / LOCK)
    return found.token if found else ""


def refuse_lost(folder: Path, token: str) -> None:
    """Raise `Unwritable` unless the lock of `folder` still has this token. A run without a lock has an empty one."""
    if not token:
        return
    try:
        found = Found.at(folder / LOCK)
    except OSError as error:
        raise durable.unwritable(folder / LOCK, error) from error
    if found is None:
        raise Unwritable(f"{folder / LOCK} was removed, so another run may have begun; run the same command again.")
    if found.token != token:
        raise Unwritable(
            f"{found.holder or 'another process'} has taken over {folder}, as this one gave no sign of life; "
            "what was finished is kept, and goes on there."
        )


def _create_folder(folder: Path) -> list[Path]:
    """Create the folder; returns the folders that did not exist, innermost first."""
    absent = durable.absent_folders(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise durable.unwritable(folder, error) from error
    return absent


def _release(lock: _Lock, created: list[Path]) -> None:
    lock.release()
    durable.remove_empty(created)


def _acquired(path: Path, say: Callable[[str], None]) -> _Lock:
    try:
        while True:
            found = Found.at(path)
            if found is not None:
                _refuse_living(path, found, say)
            lock = _put(path, found)
            if lock is not None:
                return lock
    except OSError as error:
        raise durable.unwritable(path, error) from error


def _refuse_living(path: Path, found: Found, say: Callable[[str], None]) -> None:
    """Return when the holder is dead, or its file gone; raise `Fatal` otherwise."""
    if found.holder is None or found.holder.is_here:
        if not _is_dead_here(path, found.holder):
            raise _refusal(path, found)
        return
    if not found.token:  # an older version, which gives no signs of life
        raise _refusal(path, found, f", and delete {path} only if you know that it is gone")
    say(f"{found.holder} holds {path.parent}: waiting up to {SILENCE_S:.0f} s for a sign of life ...")
    if _shows_life(path, found):
        raise _refusal(path, found)
    say(f"{found.holder} gave no sign of life; going on from what it has finished.")


def _is_dead_here(path: Path, holder: Holder | None) -> bool:
    """Whether a holder on this host is gone: by the kernel's lock, where there is one, otherwise by its process id."""
    for _ in range(_ATTEMPTS):
        free = _is_free(path)
        if free is None:
            return holder is None or not holder.may_live
        if free or (holder and holder.may_live):
            return free
        time.sleep(0.1)  # the kernel's lock of a dead process: somebody else is trying it
    return False


def _is_free(path: Path) -> bool | None:
    """Whether nobody has the kernel's lock of the file; None if the system or file system has no locks."""
    try:
        with path.open("r+b") as stream:  # NFS locks for writing only what is open for writing
            return _flock(stream)
    except FileNotFoundError:
        return True


def _flock(stream: BinaryIO) -> bool | None:
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


def _shows_life(path: Path, found: Found) -> bool:
    """Whether the file changes within `SILENCE_S`, by our own clock alone; False at once when it is removed."""
    end_s = time.monotonic() + SILENCE_S
    while time.monotonic() < end_s:
        time.sleep(min(_POLL_S, SILENCE_S))
        now = Found.at(path)
        if now is None or now.content != found.content:
            return now is not None
    return False


def _put(path: Path, found: Found | None) -> _Lock | None:
    """Put our file in place of what was found; None when something else is there now."""
    temporary = durable.temporary_beside(path)
    token = uuid.uuid4().hex
    stream = temporary.open("x+b", buffering=0)
    try:
        stream.write(_content(token, 0))
        os.fsync(stream.fileno())
        _flock(stream)
        if (_linked(temporary, path) if found is None else _replaced(temporary, path, found)) and _has(path, token):
            return _Lock(path, stream, token)
    except BaseException:
        stream.close()
        raise
    finally:
        temporary.unlink(missing_ok=True)
    stream.close()
    return None


def _linked(temporary: Path, path: Path) -> bool:
    """Give the file its name; False when that is taken."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError:  # a file system without second names: of two that begin at once, the last one stays
        if path.exists():
            return False
        temporary.replace(path)
    return True


def _replaced(temporary: Path, path: Path, found: Found) -> bool:
    """Put the file in place of a dead holder's; False when that is no longer there.

    Where there are kernel locks, the old file's is held meanwhile. Elsewhere two that do this in the same instant both
    come here; the last one stays, and the other finds out before it publishes.
    """
    try:
        with path.open("r+b") as old:
            _flock(old)
            if old.read() != found.content or not os.path.samestat(path.stat(), os.fstat(old.fileno())):
                return False
            temporary.replace(path)
    except FileNotFoundError:
        return False
    return True


def _has(path: Path, token: str) -> bool:
    found = Found.at(path)
    return found is not None and found.token == token


def _content(token: str, beats: int) -> bytes:
    """Of the same length for all signs of life, so that one write replaces the last."""
    return json.dumps(asdict(Holder.me()) | {"token": token, "beat": f"{beats:012d}"}).encode()


def _refusal(path: Path, found: Found, more: str = "") -> Fatal:
    who = found.holder or "another process"
    return Fatal(f"{who} is working on {path.parent} already; wait for it or stop it{more}.")

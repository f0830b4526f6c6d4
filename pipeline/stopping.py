"""An orderly end on Ctrl-C, SIGTERM, SIGHUP and SIGQUIT: locks and processes are released, one sentence, code 128 + n.

The process ends inside the signal's handler and does not unwind: an export waits for answers that may take minutes,
and a batch system kills half a minute after its SIGTERM. What is finished is on disk already, whole.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT") if hasattr(signal, name))
_AT_MOST_S = 15.0  # for everything that is released
_SENTENCE = "geocorpus: stopped; run the same command again to go on."
_NOTHING_KEPT = "geocorpus: stopped; nothing was kept, and the same command starts anew."

_releases: list[Callable[[], None]] = []
_installed = threading.Event()
_ending = threading.Event()
_keeps_nothing = threading.Event()


def install() -> None:
    """Handle the signals in this process, which is a command of ours; call it from the main thread.

    SIGHUP stays ignored where it is: that is what `nohup` does.
    """
    _installed.set()
    for number in SIGNALS:
        if number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)


def install_again() -> None:
    """Take the signals back from a library that has set handlers of its own; nothing where `install` was not called."""
    if _installed.is_set() and threading.current_thread() is threading.main_thread():
        install()


@contextmanager
def at_stop(release: Callable[[], None]) -> Iterator[None]:
    """Call `release` if a signal ends this process inside the block; what was registered last comes first.

    It is called in a thread of its own, while all other threads go on.
    """
    _releases.append(release)
    try:
        yield
    finally:
        _releases.remove(release)


@contextmanager
def keeping_nothing() -> Iterator[None]:
    """Inside the block nothing is written that the same command could go on from, and the closing sentence says so."""
    _keeps_nothing.set()
    try:
        yield
    finally:
        _keeps_nothing.clear()


def _stop(number: int, _frame: FrameType | None) -> None:
    """End this process; a second signal, which may come while the first is handled, ends it at once."""
    if not _ending.is_set():
        _ending.set()
        # Not in this thread: it may hold any lock that a release needs.
        releasing = threading.Thread(target=_release_all, daemon=True)
        releasing.start()
        releasing.join(_AT_MOST_S)
        _say()
    os._exit(128 + number)


def _release_all() -> None:
    for release in reversed(_releases):
        with contextlib.suppress(Exception):  # whatever fails, the others are released
            release()


def _say() -> None:
    """The closing sentence, from one of several training processes. A single call, as it may interrupt a print."""
    if os.environ.get("RANK", "0") != "0":
        return
    show_cursor = "\x1b[?25h" if sys.stderr.isatty() else ""  # bars hide it
    sentence = _NOTHING_KEPT if _keeps_nothing.is_set() else _SENTENCE
    with contextlib.suppress(OSError):  # the terminal may be gone: SIGHUP
        os.write(2, f"{show_cursor}\n{sentence}\n".encode())

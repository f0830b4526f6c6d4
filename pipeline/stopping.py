"""An orderly end on Ctrl-C, SIGTERM, SIGHUP and SIGQUIT: locks and processes are released, one sentence, code 128 + n.

The process ends inside the signal's handler and does not unwind: an export waits for answers that may take minutes,
and a batch system kills half a minute after its SIGTERM. What is finished is on disk already, whole. Work that is worth
a few seconds more, such as a training step, is done inside of `deferring`.
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

from pipeline.errors import Transient

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT") if hasattr(signal, name))
_AT_MOST_S = 15.0  # for everything that is released
_SENTENCE = "geocorpus: stopped; run the same command again to go on."
_NOTHING_KEPT = "geocorpus: stopped; nothing was kept, and the same command starts anew."

_UNHANDLED = (signal.SIG_IGN, None)
_NOTICE_S = 5.0  # after which somebody who waits is told for what
_NOTICE = "geocorpus: stops as soon as this step is done and kept; a second signal stops at once."

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


class Stopped(Transient):
    """A signal was obeyed where nobody handles it otherwise; `number` is the signal."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by signal {number}; run the same command again to go on.")
        self.number = number

    def __reduce__(self) -> tuple[type[Stopped], tuple[int]]:
        return Stopped, (self.number,)


class Deferral:
    """A signal that waits until a piece of work is done; `number` is 0 before one comes."""

    def __init__(self, number: int, tell: Callable[[int], None]) -> None:
        self.number, self._tell = number, tell
        self._handlers = {item: handler for item in SIGNALS if (handler := signal.getsignal(item)) not in _UNHANDLED}

    @property
    def asked(self) -> bool:
        """Whether a signal waits."""
        return self.number != 0

    def ask(self, number: int = signal.SIGTERM) -> None:
        """Wait as for a signal, if none waits."""
        self.number = self.number or number

    def take_over(self) -> None:
        """Handle the signals that are not ignored here."""
        for number in self._handlers:
            signal.signal(number, self._take)

    def give_back(self) -> None:
        """Let those handle them who did before."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def hand_on(self, number: int) -> None:
        """Do what would have happened to the signal before."""
        handler = self._handlers.get(signal.Signals(number), signal.SIG_IGN)
        if callable(handler):
            handler(number, None)
        elif handler == signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    def _take(self, number: int, _frame: FrameType | None) -> None:
        if self.asked:  # A second one does not wait.
            self.hand_on(number)
            return
        self.number = number
        if self._handlers[signal.Signals(number)] is _stop:
            notice = threading.Timer(_NOTICE_S, _write, (f"\n{_NOTICE}\n",))
            notice.daemon = True
            notice.start()
        self._tell(number)


_deferrals: list[Deferral] = []


@contextmanager
def deferring(tell: Callable[[int], None] = lambda number: None) -> Iterator[Deferral]:
    """Inside the block a signal ends nothing: who works there looks at `Deferral.asked`, and leaves the block soon.

    `tell` is called with its number, inside the handler. At the end of the block the signal goes to whoever handled it
    before: a command of ours ends then. A second signal goes there at once. Raises `Stopped` where that does not end
    the block. In other threads than the main thread the stop of a command waits for the block, as for what it releases.
    """
    if threading.current_thread() is not threading.main_thread():
        with _deferring_in_a_thread() as deferral:
            yield deferral
        return
    waiting = _deferrals[-1].number if _deferrals else 0  # in a block around this one, which hands it on
    deferral = Deferral(waiting, tell)
    _deferrals.append(deferral)
    deferral.take_over()
    try:
        yield deferral
    finally:
        deferral.give_back()
        _deferrals.remove(deferral)
    if deferral.asked:
        if not waiting:
            deferral.hand_on(deferral.number)
        raise Stopped(deferral.number)


@contextmanager
def _deferring_in_a_thread() -> Iterator[Deferral]:
    deferral, left = Deferral(0, lambda number: None), threading.Event()

    def release() -> None:
        deferral.ask()
        left.wait()

    with at_stop(release):
        try:
            yield deferral
        finally:
            left.set()
        if deferral.asked:
            threading.Event().wait(_AT_MOST_S)  # The process ends meanwhile.
            raise Stopped(deferral.number)


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
    show_cursor = "\x1b[?25h" if sys.stderr.isatty() else ""  # bars hide it
    sentence = _NOTHING_KEPT if _keeps_nothing.is_set() else _SENTENCE
    _write(f"{show_cursor}\n{sentence}\n")


def _write(text: str) -> None:
    if os.environ.get("RANK", "0") == "0":
        with contextlib.suppress(OSError):  # the terminal may be gone: SIGHUP
            os.write(2, text.encode())

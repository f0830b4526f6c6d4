"""The outcome of a flow run, recorded so that a lost Prefect server neither blocks the process nor hides the result.

Prefect tries for seconds to deliver each event of a run to a lost server, also while the process exits. That can take
hours after the work is done.
"""

from __future__ import annotations

import functools
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextvars import ContextVar
from typing import ParamSpec

from pipeline.stopping import install_again

_POLL_S = 3.0
_FAILED_POLLS = 3  # in a row, before the server counts as lost
Arguments = ParamSpec("Arguments")


class RunOutcome:
    """The outcome of a flow run's work, and whether it was reported to the user.

    After the end exactly one of `message` (the closing lines) and `error` is set.
    """

    def __init__(self) -> None:
        self.message: str | None = None
        self.error: BaseException | None = None
        self.reported = False
        self._ended = threading.Event()

    def succeeded(self, message: str) -> None:
        """Record that the work has succeeded."""
        self.message = message
        self._ended.set()

    def failed(self, error: BaseException) -> None:
        """Record that the work has failed. If it had succeeded before, the error is Prefect's and is ignored."""
        if self.message is None:
            self.error = error
        self._ended.set()

    def watch(self, api_url: str, leave: Callable[[RunOutcome], None]) -> None:
        """Call `leave` from a thread when the work has ended, the server is lost and this process still runs."""
        threading.Thread(target=self._watch, args=(f"{api_url}/health", leave), daemon=True).start()

    def _watch(self, health_url: str, leave: Callable[[RunOutcome], None]) -> None:
        self._ended.wait()
        failed_polls = 0
        while failed_polls < _FAILED_POLLS:
            time.sleep(_POLL_S)
            failed_polls = 0 if _answers(health_url) else failed_polls + 1
        leave(self)


def _answers(url: str) -> bool:
    """Whether a server answers, with any status."""
    try:
        with urllib.request.urlopen(url, timeout=10):  # noqa: S310
            return True
    except urllib.error.HTTPError:
        return True
    except (urllib.error.URLError, OSError):
        return False


current: ContextVar[RunOutcome | None] = ContextVar("current", default=None)


def record_outcome(body: Callable[Arguments, str]) -> Callable[Arguments, str]:
    """Make a flow's body record its outcome in the current `RunOutcome`, before Prefect sends it to the server."""

    @functools.wraps(body)
    def recording(*args: Arguments.args, **kwargs: Arguments.kwargs) -> str:
        outcome = current.get() or RunOutcome()
        install_again()  # Prefect handles SIGTERM inside a flow run: it would wait for all threads
        try:
            message = body(*args, **kwargs)
        except BaseException as error:
            outcome.failed(error)
            raise
        outcome.succeeded(message)
        return message

    return recording

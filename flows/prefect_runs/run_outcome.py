"""How a flow run ends: a Prefect server that is gone keeps nobody from ending, nor from saying what came of the work.

Prefect tries for seconds to deliver each event of a run to a server that died, also as the process exits: that can take
hours, after the work is done.
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

_LOOK_EVERY_S = 3.0
_SILENCES = 3  # in a row, before the server counts as gone
Arguments = ParamSpec("Arguments")


class RunOutcome:
    """What the work of a flow run came to, and whether somebody was told. Exactly one of `said` and `error` is set."""

    def __init__(self) -> None:
        self.said: str | None = None
        self.error: BaseException | None = None
        self.told = False
        self._over = threading.Event()

    def came(self, said: str) -> None:
        """The work has ended well."""
        self.said = said
        self._over.set()

    def failed(self, error: BaseException) -> None:
        """The work has failed, unless it had ended well before: then it was Prefect that failed."""
        if self.said is None:
            self.error = error
        self._over.set()

    def watch(self, api_url: str, leave: Callable[[RunOutcome], None]) -> None:
        """From a thread, call `leave` when the work has ended, the server is gone, and this process still lives."""
        threading.Thread(target=self._watch, args=(f"{api_url}/health", leave), daemon=True).start()

    def _watch(self, health_url: str, leave: Callable[[RunOutcome], None]) -> None:
        self._over.wait()
        silences = 0
        while silences < _SILENCES:
            time.sleep(_LOOK_EVERY_S)
            silences = 0 if _answers(health_url) else silences + 1
        leave(self)


def _answers(url: str) -> bool:
    """Whether there is a server, whatever it says."""
    try:
        with urllib.request.urlopen(url, timeout=10):  # noqa: S310
            return True
    except urllib.error.HTTPError:
        return True
    except (urllib.error.URLError, OSError):
        return False


current: ContextVar[RunOutcome | None] = ContextVar("current", default=None)


def record_outcome(body: Callable[Arguments, str]) -> Callable[Arguments, str]:
    """A flow's body that tells the current `RunOutcome` what it came to, before Prefect is told."""

    @functools.wraps(body)
    def recording(*args: Arguments.args, **kwargs: Arguments.kwargs) -> str:
        outcome = current.get() or RunOutcome()
        try:
            said = body(*args, **kwargs)
        except BaseException as error:
            outcome.failed(error)
            raise
        outcome.came(said)
        return said

    return recording

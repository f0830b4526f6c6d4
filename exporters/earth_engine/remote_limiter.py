"""The pace of a run as one of its worker processes sees it: every slot is asked of the process that began the run."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from exporters.earth_engine.limiter import Refusal
from exporters.earth_engine.limiter_service import Endpoint, keep_alive
from pipeline.errors import GeocorpusError

_CONNECT_S = 15.0
_TRIES = 3


class RunGone(GeocorpusError):
    """The process that began the run does not answer: whoever works for it must stop and leave everything as it is."""


class _Line:
    """One connection to the service; used by one thread at a time. Every method may raise `OSError`."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._socket = socket.create_connection((endpoint.host, endpoint.port), timeout=_CONNECT_S)
        self._replies = self._socket.makefile("rb")
        try:
            keep_alive(self._socket)
            self._socket.sendall(endpoint.secret.encode() + b"\n")
            self.receive()
            self._socket.settimeout(None)  # a slot may be long in coming; a dead machine is noticed all the same
        except OSError:
            self.close()
            raise

    def send(self, line: list[Any]) -> None:
        """Send one line."""
        self._socket.sendall(json.dumps(line).encode() + b"\n")

    def receive(self) -> list[Any]:
        """The next line."""
        line = self._replies.readline()
        if not line.endswith(b"\n"):
            raise ConnectionResetError("the service hung up")
        return list(json.loads(line))

    def close(self) -> None:
        """Hang up."""
        with suppress(OSError):
            self._replies.close()
            self._socket.close()


class RemoteLimiter:
    """A `RateLimiter` kept by a `LimiterService`: one round trip per request. Safe for many threads.

    All that asks raises `RunGone` when the service does not answer; `served` and `refused` are sent as the slot is
    left, and count for the slot that the calling thread is in.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._idle: list[_Line] = []
        self._lock = threading.Lock()
        self._here = threading.local()
        self._concurrency, self._restricted = 1, False

    @property
    def concurrency(self) -> int:
        """How many requests of the whole run may be in flight, as last heard."""
        return self._concurrency

    @property
    def restricted(self) -> bool:
        """Whether Earth Engine restricted the project, as last heard."""
        return self._restricted

    @contextmanager
    def slot(self) -> Iterator[float]:
        """Hold one of the run's places in flight; yields the moment when it began, on this machine's clock."""
        line = self._start()
        self._here.outcome = ["ended"]
        try:
            yield time.monotonic()
        finally:
            self._finish(line, self._here.outcome)

    def served(self, started_s: float, restricted: bool = False) -> None:
        """A reply came; `restricted` is its quota header."""
        self._here.outcome = ["served", restricted]

    def refused(self, started_s: float, refusal: Refusal) -> None:
        """A 429 came."""
        self._here.outcome = ["refused", refusal.retry_after_s, refusal.names_the_rate]

    def pause(self, seconds: float) -> None:
        """Let nobody of the run start a request for a while."""
        self._say(["pause", seconds])

    def tell(self, **report: Any) -> None:
        """Report something to the process that began the run; values must be of JSON's types."""
        self._say(["tell", report])

    def close(self) -> None:
        """Hang up; slots that are held stay so until they are left."""
        for line in self._take_all():
            line.close()

    def _start(self) -> _Line:
        line, (_, self._concurrency, self._restricted) = self._exchange(["start"])
        return line

    def _finish(self, line: _Line, outcome: list[Any]) -> None:
        try:
            line.send(outcome)
        except OSError:
            line.close()  # the service has seen it break, and takes the slot back by itself
        else:
            self._keep(line)

    def _say(self, message: list[Any]) -> None:
        line, _ = self._exchange(message)
        self._keep(line)

    def _exchange(self, message: list[Any]) -> tuple[_Line, list[Any]]:
        """Send, and wait for the answer, on a connection that works; an idle one may have broken."""
        for _ in range(_TRIES):
            line = self._take()
            try:
                line.send(message)
                return line, line.receive()
            except OSError:
                line.close()
                self.close()  # the idle ones broke with it
        raise self._gone()

    def _take(self) -> _Line:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        try:
            return _Line(self._endpoint)
        except (OSError, ValueError) as error:
            raise self._gone() from error

    def _keep(self, line: _Line) -> None:
        with self._lock:
            self._idle.append(line)

    def _take_all(self) -> list[_Line]:
        with self._lock:
            lines, self._idle = self._idle, []
        return lines

    def _gone(self) -> RunGone:
        return RunGone(
            f"the run that shares out the requests does not answer at {self._endpoint.host}:{self._endpoint.port}; "
            "run the same command again, and let workers reach that address (cluster.host and cluster.port set it)."
        )

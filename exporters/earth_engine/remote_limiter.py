"""The limiter of a worker process: it requests every slot from the process that started the run."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from exporters.earth_engine import greeting
from exporters.earth_engine.limiter import Refusal, refuse_stopped
from exporters.earth_engine.limiter_service import Endpoint, keep_alive
from pipeline.errors import GeocorpusError

_CONNECT_S = 15.0
_ATTEMPTS = 3
_WAITS_S = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)  # before greeting again: the service hangs up while strangers crowd in


class RunGone(GeocorpusError):
    """The process that started the run does not answer: its workers must stop and change nothing more."""


class _Connection:
    """One connection to the service, used by one thread at a time. Every method raises `OSError` when it breaks."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._socket = socket.create_connection((endpoint.host, endpoint.port), timeout=_CONNECT_S)
        self._replies = self._socket.makefile("rb")
        try:
            keep_alive(self._socket)
            greeting.enter(self._socket, endpoint.secret, _CONNECT_S)
            self._socket.settimeout(None)  # a slot may take long; keep-alive detects a dead machine
        except OSError:
            self.close()
            raise

    def send(self, message: list[Any]) -> None:
        """Send one line."""
        self._socket.sendall(json.dumps(message).encode() + b"\n")

    def receive(self) -> list[Any]:
        """The next line, decoded."""
        line = self._replies.readline()
        if not line.endswith(b"\n"):
            raise ConnectionResetError("the service hung up")
        return list(json.loads(line))

    def close(self) -> None:
        """Close the connection."""
        with suppress(OSError):
            self._replies.close()
            self._socket.close()


class RemoteLimiter:
    """A `RateLimiter` that a `LimiterService` serves: one round trip per request. Safe for many threads.

    `slot`, `pause` and `tell` raise `RunGone` when the service does not answer. `served` and `refused` concern the
    slot that the calling thread holds, and are sent when it leaves the slot.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._idle: list[_Connection] = []
        self._lock = threading.Lock()
        self._thread_state = threading.local()
        self._concurrency, self._restricted = 1, False
        self._stopped = ""

    @property
    def concurrency(self) -> int:
        """How many requests of the whole run may be in flight, by the last reply."""
        return self._concurrency

    @property
    def restricted(self) -> bool:
        """Whether Earth Engine restricts the project, by the last reply."""
        return self._restricted

    @contextmanager
    def slot(self) -> Iterator[float]:
        """Hold one of the run's slots; yields the time at which it began, on this machine's clock.

        Raises `RunGone`, and `Fatal` once `stop` was called.
        """
        refuse_stopped(self._stopped)
        connection = self._start()
        self._thread_state.outcome = ["ended"]
        try:
            refuse_stopped(self._stopped)
            yield time.monotonic()
        finally:
            self._finish(connection, self._thread_state.outcome)

    def served(self, started_s: float, restricted: bool = False) -> None:
        """Count a reply other than 429; `restricted` is what its quota header says."""
        self._thread_state.outcome = ["served", restricted]

    def refused(self, started_s: float, refusal: Refusal) -> None:
        """Count a 429."""
        self._thread_state.outcome = ["refused", refusal.retry_after_s, refusal.names_the_rate]

    def pause(self, seconds: float) -> None:
        """Let no process of the run start a request for `seconds`. Raises `RunGone`."""
        self._notify(["pause", seconds])

    def stop(self, why: str) -> None:
        """Let no request of this process begin any more; the run learns why from the shard that fails."""
        self._stopped = self._stopped or why

    def tell(self, **report: Any) -> None:
        """Report something to the process that started the run; values must be of JSON's types. Raises `RunGone`."""
        self._notify(["tell", report])

    def close(self) -> None:
        """Close the idle connections; a slot that is held keeps its connection until it is left."""
        for connection in self._take_all():
            connection.close()

    def _start(self) -> _Connection:
        connection, (_, self._concurrency, self._restricted) = self._exchange(["start"])
        return connection

    def _finish(self, connection: _Connection, outcome: list[Any]) -> None:
        try:
            connection.send(outcome)
        except OSError:
            connection.close()  # the service detects this too, and frees the slot by itself
        else:
            self._keep(connection)

    def _notify(self, message: list[Any]) -> None:
        connection, _ = self._exchange(message)
        self._keep(connection)

    def _exchange(self, message: list[Any]) -> tuple[_Connection, list[Any]]:
        """Send and wait for the answer on a working connection: an idle one may have broken meanwhile."""
        for _ in range(_ATTEMPTS):
            connection = self._take()
            try:
                connection.send(message)
                return connection, connection.receive()
            except OSError:
                connection.close()
                self.close()  # the other idle connections are probably broken too
        raise self._gone()

    def _take(self) -> _Connection:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        try:
            return self._connected()
        except OSError as error:
            raise self._gone() from error

    def _connected(self) -> _Connection:
        """A new connection; raises `OSError` when the service is gone, is another one, or hangs up again and again."""
        for wait_s in _WAITS_S:
            try:
                return _Connection(self._endpoint)
            except (ConnectionAbortedError, ConnectionResetError, BrokenPipeError):
                time.sleep(wait_s)
        return _Connection(self._endpoint)

    def _keep(self, connection: _Connection) -> None:
        with self._lock:
            self._idle.append(connection)

    def _take_all(self) -> list[_Connection]:
        with self._lock:
            connections, self._idle = self._idle, []
        return connections

    def _gone(self) -> RunGone:
        return RunGone(
            f"the run that shares out the requests does not answer at {self._endpoint.host}:{self._endpoint.port}; "
            "run the same command again, and let workers reach that address (cluster.host and cluster.port set it)."
        )

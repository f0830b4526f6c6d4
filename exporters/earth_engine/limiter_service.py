"""One limiter for many processes, behind a small TCP server. A slot that a lost process held is freed."""

from __future__ import annotations

import json
import select
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any

from exporters.earth_engine import greeting
from exporters.earth_engine.guests import Guests, room
from exporters.earth_engine.limiter import Limiter, Refusal
from pipeline.errors import Fatal

_LINE_BYTES = 1 << 16
GREETING_S = 10.0  # for all of it, however slowly it comes
_DURATIONS = 1000
OnReport = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Endpoint:
    """The address of the service and the secret that both must know; for the workers of the run only."""

    host: str
    port: int
    secret: str

    def __repr__(self) -> str:
        return f"Endpoint({self.host}:{self.port})"


def keep_alive(connection: socket.socket) -> None:
    """Send small lines without delay, and detect within a minute that the other machine does not answer any more."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


class LimiterService:
    """Serves `limiter` to the processes that prove to know the secret; a context manager.

    Everyone else is hung up on: at once, at the latest `greeting_s` after coming, and sooner when the number of open
    connections, which is bounded, would keep others out.

    When the process that holds a slot is lost (killed, disconnected, silent for twice the deadline), its request may
    still run at Earth Engine. The slot stays taken until that request must have ended: 1.5 times the longest of the
    last thousand requests, at most `deadline_s`. `on_report` receives the reports of the processes, from many threads.
    Raises `OSError` when the port is in use.
    """

    def __init__(
        self,
        limiter: Limiter,
        secret: str,
        deadline_s: float,
        on_report: OnReport,
        host: str = "127.0.0.1",
        port: int = 0,
        greeting_s: float = GREETING_S,
    ) -> None:
        self.limiter, self.deadline_s, self.on_report = limiter, deadline_s, on_report
        self._secret, self._greeting_s = secret, greeting_s
        self._durations_s: deque[float] = deque(maxlen=_DURATIONS)
        self._leased, self._closing = 0, False
        self._changed = threading.Condition()
        self._server = _Server((host, port), self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_address[1])

    def endpoint(self, host: str = "127.0.0.1") -> Endpoint:
        """What a worker needs to connect, if it reaches this machine as `host`."""
        return Endpoint(host, self.port, self._secret)

    def __enter__(self) -> LimiterService:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Grant no more slots, wait for the requests in flight, then close all connections."""
        with self._changed:
            self._closing = True
        self._server.shutdown()
        self._server.server_close()
        with self._changed:
            self._changed.wait_for(lambda: self._leased == 0, timeout=self.may_run_s())
        self._server.guests.dismiss()
        self._thread.join(timeout=5)

    def admits(self, guest: socket.socket) -> bool:
        """Whether one who has just connected proves to know the secret; raises `OSError` when it is late or leaves."""
        return greeting.admit(guest, self._secret, self._greeting_s)

    @contextmanager
    def lease(self) -> Iterator[float]:
        """A slot for another process, as `Limiter.slot`.

        Raises `ConnectionAbortedError` when the service closes, or the run has stopped its requests.
        """
        with self._slot() as started_s:
            with self._changed:
                if self._closing:
                    raise ConnectionAbortedError
                self._leased += 1
            try:
                yield started_s
            finally:
                with self._changed:
                    self._leased -= 1
                    self._changed.notify_all()

    @contextmanager
    def _slot(self) -> Iterator[float]:
        try:
            with self.limiter.slot() as started_s:
                yield started_s
        except Fatal as error:
            raise ConnectionAbortedError from error

    def took(self, seconds: float) -> None:
        """Record the duration of a request."""
        with self._changed:
            self._durations_s.append(seconds)

    def may_run_s(self) -> float:
        """An upper estimate, in seconds, of how long a request runs at Earth Engine after its slot was granted."""
        with self._changed:
            longest_s = max(self._durations_s, default=self.deadline_s)
        return min(self.deadline_s, 1.5 * longest_s + 1.0)


class _Server(ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True  # a relaunch at the port of the settings need not wait
    request_queue_size = 1024

    def __init__(self, address: tuple[str, int], service: LimiterService) -> None:
        self.service, self.guests = service, Guests(room())
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread of its own, if there is room for it."""
        if self.guests.come(request):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        self.guests.leave(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that disconnects or sends malformed lines prints no traceback; our own defects do."""
        if not isinstance(sys.exception(), OSError | ValueError):
            super().handle_error(request, client_address)


class _Handler(StreamRequestHandler):
    """One connection, used by one client thread at a time."""

    server: _Server

    def handle(self) -> None:
        """Execute the lines of the client until it disconnects."""
        keep_alive(self.connection)
        if not self.server.service.admits(self.connection) or not self.server.guests.recognise(self.connection):
            return
        self.connection.settimeout(None)
        while line := self.rfile.readline(_LINE_BYTES):
            self._execute(*json.loads(line))

    def _execute(self, command: str, *details: Any) -> None:
        service = self.server.service
        if command == "start":
            self._lease()
        elif command == "tell":
            service.on_report(*details)
            self._send(["noted"])
        elif command == "pause":
            service.limiter.pause(*details)
            self._send(["noted"])
        else:
            raise ValueError(f"unknown line {command!r}")

    def _lease(self) -> None:
        """Hold a slot for the client, from the line that grants it to the line with the outcome."""
        service = self.server.service
        with service.lease() as started_s:
            if self._is_disconnected():
                return  # the client left while it waited: no request was made
            self._send(["go", service.limiter.concurrency, service.limiter.restricted])
            outcome = self._outcome()
            passed_s = service.limiter.clock.now() - started_s
            if outcome is None:
                service.limiter.clock.sleep(max(0.0, service.may_run_s() - passed_s))
                raise ConnectionAbortedError
            self._report_outcome(started_s, passed_s, *outcome)

    def _report_outcome(self, started_s: float, passed_s: float, outcome: str, *details: Any) -> None:
        limiter = self.server.service.limiter
        if outcome == "served":
            self.server.service.took(passed_s)
            limiter.served(started_s, *details)
        elif outcome == "refused":
            limiter.refused(started_s, Refusal(*details))

    def _outcome(self) -> list[Any] | None:
        """The outcome that the client reports for the request; None when the client is lost."""
        self.connection.settimeout(2 * self.server.service.deadline_s)
        try:
            line = self.rfile.readline(_LINE_BYTES)
            self.connection.settimeout(None)
            return list(json.loads(line)) if line else None
        except (OSError, ValueError):
            return None

    def _is_disconnected(self) -> bool:
        """Whether the client has disconnected: a client that waits sends nothing, so only the end can be read."""
        readable, _, _ = select.select([self.connection], [], [], 0)
        return bool(readable)

    def _send(self, line: list[Any]) -> None:
        self.wfile.write(json.dumps(line).encode() + b"\n")

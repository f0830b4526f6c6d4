"""One limiter for many processes: a small TCP server before it; a lost process gives back what it held."""

from __future__ import annotations

import hmac
import json
import select
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any

from exporters.earth_engine.limiter import Limiter, Refusal

_LINE_BYTES = 1 << 16
_HELLO_S = 10.0
_REMEMBERED = 1000
OnReport = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Endpoint:
    """Where the service is, and the word that lets a process in; to be given to workers and to nobody else."""

    host: str
    port: int
    secret: str

    def __repr__(self) -> str:
        return f"Endpoint({self.host}:{self.port})"


def keep_alive(connection: socket.socket) -> None:
    """Send small lines at once, and notice within a minute that the other machine is gone."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


class LimiterService:
    """Serves `limiter` to the processes that know the secret; a context manager.

    A slot whose asker is lost (killed, cut off, silent for twice the deadline) is kept until its request, which may
    still run at Earth Engine, must have ended there: the longest that one of the last thousand took and half as much
    again, at most `deadline_s`. `on_report` receives what the processes report, from many threads.
    """

    def __init__(
        self,
        limiter: Limiter,
        secret: str,
        deadline_s: float,
        on_report: OnReport,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.limiter, self.deadline_s, self.on_report = limiter, deadline_s, on_report
        self._secret = secret
        self._took_s: deque[float] = deque(maxlen=_REMEMBERED)
        self._leased, self._ends = 0, False
        self._changed = threading.Condition()
        self._server = _Server((host, port), self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_address[1])

    def endpoint(self, host: str = "127.0.0.1") -> Endpoint:
        """What a worker that reaches this machine as `host` needs."""
        return Endpoint(host, self.port, self._secret)

    def __enter__(self) -> LimiterService:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Grant nothing more, let those who hold a slot end what is under way, then hang up: the run is over."""
        with self._changed:
            self._ends = True
        self._server.shutdown()
        self._server.server_close()
        with self._changed:
            self._changed.wait_for(lambda: self._leased == 0, timeout=self.may_run_s())
        self._server.hang_up()
        self._thread.join(timeout=5)

    def admits(self, line: bytes) -> bool:
        """Whether the first line of a connection is the secret."""
        return hmac.compare_digest(line.strip(), self._secret.encode())

    @contextmanager
    def lease(self) -> Iterator[float]:
        """A slot for another process, as `Limiter.slot`; raises `ConnectionAbortedError` once the service ends."""
        with self.limiter.slot() as started_s:
            with self._changed:
                if self._ends:
                    raise ConnectionAbortedError
                self._leased += 1
            try:
                yield started_s
            finally:
                with self._changed:
                    self._leased -= 1
                    self._changed.notify_all()

    def took(self, seconds: float) -> None:
        """Remember how long a request took."""
        with self._changed:
            self._took_s.append(seconds)

    def may_run_s(self) -> float:
        """How long a request may run at Earth Engine after it was granted, as far as is known."""
        with self._changed:
            longest_s = max(self._took_s, default=self.deadline_s)
        return min(self.deadline_s, 1.5 * longest_s + 1.0)


class _Server(ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True  # a relaunch at a port of the settings need not wait
    request_queue_size = 1024

    def __init__(self, address: tuple[str, int], service: LimiterService) -> None:
        self.service = service
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(address, _Handler)

    @contextmanager
    def kept(self, connection: socket.socket) -> Iterator[None]:
        """Remember the connection while it is served, so that `hang_up` can end it."""
        with self._lock:
            self._open.add(connection)
        try:
            yield
        finally:
            with self._lock:
                self._open.discard(connection)

    def hang_up(self) -> None:
        """End all connections; their threads end with them."""
        with self._lock:
            still_open = list(self._open)
        for connection in still_open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who hangs up, or talks nonsense, is not worth a traceback; a defect of ours is."""
        if not isinstance(sys.exception(), OSError | ValueError):
            super().handle_error(request, client_address)


class _Handler(StreamRequestHandler):
    """One connection: requests of one thread at a time."""

    server: _Server

    def handle(self) -> None:
        """Obey lines until the other side hangs up."""
        keep_alive(self.connection)
        self.connection.settimeout(_HELLO_S)
        if not self.server.service.admits(self.rfile.readline(_LINE_BYTES)):
            return
        self.connection.settimeout(None)
        with self.server.kept(self.connection):
            self._send(["welcome"])
            while line := self.rfile.readline(_LINE_BYTES):
                self._obey(*json.loads(line))

    def _obey(self, what: str, *details: Any) -> None:
        service = self.server.service
        if what == "start":
            self._lease()
        elif what == "tell":
            service.on_report(*details)
            self._send(["noted"])
        elif what == "pause":
            service.limiter.pause(*details)
            self._send(["noted"])
        else:
            raise ValueError(f"unknown line {what!r}")

    def _lease(self) -> None:
        """Hold a slot for the other side, from the line that grants it to the line that ends it."""
        service = self.server.service
        with service.lease() as started_s:
            if self._has_left():
                return  # while it waited, so that nothing was begun
            self._send(["go", service.limiter.concurrency, service.limiter.restricted])
            outcome = self._outcome()
            passed_s = service.limiter.clock.now() - started_s
            if outcome is None:
                service.limiter.clock.sleep(max(0.0, service.may_run_s() - passed_s))
                raise ConnectionAbortedError
            self._tell_limiter(started_s, passed_s, *outcome)

    def _tell_limiter(self, started_s: float, passed_s: float, what: str, *details: Any) -> None:
        limiter = self.server.service.limiter
        if what == "served":
            self.server.service.took(passed_s)
            limiter.served(started_s, *details)
        elif what == "refused":
            limiter.refused(started_s, Refusal(*details))

    def _outcome(self) -> list[Any] | None:
        """How the request ended; None when nobody will ever say."""
        self.connection.settimeout(2 * self.server.service.deadline_s)
        try:
            line = self.rfile.readline(_LINE_BYTES)
            self.connection.settimeout(None)
            return list(json.loads(line)) if line else None
        except (OSError, ValueError):
            return None

    def _has_left(self) -> bool:
        """Whether the other side has hung up: nothing but its end can be there to read while it waits."""
        readable, _, _ = select.select([self.connection], [], [], 0)
        return bool(readable)

    def _send(self, line: list[Any]) -> None:
        self.wfile.write(json.dumps(line).encode() + b"\n")

"""The HTTP server on 127.0.0.1, and `Sandbox`, which runs it for tests, demos and benchmarks."""

from __future__ import annotations

import gzip
import json
import math
import os
import socket
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from sandbox import profiles
from sandbox.errors import EarthEngineError
from sandbox.functions.pixels import PixelLimits
from sandbox.limits import EARTH_ENGINE, Limits
from sandbox.raster.stored import Catalog
from sandbox.service import refusals
from sandbox.service.counters import Counters
from sandbox.service.faults import Fault, Faults, apply_before, fault_from
from sandbox.service.protocol import Protocol, Reply, json_reply, parse, project_of
from sandbox.service.quotas import Meter, QuotaExceeded, Quotas
from sandbox.service.ready import ReadyPool
from sandbox.service.tokens import PATH, Tokens

_UNMETERED = ("discovery", "algorithms")
_COMPUTING = ("value:compute", "image:computePixels", "table:computeFeatures", "thumbnails:getPixels")
_RESTRICTED = {"x-earth-engine-quota-status": "parallelism_restricted=true"}
_GZIP_FROM_BYTES = 100_000


class Service:
    """The state that the handlers of one server share."""

    def __init__(
        self,
        catalog: Catalog,
        latency_s: float,
        quotas: Quotas,
        limits: Limits,
        seed: int,
        pool: ReadyPool | None = None,
    ) -> None:
        self.latency_s = latency_s
        self.counters = Counters()
        self.faults = Faults(seed)
        self.seed = seed
        self.limits = limits
        self.tokens = Tokens(limits)
        self.meter = Meter(quotas)
        # Evaluation is mostly Python: threads that compete for the interpreter lock cost a tenth more CPU. The local
        # client needs a core too, and with few threads pyproj's per-thread operations are reused more often.
        self.workers = ThreadPoolExecutor(max_workers=max((os.cpu_count() or 2) // 2, 1), thread_name_prefix="evaluate")
        self.protocol = Protocol(catalog, limits, PixelLimits(quotas.max_bytes, quotas.max_bands), self.counters, pool)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    service: Service

    def __init__(self, address: tuple[str, int], service: Service) -> None:
        self.service = service
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        """Close the connections that clients keep alive; their threads then end."""
        with self._lock:
            still_open = list(self._open)
        for connection in still_open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Write no traceback when a connection fails, for example because the client closed it."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Server

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
        """Log nothing per request: `counters` has the numbers."""

    def do_GET(self) -> None:
        self._handle("GET")

    def do_POST(self) -> None:
        self._handle("POST")

    def _handle(self, method: str) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(length)
        if self.headers.get("Content-Encoding") == "gzip":
            raw = gzip.decompress(raw)
        if self.path.startswith("/sandbox/"):
            self._send(_control(self.server.service, method, self.path, raw))
            return
        if (method, self.path) == ("POST", PATH):
            status, body = self.server.service.tokens.answer(raw)
            self._send(Reply(body, status=status))
            return
        self._serve(method, raw)

    def _serve(self, method: str, raw: bytes) -> None:
        service = self.server.service
        path = self.path.split("?", 1)[0]
        result = service.protocol.route(method, path)
        endpoint = result[0] if result else "unknown"
        service.counters.enter()
        fault = service.faults.strike(endpoint)
        if fault is not None:
            service.counters.fault(fault.kind)
        try:
            reply = self._answer(method, raw, endpoint, fault)
            reply = self._with_profile(reply, raw, endpoint)
            service.counters.answered(endpoint, reply.status, len(raw), len(reply.body))
        finally:
            service.counters.leave()
        self._send_with(reply, fault)

    def _with_profile(self, reply: Reply, raw: bytes, endpoint: str) -> Reply:
        """Add the name of the computation's profile if the request asks for one."""
        if reply.status != 200 or endpoint not in _COMPUTING or not self.headers.get(profiles.REQUEST_HEADER):
            return reply
        name = profiles.profiled(raw, len(reply.body))
        return replace(reply, headers={**reply.headers, profiles.REPLY_HEADER: name})

    def _answer(self, method: str, raw: bytes, endpoint: str, fault: Fault | None) -> Reply:
        project = project_of(self.path)
        meter = self.server.service.meter if endpoint not in _UNMETERED else None
        try:
            if endpoint != "discovery":
                self.server.service.tokens.check(self.headers.get("Authorization"))
            if meter is None:
                return self._computed(method, raw, fault)
            meter.enter(project)
            try:
                return self._computed(method, raw, fault)
            finally:
                meter.leave(project)
        except QuotaExceeded as error:
            wait = str(max(1, math.ceil(error.retry_after_s)))
            return Reply(json.dumps(error.body()).encode(), status=429, headers={"Retry-After": wait})
        except EarthEngineError as error:
            headers = {"Retry-After": "1"} if error.status == 429 else {}
            return Reply(json.dumps(error.body()).encode(), status=error.status, headers=headers)

    def _computed(self, method: str, raw: bytes, fault: Fault | None) -> Reply:
        service = self.server.service
        apply_before(fault)
        refusals.refuse_large_request(service.limits, len(raw))
        root = f"http://{self.headers.get('Host', 'localhost')}/"
        request = parse(method, self.path, raw, root)
        result = service.protocol.route(method, request.path)
        if result is None:
            raise EarthEngineError(f"The sandbox does not implement '{method} {request.path}'.", 404)
        if service.latency_s > 0 and result[0] not in _UNMETERED:
            time.sleep(service.latency_s)
        ready = service.protocol.ready(result[0], request)
        if ready is not None:
            return ready
        try:
            return service.workers.submit(result[1], service.protocol, request, result[2]).result()
        except EarthEngineError:
            raise
        except Exception as error:
            # A defect of the sandbox, not of the client. The message says so, to distinguish it from Earth Engine's.
            raise EarthEngineError(f"Sandbox defect: {type(error).__name__}: {error}", 500) from error

    def _send_with(self, reply: Reply, fault: Fault | None) -> None:
        kind = fault.kind if fault is not None else ""
        if kind == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            self._close_connection()
        elif kind == "truncated":
            self._send(reply, keep=len(reply.body) // 2)
            self._close_connection()
        else:
            self._send(reply, extra=_RESTRICTED if kind == "restricted" else {})

    def _close_connection(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.close()

    def _send(self, reply: Reply, extra: Mapping[str, str] | None = None, keep: int | None = None) -> None:
        body, headers = reply.body, {**reply.headers, **(extra or {})}
        if len(body) > _GZIP_FROM_BYTES and reply.content_type.startswith("application/json"):
            if "gzip" in self.headers.get("Accept-Encoding", ""):
                body = gzip.compress(body, 1)
                headers["Content-Encoding"] = "gzip"
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        with suppress(BrokenPipeError, ConnectionResetError):
            self.wfile.write(body if keep is None else body[:keep])
            self.wfile.flush()


def _control(service: Service, method: str, path: str, raw: bytes) -> Reply:
    """The sandbox's own endpoints: counters, reset and faults."""
    command = (method, path.removeprefix("/sandbox/"))
    if command == ("GET", "counters"):
        return json_reply(service.counters.snapshot())
    if command == ("POST", "reset"):
        service.counters.reset()
        return json_reply({})
    if command == ("POST", "faults"):
        return _set_faults(service, raw)
    return json_reply({"error": {"code": 404, "message": f"No such control: {method} {path}"}}, 404)


def _set_faults(service: Service, raw: bytes) -> Reply:
    try:
        document = json.loads(raw or b"{}")
        rules = [fault_from(rule) for rule in document.get("faults", [])]
    except (ValueError, TypeError, AttributeError) as error:
        return json_reply({"error": {"code": 400, "message": str(error)}}, 400)
    service.faults.set(rules, int(document.get("seed", service.seed)))
    return json_reply({"faults": len(rules)})


class Sandbox:
    """A local Earth Engine on 127.0.0.1 that runs in a thread; a context manager. Port 0 takes a free port.

    `latency_s` is added to every request without holding a core or a lock. With `ready_chips`, pixel requests get a
    reply from a pool with that number of variants once it is filled (`ready`): for benchmarks of clients, not for data.
    `limits` are those of one request: `sandbox.limits.EARTH_ENGINE`, or `KIND` for none. Raises OSError when the port
    is in use.
    """

    def __init__(
        self,
        catalog: Catalog,
        latency_s: float = 0.0,
        quotas: Quotas | None = None,
        seed: int = 0,
        port: int = 0,
        ready_chips: int = 0,
        limits: Limits = EARTH_ENGINE,
    ) -> None:
        pool = ReadyPool(ready_chips) if ready_chips else None
        self._service = Service(catalog, latency_s, quotas or Quotas(), limits, seed, pool)
        self._server = _Server(("127.0.0.1", port), self._service)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """The `url` argument of ee.Initialize."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def token_url(self) -> str:
        """The `token_uri` of a key file; by another name of this machine, as Google's sign-in is another host."""
        return f"http://localhost:{self.port}{PATH}"

    def expire_tokens(self) -> None:
        """Let every token that was given be expired."""
        self._service.tokens.forget()

    def start(self) -> Sandbox:
        """Serve from a thread until `stop`."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop serving and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._server.close_connections()
        self._thread.join(timeout=5)
        self._service.workers.shutdown(wait=False, cancel_futures=True)

    def __enter__(self) -> Sandbox:
        return self.start()

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def counters(self) -> dict[str, Any]:
        """The counts since the start or the last reset (counters.Counters.snapshot)."""
        return self._service.counters.snapshot()

    def reset_counters(self) -> None:
        """Reset the counters."""
        self._service.counters.reset()

    def faults(self, *rules: Fault, seed: int | None = None) -> None:
        """Replace the active faults by these; without arguments, remove them."""
        self._service.faults.set(rules, self._service.seed if seed is None else seed)

    def set_latency(self, latency_s: float) -> None:
        """Change the simulated latency."""
        self._service.latency_s = latency_s

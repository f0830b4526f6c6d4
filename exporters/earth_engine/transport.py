"""HTTP under the Earth Engine client: one session, a deadline on every call, the limiter, counters, typed errors."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, fields, replace
from typing import Any
from urllib.parse import urlsplit

import httplib2
import requests
from requests.adapters import HTTPAdapter

from exporters.earth_engine import faults
from exporters.earth_engine.compute import Profiler, kind_of
from exporters.earth_engine.connection import LOCAL_HOSTS
from exporters.earth_engine.limiter import RateLimiter, Refusal
from exporters.earth_engine.prepared import Preparation
from pipeline.errors import GeocorpusError, Throttled, TooLarge, Transient

QUOTA_HEADER = "x-earth-engine-quota-status"
_CHUNK_BYTES = 1 << 20
_MOST_BYTES = 96 << 20  # of one answer: twice the most that Earth Engine sends, so that no answer can fill the memory
_CONNECT_S = 15.0
_PAUSE_S = 0.5  # of all requests, after a 429 without Retry-After


class Unreachable(Transient):
    """Nothing answers at the address."""


@dataclass(frozen=True)
class Figures:
    """Counters of the requests so far.

    `restricted` says that Earth Engine reported the compute quota as used up; `concurrency` is how many requests may
    be in flight now; `eecu_s` is an estimate in EECU-seconds (`compute`), or 0. Of the `retries`, some followed a 429
    (`throttled`), a time limit (`timed_out`) or no connection (`unreachable`); the others followed other errors.
    """

    requests: int = 0
    bytes_received: int = 0
    retries: int = 0
    throttled: int = 0
    timed_out: int = 0
    unreachable: int = 0
    eecu_s: float = 0.0
    restricted: bool = False
    concurrency: int = 0

    def since(self, before: Figures) -> Figures:
        """What was counted after `before`; `restricted` and `concurrency` stay the present ones."""
        return replace(self, **{name: getattr(self, name) - getattr(before, name) for name in _COUNTED})

    def plus(self, more: Figures) -> Figures:
        """The sum of the counts of two processes of one run; `concurrency` is that of the whole run, and stays."""
        counts = {name: getattr(self, name) + getattr(more, name) for name in _COUNTED}
        return replace(self, restricted=self.restricted or more.restricted, **counts)


_COUNTED = tuple(field.name for field in fields(Figures) if field.name not in ("restricted", "concurrency"))


class Meter:
    """Counts requests, bytes and retries from many threads."""

    def __init__(self) -> None:
        self._figures = Figures()
        self._lock = threading.Lock()

    def add(self, *, requests: int = 0, received: int = 0, retries: int = 0, throttled: int = 0) -> None:
        """Add to the counters."""
        self.join(Figures(requests, received, retries, throttled))

    def retried(self, error: Exception) -> None:
        """Count a retry by the error that caused it."""
        timed_out, unreachable = isinstance(error, faults.Overloaded), isinstance(error, Unreachable)
        self.join(Figures(retries=1, timed_out=int(timed_out), unreachable=int(unreachable)))

    def join(self, more: Figures) -> None:
        """Add the counts of another process of the same run."""
        with self._lock:
            self._figures = self._figures.plus(more)

    def restricted(self) -> None:
        """Record that the project is in restricted mode."""
        with self._lock:
            self._figures = replace(self._figures, restricted=True)

    def read(self) -> Figures:
        """The present counters."""
        with self._lock:
            return self._figures


class Transport:
    """The client calls this in place of httplib2 (`ee.Initialize(http_transport=...)`); safe for many threads.

    Calls below `base_url` are limited and counted, and raise a typed error for a status of 400 and above. Other calls
    (Google's token exchange) are passed on unchanged.
    """

    def __init__(
        self, base_url: str, limiter: RateLimiter, deadline_s: float, connections: int, profile_every: int = 0
    ) -> None:
        self.base_url = base_url
        self.limiter = limiter
        self.deadline_s = deadline_s
        self.meter = Meter()
        self.profiler = Profiler(profile_every)
        self._session = requests.Session()
        if urlsplit(base_url).hostname in LOCAL_HOSTS:
            self._session.trust_env = False  # A proxy that the environment names could not reach this machine.
        # The default pool of ten connections would open and close one per request beyond it.
        adapter = HTTPAdapter(pool_connections=4, pool_maxsize=connections, max_retries=0)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)
        self._preparation = Preparation(self._session)

    def request(
        self,
        uri: str,
        method: str = "GET",
        body: Any = None,
        headers: Any = None,
        redirections: int | None = None,
        connection_type: Any = None,
    ) -> tuple[httplib2.Response, bytes]:
        """As `httplib2.Http.request`. Raises the errors of `faults`, but returns a 401: the client renews its token."""
        if not uri.startswith(self.base_url):
            return self._exchange(uri, method, body, headers)
        with self.limiter.slot() as started_s:
            self.meter.add(requests=1)
            response, content = self._exchange(uri, method, body, self.profiler.headers(uri, headers))
            self.meter.add(received=len(content))
            self._check(response, content, started_s)
            self.profiler.answered(uri, response)
        return response, content

    def _exchange(self, uri: str, method: str, body: Any, headers: Any) -> tuple[httplib2.Response, bytes]:
        end_s = time.monotonic() + self.deadline_s
        try:
            patience_s = _CONNECT_S, self.deadline_s
            with self._preparation.sent(method, uri, body, headers, timeout=patience_s, stream=True) as reply:
                return _response(reply), self._read(uri, reply, end_s)
        except (requests.exceptions.ConnectTimeout, requests.exceptions.SSLError) as error:
            raise Unreachable(f"cannot connect to {_server(uri)} ({type(error).__name__}).") from error
        except requests.exceptions.Timeout as error:
            raise self._late(uri, "no answer") from error
        except requests.exceptions.ConnectionError as error:
            raise _broken(error, _server(uri)) from error
        except requests.exceptions.RequestException as error:
            raise Transient(f"the answer broke off ({type(error).__name__}).") from error

    def _read(self, uri: str, reply: requests.Response, end_s: float) -> bytes:
        """The body; requests' own timeout only bounds the gap between two packets, so the deadline is checked here."""
        parts, received = [], 0
        for part in reply.iter_content(_CHUNK_BYTES):
            parts.append(part)
            received += len(part)
            if received > _MOST_BYTES:
                raise TooLarge(f"the answer is longer than the {_MOST_BYTES >> 20} MiB that one may have.")
            if time.monotonic() > end_s:
                raise self._late(uri, "no complete answer")
        return b"".join(parts)

    def _late(self, uri: str, what: str) -> GeocorpusError:
        """The error of our own deadline: `TimedOut` where something is computed, for then less may be asked for."""
        message = f"{what} within {self.deadline_s:g} s."
        return Transient(message) if kind_of(uri) is None else faults.TimedOut(message)

    def _check(self, response: httplib2.Response, content: bytes, started_s: float) -> None:
        """Report the reply to the limiter; raise the typed error of a status of 400 or above, 401 excepted."""
        restricted = "parallelism_restricted=true" in response.get(QUOTA_HEADER, "")
        if restricted:
            self.meter.restricted()
        if response.status < 400 or response.status == 401:
            self.limiter.served(started_s, restricted)
            return
        error = faults.from_response(response.status, _message(content), _retry_after_s(response))
        if isinstance(error, Throttled):
            self.meter.add(throttled=1)
            wait_s = _PAUSE_S if error.retry_after_s is None else error.retry_after_s
            self.limiter.refused(started_s, Refusal(wait_s, faults.names_the_rate(str(error))))
        raise error


def _response(reply: requests.Response) -> httplib2.Response:
    return httplib2.Response({**reply.headers, "status": reply.status_code})


def _server(uri: str) -> str:
    """Scheme and host: the server that was asked, which may be Google's for tokens."""
    return "{0.scheme}://{0.netloc}".format(urlsplit(uri))


def _broken(error: requests.exceptions.ConnectionError, server: str) -> Transient:
    """A refused connection (the service may not be running) is `Unreachable`; one that broke is only `Transient`."""
    text = str(error)
    if "Failed to establish" in text or "NameResolutionError" in text or "refused" in text:
        return Unreachable(f"nothing answers at {server}.")
    return Transient("the connection broke.")


def _message(content: bytes) -> str:
    """Earth Engine's own message, or the beginning of any other body."""
    try:
        return str(json.loads(content)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return content[:200].decode("utf-8", "replace").strip() or "no explanation"


def _retry_after_s(response: httplib2.Response) -> float | None:
    try:
        return max(0.0, float(response["retry-after"]))
    except (KeyError, ValueError):
        return None

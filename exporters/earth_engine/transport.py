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
from exporters.earth_engine.compute import Profiler
from exporters.earth_engine.connection import LOCAL_HOSTS
from exporters.earth_engine.limiter import RateLimiter, Refusal
from pipeline.errors import Throttled, Transient

QUOTA_HEADER = "x-earth-engine-quota-status"
_CHUNK_BYTES = 1 << 20
_CONNECT_S = 15.0
_PAUSE_S = 0.5  # for everyone, when a 429 names no time of its own


class Unreachable(Transient):
    """Nothing answers at the address."""


@dataclass(frozen=True)
class Figures:
    """What the work has cost so far. `restricted` is Earth Engine having said that the compute quota is used up;
    `concurrency` is how many requests may be in flight now; `eecu_s` is an estimate (`compute`), or 0. Of
    the `retries`, some were `throttled` (429), came to no end in time or found nobody; the others were errors of the
    service.
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
        """What was counted after `before`; states are the present ones."""
        return replace(self, **{name: getattr(self, name) - getattr(before, name) for name in _COUNTED})

    def plus(self, more: Figures) -> Figures:
        """Both counts together, as of two processes of one run; the concurrency is one for all, and ours."""
        counts = {name: getattr(self, name) + getattr(more, name) for name in _COUNTED}
        return replace(self, restricted=self.restricted or more.restricted, **counts)


_COUNTED = tuple(one.name for one in fields(Figures) if one.name not in ("restricted", "concurrency"))


class Meter:
    """Counts requests, bytes and retries from many threads."""

    def __init__(self) -> None:
        self._figures = Figures()
        self._lock = threading.Lock()

    def add(self, *, requests: int = 0, received: int = 0, retries: int = 0, throttled: int = 0) -> None:
        """Add to the counters."""
        self.join(Figures(requests, received, retries, throttled))

    def retried(self, error: Exception) -> None:
        """Count another attempt by what made it necessary."""
        timed_out, unreachable = isinstance(error, faults.TimedOut), isinstance(error, Unreachable)
        self.join(Figures(retries=1, timed_out=int(timed_out), unreachable=int(unreachable)))

    def join(self, more: Figures) -> None:
        """Add what another process of the same run has counted."""
        with self._lock:
            self._figures = self._figures.plus(more)

    def restricted(self) -> None:
        """Remember that the project is in restricted mode."""
        with self._lock:
            self._figures = replace(self._figures, restricted=True)

    def read(self) -> Figures:
        """The counters at this moment."""
        with self._lock:
            return self._figures


class Transport:
    """What the client calls in place of httplib2 (`ee.Initialize(http_transport=...)`); safe for many threads.

    Calls below `base_url` are limited, counted and end in a typed error for a status of 400 and above. Others
    (Google's token exchange) pass as they are.
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

    def request(
        self,
        uri: str,
        method: str = "GET",
        body: Any = None,
        headers: Any = None,
        redirections: int | None = None,
        connection_type: Any = None,
    ) -> tuple[httplib2.Response, bytes]:
        """httplib2's call. Raises the errors of `faults`; 401 is returned, for credentials to be renewed."""
        if not uri.startswith(self.base_url):
            return self._exchange(uri, method, body, headers)
        with self.limiter.slot() as started_s:
            self.meter.add(requests=1)
            response, content = self._exchange(uri, method, body, self.profiler.headers(uri, headers))
            self.meter.add(received=len(content))
            self._look_at(response, content, started_s)
            self.profiler.answered(uri, response)
        return response, content

    def _exchange(self, uri: str, method: str, body: Any, headers: Any) -> tuple[httplib2.Response, bytes]:
        end_s = time.monotonic() + self.deadline_s
        try:
            with self._session.request(
                method, uri, data=body, headers=headers, timeout=(_CONNECT_S, self.deadline_s), stream=True
            ) as answer:
                return _response(answer), self._read(answer, end_s)
        except (requests.exceptions.ConnectTimeout, requests.exceptions.SSLError) as error:
            raise Unreachable(f"cannot connect to {self.base_url} ({type(error).__name__}).") from error
        except requests.exceptions.Timeout as error:
            raise Transient(f"no answer within {self.deadline_s:g} s.") from error
        except requests.exceptions.ConnectionError as error:
            raise _broken(error, self.base_url) from error
        except requests.exceptions.RequestException as error:
            raise Transient(f"the answer broke off ({type(error).__name__}).") from error

    def _read(self, answer: requests.Response, end_s: float) -> bytes:
        """The body; requests' own timeout only bounds the gap between two packets, so the deadline is kept here."""
        parts = []
        for part in answer.iter_content(_CHUNK_BYTES):
            parts.append(part)
            if time.monotonic() > end_s:
                raise Transient(f"no complete answer within {self.deadline_s:g} s.")
        return b"".join(parts)

    def _look_at(self, response: httplib2.Response, content: bytes, started_s: float) -> None:
        """Tell the limiter what the reply means for the pace; raise what it means for the caller."""
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


def _response(answer: requests.Response) -> httplib2.Response:
    return httplib2.Response({**answer.headers, "status": answer.status_code})


def _broken(error: requests.exceptions.ConnectionError, base_url: str) -> Transient:
    """A connection that was refused differs from one that broke: the first may mean that nobody is there."""
    text = str(error)
    if "Failed to establish" in text or "NameResolutionError" in text or "refused" in text:
        return Unreachable(f"nothing answers at {base_url}.")
    return Transient("the connection broke.")


def _message(content: bytes) -> str:
    """Earth Engine's own sentence, or the beginning of whatever else came."""
    try:
        return str(json.loads(content)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return content[:200].decode("utf-8", "replace").strip() or "no explanation"


def _retry_after_s(response: httplib2.Response) -> float | None:
    try:
        return max(0.0, float(response["retry-after"]))
    except (KeyError, ValueError):
        return None

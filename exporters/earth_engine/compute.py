"""The cost of requests in EECU-seconds, estimated from profiles of some of them; and the budget of a month.

Replies do not contain their cost. The reply to a request with a header of the client's own profiler names a profile,
and `Profile.getProfiles` gives that as a table whose first column is EECU-seconds (`ee.profilePrinting` prints it; see
docs/export.md). So some requests of each kind are profiled, and their mean is used for all requests of that kind.
Only Cloud Monitoring has the exact cost.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from pipeline import durable
from pipeline.errors import Fatal

ASK_HEADER = "X-Earth-Engine-Computation-Profiling"
PROFILE_HEADER = "x-earth-engine-computation-profile"
USAGE = "usage.json"
_KINDS = re.compile(r"/(value:compute|image:computePixels|table:computeFeatures)$")
EVERY = 50  # the first of so many requests of a kind is profiled
PROFILES_AT_ONCE = 8  # profiles read by one request: 0.25 % more requests
_SAVE_EVERY_S = 10.0
_CELL = re.compile(r"^\s*(\d+(?:\.\d+)?|-)\s")


def kind_of(uri: str) -> str | None:
    """The kind of computation that a URI requests; None for a request that computes nothing."""
    result = _KINDS.search(urlsplit(uri).path)
    return result[1] if result else None


def eecu_s_of(table: str) -> float:
    """EECU-seconds of a profile: the sum of its first column; "-" counts 0. Raises `ValueError` for other text."""
    head, _, rows = table.partition("\n")
    if "EECU" not in head.split(" Description")[0]:
        raise ValueError(f"no table of EECU-seconds: {head[:80]!r}")
    cells = [result[1] for row in rows.splitlines() if (result := _CELL.match(row))]
    return sum(float(cell) for cell in cells if cell != "-")


@dataclass
class _Kind:
    """Requests of one kind, their profiles to read, and how many measured requests cost `eecu_s` together."""

    requests: int = 0
    waiting: list[str] = field(default_factory=list)
    measured: int = 0
    eecu_s: float = 0.0

    @property
    def estimate_s(self) -> float:
        return self.requests * self.eecu_s / self.measured if self.measured else 0.0


class Profiler:
    """Chooses one of `every` requests to profile (0: none) and scales up their cost. Safe for many threads."""

    def __init__(self, every: int) -> None:
        self._every = every
        self._thread_state = threading.local()
        self._kinds: dict[str, _Kind] = {}
        self._lock = threading.Lock()
        self._refused: str | None = None

    @property
    def eecu_s(self) -> float:
        """The estimate for all requests so far, in EECU-seconds; kinds without a profile that was read count 0."""
        with self._lock:
            return sum(kind.estimate_s for kind in self._kinds.values())

    @property
    def read_s(self) -> float | None:
        """EECU-seconds of the profiles that were read, not scaled up; None before the first one."""
        with self._lock:
            known = [kind.eecu_s for kind in self._kinds.values() if kind.measured]
        return sum(known) if known else None

    @property
    def refused(self) -> str | None:
        """Why no more profiles are requested; None while they are."""
        return self._refused

    def headers(self, uri: str, headers: Mapping[str, str] | None) -> dict[str, str]:
        """The headers to send, with the request for a profile when this request is chosen."""
        name, sent = self._kind_counted(uri), dict(headers or {})
        if name is None or self._refused or not self._every:
            return sent
        with self._lock:
            is_profiled = self._kinds.setdefault(name, _Kind()).requests % self._every == 0
        return {**sent, ASK_HEADER: "1"} if is_profiled else sent

    def answered(self, uri: str, headers: Mapping[str, str]) -> None:
        """Count a reply; the name of its profile, if it has one, waits to be read."""
        name = self._kind_counted(uri)
        if name is None:
            return
        with self._lock:
            kind = self._kinds.setdefault(name, _Kind())
            kind.requests += 1
            if PROFILE_HEADER in headers:
                kind.waiting.append(headers[PROFILE_HEADER])

    def _kind_counted(self, uri: str) -> str | None:
        return None if getattr(self._thread_state, "yes", False) else kind_of(uri)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Do not count the requests that this thread makes in the block: they read profiles."""
        self._thread_state.yes = True
        try:
            yield
        finally:
            self._thread_state.yes = False

    def take(self, least: int = PROFILES_AT_ONCE) -> tuple[str, list[str]] | None:
        """A kind and its waiting profiles, once there are `least` of them; the first of a kind is given at once."""
        with self._lock:
            for name, kind in self._kinds.items():
                if len(kind.waiting) >= (least if kind.measured else 1):
                    taken, kind.waiting = kind.waiting, []
                    return name, taken
        return None

    def measured(self, name: str, profiles: int, eecu_s: float) -> None:
        """Count `profiles` requests of a kind that cost `eecu_s` together."""
        with self._lock:
            kind = self._kinds.setdefault(name, _Kind())
            kind.measured += profiles
            kind.eecu_s += eecu_s

    def refuse(self, reason: str) -> None:
        """Request no more profiles, for this reason."""
        self._refused = reason

    @contextmanager
    def of_all(self) -> Iterator[None]:
        """Profile every request of the block."""
        before, self._every = self._every, 1
        try:
            yield
        finally:
            self._every = before


@dataclass
class Cost:
    """EECU-seconds of a block in which every request was profiled; None where no profile could be read."""

    eecu_s: float | None = None


class Usage:
    """EECU-seconds of a corpus in the present calendar month (UTC), over all of its runs; safe for many threads.

    The file `path` has them month by month, so that a budget holds over crashes and relaunches: at most the last ten
    seconds are not counted. Raises `Fatal` when the file is damaged.
    """

    def __init__(self, path: Path, budget_h: float | None = None) -> None:
        self._path, self._budget_h = path, budget_h
        self._months: dict[str, float] = _kept(path) if path.exists() else {}
        self._counted_eecu_s = 0.0
        self._saved_s = time.monotonic()
        self._lock = threading.Lock()

    def begin(self, eecu_s: float) -> None:
        """Start to count: `eecu_s` is what the connection has cost before, and is not counted."""
        with self._lock:
            self._counted_eecu_s = eecu_s

    def up_to(self, eecu_s: float) -> None:
        """Count up to now: `eecu_s` is what the connection has cost in total."""
        with self._lock:
            month = _month()
            self._months[month] = max(0.0, self._months.get(month, 0.0) + eecu_s - self._counted_eecu_s)
            self._counted_eecu_s = eecu_s
            if time.monotonic() - self._saved_s > _SAVE_EVERY_S:
                self._save()

    @property
    def month_h(self) -> float:
        """EECU-hours of the present month."""
        with self._lock:
            return self._months.get(_month(), 0.0) / 3600

    def refuse_overspending(self) -> None:
        """Raise `Fatal` when the month's budget is used up."""
        if self._budget_h is not None and self.month_h >= self._budget_h:
            raise Fatal(
                f"this month's requests for {self._path.parent} have cost an estimated {self.month_h:.3g} EECU-hours, "
                f"and source.eecu_hours allows {self._budget_h:g}; raise it, or go on next month."
            )

    def save(self) -> None:
        """Write the count to its file."""
        with self._lock:
            self._save()

    def _save(self) -> None:
        if any(self._months.values()):
            durable.write_json(self._path, {month: round(eecu_s, 3) for month, eecu_s in self._months.items()})
        self._saved_s = time.monotonic()


def _kept(path: Path) -> dict[str, float]:
    return durable.read_as(path, dict[str, float], "delete it, and what this month has cost so far is forgotten")


def _month() -> str:
    return f"{datetime.now(UTC):%Y-%m}"

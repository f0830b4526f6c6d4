"""Computation profiles: what a request cost in EECU-seconds, as text in the format of Earth Engine's client.

The reply to a request with the header X-Earth-Engine-Computation-Profiling names a profile, and Profile.getProfiles
returns its table. The amounts are invented but deterministic: a constant for each function call in the expression,
and a constant for each byte of the reply.
"""

from __future__ import annotations

import re
import threading
import uuid
from collections import Counter, OrderedDict
from collections.abc import Iterable

from sandbox.errors import EarthEngineError
from sandbox.registry import algorithm

REQUEST_HEADER = "X-Earth-Engine-Computation-Profiling"
REPLY_HEADER = "x-earth-engine-computation-profile"
EECU_S_PER_CALL = 0.001
EECU_S_PER_BYTE = 5e-8
_MAX_PROFILES = 10_000
_DEFAULT_ENTRIES = 200
_CALLED = re.compile(rb'"functionName":\s*"([^"]+)"')
_MERGED = "(...)"


class _Profiles:
    """The latest profiles of this process by name: calls of each algorithm, and bytes of the reply."""

    def __init__(self) -> None:
        self._profiles: OrderedDict[str, Counter[str]] = OrderedDict()
        self._lock = threading.Lock()

    def keep(self, costs: Counter[str]) -> str:
        name = uuid.uuid4().hex
        with self._lock:
            self._profiles[name] = costs
            while len(self._profiles) > _MAX_PROFILES:
                self._profiles.popitem(last=False)
        return name

    def total(self, names: Iterable[str]) -> Counter[str]:
        with self._lock:
            unknown = [name for name in names if name not in self._profiles]
            if unknown:
                raise EarthEngineError(f"Profile.getProfiles: Profile '{unknown[0]}' not found.")
            return sum((self._profiles[name] for name in names), Counter[str]())


_PROFILES = _Profiles()
_BYTES = "(plumbing)"


def profiled(request: bytes, answer_bytes: int) -> str:
    """Store the profile of a request (its body as sent); returns the profile's name."""
    calls = Counter(f"Algorithm {name.decode()}" for name in _CALLED.findall(request))
    return _PROFILES.keep(calls + Counter({_BYTES: answer_bytes}))


@algorithm("Profile.getProfiles")
def get_profiles(ids: list[str], form: str | None, max_entries: int | None) -> str:
    """One table of all the profiles, the most expensive entry first; only the form "text" is supported."""
    if form not in (None, "text"):
        raise EarthEngineError(f"The sandbox gives profiles as 'text', not as '{form}'.")
    total = _PROFILES.total([str(name) for name in ids])
    rows = sorted(((_eecu_s(name, count), count, name) for name, count in total.items()), reverse=True)
    most = max_entries or _DEFAULT_ENTRIES
    if len(rows) > most:
        cheapest = rows[most - 1 :]
        rows[most - 1 :] = [(sum(row[0] for row in cheapest), sum(row[1] for row in cheapest), _MERGED)]
    lines = [f"{eecu_s:7.3f} {'-':>7} {count:>5}  {name}" for eecu_s, count, name in rows]
    return "\n".join([" EECU·s PeakMem Count  Description", *lines, ""])


def _eecu_s(name: str, count: int) -> float:
    return count * (EECU_S_PER_BYTE if name == _BYTES else EECU_S_PER_CALL)

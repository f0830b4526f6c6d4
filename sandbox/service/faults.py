"""Injected faults: which replies fail and how, reproducible from a seed."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from sandbox.errors import EarthEngineError

_ERRORS: dict[str, tuple[str, int]] = {
    "429": ("Too Many Requests: Request was rejected because the request rate or the concurrency limit was "
            "exceeded.", 429),
    "500": ("An internal error has occurred.", 500),
    "503": ("The service is currently unavailable.", 503),
    "memory": ("User memory limit exceeded.", 400),
    "capacity": ("Earth Engine memory capacity exceeded.", 400),
    "out of memory": ("Execution failed; out of memory.", 400),
    "value": ("Computed value is too large.", 400),
    "unknown": ("Something that nobody has seen before: 42.", 400),
    "timeout": ("Computation timed out.", 400),
    "missing": ("Image.load: Image asset 'INJECTED' not found (does not exist or caller does not have access).", 400),
}  # fmt: skip
BODY_KINDS = ("truncated", "reset", "restricted")
KINDS = (*_ERRORS, "slow", *BODY_KINDS)


@dataclass(frozen=True)
class Fault:
    """One rule: inject `kind` at `endpoint` ("*": any) with probability `rate`, or in its `next` n requests.

    `seconds` is the delay of "slow". "restricted" adds the quota header to an otherwise normal reply.
    Raises ValueError when the kind is unknown or the rate is not between 0 and 1.
    """

    kind: str
    endpoint: str = "*"
    rate: float = 0.0
    next: int = 0
    seconds: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"Unknown fault '{self.kind}'; use one of {', '.join(KINDS)}.")
        if not 0 <= self.rate <= 1:
            raise ValueError(f"The rate of a fault lies between 0 and 1, not {self.rate}.")


def fault_from(document: Mapping[str, Any]) -> Fault:
    """A rule from JSON. Raises ValueError for unknown keys or kinds."""
    known = {field.name for field in fields(Fault)}
    unknown = document.keys() - known
    if unknown:
        raise ValueError(f"Unknown key '{sorted(unknown)[0]}' of a fault; use {', '.join(sorted(known))}.")
    return Fault(**{str(key): value for key, value in document.items()})


class Faults:
    """The active rules. The i-th request at an endpoint has the same result for the same seed."""

    def __init__(self, seed: int = 0, rules: Iterable[Fault] = ()) -> None:
        self._lock = threading.Lock()
        self.set(rules, seed)

    def set(self, rules: Iterable[Fault], seed: int = 0) -> None:
        """Replace all rules and restart the random sequence from the seed."""
        with self._lock:
            self._rules = list(rules)
            self._seed = seed
            self._left = [rule.next for rule in self._rules]
            self._request_counts: dict[tuple[int, str], int] = {}

    def strike(self, endpoint: str) -> Fault | None:
        """The fault to inject into this request: that of the first rule that applies, or None."""
        with self._lock:
            return next((r for i, r in enumerate(self._rules) if self._hits(i, r, endpoint)), None)

    def _hits(self, index: int, rule: Fault, endpoint: str) -> bool:
        if rule.endpoint not in ("*", endpoint):
            return False
        if rule.next:
            self._left[index] -= 1
            return self._left[index] >= 0
        number = self._request_counts[index, endpoint] = self._request_counts.get((index, endpoint), -1) + 1
        draw = random.Random(f"{self._seed}/{index}/{rule.kind}/{endpoint}/{number}").random()  # noqa: S311
        return draw < rule.rate


def apply_before(fault: Fault | None) -> None:
    """Wait for a "slow" fault; faults of the body are applied later. Raises EarthEngineError for an error fault."""
    if fault is None:
        return
    if fault.kind == "slow":
        time.sleep(fault.seconds)
    elif fault.kind in _ERRORS:
        raise EarthEngineError(*_ERRORS[fault.kind])

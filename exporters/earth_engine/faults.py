"""Typed errors from Earth Engine's replies: one table maps its texts to what the caller must do."""

from __future__ import annotations

import re
from collections.abc import Callable

from pipeline.errors import Fatal, GeocorpusError, Missing, Throttled, TooLarge, Transient

AUTHENTICATE = "run `earthengine authenticate`, or set the credentials of a service account"


class TimedOut(TooLarge):
    """Earth Engine's own time limit. It depends on the load: retry once later, then request less at once."""


class AssetGone(Missing):
    """The asset `asset_id` does not exist, or this account may not read it."""

    def __init__(self, message: str, asset_id: str) -> None:
        super().__init__(message)
        self.asset_id = asset_id


def _asset_gone(message: str) -> AssetGone:
    result = re.search(r"asset '([^']*)'", message)
    return AssetGone(message, result[1] if result else "")


def _unauthorised(message: str) -> Fatal:
    return Fatal(f"Earth Engine refuses the credentials or the project ({message.rstrip('.')}); {AUTHENTICATE}.")


# Texts as in issue threads and documentation of Earth Engine and its users (reference: earth_engine.md A4).
_TEXTS: tuple[tuple[str, Callable[[str], GeocorpusError]], ...] = (
    (r"too many requests|quota exceeded|rate limit|resource_exhausted", Throttled),
    (r"too many concurrent (aggregations|requests)", Throttled),
    (r"user memory limit exceeded", TooLarge),
    (r"total request size|must be less than or equal to 50331648|number of bands", TooLarge),
    (r"request entity too large|payload size exceeds", TooLarge),
    (r"(computation|request) timed out", TimedOut),
    (r"did not match any bands|image with no bands", Missing),
    (r"(may not|must not|cannot) be null|no valid \(un-masked\) pixels|is required and may not", Missing),
    (r"asset '.*' not found|does not exist or caller does not have access", _asset_gone),
    (r"unauthenticated|invalid authentication|permission|not signed up|not registered|has not been used in project",
     _unauthorised),
    (r"internal error|backend error|unavailable|try again|deadline exceeded|connection reset", Transient),
)  # fmt: skip


def names_the_rate(message: str) -> bool:
    """Whether a refusal is about requests per time, not about requests in flight."""
    return re.search(r"quota metric|per minute|per second", message, re.IGNORECASE) is not None


def from_text(message: str) -> GeocorpusError:
    """The error for a text without an HTTP status; an unknown text is `Fatal`."""
    for pattern, make in _TEXTS:
        if re.search(pattern, message, re.IGNORECASE):
            return make(message)
    return Fatal(f"Earth Engine refuses the request: {message}")


def from_response(status: int, message: str, retry_after_s: float | None = None) -> GeocorpusError:
    """The error for an HTTP status of 400 or above: by the status where it is clear, else by the text."""
    if status == 429:
        return Throttled(message, retry_after_s)
    if status in (408, 425) or status >= 500:
        return Transient(f"{message} (HTTP {status})", retry_after_s)
    if status == 413:
        return TooLarge(message)
    if status in (401, 403):
        known = from_text(message)
        return known if isinstance(known, Transient) else _unauthorised(message)
    return from_text(message)

"""Typed errors from Earth Engine's replies, by status where that is clear and else by the table of known texts."""

from __future__ import annotations

import re
from collections.abc import Callable

from exporters.earth_engine.known_texts import AGGREGATIONS, Do, known
from pipeline.errors import Fatal, GeocorpusError, Missing, Throttled, TooLarge, Transient


class Overloaded(TooLarge):
    """It depends on the load, as Earth Engine's time limit does: retry once later, then request less at once."""


class TimedOut(Overloaded):
    """No answer within our own deadline, which is longer than the time that Earth Engine allows itself."""


class UnknownRefusal(TooLarge, Fatal):
    """A refusal in words that are not in `known_texts`.

    It may be about size, so what can be divided is; what is refused alone is that item's failure (`OneRefused`).
    Where nothing can be divided, the run stops.
    """


class AssetGone(Missing):
    """The asset `asset_id` does not exist, or this account may not read it."""

    def __init__(self, message: str, asset_id: str) -> None:
        super().__init__(message)
        self.asset_id = asset_id


def _asset_gone(message: str) -> AssetGone:
    result = re.search(r"asset '([^']*)'", message)
    return AssetGone(message, result[1] if result else "")


class Unauthorised(Fatal):
    """Earth Engine refuses the credentials or the project; `sign_in.SignIn.refusal` says of which kind they are."""


def _unauthorised(message: str) -> Unauthorised:
    return Unauthorised(f"Earth Engine refuses the credentials or the project ({message.rstrip('.')})")


_ERRORS: dict[Do, Callable[[str], GeocorpusError]] = {
    Do.SLOW_DOWN: Throttled,
    Do.LESS: TooLarge,
    Do.ONCE_MORE_THEN_LESS: Overloaded,
    Do.NO_DATA: Missing,
    Do.NO_ASSET: _asset_gone,
    Do.SIGN_IN: _unauthorised,
    Do.LATER: Transient,
}


def names_the_rate(message: str) -> bool:
    """Whether a refusal is about requests per time, not about requests in flight."""
    return re.search(r"quota metric|per minute|per second", message, re.IGNORECASE) is not None


def from_text(message: str) -> GeocorpusError:
    """The error for a text without an HTTP status; `UnknownRefusal` for an unknown one."""
    row = known(message)
    if row is None:
        return UnknownRefusal(f"Earth Engine refuses the request: {message}")
    return _ERRORS[row.do](message)


def from_response(status: int, message: str, retry_after_s: float | None = None) -> GeocorpusError:
    """The error for an HTTP status of 400 or above: by the status where it is clear, else by the text."""
    if AGGREGATIONS.matches(message):  # whatever the status: none is documented
        return TooLarge(message)
    if status == 429:
        return Throttled(message, retry_after_s)
    if status in (408, 425) or status >= 500:
        return Transient(f"{message} (HTTP {status})", retry_after_s)
    if status == 413:
        return TooLarge(message)
    if status in (401, 403):
        error = from_text(message)
        return error if isinstance(error, Transient) else _unauthorised(message)
    return from_text(message)

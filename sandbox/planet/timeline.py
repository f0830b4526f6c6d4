"""Dates as days and milliseconds since 1970, and the twelve-month phase of seasons."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

DAY_MS = 86_400_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def day_of(year: int, month: int, day: int) -> int:
    return (datetime(year, month, day, tzinfo=UTC) - _EPOCH).days


def moment(time_ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=time_ms)


def stamp(time_ms: int) -> str:
    """As in product names: 20190604T102031."""
    return moment(time_ms).strftime("%Y%m%dT%H%M%S")


def year_phase(time_ms: int) -> float:
    """Where in the year, 0 to 1, a moment lies."""
    when = moment(time_ms)
    return (when.timetuple().tm_yday - 1 + when.hour / 24) / 365.25

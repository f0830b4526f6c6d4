"""Dates as days and milliseconds since 1970, and the phase of the year."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache

DAY_MS = 86_400_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=8192)
def day_of(year: int, month: int, day: int) -> int:
    return (datetime(year, month, day, tzinfo=UTC) - _EPOCH).days


def moment(time_ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=time_ms)


@lru_cache(maxsize=8192)
def _date(day: int) -> str:
    return (_EPOCH + timedelta(days=day)).strftime("%Y%m%d")


def stamp(time_ms: int) -> str:
    """A time as in product names: 20190604T102031."""
    day, second = divmod(time_ms // 1000, 86_400)
    return f"{_date(day)}T{second // 3600:02d}{second // 60 % 60:02d}{second % 60:02d}"


def year_phase(time_ms: int) -> float:
    """The fraction of the year, 0 to 1, at a time."""
    when = moment(time_ms)
    return (when.timetuple().tm_yday - 1 + when.hour / 24) / 365.25

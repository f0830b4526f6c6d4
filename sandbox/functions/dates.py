"""Dates and date ranges (milliseconds since 1970, ranges exclude their end) and their algorithms.

Units without a fixed length have their mean length: a year is 365.25 days, a month a twelfth of it (Date.unitRatio).
"""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from sandbox.errors import EarthEngineError
from sandbox.registry import algorithm

UNIT_MS = {
    "year": 365.25 * 86_400_000,
    "month": 365.25 * 86_400_000 / 12,
    "week": 7 * 86_400_000,
    "day": 86_400_000,
    "hour": 3_600_000,
    "minute": 60_000,
    "second": 1_000,
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PATTERN_TOKEN = re.compile(r"'([^']*)'|([A-Za-z])\2*")


@dataclass(frozen=True, order=True)
class Date:
    """An instant."""

    ms: int

    def when(self, zone: tzinfo = UTC) -> datetime:
        return (_EPOCH + timedelta(milliseconds=self.ms)).astimezone(zone)


@dataclass(frozen=True)
class DateRange:
    """From `start` (inclusive) to `end` (exclusive)."""

    start: Date
    end: Date

    def holds(self, date: Date) -> bool:
        return self.start.ms <= date.ms < self.end.ms


def date_of(moment: datetime) -> Date:
    """The Date of a datetime; a datetime without a zone is UTC."""
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return Date(round((moment - _EPOCH) / timedelta(milliseconds=1)))


# A month or day of one digit, after the year and before the time.
_SHORT = re.compile(r"(?<=\d)-(\d)(?![\d:])")


def parsed(text: str, zone: tzinfo = UTC) -> Date:
    """The Date of an ISO text such as 2019, 2019-06, 2019-6-1 or 2019-06-01T10:20:30.5Z.

    Months and days of one digit are accepted, because the published MMEarth code, which worked, writes them.
    Raises EarthEngineError (400) for another text.
    """
    whole = _SHORT.sub(lambda match: f"-{match[1]:0>2}", text)
    padded = {4: whole + "-01-01", 7: whole + "-01"}.get(len(whole), whole)
    try:
        moment = datetime.fromisoformat(padded)
    except ValueError as error:
        raise EarthEngineError(f"Date: Bad date/time '{text}'.") from error
    return date_of(moment if moment.tzinfo else moment.replace(tzinfo=zone))


def zone_of(name: str | None) -> tzinfo:
    """The zone of a name such as "Europe/Copenhagen", by default UTC. Raises EarthEngineError for an unknown name."""
    if not name or name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except Exception as error:
        raise EarthEngineError(f"Date: The time zone '{name}' is not recognised.") from error


def unit_of(unit: str) -> str:
    """The singular name of a unit of time. Raises EarthEngineError for an unknown unit."""
    name = unit.lower().removesuffix("s")
    if name not in UNIT_MS:
        raise EarthEngineError(f"Date: Unknown unit of time '{unit}'.")
    return name


def coerced_date(value: Any, zone: str | None = None) -> Date:
    """A Date from a Date, a number of milliseconds or text. Raises EarthEngineError for other values."""
    if isinstance(value, Date):
        return value
    if isinstance(value, str):
        return parsed(value, zone_of(zone))
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return Date(int(value))
    if isinstance(value, dict) and value.get("type") == "Date":
        return Date(int(value["value"]))
    raise EarthEngineError(f"Date: Cannot make a date of '{value}'.")


@algorithm("Date")
def date(value: Any, time_zone: str | None) -> Date:
    return coerced_date(value, time_zone)


def _add_months(moment: datetime, months: int) -> datetime:
    index = moment.year * 12 + moment.month - 1 + months
    year, month = divmod(index, 12)
    day = min(moment.day, calendar.monthrange(year, month + 1)[1])
    return moment.replace(year=year, month=month + 1, day=day)


def advanced(start: Date, delta: float, unit: str, zone: tzinfo = UTC) -> Date:
    """Calendar arithmetic for whole months and years (the day is clamped to the month's last), else exact time."""
    name = unit_of(unit)
    if name not in ("year", "month"):
        return Date(start.ms + round(delta * UNIT_MS[name]))
    whole = int(delta)
    moved = date_of(_add_months(start.when(zone), whole * (12 if name == "year" else 1)))
    return Date(moved.ms + round((delta - whole) * UNIT_MS[name]))


@algorithm("Date.advance")
def advance(start: Date, delta: float, unit: str, time_zone: str | None) -> Date:
    return advanced(start, delta, unit, zone_of(time_zone))


@algorithm("Date.difference")
def difference(end: Date, start: Date, unit: str) -> float:
    return (end.ms - start.ms) / UNIT_MS[unit_of(unit)]


def _token(moment: datetime, letter: str, length: int) -> str:
    numbers = {
        "Y": moment.year, "y": moment.year, "x": moment.isocalendar()[0], "w": moment.isocalendar()[1],
        "M": moment.month, "d": moment.day, "D": moment.timetuple().tm_yday, "H": moment.hour,
        "h": (moment.hour - 1) % 12 + 1, "k": moment.hour or 24, "m": moment.minute, "s": moment.second,
        "e": moment.isoweekday(),
    }  # fmt: skip
    if letter == "S":
        return f"{moment.microsecond:06d}".ljust(length, "0")[:length]
    if letter in "Mez" and length >= 3 or letter in "EaZ":
        return _text_token(moment, letter, length)
    if letter in "Yyx" and length == 2:
        return f"{numbers[letter] % 100:02d}"
    if letter not in numbers:
        raise EarthEngineError(f"Date.format: Illegal pattern component: {letter * length}")
    return str(numbers[letter]).zfill(length)


def _text_token(moment: datetime, letter: str, length: int) -> str:
    if letter == "a":
        return "AM" if moment.hour < 12 else "PM"
    if letter in "Zz":
        return moment.strftime("%Z" if letter == "z" else "%z") or "UTC"
    names = calendar.month_name if letter == "M" else calendar.day_name
    name = names[moment.month] if letter == "M" else names[moment.weekday()]
    return name if length >= 4 else name[:3]


def formatted(value: Date, pattern: str | None = None, zone: tzinfo = UTC) -> str:
    """The date as text by a Joda-Time pattern such as "YYYY-MM-dd"; without a pattern ISO 8601 to the second."""
    moment = value.when(zone)

    def item(match: re.Match[str]) -> str:
        if match.group(1) is not None:
            return match.group(1) or "'"
        return _token(moment, match.group(2), len(match.group(0)))

    return _PATTERN_TOKEN.sub(item, pattern or "YYYY-MM-dd'T'HH:mm:ss")


@algorithm("Date.format")
def date_format(value: Date, pattern: str | None, time_zone: str | None) -> str:
    return formatted(value, pattern, zone_of(time_zone))


@algorithm("Date.millis")
def millis(value: Date) -> int:
    return value.ms


def field_of(value: Date, unit: str, zone: tzinfo = UTC) -> int:
    """A calendar field: year, month (from 1), week, day of the month, hour, minute or second."""
    name, moment = unit_of(unit), value.when(zone)
    return moment.isocalendar()[1] if name == "week" else int(getattr(moment, name))


@algorithm("Date.get")
def get(value: Date, unit: str, time_zone: str | None) -> int:
    return field_of(value, unit, zone_of(time_zone))


def floor_of(value: Date, unit: str, zone: tzinfo = UTC) -> Date:
    """The start of the year, month, week, day, hour, minute or second that contains a date."""
    name, moment = unit_of(unit), value.when(zone)
    if name == "week":
        moment -= timedelta(days=moment.weekday())
    keep = ["year", "month", "day", "hour", "minute", "second"]
    cut = keep.index("day" if name == "week" else name) + 1
    starts = {"month": 1, "day": 1, "hour": 0, "minute": 0, "second": 0}
    changes: dict[str, Any] = {finer: starts[finer] for finer in keep[cut:]}
    return date_of(moment.replace(microsecond=0, **changes))


@algorithm("Date.getRelative")
def get_relative(value: Date, unit: str, in_unit: str, time_zone: str | None) -> int:
    zone = zone_of(time_zone)
    start = floor_of(value, in_unit, zone)
    if unit_of(unit) == "month":
        return field_of(value, "month", zone) - field_of(start, "month", zone)
    return int((value.ms - start.ms) // UNIT_MS[unit_of(unit)])


@algorithm("Date.getFraction")
def get_fraction(value: Date, unit: str, time_zone: str | None) -> float:
    start = floor_of(value, unit, zone_of(time_zone))
    end = advanced(start, 1, unit, zone_of(time_zone))
    return (value.ms - start.ms) / (end.ms - start.ms)


@algorithm("Date.getRange")
def get_range(value: Date, unit: str, time_zone: str | None) -> DateRange:
    start = floor_of(value, unit, zone_of(time_zone))
    return DateRange(start, advanced(start, 1, unit, zone_of(time_zone)))


@algorithm("Date.fromYMD")
def from_ymd(year: int, month: int, day: int, time_zone: str | None) -> Date:
    try:
        return date_of(datetime(year, month, day, tzinfo=zone_of(time_zone)))
    except ValueError as error:
        raise EarthEngineError(f"Date.fromYMD: No such day: {year}-{month}-{day}.") from error


@algorithm("Date.update")
def update(value: Date, *fields: Any) -> Date:
    names = ("year", "month", "day", "hour", "minute", "second")
    given = zip(names, fields[:-1], strict=True)
    changes: dict[str, Any] = {name: int(number) for name, number in given if number is not None}
    return date_of(value.when(zone_of(fields[-1])).replace(**changes))


@algorithm("Date.unitRatio")
def unit_ratio(numerator: str, denominator: str) -> float:
    return UNIT_MS[unit_of(numerator)] / UNIT_MS[unit_of(denominator)]


@algorithm("DateRange")
def date_range(start: Any, end: Any, time_zone: str | None) -> DateRange:
    first = coerced_date(start, time_zone)
    last = Date(first.ms + 1) if end is None else coerced_date(end, time_zone)
    if last.ms <= first.ms:
        raise EarthEngineError(
            f"DateRange: The end date must be after the start date, but {formatted(last)} is not after "
            f"{formatted(first)}."
        )
    return DateRange(first, last)


@algorithm("DateRange.start")
def start_of(span: DateRange) -> Date:
    return span.start


@algorithm("DateRange.end")
def end_of(span: DateRange) -> Date:
    return span.end


@algorithm("DateRange.contains")
def contains(span: DateRange, other: Any) -> bool:
    if isinstance(other, DateRange):
        return span.start.ms <= other.start.ms and other.end.ms <= span.end.ms
    return span.holds(coerced_date(other))


@algorithm("DateRange.intersects")
def intersects(span: DateRange, other: DateRange) -> bool:
    return span.start.ms < other.end.ms and other.start.ms < span.end.ms

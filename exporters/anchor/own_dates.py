"""When the owner of a place wants its scene: near a date, within a range of days, or both."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa

from pipeline.locations import DATE_NAME, END_NAME, START_NAME
from pipeline.own_columns import DATE

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class OwnDate:
    """The day that is wanted, and the first and the last day (UTC) of which a scene may serve."""

    wanted: date
    first: date
    last: date

    @classmethod
    def of(cls, wanted: date | None, first: date | None, last: date | None, window_days: int) -> OwnDate | None:
        """From what a row says, in part or in full; None where it says nothing.

        A date alone reaches `window_days` either way, and of a range alone the middle is wanted.
        """
        if first is None or last is None:
            reach = timedelta(days=window_days)
            return None if wanted is None else cls(wanted, wanted - reach, wanted + reach)
        return cls(wanted or first + (last - first) // 2, first, last)

    @property
    def span_ms(self) -> tuple[float, float]:
        """Milliseconds since 1970 of the beginning of the first day and the end of the last one."""
        return _midnight_ms(self.first), _midnight_ms(self.last + _DAY)

    def days_from(self, time_ms: float) -> int:
        """How many days a time is from the day that is wanted, before or after."""
        return abs((datetime.fromtimestamp(time_ms / 1000, tz=UTC).date() - self.wanted).days)

    def __str__(self) -> str:
        return f"{self.first} to {self.last}"


def _midnight_ms(day: date) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000


def own_dates(table: pa.Table, window_days: int) -> list[OwnDate | None]:
    """What each row of a table of locations wants; None for those that take any day of the rules' years."""
    wanted, first, last = (_days(table, name) for name in (DATE_NAME, START_NAME, END_NAME))
    return [OwnDate.of(*row, window_days=window_days) for row in zip(wanted, first, last, strict=True)]


def _days(table: pa.Table, name: str) -> Iterable[date | None]:
    known = name in table.column_names and table.schema.field(name).type == DATE
    days: list[date | None] = table.column(name).to_pylist() if known else [None] * len(table)
    return days

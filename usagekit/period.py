"""Spans of time as people say them: ``2023-03``, ``last month``, ``last 13 months``; and business hours."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, time, timedelta

from usagekit.errors import QueryError

_FORMS = "2023-03, 2023-03-05, 20230305, 2023, today, yesterday, this month, last month, last 13 months, last 7 days"
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


@dataclass(frozen=True, slots=True, order=True)
class Period:
    """A range of dates, both included."""

    start: date
    end: date

    def __post_init__(self) -> None:
        if self.end < self.start:
            raise QueryError(f"the period ends {self.end}, before it starts {self.start}", parameter="period")

    def __str__(self) -> str:
        return self.month or (str(self.start) if self.start == self.end else f"{self.start} to {self.end}")

    @property
    def month(self) -> str | None:
        """``YYYY-MM`` if the period is exactly one calendar month."""
        return f"{self.start:%Y-%m}" if self == month_of(self.start) else None


def month_of(day: date, *, shift: int = 0) -> Period:
    """The calendar month that holds ``day``, or the one ``shift`` months later.

    >>> month_of(date(2023, 1, 31), shift=-1)
    Period(start=datetime.date(2022, 12, 1), end=datetime.date(2022, 12, 31))
    """
    start = _first_of(day.year * 12 + day.month - 1 + shift)
    return Period(start, _first_of(start.year * 12 + start.month) - timedelta(days=1))


def parse_month(text: str) -> Period:
    """Read ``YYYY-MM`` strictly.

    >>> parse_month("2023-02").end
    datetime.date(2023, 2, 28)
    """
    if isinstance(text, str) and (found := re.fullmatch(r"([0-9]{4})-(0[1-9]|1[0-2])", text)):
        return month_of(date(int(found[1]), int(found[2]), 1))
    raise QueryError(f"{text!r} is not a month of the form YYYY-MM", parameter="month")


def shift_month(month: str, by: int) -> str:
    """The month ``by`` months later (earlier when negative). Raises QueryError unless ``YYYY-MM``.

    >>> shift_month("2023-01", -1)
    '2022-12'
    """
    return f"{month_of(parse_month(month).start, shift=by).start:%Y-%m}"


def trailing_months(month: str, *, count: int = 13) -> list[str]:
    """The ``count`` months that end with ``month``, oldest first.

    >>> trailing_months("2023-03", count=3)
    ['2023-01', '2023-02', '2023-03']
    """
    return [shift_month(month, -back) for back in range(count - 1, -1, -1)]


def month_name(month: str) -> str:
    """The month as a reader writes it.

    >>> month_name("2023-03")
    'March 2023'
    """
    return f"{parse_month(month).start:%B %Y}"


def days_name(period: Period, *, year: bool = False) -> str:
    """Days of one month as a reader writes them, in short or with the ``year``.

    >>> from datetime import date
    >>> days_name(Period(date(2026, 10, 1), date(2026, 10, 14)))
    '1–14 Oct'
    >>> days_name(Period(date(2026, 10, 1), date(2026, 10, 14)), year=True)
    '1–14 October 2026'
    """
    first, last = period.start.day, period.end.day
    month = f"{period.end:%B %Y}" if year else f"{period.end:%b}"
    return f"{first if first == last else f'{first}–{last}'} {month}"


def parse_period(what: object, *, today: date) -> Period:
    """Read a period: words relative to ``today``, a date, a month, a year, or a pair of these.

    >>> str(parse_period("last month", today=date(2023, 4, 1)))
    '2023-03'
    >>> str(parse_period(("2023-01", "2023-02-14"), today=date(2023, 4, 1)))
    '2023-01-01 to 2023-02-14'

    Raises
    ------
    QueryError : the text is none of the known forms, which it lists.
    """
    if isinstance(what, Period):
        return what
    if isinstance(what, date):
        return Period(what, what)
    if isinstance(what, tuple) and len(what) == 2:
        first, last = (parse_period(part, today=today) for part in what)
        return Period(first.start, last.end)
    if isinstance(what, str) and (period := _parse_text(what.strip().lower(), today)):
        return period
    raise QueryError(
        f"{what!r} is not a period; known forms: {_FORMS}, or a pair of dates", parameter="period"
    )


def _parse_text(text: str, today: date) -> Period | None:
    yesterday = today - timedelta(days=1)
    fixed = {
        "today": Period(today, today),
        "yesterday": Period(yesterday, yesterday),
        "this month": Period(today.replace(day=1), today),
        "last month": month_of(today, shift=-1),
    }
    if text in fixed:
        return fixed[text]
    if found := re.fullmatch(r"last ([1-9][0-9]{0,3}) (month|day)s?", text):
        count = int(found[1])
        if found[2] == "day":
            return Period(today - timedelta(days=count), yesterday)
        return Period(month_of(today, shift=-count).start, month_of(today, shift=-1).end)
    if re.fullmatch(r"[0-9]{4}-[0-9]{2}", text):
        return parse_month(text)
    if re.fullmatch(r"[0-9]{4}", text):
        return Period(date(int(text), 1, 1), date(int(text), 12, 31))
    return _parse_day(text)


def _parse_day(text: str) -> Period | None:
    if not re.fullmatch(r"[0-9]{8}|[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return Period(day, day)


def _first_of(months: int) -> date:
    return date(months // 12, months % 12 + 1, 1)


PeriodLike = str | date | tuple[str | date, str | date] | Period
"""What a period may be given as."""


@dataclass(frozen=True, slots=True)
class BusinessHours:
    """When a lab counts as open: local times of day, weekdays (0 = Monday) and holidays."""

    start: time = time(8)
    end: time = time(18)
    weekdays: tuple[int, ...] = (0, 1, 2, 3, 4)
    holidays: tuple[date, ...] = ()

    def __str__(self) -> str:
        days = [_WEEKDAYS[d] for d in sorted(self.weekdays)]
        run = list(self.weekdays) == list(range(min(self.weekdays), max(self.weekdays) + 1))
        named = f"{days[0]}-{days[-1]}" if run and len(days) > 1 else ", ".join(days)
        return f"{named} {self.start:%H:%M}-{self.end:%H:%M}"

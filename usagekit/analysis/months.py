"""Calendar months as ``"YYYY-MM"`` and what a month holds in its own time zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from usagekit.engine.bins import day_start
from usagekit.errors import QueryError
from usagekit.period import BusinessHours, Period, days_name, month_name, month_of, parse_month, shift_month


def month_days(month: str) -> pd.DatetimeIndex:
    """The dates of a month, without a zone."""
    period = parse_month(month)
    return pd.date_range(period.start, period.end, freq="D")


def month_bounds(month: str, timezone: str) -> tuple[pd.Timestamp, pd.Timestamp]:
    """First instant of the month and of the next one in an IANA zone, both in UTC."""
    zone = ZoneInfo(timezone)
    starts = [month_of(parse_month(month).start, shift=by).start for by in (0, 1)]
    # Through UTC seconds: the difference of two datetimes of one zone would ignore a change of the clock.
    first, last = (
        pd.Timestamp(datetime(s.year, s.month, 1, tzinfo=zone).timestamp(), unit="s", tz="UTC")
        for s in starts
    )
    return first, last


def utc_days(days: Period, timezone: str) -> Period:
    """The UTC dates on which the days of a zone lie: the API dates single events in UTC.

    >>> from datetime import date
    >>> str(utc_days(Period(date(2023, 1, 1), date(2023, 3, 31)), "America/Los_Angeles"))
    '2023-01-01 to 2023-04-01'
    """
    zone, after = ZoneInfo(timezone), days.end + timedelta(days=1)
    first, last = (
        datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC) for day in (days.start, after)
    )
    return Period(first.date(), (last - timedelta(microseconds=1)).date())


def hours_in_month(month: str, timezone: str) -> float:
    """Elapsed hours (h) of a month, by instants.

    >>> hours_in_month("2026-10", "Europe/Berlin"), hours_in_month("2026-03", "Europe/Berlin")
    (745.0, 743.0)
    """
    first, last = month_bounds(month, timezone)
    return (last - first) / pd.Timedelta(hours=1)


def hours_in_days(days: Period, timezone: str) -> float:
    """Elapsed hours (h) of some days, by instants.

    >>> from datetime import date
    >>> hours_in_days(Period(date(2026, 10, 24), date(2026, 10, 25)), "Europe/Berlin")
    49.0
    """
    first, last = days_bounds(days, timezone)
    return (last - first) / pd.Timedelta(hours=1)


def days_bounds(days: Period, timezone: str) -> tuple[pd.Timestamp, pd.Timestamp]:
    """First instant of the days and of the day after them in an IANA zone, both in UTC."""
    zone = ZoneInfo(timezone)
    first, last = (
        pd.Timestamp(day_start(day, zone), unit="s", tz="UTC")
        for day in (days.start, days.end + timedelta(days=1))
    )
    return first, last


def business_days_in(month: str, business: BusinessHours) -> int:
    """Number of days on which a lab is open: its weekdays without its holidays.

    >>> business_days_in("2026-10", BusinessHours())
    22
    """
    return business_days(parse_month(month), business)


def business_days(period: Period, business: BusinessHours) -> int:
    """The same for any dates."""
    days = pd.date_range(period.start, period.end, freq="D")
    return int(
        (days.day_of_week.isin(business.weekdays) & ~days.isin(pd.to_datetime(business.holidays))).sum()
    )


def partial_days(month: str, as_of: datetime, timezone: str) -> tuple[Period, Period] | None:
    """The whole days of a running month that are over, and as many days of the month before.

    None if all of the month was over at the instant ``as_of``. A shorter month before is taken whole.

    >>> from datetime import UTC
    >>> now = datetime(2026, 10, 15, 9, 30, tzinfo=UTC)
    >>> before, days = partial_days("2026-10", now, "Europe/Berlin")
    >>> str(before), str(days), partial_days("2026-09", now, "Europe/Berlin")
    ('2026-09-01 to 2026-09-14', '2026-10-01 to 2026-10-14', None)

    Raises
    ------
    QueryError : not one day of the month was over.
    """
    whole, before = parse_month(month), parse_month(shift_month(month, -1))
    last = as_of.astimezone(ZoneInfo(timezone)).date() - timedelta(days=1)
    if last >= whole.end:
        return None
    if last < whole.start:
        raise QueryError(f"not one day of {month_name(month)} is over in {timezone}", parameter="month")
    same = Period(before.start, min(before.start + (last - whole.start), before.end))
    return same, Period(whole.start, last)


def period_title(month: str, as_of: datetime, timezone: str) -> str:
    """What a report is headed: the month, or the days of a running one.

    >>> from datetime import UTC
    >>> now = datetime(2026, 10, 15, 9, 30, tzinfo=UTC)
    >>> [period_title(month, now, "Europe/Berlin") for month in ("2026-09", "2026-10")]
    ['September 2026', '1–14 Oct (partial)']
    """
    partial = partial_days(month, as_of, timezone)
    return f"{days_name(partial[1])} (partial)" if partial else month_name(month)


def weekday_hours(month: str, timezone: str, *, until: pd.Timestamp | None = None) -> pd.DataFrame:
    """Elapsed hours (h) of the month in each weekday (0 = Monday) and hour of the local clock.

    ``until`` ends a running month early.

    In a month with a change of the clock the skipped hour is missing once and the repeated one counts
    twice: March 2023 has four Sundays, but in Berlin only three of them have a two o'clock.

    >>> float(weekday_hours("2023-03", "Europe/Berlin").loc[6, 2])
    3.0
    """
    first, end = month_bounds(month, timezone)
    last = end if until is None else min(end, until)
    # By minutes: zones have changed at 00:01, and Lord Howe shifts by half an hour.
    clock = pd.date_range(first, last, freq="min", inclusive="left").tz_convert(timezone)
    cells = np.bincount(clock.day_of_week * 24 + clock.hour, minlength=7 * 24) / 60
    return pd.DataFrame(cells.reshape(7, 24), index=range(7), columns=range(24))

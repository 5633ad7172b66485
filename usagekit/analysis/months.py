"""Calendar months as ``"YYYY-MM"`` and what a month holds in its own time zone."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from usagekit.period import BusinessHours, month_of, parse_month


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


def hours_in_month(month: str, timezone: str) -> float:
    """Elapsed hours (h) of a month, by instants.

    >>> hours_in_month("2026-10", "Europe/Berlin"), hours_in_month("2026-03", "Europe/Berlin")
    (745.0, 743.0)
    """
    first, last = month_bounds(month, timezone)
    return (last - first) / pd.Timedelta(hours=1)


def business_days_in(month: str, business: BusinessHours) -> int:
    """Number of days on which a lab is open: its weekdays without its holidays.

    >>> business_days_in("2026-10", BusinessHours())
    22
    """
    days = month_days(month)
    return int(
        (days.day_of_week.isin(business.weekdays) & ~days.isin(pd.to_datetime(business.holidays))).sum()
    )


def weekday_hours(month: str, timezone: str) -> pd.DataFrame:
    """Elapsed hours (h) of the month in each weekday (0 = Monday) and hour of the local clock.

    In a month with a change of the clock the skipped hour is missing once and the repeated one counts
    twice: March 2023 has four Sundays, but in Berlin only three of them have a two o'clock.

    >>> float(weekday_hours("2023-03", "Europe/Berlin").loc[6, 2])
    3.0
    """
    first, last = month_bounds(month, timezone)
    # By minutes: zones have changed at 00:01, and Lord Howe shifts by half an hour.
    clock = pd.date_range(first, last, freq="min", inclusive="left").tz_convert(timezone)
    cells = np.bincount(clock.day_of_week * 24 + clock.hour, minlength=7 * 24) / 60
    return pd.DataFrame(cells.reshape(7, 24), index=range(7), columns=range(24))

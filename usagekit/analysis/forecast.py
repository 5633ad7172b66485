"""How many hours the next month will have, if it is like the last three."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from statistics import median
from typing import Final

import pandas as pd

from usagekit.analysis.history import comparable_history
from usagekit.analysis.months import business_days_in
from usagekit.analysis.wording import NBSP, count_text, hours_text
from usagekit.period import BusinessHours, month_name, shift_month, trailing_months
from usagekit.vocabulary import CURRENT_ERA_START

LEAST_MONTHS: Final = 4
RATE_MONTHS: Final = 3


@dataclass(frozen=True, slots=True)
class Forecast:
    """The ``hours`` (h) expected in ``month`` (``YYYY-MM``), from ``low`` to ``high``; ``basis`` says why in words."""

    month: str
    hours: float
    low: float
    high: float
    basis: str


def forecast(
    usage: pd.DataFrame | None,
    *,
    month: str,
    business: BusinessHours,
    era_start: date = CURRENT_ERA_START,
) -> Forecast | None:
    """Expect of the month after ``month`` what the last three had per business day.

    Parameters
    ----------
    usage
        one row a month over the 13 that end with ``month``: ``datetime``, ``total_time_hours`` (h). A month without
        a row had no hours.
    month
        the last month known, ``YYYY-MM``.
    business
        when the lab is open; holidays of the month to come should be among its holidays.
    era_start
        months on the other side of this date do not count.

    Returns
    -------
    None with fewer than four months since the first hours, if one of the last three is missing, or where a
    month has no business day.

    Notes
    -----
    rate = hours / business days of a month. hours = median of the last three rates * business days of the month
    to come; low and high = their least and largest * the same days. The band is what was seen, not a
    probability.

    Raises
    ------
    SchemaError : the frame has no ``datetime`` or several rows for one month.

    >>> months = pd.to_datetime(["2022-12-01", "2023-01-01", "2023-02-01", "2023-03-01"])
    >>> usage = pd.DataFrame({"datetime": months, "total_time_hours": [180.0, 220.0, 200.0, 276.0]})
    >>> found = forecast(usage, month="2023-03", business=BusinessHours())
    >>> found.month, found.hours, found.low, found.high
    ('2023-04', 200.0, 200.0, 240.0)
    """
    values = comparable_history(usage, "total_time_hours", month=month, era_start=era_start)
    begun = next((at for at, hours in enumerate(values) if hours), len(values))
    known = sum(hours is not None for hours in values[begun:])
    names = trailing_months(month, count=RATE_MONTHS)
    days = [business_days_in(name, business) for name in names]
    coming = shift_month(month, 1)
    days_to_come = business_days_in(coming, business)
    recent = [hours for hours in values[-RATE_MONTHS:] if hours is not None]
    if known < LEAST_MONTHS or len(recent) < RATE_MONTHS or not all([*days, days_to_come]):
        return None
    rates = [hours / count for hours, count in zip(recent, days, strict=True)]
    middle = median(rates)
    basis = (
        f"{hours_text(middle)} per business day, the median of {month_name(names[0])} to {month_name(month)}, "
        f"× {count_text(days_to_come)}{NBSP}business days"
    )
    low, expected, high = (rate * days_to_come for rate in (min(rates), middle, max(rates)))
    return Forecast(coming, expected, low, high, basis)

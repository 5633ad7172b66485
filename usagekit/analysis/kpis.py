"""The five figures of a month against the months before it.

Three states are kept apart everywhere: a value, a true zero (asked, and nothing happened) and a missing
value (``None`` with a reason). A change is relative only when its base carries it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from math import isnan

import pandas as pd

from usagekit.analysis.months import business_days_in, shift_month, trailing_months
from usagekit.analysis.wording import count_text, hours_text, minutes_text, percent_text, signed, value_text
from usagekit.errors import SchemaError
from usagekit.period import BusinessHours
from usagekit.vocabulary import CURRENT_ERA_START

Values = list[float | None]

NO_COMPARISON = "n/a (no comparable data)"
MIN_BASE_HOURS = 5
MIN_BASE_SESSIONS = 10
MEAN_TOLERANCE = 0.01
DEFAULT_HOURS = BusinessHours()


@dataclass(frozen=True, slots=True)
class Kpi:
    """One key figure of a month.

    ``unit`` is ``h``, ``min``, ``share`` (0 to 1) or ``""`` for counts. ``history`` ends with ``value``;
    ``None`` is a missing value, and ``reason`` says why this month's is. ``change`` is written out:
    ``+30%``, ``+12 h``, ``+3 pp``, ``new``, ``unchanged`` or why there is none;
    empty when the value is missing.
    """

    key: str
    label: str
    unit: str
    history: tuple[float | None, ...]
    change: str
    reason: str = ""
    note: str = ""

    @property
    def value(self) -> float | None:
        return self.history[-1]

    @property
    def previous(self) -> float | None:
        return self.history[-2]

    @property
    def text(self) -> str:
        """The value as readers read it, ``n/a`` when missing."""
        return "n/a" if self.value is None else value_text(self.value, self.unit)


def kpis(
    usage: pd.DataFrame | None,
    automated: pd.DataFrame | None,
    *,
    month: str,
    business: BusinessHours = DEFAULT_HOURS,
    era_start: date = CURRENT_ERA_START,
) -> tuple[Kpi, ...]:
    """Device hours, active users, sessions, mean session and automation share of a month.

    Parameters
    ----------
    usage
        one row a month of one team (or the whole lab) over the 13 months that end with ``month``: ``datetime``,
        ``total_time_hours`` (h), ``session_count``, ``user_count`` and, as a check,
        ``avg_session_minutes`` (min). A month without a row had no sessions. A column that is not
        there, or a frame that is None, could not be fetched: its figures are missing, not zero.
    automated
        the same for automated sessions; only ``total_time_hours``.
    month
        the month reported, ``YYYY-MM``.
    business
        the lab's business hours, for hours per business day.
    era_start
        months on the other side of this date are not comparable and count as missing.

    Notes
    -----
    mean session = 60 * hours / sessions (min), never a mean of means; automation share =
    automated hours / hours; change = (x - x0) / x0, in percentage points for the share. After
    x0 = 0 it is "new"; where x0 rests on fewer than 10 sessions or 5 h it is absolute.

    Raises
    ------
    SchemaError : a frame has no ``datetime`` or several rows for one month.
    """
    names = trailing_months(month)
    current_era = [name >= f"{era_start:%Y-%m}" for name in names]

    def series(frame: pd.DataFrame | None, column: str) -> Values:
        values = _by_month(frame, column, names)
        return [v if era == current_era[-1] else None for v, era in zip(values, current_era, strict=True)]

    hours, sessions = series(usage, "total_time_hours"), series(usage, "session_count")
    # Sessions without any user are sessions whose users were not recorded, not sessions of nobody.
    users = [None if u == 0 and s else u for u, s in zip(series(usage, "user_count"), sessions, strict=True)]
    means = [_ratio(h, s, 60) for h, s in zip(hours, sessions, strict=True)]
    shares = [_ratio(a, h) for a, h in zip(series(automated, "total_time_hours"), hours, strict=True)]
    bases = ((hours[-2], MIN_BASE_HOURS), (sessions[-2], MIN_BASE_SESSIONS))
    small = any(base is not None and base < least for base, least in bases)
    rows = (
        ("hours", "Device hours", "h", hours, _per_business_day(hours, month, business, small=small)),
        ("users", "Active users", "", users, ""),
        ("sessions", "Sessions", "", sessions, ""),
        ("mean_session", "Mean session", "min", means, _mean_note(means[-1], usage, month)),
        ("automation", "Automation share", "share", shares, ""),
    )
    idle = sessions[-1] == 0 or hours[-1] == 0
    return tuple(
        Kpi(
            key,
            label,
            unit,
            tuple(v),
            _change(v[-1], v[-2], unit, small=small),
            "" if v[-1] is not None else _reason(unit, idle),
            note,
        )
        for key, label, unit, v, note in rows
    )


def _by_month(frame: pd.DataFrame | None, column: str, months: list[str]) -> Values:
    if frame is None or (column not in frame and len(frame)):
        return [None] * len(months)
    if "datetime" not in frame:
        raise SchemaError("the frame has no column 'datetime'", missing=["datetime"])
    if not len(frame):
        return [0.0] * len(months)
    index = pd.to_datetime(frame["datetime"]).dt.strftime("%Y-%m")
    if index.duplicated().any():
        raise SchemaError("more than one row a month: narrow the frame to one team")
    found = dict(zip(index, frame[column].astype(float), strict=True))
    values = [found.get(month, 0.0) for month in months]
    return [None if isnan(v) else v for v in values]


def _ratio(top: float | None, bottom: float | None, scale: float = 1) -> float | None:
    return scale * top / bottom if top is not None and bottom else None


def _reason(unit: str, idle: bool) -> str:
    return "no sessions" if idle and unit in ("min", "share") else "not recorded or not fetched"


def _change(value: float | None, previous: float | None, unit: str, *, small: bool) -> str:
    if value is None:
        return ""
    if previous is None:
        return NO_COMPARISON
    delta = value - previous
    if delta == 0:
        return "unchanged"
    if unit == "share":
        return signed(f"{percent_text(abs(delta))[:-1]} pp", delta)
    if previous == 0:
        return "new"
    ratio = abs(delta) / previous
    relative = f"{count_text(100 * ratio)}%" if ratio >= 0.005 else "<1%"
    return signed(value_text(abs(delta), unit) if small else relative, delta)


def _per_business_day(hours: Values, month: str, business: BusinessHours, *, small: bool) -> str:
    value, previous = hours[-1], hours[-2]
    days, days_before = (business_days_in(shift_month(month, by), business) for by in (0, -1))
    if not value or not days:
        return ""
    rate = value / days
    base = previous / days_before if previous and days_before else None
    change = "" if small or not base else f" ({_change(rate, base, 'h', small=False)})"
    return f"{hours_text(rate)} per business day{change}"


def _mean_note(mean: float | None, usage: pd.DataFrame | None, month: str) -> str:
    told = _by_month(usage, "avg_session_minutes", [month])[-1]
    if mean is None or not told or abs(mean - told) <= MEAN_TOLERANCE * told:
        return ""
    return f"the API's own mean: {minutes_text(told)}"

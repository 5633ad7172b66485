"""An answer beside the bins before it, or beside the same bins a year earlier."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import pandas as pd

from usagekit.analysis.changes import MIN_BASE_HOURS, MIN_BASE_SESSIONS
from usagekit.period import Period, month_of
from usagekit.vocabulary import CURRENT_ERA_START, METRICS

COLUMN_ENDS: Final = MappingProxyType(
    {
        "previous": ("_previous", "_change", "_change_share"),
        "year": ("_year_before", "_year_change", "_year_change_share"),
    }
)
"""What a comparison adds to the name of a metric's column: the value then, the difference, its share."""

NOT_COMPARABLE: Final = (
    f"Bins on different sides of {CURRENT_ERA_START} do not compare: before, a session had a user or a team, "
    "never both."
)
_DAYS = {"previous": {"hour": 1, "day": 1, "week": 7}, "year": dict.fromkeys(("hour", "day", "week"), 364)}
_MONTHS = {"previous": 1, "year": 12}
_COUNTS = {metric.column for metric in METRICS.values() if metric.is_count}
_MEANS = {"avg_session_minutes"}


def base_period(period: Period, *, bin_size: str, base: str) -> Period:
    """The dates that a period is compared with.

    Months move by a month or by twelve, days and hours by a day or by 52 weeks (so that weekdays meet), weeks
    by one or by 52. Part of a month meets the same days; its last day meets the last day.

    >>> str(base_period(Period(date(2023, 3, 1), date(2023, 3, 31)), bin_size="month", base="previous"))
    '2023-02'
    """
    if bin_size != "month":
        back = timedelta(days=_DAYS[base][bin_size])
        return Period(period.start - back, period.end - back)
    return Period(*(_months_back(day, _MONTHS[base]) for day in (period.start, period.end)))


def comparable(period: Period, before: Period) -> bool:
    """Whether any bin of one can be compared with one of the other: no change of eras lies between."""
    return not before.end < CURRENT_ERA_START <= period.start


def compared(
    usage: pd.DataFrame,
    bases: Mapping[str, pd.DataFrame],
    *,
    keys: Sequence[str],
    columns: Sequence[str],
    bin_size: str,
) -> pd.DataFrame:
    """Put the values of the bins before beside those of ``usage``.

    Parameters
    ----------
    usage
        a tidy frame of :meth:`usagekit.lab.Lab.usage`.
    bases
        by the name of the base (a key of :data:`COLUMN_ENDS`) the same frame of :func:`base_period`. Its
        ``total_time_hours`` (h) and ``session_count``, where it has them, say how much the base carries.
    keys
        names of the group columns.
    columns
        the metric columns to compare.
    bin_size
        hour, day, week or month.

    Returns
    -------
    The frame with three columns more a metric and base. No row is no session: a member with usage in only one of the
    two has zeros in the other. The share is NaN after zero, and after less than 10 sessions or 5 h. Where bins
    do not compare all three are missing. Hours and shares are float64, counts Int64.

    >>> usage = pd.DataFrame({"datetime": [pd.Timestamp("2023-03-01")], "team": ["a"], "total_time_hours": [402.5]})
    >>> base = pd.DataFrame({"datetime": [pd.Timestamp("2023-02-01")], "team": ["a"], "total_time_hours": [350.0]})
    >>> columns = ["total_time_hours"]
    >>> shown = compared(usage, {"previous": base}, keys=["team"], columns=columns, bin_size="month")
    >>> shown[["total_time_hours_change", "total_time_hours_change_share"]].values.tolist()
    [[52.5, 0.15]]
    """
    zone = getattr(usage["datetime"].dtype, "tz", None)
    place = ["datetime", "_fold", *keys]
    now = _placed(usage)
    moved = {name: _placed(frame, by=(name, bin_size)) for name, frame in bases.items()}
    for name, frame in moved.items():
        shown = frame[_same_era(frame["datetime"], name, bin_size)]
        extra = [c for c in ("notes",) if c in usage]
        new = shown[place + extra].merge(now[place], on=place, how="left", indicator=True)
        new = new[new.pop("_merge") == "left_only"]
        now = pd.concat([now, new], ignore_index=True) if len(new) else now
    for column in columns:
        now[column] = now[column].astype("float64") if column in _MEANS else now[column].fillna(0)
        now[column] = now[column].astype(usage[column].dtype)
    for name, frame in moved.items():
        now = _with_base(now, frame, name, place=place, columns=columns, bin_size=bin_size)
    if zone is not None:
        now["datetime"] = now["datetime"].dt.tz_localize(
            zone, ambiguous=(now["_fold"] == 0).to_numpy(), nonexistent="NaT"
        )
        # A clock hour that the day before had and this day skips has no bin here.
        now = now[now["datetime"].notna() & (_fold(now["datetime"]) == now["_fold"])]
    now["datetime"] = now["datetime"].astype(usage["datetime"].dtype)
    return now.sort_values(["datetime", *keys], ignore_index=True).drop(columns="_fold")


def _with_base(
    now: pd.DataFrame,
    base: pd.DataFrame,
    name: str,
    *,
    place: list[str],
    columns: Sequence[str],
    bin_size: str,
) -> pd.DataFrame:
    values = [c for c in dict.fromkeys([*columns, "total_time_hours", "session_count"]) if c in base]
    then = now[place].merge(base[place + values], on=place, how="left", validate="one_to_one")
    for column in set(values) - _MEANS:
        then[column] = then[column].fillna(0)
    same = _same_era(now["datetime"], name, bin_size).to_numpy()
    small = np.zeros(len(now), dtype=bool)
    for column, least in (("total_time_hours", MIN_BASE_HOURS), ("session_count", MIN_BASE_SESSIONS)):
        if column in then:
            small |= (then[column] < least).to_numpy()
    for column in columns:
        before = (then[column] if column in then else pd.Series(np.nan, index=now.index)).astype("float64")
        before = before.where(same)
        change = now[column].astype("float64") - before
        kind: Any = "Int64" if column in _COUNTS else "float64"
        ends = COLUMN_ENDS[name]
        now[column + ends[0]], now[column + ends[1]] = before.astype(kind), change.astype(kind)
        now[column + ends[2]] = (change / before.where((before != 0) & ~small)).astype("float64")
    return now


def _placed(frame: pd.DataFrame, by: tuple[str, str] | None = None) -> pd.DataFrame:
    """The frame with wall clock times, moved on by a base; ``_fold`` is 1 in the hour that comes twice."""
    times = frame["datetime"]
    placed = frame.assign(datetime=times.dt.tz_localize(None), _fold=_fold(times))
    if by:
        placed["datetime"] = _moved(placed["datetime"], *by, sign=1)
    return placed


def _moved(
    labels: pd.Series[pd.Timestamp], base: str, bin_size: str, *, sign: int
) -> pd.Series[pd.Timestamp]:
    if bin_size == "month":
        months = pd.DatetimeIndex(labels).to_period("M") + sign * _MONTHS[base]
        return pd.Series(months.to_timestamp().as_unit("us"), index=labels.index)
    return labels + sign * pd.Timedelta(days=_DAYS[base][bin_size])


def _fold(times: pd.Series[pd.Timestamp]) -> pd.Series[int]:
    if getattr(times.dtype, "tz", None) is None:
        return pd.Series(0, index=times.index, dtype="int64")
    folds = {t: t.fold for t in times.dropna().unique()}
    return times.map(folds).fillna(0).astype("int64")


def _same_era(labels: pd.Series[pd.Timestamp], base: str, bin_size: str) -> pd.Series[bool]:
    eras = [_era(times, bin_size) for times in (labels, _moved(labels, base, bin_size, sign=-1))]
    return (eras[0] == eras[1]) & (eras[0] != 0)


def _era(labels: pd.Series[pd.Timestamp], bin_size: str) -> pd.Series[int]:
    """1 for bins of the current era, -1 for those of the legacy era, 0 where the change falls into the bin."""
    change = pd.Timestamp(CURRENT_ERA_START)
    spans: dict[str, Any] = {
        "month": pd.offsets.MonthBegin(1),
        "week": pd.Timedelta(days=7),
        "day": pd.Timedelta(days=1),
    }
    ends = labels + spans.get(bin_size, pd.Timedelta(hours=1))
    eras: pd.Series[int] = (labels >= change).astype("int64") - (ends <= change).astype("int64")
    return eras


def _months_back(day: date, months: int) -> date:
    first = month_of(day, shift=-months).start
    last = monthrange(first.year, first.month)[1]
    whole = day.day == monthrange(day.year, day.month)[1]
    return first.replace(day=last if whole and day.day != 1 else min(day.day, last))

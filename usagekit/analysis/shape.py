"""How hours spread over days, over the week, and over devices or models."""

from __future__ import annotations

import pandas as pd

from usagekit.analysis.columns import require
from usagekit.analysis.months import month_bounds, month_days, weekday_hours
from usagekit.period import shift_month


def daily_hours(hourly: pd.DataFrame, *, month: str, timezone: str) -> pd.DataFrame:
    """Device hours (h) of each day of a month beside the same day of the month before.

    Parameters
    ----------
    hourly
        hour bins of both months; ``datetime`` with a zone and ``total_time_hours`` (h).
    month, timezone
        the month ``YYYY-MM`` and the IANA zone whose dates count.

    Returns
    -------
    One row a date: ``date``, ``total_time_hours``, ``previous_hours`` (NaN where the month before has no
    such day) and ``weekend``. A day without sessions has 0.

    Raises
    ------
    SchemaError : a column is missing.

    >>> hourly = pd.DataFrame({"datetime": pd.to_datetime(["2023-02-02 09:00", "2023-03-02 09:00", "2023-03-02 10:00"],
    ...                        utc=True), "total_time_hours": [1.5, 0.5, 2.0]})
    >>> daily_hours(hourly, month="2023-03", timezone="Europe/Berlin")[["total_time_hours", "previous_hours"]][:3].values.tolist()
    [[0.0, 0.0], [2.5, 1.5], [0.0, 0.0]]
    """
    stamps = _local(hourly, timezone)
    sums = hourly["total_time_hours"].astype(float).groupby(stamps.dt.strftime("%Y-%m-%d")).sum()
    days = month_days(month)
    before = month_days(shift_month(month, -1))
    previous = sums.reindex(before.strftime("%Y-%m-%d"), fill_value=0.0)
    previous.index = pd.Index(before.day)
    return pd.DataFrame(
        {
            "date": days,
            "total_time_hours": sums.reindex(days.strftime("%Y-%m-%d"), fill_value=0.0).to_numpy(),
            "previous_hours": previous.reindex(days.day).to_numpy(),
            "weekend": days.day_of_week >= 5,
        }
    )


def weekday_hour_profile(
    hourly: pd.DataFrame, *, month: str, timezone: str, until: pd.Timestamp | None = None
) -> pd.DataFrame:
    """Mean number of devices busy by weekday and hour of the local clock.

    cell = device hours in that weekday and hour / hours of the month that fall there, so a skipped or
    repeated hour at a change of the clock does not distort it. Rows of other months are left out.

    Parameters
    ----------
    hourly
        hour bins; ``datetime`` with a zone and ``total_time_hours`` (h).
    month, timezone
        the month ``YYYY-MM`` and the IANA zone whose clock counts.
    until
        the instant up to which a running month is told.

    Returns
    -------
    7 rows (0 = Monday) by 24 columns (0 to 23); NaN where the month has no such hour at all.

    Raises
    ------
    SchemaError : a column is missing.

    >>> hourly = pd.DataFrame({"datetime": pd.to_datetime(["2023-03-02 08:00", "2023-03-09 08:00"], utc=True),
    ...                        "total_time_hours": [3.0, 2.0]})
    >>> float(weekday_hour_profile(hourly, month="2023-03", timezone="Europe/Berlin").loc[3, 9])  # five Thursdays
    1.0
    """
    stamps = _local(hourly, timezone)
    first, last = month_bounds(month, timezone)
    inside = (stamps >= first) & (stamps < last)
    stamps, hours = stamps[inside], hourly["total_time_hours"].astype(float)[inside]
    elapsed = weekday_hours(month, timezone, until=until)
    cells = (
        hours.groupby(stamps.dt.day_of_week * 24 + stamps.dt.hour).sum().reindex(range(168), fill_value=0.0)
    )
    sums = pd.DataFrame(cells.to_numpy().reshape(7, 24), index=elapsed.index, columns=elapsed.columns)
    return sums / elapsed.where(elapsed > 0)


def top_rows(usage: pd.DataFrame, column: str, *, top: int = 10) -> pd.DataFrame:
    """The largest groups by device hours, and all others as one row, so that the hours add up.

    Parameters
    ----------
    usage
        one row a group; ``column`` and ``total_time_hours`` (h).
    column
        the group column, such as ``device_address``.
    top
        number of groups kept, at least 1.

    Returns
    -------
    ``rank`` (1 is the largest; 0 marks the row of all others, if any), ``column`` (empty in that row),
    ``total_time_hours`` (h), ``share`` of all hours (0 to 1) and ``groups`` (how many the row stands for).

    Raises
    ------
    SchemaError : a column is missing.

    >>> usage = pd.DataFrame({"device_model": ["a", "b", "c"], "total_time_hours": [1.0, 6.0, 3.0]})
    >>> top_rows(usage, "device_model", top=1)[["rank", "device_model", "share"]].values.tolist()
    [[1, 'b', 0.6], [0, '', 0.4]]
    """
    require(usage, column, "total_time_hours")
    totals = usage.groupby(column)["total_time_hours"].agg(["sum", "size"]).reset_index()
    ranked = totals[totals["sum"] > 0].sort_values(["sum", column], ascending=[False, True])
    kept, rest = ranked.head(top), ranked.iloc[top:]
    rows = [
        (rank, name, hours, 1)
        for rank, (name, hours) in enumerate(zip(kept[column], kept["sum"], strict=True), 1)
    ]
    if len(rest):
        rows.append((0, "", float(rest["sum"].sum()), len(rest)))
    table = pd.DataFrame(rows, columns=["rank", column, "total_time_hours", "groups"])
    table.insert(3, "share", table["total_time_hours"] / table["total_time_hours"].sum())
    return table


def _local(hourly: pd.DataFrame, timezone: str) -> pd.Series[pd.Timestamp]:
    require(hourly, "datetime", "total_time_hours")
    return pd.to_datetime(hourly["datetime"], utc=True).dt.tz_convert(timezone)

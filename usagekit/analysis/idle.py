"""Devices that nobody used, and for how long."""

from __future__ import annotations

import pandas as pd

from usagekit.analysis.columns import require
from usagekit.period import trailing_months


def idle_devices(usage: pd.DataFrame, *, month: str) -> pd.DataFrame:
    """List the devices without time in ``month``, the longest idle first.

    Parameters
    ----------
    usage
        one row a device and month over the 13 months that end with ``month``, also without usage:
        ``datetime``, ``device_address``, ``total_time_hours`` (h).
    month
        ``YYYY-MM``.

    Returns
    -------
    ``device_address`` (str), ``idle_months`` (int64, consecutive months without time, at most 13),
    ``last_used`` (datetime64[us], the first of the last month with time; NaT if none).

    Raises
    ------
    SchemaError : a column is missing.

    >>> usage = pd.DataFrame({"datetime": pd.to_datetime(["2023-01-01", "2023-02-01", "2023-03-01"] * 2),
    ...                       "device_address": ["a@x"] * 3 + ["b@x"] * 3,
    ...                       "total_time_hours": [5.0, 0.0, 0.0, 0.0, 0.0, 2.0]})
    >>> idle_devices(usage, month="2023-03")[["device_address", "idle_months"]].values.tolist()
    [['a@x', 2]]
    """
    require(usage, "datetime", "device_address", "total_time_hours")
    months = pd.DatetimeIndex([pd.Timestamp(name) for name in trailing_months(month)]).as_unit("us")
    used = usage[usage["datetime"].isin(months) & (usage["total_time_hours"] > 0)]
    last = used.groupby("device_address")["datetime"].max()
    devices = pd.Index(usage["device_address"].unique(), name="device_address")
    place = pd.Series(range(len(months)), index=months)
    found = pd.DataFrame({"last_used": last.reindex(devices).astype("datetime64[us]")})
    found["idle_months"] = (len(months) - 1 - found["last_used"].map(place).fillna(-1)).astype("int64")
    found = found[found["idle_months"] > 0].reset_index()
    order = found.sort_values(["idle_months", "device_address"], ascending=[False, True], ignore_index=True)
    return order[["device_address", "idle_months", "last_used"]]


def idle_words(idle: pd.DataFrame, *, month: str) -> pd.DataFrame:
    """For how long devices have been idle, in words: the 13 months tell neither more nor the day.

    Parameters
    ----------
    idle, month
        what :func:`idle_devices` returns for the month ``YYYY-MM``.

    Returns
    -------
    ``idle_for`` (months, such as ``4`` or ``13+``) and ``last_month`` (such as ``Jan 2023`` or ``before Mar 2022``).

    >>> idle = pd.DataFrame({"idle_months": [13, 2], "last_used": pd.to_datetime([None, "2023-01-01"])})
    >>> idle_words(idle, month="2023-03").values.tolist()
    [['13+', 'before Mar 2022'], ['2', 'Jan 2023']]
    """
    first = pd.Timestamp(trailing_months(month)[0])
    never = idle["last_used"].isna()
    months = idle["idle_months"].astype("str")
    last = idle["last_used"].dt.strftime("%b %Y").astype("str")
    words = pd.DataFrame({"idle_for": months.mask(never, months + "+")})
    return words.assign(last_month=last.mask(never, f"before {first:%b %Y}")).astype("str")

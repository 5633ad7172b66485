"""Devices that are about to be forgotten: an early sign, before they are idle for months."""

from __future__ import annotations

import pandas as pd

from usagekit.analysis.columns import require
from usagekit.period import trailing_months

MIN_USUAL_HOURS = 5.0
FADING_SHARE = 0.25


def fading_devices(roster: pd.DataFrame, *, month: str) -> pd.DataFrame:
    """List the devices whose idle streak just began, and those that are hardly used any more.

    ``idle``: no time in the month, but at least 5 h in the month before, or some in each of the three before.
    ``fading``: some time, but at most 25 % of the median of the three months before, which is at least 5 h.

    Parameters
    ----------
    roster
        a row a device and month, also without usage; ``datetime`` (the first of the month), ``device_address``,
        ``total_time_hours`` (h). No row is no usage; a month whose hours are missing judges no device.
    month
        ``YYYY-MM``.

    Returns
    -------
    ``device_address``, ``state`` (``idle`` or ``fading``), ``usual_hours`` (h, median of the three months before),
    ``before_hours`` (h, the month before), ``hours`` (h) and ``idle_since`` (datetime64[us], the first of the
    month; NaT while fading); the most hours lost against the month before first.

    Raises
    ------
    SchemaError : a column is missing.

    >>> months = pd.to_datetime(["2026-07-01", "2026-08-01", "2026-09-01", "2026-10-01"])
    >>> roster = pd.DataFrame({"datetime": months, "device_address": "1@a", "total_time_hours": [20.0, 30, 10, 4]})
    >>> fading_devices(roster, month="2026-10")[["state", "usual_hours", "hours"]].values.tolist()
    [['fading', 20.0, 4.0]]
    """
    require(roster, "datetime", "device_address", "total_time_hours")
    names = trailing_months(month, count=4)
    stamps = pd.DatetimeIndex([pd.Timestamp(name) for name in names]).as_unit("us")
    recent = roster[roster["datetime"].isin(stamps)]
    table = recent.pivot(index="device_address", columns="datetime", values="total_time_hours")
    missing = recent.loc[recent["total_time_hours"].isna(), "device_address"]
    table = table.reindex(columns=stamps).fillna(0.0)
    table = table[~table.index.isin(missing)]
    before, hours = table[stamps[:3]], table[stamps[3]]
    found = pd.DataFrame(
        {"usual_hours": before.median(axis=1), "before_hours": before[stamps[2]], "hours": hours}
    )
    began = (hours == 0) & ((found["before_hours"] >= MIN_USUAL_HOURS) | (before > 0).all(axis=1))
    fades = (hours > 0) & (found["usual_hours"] >= MIN_USUAL_HOURS)
    fades &= hours <= FADING_SHARE * found["usual_hours"]
    found.insert(0, "state", pd.Series("fading", index=found.index, dtype="str").mask(began, "idle"))
    found["idle_since"] = pd.Series(stamps[3], index=found.index).where(began).astype("datetime64[us]")
    found["lost"] = found["before_hours"] - hours
    found = found[began | fades].rename_axis("device_address").reset_index()
    order = found.sort_values(["lost", "device_address"], ascending=[False, True], ignore_index=True)
    columns = ["device_address", "state", "usual_hours", "before_hours", "hours", "idle_since"]
    return order[columns].astype({"device_address": "str"})

"""Devices that nobody used, and for how long."""

from __future__ import annotations

import pandas as pd

from usagekit.analysis.months import trailing_months
from usagekit.errors import SchemaError


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
    """
    missing = [c for c in ("datetime", "device_address", "total_time_hours") if c not in usage]
    if missing:
        raise SchemaError(f"the frame lacks {', '.join(missing)}", missing=missing)
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

"""Devices and their hours by where or what they are: countries, hosts, models."""

from __future__ import annotations

import numpy as np
import pandas as pd

from usagekit.analysis.columns import require
from usagekit.analysis.sweep import HOUR, spans, time_inside


def by_site(
    sessions: pd.DataFrame, fleet: pd.DataFrame, *, column: str, spells: pd.DataFrame
) -> pd.DataFrame:
    """Devices owned and used, hours and business utilisation of each country, host or model.

    business utilisation = session time inside the business hours / (devices owned * business time). Two sessions
    on one device at one time count twice in it and in the hours, as in every total of the API.

    Parameters
    ----------
    sessions
        of :func:`usagekit.analysis.sessions.month_sessions`, those that take time; with ``hostname`` for hosts.
    fleet
        a row a known device; ``device_address`` and ``column``.
    column
        ``country``, ``hostname`` or ``device_model``.
    spells
        the business hours; ``start``, ``end`` (UTC).

    Returns
    -------
    ``column``, ``owned``, ``used`` (devices), ``total_time_hours`` (h) and ``business_utilisation`` (0 to 1; NaN
    without business hours), most hours first. Devices whose country or model is unknown are in a last row
    without a name; one with sessions that the fleet does not list counts as owned.

    Raises
    ------
    SchemaError : a column is missing.

    >>> at = pd.to_datetime(["2026-10-05 08:00", "2026-10-05 09:00", "2026-10-05 12:00"], utc=True)
    >>> sessions = pd.DataFrame({"device_address": ["1@a"], "start": at[:1], "end": at[1:2]})
    >>> fleet = pd.DataFrame({"device_address": ["1@a", "2@a"], "country": ["DE", "DE"]})
    >>> spells = pd.DataFrame({"start": at[:1], "end": at[2:]})
    >>> by_site(sessions, fleet, column="country", spells=spells).values.tolist()
    [['DE', 2, 1, 1.0, 0.125]]
    """
    require(sessions, "device_address", "start", "end", *(["hostname"] if column == "hostname" else []))
    require(fleet, "device_address", column)
    given, business = spans(sessions), spans(spells)
    times = pd.DataFrame({"all": given.end - given.start, "open": time_inside(given, business)})
    used = times.groupby(sessions["device_address"].to_numpy()).sum()
    members = fleet.set_index("device_address")[column]
    members = members.reindex(members.index.append(used.index.difference(members.index)))
    if column == "hostname":
        members = members.fillna(sessions.groupby("device_address")["hostname"].first())
    found = (
        used.reindex(members.index)
        .groupby(members, dropna=False, observed=True)
        .agg(
            owned=("all", "size"),
            used=("all", "count"),
            total_time_hours=("all", "sum"),
            open=("open", "sum"),
        )
    )
    found["total_time_hours"] /= HOUR
    capacity = found["owned"] * float(business.total() or np.nan)
    found["business_utilisation"] = found.pop("open") / capacity
    found = found.rename_axis(column).reset_index().astype({column: "str"})
    found["unknown"] = found[column].isna()
    order = found.sort_values(["unknown", "total_time_hours", column], ascending=[True, False, True])
    return order.drop(columns="unknown").reset_index(drop=True)

"""How many devices are busy at the same time, to the instant."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import time
from math import nan

import numpy as np
import pandas as pd

from usagekit.analysis.columns import require
from usagekit.analysis.sweep import (
    MINUTE,
    Spans,
    as_frame,
    at_least,
    enough,
    hour_bins,
    spans,
    stacked,
    time_inside,
    united,
)
from usagekit.period import BusinessHours


@dataclass(frozen=True, slots=True)
class Peak:
    """The most devices busy at once, and the first instant (local) at which they were."""

    devices: int
    at: pd.Timestamp


def busy_steps(sessions: pd.DataFrame) -> pd.DataFrame:
    """The number of distinct devices busy, as a step function of time.

    Sessions that overlap on one device keep one device busy. At one instant, ends come before starts.

    Parameters
    ----------
    sessions
        of :func:`usagekit.analysis.sessions.month_sessions`.

    Returns
    -------
    ``start``, ``end`` (UTC) and ``busy`` (int64, devices) from the first start to the last end without a gap.

    Raises
    ------
    SchemaError : a column is missing.

    >>> at = pd.Timestamp("2026-10-05 08:00", tz="UTC") + pd.to_timedelta([0, 10, 20, 30], unit="min")
    >>> sessions = pd.DataFrame({"device_address": ["1@a", "1@a", "2@a"], "start": at[:3], "end": at[[2, 3, 3]]})
    >>> busy_steps(sessions)["busy"].tolist()
    [1, 2]
    """
    require(sessions, "device_address", "start", "end")
    devices = pd.factorize(sessions["device_address"], use_na_sentinel=False)[0].astype(np.int64)
    held = united(spans(sessions, devices))
    steps, running = stacked(Spans(np.zeros_like(held.of), held.start, held.end))
    return as_frame(steps).assign(busy=running[:, 0])


def business_spells(
    month: str, timezone: str, business: BusinessHours, *, until: pd.Timestamp | None = None
) -> pd.DataFrame:
    """When a lab is open in a month: ``start`` and ``end`` (UTC) of each spell, holidays left out.

    ``until`` ends a running month early.

    The lab is open at every instant at which the local clock shows a business hour, so a change of the clock
    inside them makes a day longer or shorter.

    >>> spells = business_spells("2026-10", "Europe/Berlin", BusinessHours())
    >>> [f"{start:%d %H:%M}" for start in spells["start"].iloc[[0, -1]]]
    ['01 06:00', '30 07:00']
    """
    bins = hour_bins(month, timezone)
    day = bins["clock"].dt.normalize()
    opens = (day + _since_midnight(business.start)).clip(lower=bins["clock"]) - bins["clock"]
    closes = (day + _since_midnight(business.end) - bins["clock"]).clip(upper=bins["end"] - bins["start"])
    works = day.dt.day_of_week.isin(business.weekdays) & ~day.isin(pd.to_datetime(business.holidays))
    parts = pd.DataFrame({"start": bins["start"] + opens, "end": bins["start"] + closes})
    found = as_frame(united(spans(parts[works & (closes > opens)])))
    if until is None:
        return found
    begun = found[found["start"] < until].reset_index(drop=True)
    return begun.assign(end=begun["end"].mask(begun["end"] > until, until))


def business_minutes(
    month: str, timezone: str, business: BusinessHours, *, until: pd.Timestamp | None = None
) -> float:
    """Elapsed business time of a month (min), of a running one up to ``until``.

    >>> business_minutes("2026-10", "Europe/Berlin", BusinessHours())
    13200.0
    """
    return spans(business_spells(month, timezone, business, until=until)).total() / MINUTE


def peak(steps: pd.DataFrame, timezone: str) -> Peak | None:
    """The most devices busy at once, and the first time it was so in the IANA zone; None without sessions.

    Raises
    ------
    SchemaError : a column is missing.

    >>> steps = pd.DataFrame({"start": [pd.Timestamp("2026-10-05 08:00", tz="UTC")], "busy": [3]})
    >>> peak(steps, "Europe/Berlin")
    Peak(devices=3, at=Timestamp('2026-10-05 10:00:00+0200', tz='Europe/Berlin'))
    """
    require(steps, "start", "busy")
    if steps.empty:
        return None
    top = int(steps["busy"].to_numpy().argmax())
    return Peak(int(steps["busy"].iloc[top]), steps["start"].dt.tz_convert(timezone).iloc[top])


def duration_curve(steps: pd.DataFrame, spells: pd.DataFrame) -> pd.DataFrame:
    """How long at least k devices were busy: the load duration curve of electricity supply, for devices.

    Parameters
    ----------
    steps
        of :func:`busy_steps`.
    spells
        the time that counts, such as :func:`business_spells`.

    Returns
    -------
    ``devices`` (k, from 0 to the peak of the steps), ``minutes`` (min, inside the spells) and ``share`` of the
    spells (0 to 1; NaN where they have no time).

    Raises
    ------
    SchemaError : a column is missing.

    >>> at = pd.Timestamp("2026-10-05 08:00", tz="UTC") + pd.to_timedelta([0, 10, 20, 40], unit="min")
    >>> steps = pd.DataFrame({"start": at[:3], "end": at[1:], "busy": [1, 2, 0]})
    >>> duration_curve(steps, pd.DataFrame({"start": at[:1], "end": at[3:]}))["minutes"].tolist()
    [40.0, 20.0, 10.0]
    """
    require(steps, "start", "end", "busy")
    require(spells, "start", "end")
    counted = spans(spells)
    total = counted.total()
    longer = at_least(steps["busy"].to_numpy(), time_inside(spans(steps), counted), total=total)
    share = longer / total if total else np.full(len(longer), nan)
    return pd.DataFrame({"devices": np.arange(len(longer)), "minutes": longer / MINUTE, "share": share})


def level(curve: pd.DataFrame, share: float) -> int:
    """The smallest number of devices that was enough in ``share`` (0 to 1) of the time of a duration curve.

    Enough is k where at most k devices were busy.

    Raises
    ------
    SchemaError : a column is missing.

    >>> curve = pd.DataFrame({"devices": [0, 1, 2], "minutes": [1000.0, 300.0, 10.0]})
    >>> level(curve, 0.95), level(curve, 0.99), level(curve, 1)
    (1, 1, 2)
    """
    require(curve, "devices", "minutes")
    return int(curve["devices"].iloc[enough(curve["minutes"].to_numpy(), share)])


def _since_midnight(clock: time) -> pd.Timedelta:
    return pd.Timedelta(
        hours=clock.hour, minutes=clock.minute, seconds=clock.second, microseconds=clock.microsecond
    )

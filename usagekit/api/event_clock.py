"""In which zone the times of events are: found by holding events against the hours that the API counts."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Final

import numpy as np
import pandas as pd

_STEP: Final = timedelta(minutes=15)
_NEAR: Final = 0.02
"""Largest part of the day's time that may differ."""


def best_shift(events: pd.DataFrame, hours: pd.DataFrame, day: date) -> timedelta | None:
    """How far the clock of the events is ahead of UTC, by the hours of one day; None where nothing fits.

    Parameters
    ----------
    events : sessions of the day and those around it, their times read as UTC.
    hours : ``datetime`` and ``total_time_hours`` (h) of the lab by hour bins.
    day : the UTC day.
    """
    midnight = pd.Timestamp(datetime.combine(day, time()), tz="UTC")
    edges = np.arange(25, dtype="float64")
    into = (hours["datetime"] - midnight).dt.total_seconds().to_numpy() / 3600
    within = (into >= 0) & (into < 24)
    counted = np.zeros(24)
    np.add.at(counted, into[within].astype(int), hours["total_time_hours"].to_numpy()[within])
    ended = events.dropna(subset=["start_time", "end_time"])
    starts, ends = (
        (ended[name] - midnight).dt.total_seconds().to_numpy() / 3600 for name in ("start_time", "end_time")
    )
    best, least = timedelta(), np.inf
    # UTC first: of shifts that fit alike the nearest to it is told.
    for quarters in sorted(range(-4 * 12, 4 * 14 + 1), key=abs):
        ahead = quarters / 4
        parts = np.minimum(ends[:, None] - ahead, edges[1:]) - np.maximum(starts[:, None] - ahead, edges[:-1])
        differs = np.abs(np.clip(parts, 0, None).sum(axis=0) - counted).sum()
        if differs < least - 1e-9:
            best, least = quarters * _STEP, differs
    return best if counted.sum() and least <= _NEAR * counted.sum() else None

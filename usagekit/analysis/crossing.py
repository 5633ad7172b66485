"""The time of a month by the number of its sessions and their mean length, whatever crosses its ends."""

from __future__ import annotations

import pandas as pd

from usagekit.analysis.columns import require
from usagekit.analysis.sessions import seconds_between


def crossing_sessions(sessions: pd.DataFrame) -> pd.DataFrame:
    """Those sessions of a month (:func:`usagekit.analysis.sessions.month_sessions`) that reach over an end of it."""
    require(sessions, "start_time", "end_time", "start", "end")
    crosses = (sessions["start_time"] < sessions["start"]) | (sessions["end_time"] > sessions["end"])
    return sessions[crosses.to_numpy()].reset_index(drop=True)


def hours_by_mean(
    count: float, mean_minutes: float, *, crossing: pd.DataFrame, certain: pd.Series[bool], total_hours: float
) -> float:
    """Device hours (h) of a month by its ``session_count`` and its ``avg_session_length``.

    count * mean is the time of a month only if no session crosses its ends: the mean is of the whole sessions that
    start in the month, the count also of those that began before. So each crossing session is put right: of one from
    before, its part in the month stands for the mean; of one that goes on, what lies after the month is taken off.

    Parameters
    ----------
    count, mean_minutes
        the API's metrics (N/A, min) of the month.
    crossing
        what :func:`crossing_sessions` returns, those that are or may be among the counted.
    certain
        which of them surely are. The others are as many of them as bring the time nearest to ``total_hours``.
    total_hours
        the time (h) that the sum is held against.

    >>> at = pd.to_datetime(["2023-02-28 22:00", "2023-03-01 00:00", "2023-03-01 01:00"], utc=True)
    >>> crossing = pd.DataFrame({"start_time": at[:1], "start": at[1:2], "end": at[2:], "end_time": at[2:]})
    >>> hours_by_mean(2, 30, crossing=crossing, certain=pd.Series([True]), total_hours=1.5)
    1.5
    """
    begun = (crossing["start_time"] < crossing["start"]).to_numpy()
    inside = seconds_between(crossing["start"], crossing["end"]) / 3600
    after = seconds_between(crossing["end"], crossing["end_time"]) / 3600
    right = pd.Series((inside - mean_minutes / 60) * begun - after * ~begun)
    surely = count * mean_minutes / 60 + float(right[certain.to_numpy()].sum())
    perhaps = right[~certain.to_numpy()]
    low, high = (surely + float(perhaps[side].sum()) for side in (perhaps < 0, perhaps > 0))
    return min(max(total_hours, low), high) if len(perhaps) else surely

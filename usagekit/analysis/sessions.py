"""How long sessions last: percentiles, and how many are of which length. Automation is told apart."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, Final

import numpy as np
import pandas as pd

from usagekit.analysis.columns import require
from usagekit.analysis.months import month_bounds

UNDER_MINUTE_SECONDS: Final = 60
LONG_SECONDS: Final = 8 * 3600

_LEVELS = MappingProxyType({"p50_minutes": 0.5, "p90_minutes": 0.9, "p99_minutes": 0.99})
_BUCKETS = ("<1 min", "1–10 min", "10–30 min", "30–120 min", ">120 min")
# A bucket begins at its lower border; the last one begins above it.
_BORDERS = (60, 600, 1800, np.nextafter(7200.0, np.inf))


def session_lengths(sessions: pd.DataFrame) -> pd.DataFrame:
    """Percentiles of session length, by hand, automated, and of all.

    Parameters
    ----------
    sessions
        one row a session, of :func:`month_sessions`: ``start``, ``end`` (UTC) and ``automated``.

    Returns
    -------
    Three rows in the order ``manual``, ``automated``, ``all``: ``kind``, ``sessions`` (int64), ``p50_minutes``,
    ``p90_minutes``, ``p99_minutes`` (min), ``under_minute_share`` (shorter than 60 s) and ``over_8h_share``
    (longer than 8 h; 0 to 1). NaN where there are no sessions.

    Notes
    -----
    Percentiles are interpolated linearly between the two nearest sessions (Hyndman and Fan 1996, definition
    7, the default of NumPy).

    Raises
    ------
    SchemaError : a column is missing.

    >>> begin = pd.Timestamp("2023-03-01", tz="UTC")
    >>> end = begin + pd.to_timedelta([10, 20, 40, 600], unit="min")
    >>> frame = pd.DataFrame({"start": begin, "end": end, "automated": [False, False, False, True]})
    >>> session_lengths(frame)[["kind", "sessions", "p50_minutes", "over_8h_share"]].values.tolist()
    [['manual', 3, 20.0, 0.0], ['automated', 1, 600.0, 1.0], ['all', 4, 30.0, 0.25]]
    """
    require(sessions, "start", "end", "automated")
    seconds = seconds_between(sessions["start"], sessions["end"])
    automated = sessions["automated"].to_numpy(dtype=bool)
    parts = {"manual": seconds[~automated], "automated": seconds[automated], "all": seconds}
    return pd.DataFrame([{"kind": kind} | _lengths(part) for kind, part in parts.items()])


def session_mix(sessions: pd.DataFrame) -> pd.DataFrame:
    """How many sessions are of which length, and the time they take.

    Parameters
    ----------
    sessions
        one row a session, of :func:`month_sessions`: ``start`` and ``end`` (UTC).

    Returns
    -------
    Five rows, shortest first: ``bucket`` (exactly 1, 10 and 30 minutes belong to the longer bucket, 120 to the
    shorter), ``sessions`` (int64), ``share`` of all sessions (0 to 1, NaN where there are none),
    ``total_time_hours`` (h).

    Raises
    ------
    SchemaError : a column is missing.

    >>> begin = pd.Timestamp("2023-03-01", tz="UTC")
    >>> frame = pd.DataFrame({"start": begin, "end": begin + pd.to_timedelta([0, 30, 90, 180], unit="min")})
    >>> session_mix(frame)[["bucket", "sessions", "total_time_hours"]].values.tolist()
    [['<1 min', 1, 0.0], ['1–10 min', 0, 0.0], ['10–30 min', 0, 0.0], ['30–120 min', 2, 2.0], ['>120 min', 1, 3.0]]
    """
    require(sessions, "start", "end")
    seconds = seconds_between(sessions["start"], sessions["end"])
    place = np.searchsorted(_BORDERS, seconds, side="right")
    counts = np.bincount(place, minlength=len(_BUCKETS))
    hours = np.bincount(place, weights=seconds, minlength=len(_BUCKETS)) / 3600
    shares = counts / len(seconds) if len(seconds) else np.nan
    return pd.DataFrame(
        {"bucket": list(_BUCKETS), "sessions": counts, "share": shares, "total_time_hours": hours}
    )


def month_sessions(events: pd.DataFrame, *, month: str, timezone: str) -> pd.DataFrame:
    """The sessions that belong to a month, as the API counts them.

    Parameters
    ----------
    events
        one row a session: ``start_time`` and ``end_time`` (UTC).
    month, timezone
        the month ``YYYY-MM`` and the IANA zone that bounds it.

    Returns
    -------
    The rows that overlap the month, and those of no length that start in it, with ``start`` and ``end`` (UTC, cut
    to the month). A session without an end, or that ends before it starts, belongs to none.

    Raises
    ------
    SchemaError : a column is missing.
    QueryError : the month is not of the form ``YYYY-MM``.

    >>> starts = pd.to_datetime(["2023-03-01 00:00", "2023-03-31 23:00"], utc=True)
    >>> events = pd.DataFrame({"start_time": starts, "end_time": starts + pd.to_timedelta([0, 3], unit="h")})
    >>> found = month_sessions(events, month="2023-03", timezone="UTC")
    >>> seconds_between(found["start"], found["end"]).tolist()
    [0.0, 3600.0]
    """
    return sessions_within(events, *month_bounds(month, timezone))


def sessions_within(events: pd.DataFrame, first: pd.Timestamp, last: pd.Timestamp) -> pd.DataFrame:
    """The same for the time between any two instants (UTC)."""
    whole = ended(events)
    start, end = whole["start_time"], whole["end_time"]
    inside = (start < last) & ((end > first) | (start >= first))
    cut = whole.assign(start=start.mask(start < first, first), end=end.mask(end > last, last))
    return cut[inside].reset_index(drop=True)


def ended(events: pd.DataFrame) -> pd.DataFrame:
    """The sessions that count: those with an end that is not before their start.

    ``events`` has ``start_time`` and ``end_time`` (UTC). Raises SchemaError where a column is missing.
    """
    require(events, "start_time", "end_time")
    return events[(events["end_time"] >= events["start_time"]).to_numpy()].reset_index(drop=True)


def seconds_between(start: pd.Series[pd.Timestamp], end: pd.Series[pd.Timestamp]) -> Any:
    """The lengths (s, float64) of sessions, exact to the microsecond."""
    return (end - start).to_numpy(dtype="timedelta64[us]").astype("int64") / 1e6


def _lengths(seconds: Any) -> dict[str, Any]:
    if not len(seconds):
        return {"sessions": 0} | dict.fromkeys((*_LEVELS, "under_minute_share", "over_8h_share"), np.nan)
    levels = np.quantile(seconds / 60, list(_LEVELS.values()))
    return {
        "sessions": len(seconds),
        **dict(zip(_LEVELS, levels, strict=True)),
        "under_minute_share": np.mean(seconds < UNDER_MINUTE_SECONDS),
        "over_8h_share": np.mean(seconds > LONG_SECONDS),
    }

"""Devices that are held longer than they are needed, and lengths that no person chose."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from usagekit.analysis.columns import require
from usagekit.analysis.months import month_days
from usagekit.analysis.sessions import ended, month_sessions, seconds_between

HOLD_SECONDS: Final = 4 * 3600
NIGHT_ENDS: Final = time(6)
SPIKE_SPREAD_SECONDS: Final = 2
SPIKE_SHARE: Final = 0.05
SPIKE_TIMES: Final = 3
MIN_SESSIONS: Final = 20
MIN_SPIKE: Final = 5
"""Two of twenty sessions are alike by chance."""


@dataclass(frozen=True, slots=True)
class Holds:
    """The holds of a month: how many, their ``hold_hours`` (h) and their share of ``manual_hours`` (h).

    ``hours_95`` (h) is the length from which hours count; it and ``share`` are None without sessions by hand.
    """

    sessions: int
    hold_hours: float
    manual_hours: float
    share: float | None
    hours_95: float | None


def holds(
    sessions: pd.DataFrame, *, month: str, timezone: str, hours_95: float | None = None
) -> pd.DataFrame:
    """List the sessions by hand that last longer than 4 h or from midnight to 6:00.

    Parameters
    ----------
    sessions
        one row a session: ``device_address``, ``automated``, ``start_time``, ``end_time`` (UTC), as whole
        sessions. Those that do not reach into the month are left out.
    month, timezone
        the month ``YYYY-MM`` and the IANA zone of its nights.
    hours_95
        the length (h) that is still usual; by default the 95th percentile of the sessions by hand in
        the month (whole lengths, interpolated linearly).

    Returns
    -------
    Most hold hours first: ``device_address``, ``start``, ``end`` (in the zone, cut to the month), ``hours`` (h,
    between the two), ``hold_hours`` (h) and ``overnight`` (bool, covers 0:00 to 6:00 of a date of the month).

    Notes
    -----
    hold hours = the time after the first ``hours_95`` of a session, as far as it is in the month; so the
    months of one long session add up.

    Raises
    ------
    SchemaError : a column is missing.
    QueryError : the month is not of the form ``YYYY-MM``.

    >>> frame = pd.DataFrame({"device_address": ["d@h"], "automated": [False],
    ...     "start_time": pd.to_datetime(["2023-02-28 21:00"], utc=True),
    ...     "end_time": pd.to_datetime(["2023-03-01 07:00"], utc=True)})
    >>> holds(frame, month="2023-03", timezone="UTC", hours_95=2)[["hours", "hold_hours", "overnight"]].values.tolist()
    [[7.0, 7.0, True]]
    """
    manual = _manual(sessions, month, timezone)
    usual = _usual_hours(manual, hours_95)
    dusks, dawns = _nights(month, timezone)
    whole = seconds_between(manual["start_time"], manual["end_time"])
    next_night = np.searchsorted(dusks, manual["start_time"].to_numpy(dtype="datetime64[us]"))
    never = np.datetime64("9999-12-31")
    wakes = np.append(dawns, never)[next_night]
    manual["overnight"] = manual["end_time"].to_numpy(dtype="datetime64[us]") >= wakes
    manual = manual[pd.Series(whole > HOLD_SECONDS) | manual["overnight"]]
    late = manual["start_time"] + pd.Timedelta(microseconds=round((usual or 0) * 3.6e9))
    begun = late.where(late > manual["start"], manual["start"])
    manual["hours"] = seconds_between(manual["start"], manual["end"]) / 3600
    manual["hold_hours"] = np.maximum(seconds_between(begun, manual["end"]), 0) / 3600
    for side in ("start", "end"):
        manual[side] = manual[side].dt.tz_convert(timezone)
    order = ["hold_hours", "start", "device_address"]
    manual = manual.sort_values(order, ascending=[False, True, True], ignore_index=True)
    return manual[["device_address", "start", "end", "hours", "hold_hours", "overnight"]]


def hold_summary(
    sessions: pd.DataFrame, *, month: str, timezone: str, hours_95: float | None = None
) -> Holds:
    """Sum up :func:`holds`, whose parameters and errors these are.

    share = hold hours / hours by hand in the month.

    >>> begin = pd.Timestamp("2023-03-01 08:00", tz="UTC")
    >>> lengths = pd.to_timedelta([1, 1, 1, 6], unit="h")
    >>> own = pd.DataFrame({"device_address": "a@x", "start_time": begin, "end_time": begin + lengths, "start": begin,
    ...                     "end": begin + lengths, "automated": False})
    >>> held = hold_summary(own, month="2023-03", timezone="Europe/Berlin", hours_95=2.0)
    >>> held.sessions, held.hold_hours, round(held.share, 3)
    (1, 4.0, 0.444)
    """
    manual = _manual(sessions, month, timezone)
    usual = _usual_hours(manual, hours_95)
    found = holds(manual, month=month, timezone=timezone, hours_95=usual)
    hours = float(seconds_between(manual["start"], manual["end"]).sum() / 3600)
    held = float(found["hold_hours"].sum())
    return Holds(len(found), held, hours, held / hours if hours else None, usual)


def duration_spikes(sessions: pd.DataFrame) -> pd.DataFrame:
    """Find lengths that many sessions share, as after a timeout or when automation is stuck.

    Parameters
    ----------
    sessions
        one row a session: ``start_time``, ``end_time`` (UTC), as whole sessions.

    Returns
    -------
    Most sessions first: ``seconds`` (s, int64; the most frequent length of the spike), ``sessions`` within 2 s of
    it (int64) and their ``share`` of all (0 to 1). No session is in two spikes.

    Notes
    -----
    A spike has more than 5 % of the sessions, at least five of them, and three times as many as either band of the same
    5 s just below and just above: what many sessions take anyway is no spike. With fewer than 20 sessions there is none.

    Raises
    ------
    SchemaError : a column is missing.

    >>> begin = pd.Timestamp("2023-03-01", tz="UTC")
    >>> seconds = [1800] * 5 + [1801] * 2 + [100 * n for n in range(1, 18)]
    >>> frame = pd.DataFrame({"start_time": begin, "end_time": begin + pd.to_timedelta(seconds, unit="s")})
    >>> duration_spikes(frame)[["seconds", "sessions"]].values.tolist()
    [[1800, 7]]
    """
    whole = ended(sessions)
    every = np.sort(seconds_between(whole["start_time"], whole["end_time"]))
    seconds, total = every, len(every)
    rows: list[tuple[int, int, float]] = []
    while len(seconds) and total >= MIN_SESSIONS:
        lengths, hits = np.unique(np.rint(seconds), return_counts=True)
        low = np.searchsorted(seconds, lengths - SPIKE_SPREAD_SECONDS, side="left")
        high = np.searchsorted(seconds, lengths + SPIKE_SPREAD_SECONDS, side="right")
        counts = high - low
        # Neighbours among all: beside a spike that was found the next length would stand alone.
        spikes = (counts > SPIKE_SHARE * total) & (counts >= MIN_SPIKE)
        spikes &= counts >= SPIKE_TIMES * _neighbours(every, lengths)
        if not spikes.any():
            break
        best = np.lexsort((-hits, -counts, ~spikes))[0]
        count = int(counts[best])
        rows.append((int(lengths[best]), count, count / total))
        seconds = np.delete(seconds, slice(low[best], high[best]))
    kinds: dict[str, Any] = {"seconds": "int64", "sessions": "int64", "share": "float64"}
    return pd.DataFrame(rows, columns=list(kinds)).astype(kinds)


def _neighbours(seconds: Any, lengths: Any) -> Any:
    """How many sessions the fuller of the two bands beside each length holds, each as wide as a spike."""
    edges = SPIKE_SPREAD_SECONDS, 3 * SPIKE_SPREAD_SECONDS + 1
    near, far = (np.searchsorted(seconds, lengths - edge, side="left") for edge in edges)
    next_, last = (np.searchsorted(seconds, lengths + edge, side="right") for edge in edges)
    return np.maximum(near - far, last - next_)


def _manual(sessions: pd.DataFrame, month: str, timezone: str) -> pd.DataFrame:
    require(sessions, "device_address", "automated")
    found = month_sessions(sessions, month=month, timezone=timezone)
    return found[~found["automated"].astype(bool)].reset_index(drop=True)


def _usual_hours(manual: pd.DataFrame, hours_95: float | None) -> float | None:
    if hours_95 is not None or manual.empty:
        return hours_95
    return float(np.quantile(seconds_between(manual["start_time"], manual["end_time"]), 0.95) / 3600)


def _nights(month: str, timezone: str) -> Any:
    """The instants (UTC) of 0:00 and of 6:00 of each date; where the clock skips midnight, the next one it shows."""
    zone = ZoneInfo(timezone)
    # Not by pandas: it mislays a date that a zone never had (Pacific/Apia, 30 December 2011) by an hour.
    seconds = [
        [datetime.combine(day, at, zone).timestamp() for day in month_days(month).date]
        for at in (time(0), NIGHT_ENDS)
    ]
    return np.array(seconds).astype("datetime64[s]").astype("datetime64[us]")

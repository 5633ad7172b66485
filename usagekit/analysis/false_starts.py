"""Sessions that end as soon as they begin, and the devices that they happen on."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import Any, Final

import numpy as np
import pandas as pd

from usagekit.analysis.columns import require
from usagekit.analysis.people import is_person
from usagekit.analysis.sessions import UNDER_MINUTE_SECONDS, ended, seconds_between

BURST_SESSIONS: Final = 3
BURST_WINDOW: Final = np.timedelta64(10, "m")
SUSPECT_TIMES: Final = 2
SUSPECT_SESSIONS: Final = 20

_Z_95 = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True, slots=True)
class FalseStarts:
    """How many ``sessions`` there are, the ``count`` of those under 60 s and their ``share`` (None without sessions).

    ``bursts`` counts how often somebody tried at least three times within 10 minutes.
    """

    sessions: int
    count: int
    share: float | None
    bursts: int


def false_starts(sessions: pd.DataFrame) -> FalseStarts:
    """Count the sessions shorter than 60 s, and the bursts of retries among them.

    Parameters
    ----------
    sessions
        one row a session: ``start_time``, ``end_time`` (UTC), as whole sessions (one that the end of the month
        cuts is not short), ``email``, ``team``, ``automated``. A month of them is
        :func:`usagekit.analysis.sessions.month_sessions`.

    Notes
    -----
    A burst is three or more false starts of one user, of one team where automated, the first and the third of
    which start at most 10 minutes apart. Bursts that share a session are one. Sessions without an
    email, or automated without a team, are in none: nobody knows whose they are.

    Raises
    ------
    SchemaError : a column is missing.

    >>> begin = pd.to_datetime(["2023-03-01 09:00", "2023-03-01 09:05", "2023-03-01 09:10"], utc=True)
    >>> frame = pd.DataFrame({"start_time": begin, "end_time": begin + pd.Timedelta("30s")})
    >>> false_starts(frame.assign(email="a@x", team=None, automated=False))
    FalseStarts(sessions=3, count=3, share=1.0, bursts=1)
    """
    require(sessions, "email", "team", "automated")
    whole = ended(sessions)
    short = whole[_is_short(whole)]
    share = len(short) / len(whole) if len(whole) else None
    return FalseStarts(len(whole), len(short), share, _bursts(short))


def suspect_devices(sessions: pd.DataFrame) -> pd.DataFrame:
    """List the devices whose sessions end within 60 s far more often than elsewhere.

    Parameters
    ----------
    sessions
        one row a session: ``device_address``, ``start_time``, ``end_time`` (UTC), as whole sessions.

    Returns
    -------
    Worst first: ``device_address``, ``sessions``, ``false_starts`` (int64), ``rate``, ``lower`` (:func:`wilson_lower`
    of the rate) and ``fleet_rate`` (of all sessions; 0 to 1).

    Notes
    -----
    A device is suspect when ``lower`` exceeds twice the fleet rate and it has at least 20 sessions.

    Raises
    ------
    SchemaError : a column is missing.

    >>> begin = pd.Timestamp("2023-03-01", tz="UTC")
    >>> seconds = [30] * 10 + [600] * 190
    >>> frame = pd.DataFrame({"start_time": begin, "end_time": begin + pd.to_timedelta(seconds, unit="s")})
    >>> frame["device_address"] = ["bad@h"] * 20 + ["good@h"] * 180
    >>> suspect_devices(frame).round(3).values.tolist()
    [['bad@h', 20, 10, 0.5, 0.299, 0.05]]
    """
    require(sessions, "device_address")
    whole = ended(sessions)
    short = _is_short(whole)
    fleet_rate = float(short.mean()) if len(short) else 0.0
    by_device = whole.assign(short=short).groupby("device_address")["short"]
    table = by_device.agg(sessions="size", false_starts="sum").astype("int64").reset_index()
    table["rate"] = table["false_starts"] / table["sessions"]
    bounds = [wilson_lower(*pair) for pair in zip(table["false_starts"], table["sessions"], strict=True)]
    table["lower"] = pd.Series(bounds, index=table.index, dtype="float64")
    table["fleet_rate"] = fleet_rate
    suspect = (table["sessions"] >= SUSPECT_SESSIONS) & (table["lower"] > SUSPECT_TIMES * fleet_rate)
    order = ["lower", "device_address"]
    return table[suspect].sort_values(order, ascending=[False, True], ignore_index=True)


def wilson_lower(count: int, total: int) -> float:
    """The lower 95 % bound of a rate by the score interval (Wilson 1927); ``total`` is at least 1.

    (p + z²/2n - z sqrt(p(1 - p)/n + z²/4n²)) / (1 + z²/n) with p = count / n and z = 1.95996.

    >>> round(wilson_lower(10, 20), 4), wilson_lower(0, 20)
    (0.2993, 0.0)
    """
    if not count:
        return 0.0
    rate, part = count / total, _Z_95**2 / total
    return (rate + part / 2 - sqrt(rate * (1 - rate) * part + part**2 / 4)) / (1 + part)


def _is_short(whole: pd.DataFrame) -> Any:
    return seconds_between(whole["start_time"], whole["end_time"]) < UNDER_MINUTE_SECONDS


def _bursts(short: pd.DataFrame) -> int:
    automated = short["automated"].astype(bool)
    who = short["team"].where(automated, short["email"].where(is_person(short["email"])))
    known = who.notna()
    # A team may be called like somebody's email.
    codes = 2 * pd.factorize(who[known])[0] + automated[known].to_numpy()
    starts = short.loc[known, "start_time"].to_numpy(dtype="datetime64[us]")
    order = np.lexsort((starts, codes))
    codes, starts = codes[order], starts[order]
    apart = BURST_SESSIONS - 1
    if len(starts) <= apart:
        return 0
    alike = codes[apart:] == codes[:-apart]
    places = np.flatnonzero(alike & (starts[apart:] - starts[:-apart] <= BURST_WINDOW))
    return int((np.diff(places) > apart).sum()) + 1 if len(places) else 0

"""When models are sold out, and how much of it would end if automated runs moved to other hours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from usagekit.analysis.capacity import MIN_POOL, pools_of
from usagekit.analysis.columns import require
from usagekit.analysis.months import weekday_hours
from usagekit.analysis.sweep import HOUR, MINUTE, Spans, common, hour_bins, spans, time_inside


@dataclass(frozen=True, slots=True)
class Movable:
    """What moving automated runs away from busy minutes would change.

    ``hours`` (h) of device time to move, ``sold_out_minutes`` (min, of all models) as it was, ``remaining_minutes``
    (min) without it, and ``saved_share``, the part that would be gone (0 to 1; None if nothing was sold out).
    """

    hours: float
    sold_out_minutes: float
    remaining_minutes: float
    saved_share: float | None


def sold_out_hours(
    sessions: pd.DataFrame,
    fleet: pd.DataFrame,
    *,
    spells: pd.DataFrame | None,
    month: str,
    timezone: str,
    until: pd.Timestamp | None = None,
) -> pd.DataFrame:
    """Minutes in which any model was sold out, by weekday and hour of the local clock.

    cell = sold-out minutes in that weekday and hour / hours of the month that fall there. A model of one
    device is left out (:data:`usagekit.analysis.capacity.MIN_POOL`).

    Parameters
    ----------
    sessions
        of :func:`usagekit.analysis.sessions.month_sessions`, those that take time for the same month and zone.
    fleet
        a row a known device; ``device_address``, ``device_model``.
    spells
        the time that counts, such as business hours; ``start``, ``end`` (UTC). None for all of it.
    month, timezone
        the month ``YYYY-MM`` and the IANA zone whose clock counts.
    until
        the instant up to which a running month is told.

    Returns
    -------
    7 rows (0 = Monday) by 24 columns (0 to 23), minutes per hour (0 to 60); NaN where the month has no such hour.

    Raises
    ------
    SchemaError : a column is missing.

    >>> at = pd.to_datetime(["2026-10-05 08:00", "2026-10-05 09:20"], utc=True)
    >>> sessions = pd.DataFrame({"device_address": ["1@a", "2@a"], "start": at[[0, 0]], "end": at[[1, 1]]})
    >>> fleet = pd.DataFrame({"device_address": ["1@a", "2@a"], "device_model": "Pixel 8"})
    >>> table = sold_out_hours(sessions, fleet, spells=None, month="2026-10", timezone="Europe/Berlin")
    >>> table.loc[0, [9, 10, 11, 12]].tolist()
    [0.0, 15.0, 5.0, 0.0]
    """
    require(sessions, "device_address", "start", "end")
    require(fleet, "device_address", "device_model")
    pools = pools_of(fleet, sessions)
    owned = pools.owned[pools.steps.of]
    sold_out = pools.steps[(pools.busy[:, 0] == owned) & (owned >= MIN_POOL)]
    anywhere = Spans(np.zeros_like(sold_out.of), sold_out.start, sold_out.end)
    counted = common(anywhere, anywhere if spells is None else spans(spells))
    bins = hour_bins(month, timezone)
    cells = np.bincount(
        bins["clock"].dt.day_of_week * 24 + bins["clock"].dt.hour,
        weights=time_inside(spans(bins), counted) / MINUTE,
        minlength=168,
    )
    elapsed = weekday_hours(month, timezone, until=until)
    minutes = pd.DataFrame(cells.reshape(7, 24), index=elapsed.index, columns=elapsed.columns)
    return minutes / elapsed.where(elapsed > 0)


def movable_automation(
    sessions: pd.DataFrame,
    fleet: pd.DataFrame,
    *,
    spells: pd.DataFrame,
    busy_share: float = 0.9,
    min_owned: int = MIN_POOL,
) -> Movable:
    """What is gained if automated sessions leave the business minutes in which their model is nearly sold out.

    A minute is busy for a model when at least ``busy_share`` of its owned devices are. The automated device time in
    such minutes is what could move; then the sold-out time is counted again without it. A device that is also held
    by hand at that time stays busy.

    Parameters
    ----------
    sessions
        of :func:`usagekit.analysis.sessions.month_sessions`, those that take time, with ``automated``.
    fleet
        a row a known device; ``device_address``, ``device_model``.
    spells
        the business hours; ``start``, ``end`` (UTC).
    busy_share
        from which share (0 to 1) of a model's devices on a minute is busy.
    min_owned
        models of fewer devices are left out.

    Raises
    ------
    SchemaError : a column is missing.

    >>> at = pd.to_datetime(["2026-10-05 08:00", "2026-10-05 09:00", "2026-10-05 12:00"], utc=True)
    >>> sessions = pd.DataFrame({"device_address": ["1@a", "2@a"], "start": at[[0, 0]], "end": at[[2, 1]],
    ...                          "automated": [False, True]})
    >>> fleet = pd.DataFrame({"device_address": ["1@a", "2@a"], "device_model": "Pixel 8"})
    >>> movable_automation(sessions, fleet, spells=pd.DataFrame({"start": at[:1], "end": at[2:]}))
    Movable(hours=1.0, sold_out_minutes=60.0, remaining_minutes=0.0, saved_share=1.0)
    """
    require(sessions, "device_address", "start", "end", "automated")
    require(fleet, "device_address", "device_model")
    automated = sessions["automated"].astype(bool)
    pools = pools_of(fleet, sessions, sessions[automated], sessions[~automated])
    owned = pools.owned[pools.steps.of]
    busy, runs, by_hand = pools.busy.T
    time = time_inside(pools.steps, spans(spells)) * (owned >= min_owned)
    # The tolerance is for products that are no exact double, such as 0.7 * 10 = 7.000000000000001.
    tight = busy >= busy_share * owned - 1e-9
    before = float(time[busy == owned].sum())
    after = float(time[by_hand == owned].sum())
    return Movable(
        hours=float((time * runs)[tight].sum() / HOUR),
        sold_out_minutes=before / MINUTE,
        remaining_minutes=after / MINUTE,
        saved_share=1 - after / before if before else None,
    )

"""Is there too little or too much of anything? Utilisation, and how many devices of each model are enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from usagekit.analysis.columns import require
from usagekit.analysis.concurrency import business_spells
from usagekit.analysis.sites import by_site
from usagekit.analysis.sweep import (
    MINUTE,
    Ints,
    Spans,
    at_least,
    bin_spans,
    enough,
    spans,
    stacked,
    time_inside,
    united,
)
from usagekit.period import BusinessHours

MIN_POOL: Final = 2
"""A model of fewer devices is never called sold out: a single one is whenever it is used, which says nothing."""

_COUNTS = ("peak", "needed_95", "needed_99", "handoffs", "spare")


@dataclass(frozen=True, slots=True)
class Pools:
    """The devices of each model as one pool, and how many of it are busy when.

    ``steps`` belong to pools, by their place in ``models``; ``busy`` has a row a step and a column for each set of
    sessions that was asked about.
    """

    models: pd.Index[str]
    owned: Ints
    steps: Spans
    busy: Ints


def utilisation(hours: float | None, *, devices: float | None, available_hours: float) -> float | None:
    """Share of the available device time that was used: hours / (devices * available hours).

    Parameters
    ----------
    hours
        device hours used (h): all of a month, or those inside business hours.
    devices
        devices owned, also those without usage.
    available_hours
        elapsed time (h) for which each device was there: of the month, or its business hours.

    Returns
    -------
    0 to 1, above it where sessions overlap on a device; None where hours or devices are missing, or nothing was
    available.

    >>> utilisation(1490.0, devices=10, available_hours=745.0)
    0.2
    """
    if hours is None or devices is None or not devices * available_hours > 0 or hours != hours:  # noqa: PLR0124
        return None
    return float(hours / (devices * available_hours))


def business_hours_used(hourly: pd.DataFrame, *, month: str, timezone: str, business: BusinessHours) -> float:
    """Device hours (h) inside the business hours of a month, from hour bins.

    An hour counts by the part of it that is business time, as if it were used evenly: exact where business
    hours begin and end on whole hours of the local clock.

    Parameters
    ----------
    hourly
        hour bins, also of several groups; ``datetime`` with a zone and ``total_time_hours`` (h). Those of other
        months are left out.
    month, timezone
        the month ``YYYY-MM`` and the IANA zone of the business hours.
    business
        when the lab is open.

    Raises
    ------
    SchemaError : a column is missing.

    >>> stamps = pd.date_range("2026-10-01", periods=24, freq="h", tz="Europe/Berlin")
    >>> hourly = pd.DataFrame({"datetime": stamps, "total_time_hours": 2.0})
    >>> business_hours_used(hourly, month="2026-10", timezone="Europe/Berlin", business=BusinessHours())
    20.0
    """
    require(hourly, "datetime", "total_time_hours")
    bins = bin_spans(hourly, month, timezone)
    opened = time_inside(bins, spans(business_spells(month, timezone, business)))
    hours = hourly["total_time_hours"].to_numpy(dtype=float)
    return float((hours * opened / (bins.end - bins.start))[opened > 0].sum())


def right_size(
    sessions: pd.DataFrame, fleet: pd.DataFrame, *, spells: pd.DataFrame, handoff_seconds: float = 120
) -> pd.DataFrame:
    """How many devices of each model are owned, and how many would have been enough.

    needed = the smallest k with at most k devices busy in 95 % or 99 % of the business time. A model is sold out
    while all its owned devices are busy; of a single device nothing is said (:data:`MIN_POOL`). A hand-off is a session that
    another user starts on a device 0 to ``handoff_seconds`` (s) after it became free. Both show contention without
    a queue to look at: they are signs of it and no proof.

    Parameters
    ----------
    sessions
        of :func:`usagekit.analysis.sessions.month_sessions`, those that take time, with ``email``, ``team`` and ``automated``: the
        user is the email, of automated sessions the team.
    fleet
        a row a known device; ``device_address``, ``device_model``.
    spells
        the business hours; ``start``, ``end`` (UTC).
    handoff_seconds
        longest pause (s) of a hand-off.

    Returns
    -------
    ``device_model``, ``owned``, ``used`` (devices), ``total_time_hours`` (h), ``peak`` (devices, at any time),
    ``needed_95``, ``needed_99`` (devices; missing without business hours), ``sold_out_minutes`` (min) and
    ``sold_out_share`` of the business time (missing of a single device), ``handoffs``, ``spare`` = owned - needed_99; most hours first.
    Devices of no known model are in a last row without a name, with the first three numbers only.

    Raises
    ------
    SchemaError : a column is missing.

    >>> at = pd.to_datetime([f"2026-10-05 {clock}" for clock in ("08:00", "09:00", "10:00", "18:00")], utc=True)
    >>> sessions = pd.DataFrame({"device_address": ["1@a", "2@a"], "start": at[:2], "end": at[[2, 2]], "team": None,
    ...                          "email": ["ana@example.com", "bo@example.com"], "automated": False})
    >>> fleet = pd.DataFrame({"device_address": ["1@a", "2@a"], "device_model": "Pixel 8"})
    >>> sizes = right_size(sessions, fleet, spells=pd.DataFrame({"start": at[:1], "end": at[3:]}))
    >>> sizes[["owned", "peak", "needed_99", "sold_out_minutes", "handoffs"]].values.tolist()
    [[2, 2, 2, 60.0, 0]]
    """
    require(fleet, "device_address", "device_model")
    require(sessions, "email", "team", "automated")
    table = by_site(sessions, fleet, column="device_model", spells=spells)
    pools, counted = pools_of(fleet, sessions), spans(spells)
    total = counted.total()
    time = time_inside(pools.steps, counted)
    bounds = np.searchsorted(pools.steps.of, np.arange(len(pools.models) + 1))
    rows = []
    for pool, owned in enumerate(pools.owned.tolist()):
        part = slice(bounds[pool], bounds[pool + 1])
        longer = at_least(pools.busy[part, 0], time[part], total=total)
        needed = [enough(longer, level) if total else None for level in (0.95, 0.99)]
        sold_out = longer[owned] if owned < len(longer) else 0.0
        told = [sold_out / MINUTE, sold_out / total if total else None] if owned >= MIN_POOL else [None, None]
        rows.append((pools.models[pool], len(longer) - 1, *needed, *told))
    columns = ["device_model", *_COUNTS[:3], "sold_out_minutes", "sold_out_share"]
    found = table.drop(columns="business_utilisation").merge(
        pd.DataFrame(rows, columns=columns).astype({"device_model": "str"}), on="device_model", how="left"
    )
    given = sessions["device_address"].map(fleet.set_index("device_address")["device_model"])
    handed = given[handoffs(sessions, seconds=handoff_seconds)].value_counts()
    known = found["device_model"].notna()
    found["handoffs"] = found["device_model"].map(handed).fillna(0).where(known)
    found["spare"] = found["owned"] - found["needed_99"]
    floats = ("sold_out_minutes", "sold_out_share")
    return found.astype(dict.fromkeys(_COUNTS, "Int64") | dict.fromkeys(floats, "float64"))


def pools_of(fleet: pd.DataFrame, *sets: pd.DataFrame) -> Pools:
    """The pools of a fleet and how many devices of each are busy with each of these sets of sessions.

    Distinct devices: sessions that overlap on one keep one busy. A device of no known model is in no pool.
    """
    known = fleet[fleet["device_model"].notna()]
    pool, models = pd.factorize(known["device_model"], sort=True)
    addresses = pd.Index(known["device_address"])
    layers = []
    for sessions in sets:
        device = addresses.get_indexer(sessions["device_address"])
        held = united(spans(sessions, device)[device >= 0])
        layers.append(Spans(pool[held.of], held.start, held.end))
    return Pools(pd.Index(models), np.bincount(pool), *stacked(*layers))


def handoffs(sessions: pd.DataFrame, *, seconds: float) -> npt.NDArray[np.bool_]:
    """Which sessions begin 0 to ``seconds`` (s) after another user set the device free; a mask.

    Free is a device once all sessions before are over. A user without email (or team, if automated) is nobody in
    particular: such a session is neither side of a hand-off.
    """
    names = sessions["team"].where(sessions["automated"].astype(bool), sessions["email"])
    user = pd.DataFrame({"automated": sessions["automated"].astype(bool), "name": names})
    users = user.groupby(["automated", "name"]).ngroup().where(names.notna(), -1).to_numpy()
    given = spans(sessions, pd.factorize(sessions["device_address"], use_na_sentinel=False)[0])
    order = np.lexsort((users, given.end, given.start, given.of))
    given, users = given[order], users[order]
    latest = pd.Series(given.end).groupby(given.of).cummax()
    held = latest.groupby(given.of).shift().to_numpy()
    place = np.arange(len(order))
    # Who held the device last; the first session of a device always takes over.
    holder = np.maximum.accumulate(np.where(~(given.end <= held), place, 0)) if len(place) else place
    before = users[np.roll(holder, 1)] if len(place) else users
    pause = given.start - held
    found = np.zeros(len(order), dtype=bool)
    found[order] = (pause >= 0) & (pause <= seconds * 1e6) & (users != before) & (users >= 0) & (before >= 0)
    return found

"""Pairs of equal devices of which one would have been enough."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import numpy.typing as npt
import pandas as pd

from usagekit.analysis.columns import require
from usagekit.analysis.sweep import HOUR, Spans, spans, united

Mask = npt.NDArray[np.bool_]


def surplus_twins(
    events: pd.DataFrame, fleet: pd.DataFrame, *, start: datetime, end: datetime
) -> pd.DataFrame:
    """Find pairs of one model on one host that were never busy at the same time.

    One of a pair could have done the work of both without any session waiting. Pairs are taken greedily, the
    least used device first and with it the least used one that fits, so that a device is in one pair at most.

    Parameters
    ----------
    events
        single sessions; ``device_address``, ``start_time``, ``end_time`` (UTC).
    fleet
        a row a known device; ``device_address``, ``device_model``, ``hostname``.
    start, end
        the instants between which sessions count, best some months.

    Returns
    -------
    ``device_model``, ``hostname``, ``first`` and ``second`` (device addresses; the second has fewer hours) and
    their ``first_hours`` and ``second_hours`` (h, never 0), fewest hours first.

    Raises
    ------
    SchemaError : a column is missing.

    >>> at = pd.to_datetime([f"2026-10-05 {clock}" for clock in ("08:00", "10:00", "11:00")], utc=True)
    >>> events = pd.DataFrame({"device_address": ["1@a", "2@a"], "start_time": at[:2], "end_time": at[1:]})
    >>> fleet = pd.DataFrame({"device_address": ["1@a", "2@a"], "device_model": "Pixel 8", "hostname": "a"})
    >>> surplus_twins(events, fleet, start=at[0], end=at[2]).values.tolist()
    [['Pixel 8', 'a', '1@a', '2@a', 2.0, 1.0]]
    """
    require(events, "device_address", "start_time", "end_time")
    require(fleet, "device_address", "device_model", "hostname")
    known = fleet.dropna(subset=["device_model", "hostname"])
    known = known.sort_values(["device_model", "hostname", "device_address"], ignore_index=True)
    held = _held(events, pd.Index(known["device_address"]), pd.Timestamp(start), pd.Timestamp(end))
    hours = np.bincount(held.of, weights=held.end - held.start, minlength=len(known)) / HOUR
    pairs = []
    for rows in known.groupby(["device_model", "hostname"]).indices.values():
        low, high = np.searchsorted(held.of, [rows[0], rows[-1] + 1])  # alike devices stand together
        own = held[low:high]
        apart = ~_together(Spans(own.of - rows[0], own.start, own.end), len(rows))
        used = np.flatnonzero(hours[rows] > 0)
        used = used[np.argsort(hours[rows][used], kind="stable")]
        pairs += [(rows[used[b]], rows[used[a]]) for a, b in _pairs(apart[np.ix_(used, used)])]
    first, second = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    found = known.loc[first, ["device_model", "hostname"]].reset_index(drop=True)
    for name, which in (("first", first), ("second", second)):
        found[name] = known["device_address"].to_numpy()[which]
    found = found.assign(first_hours=hours[first], second_hours=hours[second])
    order = (found["first_hours"] + found["second_hours"]).sort_values(kind="stable").index
    return found.loc[order].reset_index(drop=True).astype({"first": "str", "second": "str"})


def _held(events: pd.DataFrame, addresses: pd.Index[str], first: pd.Timestamp, last: pd.Timestamp) -> Spans:
    """When each device is held between two instants, without overlaps."""
    begun, ended = events["start_time"], events["end_time"]
    cut = pd.DataFrame({"start": begun.mask(begun < first, first), "end": ended.mask(ended > last, last)})
    device = addresses.get_indexer(pd.Index(events["device_address"]))
    counts = (cut["end"] > cut["start"]).to_numpy() & (device >= 0)
    return united(spans(cut[counts], device[counts]))


def _together(held: Spans, devices: int) -> Mask:
    """Which devices were ever busy at the same time, as a matrix."""
    held = held[np.argsort(held.start)]
    later = np.searchsorted(held.start, held.end) - np.arange(len(held.of)) - 1
    found = np.zeros((devices, devices), dtype=bool)
    rows, step = np.flatnonzero(later > 0), 1
    while len(rows):
        found[held.of[rows], held.of[rows + step]] = True
        step += 1
        rows = rows[later[rows] >= step]
    return found | found.T


def _pairs(apart: Mask) -> list[tuple[int, int]]:
    """Disjoint pairs that were apart: each in turn with the next one that is left and fits."""
    found = []
    left = np.ones(len(apart), dtype=bool)
    for one in range(len(apart)):
        fits = np.flatnonzero(apart[one, one + 1 :] & left[one + 1 :])
        if left[one] and len(fits):
            other = one + 1 + int(fits[0])
            left[[one, other]] = False
            found.append((one, other))
    return found

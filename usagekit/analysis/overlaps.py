"""Sessions that hold one device at the same time."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

from usagekit.analysis.wording import count_text

SKEW_SECONDS: Final = 300
"""Largest overlap (s) that a clock may explain; docs/quality.md says what is claimed, and that it is no proof."""
SKEW_SPREAD_SECONDS: Final = 2
SKEW_SESSIONS: Final = 5
SKEW_SHARE: Final = 0.8


def overlaps(events: pd.DataFrame) -> pd.DataFrame:
    """Sweep each device by time: which sessions start while another holds it, and for how many seconds (s).

    The seconds of a device add up to its session time minus the time it was held at all.
    """
    codes = pd.factorize(events["device_address"])[0]
    start, end = (events[c].dt.as_unit("us").astype("int64").to_numpy() for c in ("start_time", "end_time"))
    order = np.lexsort((end, start, codes))
    order = order[codes[order] >= 0]
    codes, start, end = codes[order], start[order], end[order]
    latest = pd.Series(end).groupby(codes).cummax()
    held = latest.groupby(codes).shift(fill_value=np.iinfo("int64").min).to_numpy()
    place = np.arange(len(order))
    # The first session of a device always reaches further than none: holders never come from another device.
    holder = np.maximum.accumulate(np.where(end > held, place, 0)) if len(place) else place
    seconds = (np.minimum(end, held) - start) // 1_000_000
    late = place[(held > start) & (seconds > 0)]
    other = holder[late - 1]
    span = [
        pd.Series(pd.to_datetime(t[other], unit="us")).dt.strftime("%Y-%m-%d %H:%M:%S") for t in (start, end)
    ]
    detail = [
        f"{count_text(s)} s counted twice: another session holds the device from {first} to {last} UTC"
        for s, first, last in zip(seconds[late], *span, strict=True)
    ]
    return pd.DataFrame({"seconds": seconds[late], "detail": detail}, index=events.index[order[late]])


def skewed_hosts(sessions: pd.DataFrame, seconds: pd.Series[int]) -> pd.DataFrame:
    """Hosts where nearly every overlap is equally short: a hint at their clock, no proof.

    ``sessions`` are those that overlap an earlier one, by ``seconds`` (s), with their ``length`` (s). Returns
    ``hostname``, ``start_time``, ``end_time``, ``sessions``, ``affected`` (s) and ``detail`` of such hosts.
    """
    hosts = sessions["hostname"]
    near = (seconds - seconds.groupby(hosts).transform("median")).abs() <= SKEW_SPREAD_SECONDS
    # A session wholly inside another one says nothing about when the first was over.
    near &= (seconds <= SKEW_SECONDS) & (seconds < sessions["length"])
    table = sessions.assign(seconds=seconds, near=near).groupby("hostname")
    rows = table.agg(all=("near", "size"), alike=("near", "sum"))
    enough = (rows["alike"] >= SKEW_SESSIONS) & (rows["alike"] >= SKEW_SHARE * rows["all"])
    alike = sessions.assign(seconds=seconds)[near & hosts.isin(rows.index[enough])]
    found = alike.groupby("hostname", as_index=False).agg(
        start_time=("start_time", "min"),
        end_time=("end_time", "max"),
        sessions=("seconds", "size"),
        affected=("seconds", "sum"),
        low=("seconds", "min"),
        high=("seconds", "max"),
    )
    found["detail"] = [
        f"{count_text(n)} sessions start {low} to {high} s before the one before them ends: "
        "the clock of the host may have been set or may be off"
        for n, low, high in zip(found["sessions"], found["low"], found["high"], strict=True)
    ]
    return found

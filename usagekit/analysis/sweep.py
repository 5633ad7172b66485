"""Spans of time laid over each other: what runs at once, and how much of it falls into other spans.

Instants are UTC microseconds (int64), so every sum is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from usagekit.engine.bins import query_bins
from usagekit.period import parse_month
from usagekit.query import UsageQuery

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

MINUTE = 60_000_000
HOUR = 60 * MINUTE


@dataclass(frozen=True, slots=True)
class Spans:
    """Spans of time, each from ``start`` up to ``end`` (us), and whose they are: a code from 0 on."""

    of: Ints
    start: Ints
    end: Ints

    def __getitem__(self, rows: Any) -> Spans:
        return Spans(self.of[rows], self.start[rows], self.end[rows])

    def total(self) -> int:
        """Their time (us)."""
        return int((self.end - self.start).sum())


def spans(frame: pd.DataFrame, of: Ints | None = None) -> Spans:
    """The columns ``start`` and ``end`` (UTC) of a frame; all of one owner unless ``of`` says whose."""
    start, end = (frame[c].dt.as_unit("us").astype("int64").to_numpy() for c in ("start", "end"))
    return Spans(np.zeros(len(frame), np.int64) if of is None else of, start, end)


def as_frame(found: Spans) -> pd.DataFrame:
    """``start`` and ``end`` (UTC)."""
    times = {name: pd.to_datetime(getattr(found, name), unit="us", utc=True) for name in ("start", "end")}
    return pd.DataFrame(times).astype("datetime64[us, UTC]")


def united(given: Spans) -> Spans:
    """The same time of each owner without overlaps; spans that touch become one."""
    given = given[np.lexsort((given.start, given.of))]
    latest = pd.Series(given.end).groupby(given.of).cummax()
    held = latest.groupby(given.of).shift(fill_value=np.iinfo("int64").min).to_numpy()
    first = np.flatnonzero(given.start > held)
    last = np.append(first[1:] - 1, len(held) - 1)[: len(first)]
    return Spans(given.of[first], given.start[first], latest.to_numpy()[last])


def stacked(*layers: Spans) -> tuple[Spans, Ints]:
    """How many spans of each layer run at once, by owner.

    Returns
    -------
    Steps in order of owner and time, from the first start to the last end of an owner, and the counts: a row a
    step, a column a layer. What ends is gone before what starts at the same instant.
    """
    of = np.concatenate([part for layer in layers for part in (layer.of, layer.of)])
    at = np.concatenate([part for layer in layers for part in (layer.start, layer.end)])
    change = np.zeros((len(at), len(layers)), np.int64)
    place = 0
    for column, layer in enumerate(layers):
        size = len(layer.of)
        change[place : place + size, column] = 1
        change[place + size : place + 2 * size, column] = -1
        place += 2 * size
    order = np.lexsort((at, of))
    of, at = of[order], at[order]
    first = np.flatnonzero(np.append(True, (np.diff(of) != 0) | (np.diff(at) != 0))[: len(at)])
    net = np.add.reduceat(change[order], first, axis=0) if len(first) else change
    moves = (net != 0).any(axis=1)
    of, at, running = of[first][moves], at[first][moves], net[moves].cumsum(axis=0)
    goes_on = of[1:] == of[:-1]
    return Spans(of[:-1][goes_on], at[:-1][goes_on], at[1:][goes_on]), running[:-1][goes_on]


def common(one: Spans, other: Spans) -> Spans:
    """The time that is in both."""
    found, running = stacked(united(one), united(other))
    return found[running.min(axis=1) > 0]


def time_inside(given: Spans, others: Spans) -> Floats:
    """How much (us) of each span falls into the others, which are sorted and do not overlap."""
    if not len(others.start):
        return np.zeros(len(given.start))
    edges = np.column_stack([others.start, others.end]).ravel()
    lengths = np.column_stack([others.end - others.start, np.zeros_like(others.start)]).ravel()
    before = np.append(0, lengths.cumsum()[:-1])
    # Between two edges the time grows by 1 or by 0, and a double holds such instants exactly until 2255.
    return np.asarray(np.interp(given.end, edges, before) - np.interp(given.start, edges, before))


def at_least(busy: Ints, time: Floats, *, total: float) -> Floats:
    """By k from 0 up to the largest ``busy``: how long at least k were busy; ``total`` for 0."""
    found = np.bincount(busy, weights=time, minlength=1)[::-1].cumsum()[::-1]
    found[0] = total
    return np.asarray(found)


def enough(longer: Floats, share: float) -> int:
    """The smallest k that was exceeded for at most 1 - ``share`` of the time, from :func:`at_least`."""
    exceeded = np.append(longer[1:], 0.0)
    # A share such as 0.99 is no exact double; the tolerance is less than a microsecond a month.
    return int(np.argmax(longer[0] - exceeded >= (share - 1e-13) * longer[0]))


def bin_spans(hourly: pd.DataFrame, month: str, timezone: str) -> Spans:
    """From when to when the hour bins of a frame last, by their ``datetime`` (with a zone); true for those of the month."""
    bins = spans(hour_bins(month, timezone))
    stamps = pd.to_datetime(hourly["datetime"], utc=True)
    labels: Ints = stamps.to_numpy(dtype="datetime64[us]").astype(np.int64)
    place = np.searchsorted(bins.start, labels, side="right") - 1
    # Hours that are whole in UTC but not on the local clock (India) have no edge here and last an hour.
    return Spans(place, labels, np.where(bins.start[place] == labels, bins.end[place], labels + HOUR))


def hour_bins(month: str, timezone: str) -> pd.DataFrame:
    """The hours of a month as the local clock counts them.

    A row an hour: ``start``, ``end`` (UTC) and ``clock`` (naive, what the clock shows at the start). No row reaches
    over midnight, over a whole hour of the clock, or over a change of its offset.
    """
    period = parse_month(month)
    query = UsageQuery(start=period.start, end=period.end, bin_size="hour", timezone=timezone)
    edges = pd.to_datetime(query_bins(query).edges, unit="s", utc=True).as_unit("us")
    clock = edges[:-1].tz_convert(timezone).tz_localize(None)
    return pd.DataFrame({"start": edges[:-1], "end": edges[1:], "clock": clock})

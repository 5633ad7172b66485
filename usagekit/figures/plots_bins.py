"""What a chart is made of: the bins of a question as places on an axis, and its rows as tables of numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pandas as pd

from usagekit.engine.bins import day_start, query_bins
from usagekit.errors import SchemaError
from usagekit.figures.plots_text import drawable
from usagekit.period import month_of
from usagekit.query import UsageQuery
from usagekit.values import FIRST_DATE, LAST_DATE
from usagekit.vocabulary import METRICS, Metric

Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

_DAY_SECONDS: Final = 86_400


@dataclass(frozen=True, slots=True)
class Bins:
    """The bins of a query, as places on a time axis.

    ``starts`` are the labels of the rows; ``left`` and ``right`` where each bin lies, in matplotlib's days
    (local dates, for hour bins instants); ``hours`` how long it lasted (h). ``cut`` marks bins that the
    range cuts, ``open`` those that were not over when the numbers were true, ``future`` those not begun.
    """

    size: str
    starts: pd.DatetimeIndex
    left: Floats
    right: Floats
    hours: Floats
    cut: Flags
    open: Flags
    future: Flags

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def middle(self) -> Floats:
        return (self.left + self.right) / 2

    @property
    def partial(self) -> Flags:
        """Bins that hold less than their name says. A range of one bin is what was asked for."""
        return self.open | self.cut if len(self) > 1 else self.open

    def positions(self, times: pd.Series[pd.Timestamp]) -> npt.NDArray[np.int64]:
        """The bin of each row. Raises SchemaError for a row of no bin: it would vanish from the chart."""
        found = self.starts.get_indexer(pd.DatetimeIndex(times))
        if (found < 0).any():
            stray = times[found < 0].iloc[0]
            raise SchemaError(f"the row of {stray} is in no {self.size} bin of the query")
        return found.astype(np.int64)


def make_bins(query: UsageQuery, *, timezone: str, as_of: datetime, today: date) -> Bins:
    """The bins of ``query``, and which were over at ``as_of``, no later than the end of ``today`` in ``timezone``."""
    found = query_bins(query)
    first, last = query.start, query.end
    if query.bin_size == "week":
        first, last = first - timedelta(first.weekday()), last + timedelta(6 - last.weekday())
    elif query.bin_size == "month":
        first, last = month_of(first).start, month_of(last).end
    whole = query_bins(replace(query, start=max(first, FIRST_DATE), end=min(last, LAST_DATE))).edges
    cut = np.zeros(len(found), bool)
    cut[:1] |= whole[:1] < found.edges[:1]
    cut[-1:] |= whole[-1:] > found.edges[-1:]
    now = min(as_of.timestamp(), day_start(today + timedelta(1), ZoneInfo(timezone)))
    if query.bin_size == "hour":
        starts = pd.to_datetime(found.edges[:-1], unit="s", utc=True).tz_convert(query.timezone)
        sides = found.edges / _DAY_SECONDS
    else:
        starts = pd.DatetimeIndex(found.labels)
        inside = np.maximum(starts.to_numpy("datetime64[D]"), np.datetime64(query.start, "D"))
        sides = np.append(inside, np.datetime64(query.end, "D") + 1).astype(float)
    return Bins(
        query.bin_size,
        starts.as_unit("us"),
        sides[:-1],
        sides[1:],
        np.diff(found.edges) / 3600,
        cut,
        whole[1:] > now,
        found.edges[:-1] >= now,
    )


def adds_up(metric: Metric) -> bool:
    """Whether values may be summed over bins and groups: time may; distinct counts and means never."""
    return metric is METRICS["total_time"]


def table(frame: pd.DataFrame, query: UsageQuery, metric: Metric, bins: Bins) -> pd.DataFrame:
    """The values of a metric: a row a member (one row ``""`` without groups), a column a bin.

    Where the answer has no row no session was, so time and counts are 0 and a mean is missing (NaN); what
    had not begun is missing too. Rows are ranked: by their sum, or by their largest value where sums lie.

    Raises
    ------
    SchemaError : a column is missing, or there are two rows for one bin and member.
    """
    _require(frame, "datetime", metric.column, *query.group_columns)
    names = member_names(frame, query.group_columns) if query.group_columns else pd.Series("", frame.index)
    rows = pd.DataFrame(
        {"name": names, "bin": bins.positions(frame["datetime"]), "value": frame[metric.column].astype(float)}
    )
    cells = _pivot(rows, "name", "bin").reindex(columns=range(len(bins)))
    if metric.name != "avg_session_length":
        cells = cells.fillna(0.0)
    cells.loc[:, bins.future] = np.nan
    return cells.loc[rank(cells, metric)]


def matrix(frame: pd.DataFrame, query: UsageQuery, metric: Metric) -> pd.DataFrame:
    """The values of a metric by two dimensions: the first down, the second across, both ranked.

    Time is summed over the bins; every other metric needs an answer of one bin. Pairs without a session
    are 0, and missing for means.
    """
    _require(frame, metric.column, *query.group_columns)
    down, across = (member_names(frame, (column,)) for column in query.group_columns)
    rows = pd.DataFrame({"down": down, "across": across, "value": frame[metric.column].astype(float)})
    if adds_up(metric):
        rows = rows.groupby(["down", "across"], as_index=False).sum()
    cells = _pivot(rows, "down", "across")
    if metric.name != "avg_session_length":
        cells = cells.fillna(0.0)
    return cells.loc[rank(cells, metric), rank(cells.T, metric)]


def rank(cells: pd.DataFrame, metric: Metric) -> list[str]:
    """The names of the rows, the largest first, equals by name."""
    sizes = cells.sum(axis=1) if adds_up(metric) else cells.max(axis=1)
    return [name for _, name in sorted(zip(-sizes.fillna(-1.0), map(str, cells.index), strict=True))]


def weekday_hours(values: Floats, bins: Bins) -> pd.DataFrame:
    """Mean number of devices busy by weekday and hour: device hours / hours of the bins that fall there.

    As :func:`usagekit.analysis.weekday_hour_profile`, for a range of any length.
    """
    clock = bins.starts
    rows = pd.DataFrame({"cell": clock.day_of_week * 24 + clock.hour, "busy": values, "hours": bins.hours})
    sums = rows[~bins.future].groupby("cell").sum().reindex(range(168))
    return pd.DataFrame((sums["busy"] / sums["hours"]).to_numpy().reshape(7, 24))


def member_names(frame: pd.DataFrame, columns: tuple[str, ...]) -> pd.Series[str]:
    """How the member of each row is called on a chart: never empty, and different members differ."""
    keys = frame[list(columns)].astype(object).where(frame[list(columns)].notna(), "")
    members = list(dict.fromkeys(keys.itertuples(index=False, name=None)))
    names = {key: _name(columns, key) for key in members}
    for full in (False, True):
        taken = pd.Series(names.values()).value_counts()
        for number, key in enumerate(members, 1):
            if taken[names[key]] > 1:
                names[key] = f"{names[key]} ({number})" if full else _whole_name(key)
    return pd.Series([names[key] for key in keys.itertuples(index=False, name=None)], frame.index, dtype=str)


def _name(columns: tuple[str, ...], key: tuple[str, ...]) -> str:
    if columns[0] == "user":
        return drawable(key[0] or key[1])
    return " · ".join(drawable(part) for part in key)


def _whole_name(key: tuple[str, ...]) -> str:
    return " · ".join(drawable(part, longest=None) for part in key[:2])


def _pivot(rows: pd.DataFrame, index: str, columns: str) -> pd.DataFrame:
    if rows.duplicated([index, columns]).any():
        raise SchemaError("the frame has two rows for one bin and group")
    return rows.pivot(index=index, columns=columns, values="value")


def _require(frame: pd.DataFrame, *columns: str) -> None:
    missing = [c for c in columns if c not in frame]
    if missing:
        raise SchemaError(f"the frame lacks {', '.join(missing)}", missing=missing)

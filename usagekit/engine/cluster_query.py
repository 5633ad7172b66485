"""A query over the index as one Ibis expression: the plan of the local engine, whatever runs it.

It sees integers only. The plan's codes and the bins join it as small tables, so a backend needs no time
zones and no names, and only sums and exact distinct counts come back.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from usagekit.engine.bins import Bins
from usagekit.engine.plan import Plan
from usagekit.query import UsageQuery

Table = Any
"""An Ibis table. Ibis is an optional extra, so its types cannot be named here."""


def sums_of(sessions: Table, query: UsageQuery, *, plan: Plan, bins: Bins, per_second: int) -> Table:
    """Give the expression of a query's sums: a row for each ``bin`` and group with sessions.

    Parameters
    ----------
    sessions : coded sessions of all months that matter: start and duration (Int64, ``per_second`` units a
        second), device, person, team, automated.
    query, plan, bins : the question, its plan and its bins.
    per_second : 1 for times in seconds, 1,000,000 for microseconds.
    """
    if query.automated is not None:
        sessions = sessions.filter(sessions.automated == query.automated)
    pieces = _pieces(_selected(sessions, plan), bins, per_second)
    keys = [*(g.key for g in plan.groups), "bin"]
    return pieces.group_by(keys).aggregate(**_sums(pieces, query.metric, per_second))


def joined(sums: pl.DataFrame, per_second: int) -> pl.DataFrame:
    """Give the rows of :func:`sums_of` the form that :func:`usagekit.engine.local.answer` takes."""
    values = {"seconds", "rest", "count"}
    sums = sums.with_columns(pl.exclude(values).cast(pl.Int32))
    if "seconds" in sums.columns:
        sums = sums.with_columns(sum=pl.col("seconds").cast(pl.Int128) * per_second + pl.col("rest"))
    return sums


def _selected(sessions: Table, plan: Plan) -> Table:
    """Sessions that pass the filters and have a value in every group, with the plan's codes as columns."""
    import ibis

    for column in ("device", "person", "team"):
        keys = {g.key: g.mapping for g in plan.groups if g.source == column}
        allowed = plan.allowed.get(column)
        codes = dict(keys)
        if plan.distinct and plan.distinct[0] == column:
            codes["counted"] = plan.distinct[1]
        if not codes and allowed is None:
            continue
        index = f"{column}_code"
        if codes:
            lookup = pl.DataFrame(codes).with_row_index(index).cast(pl.Int32).drop_nulls(list(keys))
            lookup = lookup if allowed is None else lookup.filter(pl.col(index).is_in(allowed.implode()))
        else:
            lookup = pl.DataFrame({index: allowed}, schema={index: pl.Int32})
        how = "left" if allowed is None and not keys else "inner"
        sessions = sessions.join(ibis.memtable(lookup), [(column, index)], how=how)
    return sessions


def _slots(bins: Bins, per_second: int) -> tuple[int, pl.DataFrame]:
    """Even slots of time about as long as a bin, and each slot with the bins that reach into it.

    Returns the length of a slot and a row for each slot and bin: the bin, its edges ``low`` and ``high``, and
    whether it ``opens`` in this slot, all times with ``per_second`` units a second. So the bin of an
    instant is found by an equality join, in any zone and at any number of bins.
    """
    offsets = bins.edges - bins.start
    length = -(-int(offsets[-1]) // len(bins))
    first, last = offsets[:-1] // length, (offsets[1:] - 1) // length
    counts = last - first + 1
    number = np.repeat(np.arange(len(bins)), counts)
    nth = np.arange(len(number)) - np.repeat(np.cumsum(counts) - counts, counts)
    table = {
        "slot": first[number] + nth,
        "bin": number.astype(np.int32),
        "low": bins.edges[number] * per_second,
        "high": bins.edges[number + 1] * per_second,
        "opens": nth == 0,
    }
    return length * per_second, pl.DataFrame(table)


def _pieces(sessions: Table, bins: Bins, per_second: int) -> Table:
    """Cut sessions at the bin edges: a row for every session and bin that it belongs to.

    A session visits every slot that it touches, and meets a bin in the first slot that both touch.
    """
    length, slots = _slots(bins, per_second)
    low, high = bins.start * per_second, bins.end * per_second
    import ibis

    sessions = sessions.mutate(end=sessions.start + sessions.duration)
    sessions = sessions.filter(sessions.duration >= 0, _overlap(sessions, low, high))
    first = ibis.greatest(sessions.start, low)
    last = ibis.greatest(ibis.least(sessions.end, high) - 1, first)
    sessions = sessions.mutate(
        first_slot=_quotient(first - low, length), last_slot=_quotient(last - low, length)
    )
    slot = ibis.range(sessions.first_slot, sessions.last_slot + 1).unnest()
    pieces = sessions.mutate(slot=slot).join(ibis.memtable(slots), "slot")
    meets = (pieces.slot == pieces.first_slot) | pieces.opens
    return pieces.filter(meets, _overlap(pieces, pieces.low, pieces.high))


def _overlap(sessions: Table, low: Any, high: Any) -> Any:
    """Whether sessions belong to a range: they overlap it, or have no length and start in it."""
    return (sessions.start < high) & ((sessions.end > low) | (sessions.start >= low))


def _quotient(value: Any, by: int) -> Any:
    """Whole quotient of integers that are not negative.

    The remainder goes first: some backends divide as floats, which is exact only when nothing is left over.
    """
    return (value - value % by) // by


def _sums(pieces: Table, metric: str, per_second: int) -> dict[str, Any]:
    """The integers over the pieces of one bin and group that the metric is made of."""
    import ibis

    match metric:
        case "total_time":
            inside = ibis.least(pieces.end, pieces.high) - ibis.greatest(pieces.start, pieces.low)
            return _time_sums(inside, per_second)
        case "avg_session_length":
            starts = pieces.start >= pieces.low
            whole = starts.ifelse(pieces.duration, 0)
            return {**_time_sums(whole, per_second), "count": starts.cast("int64").sum()}
        case "session_count":
            return {"count": pieces.count()}
    return {"count": pieces.counted.nunique()}


def _time_sums(time: Any, per_second: int) -> dict[str, Any]:
    """Sum of times as ``seconds`` and ``rest``: 10^10 sessions in microseconds would overflow one Int64."""
    return {"seconds": _quotient(time, per_second).sum(), "rest": (time % per_second).sum()}

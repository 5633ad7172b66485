"""The Usage API computed here: Polars over the integer index of an event store.

Formulas and rules are those of docs/semantics.md. All sums are of integers (microseconds or seconds) and
are divided once at the end, so an answer does not depend on the order of the sessions.
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

import polars as pl

from usagekit.engine.bins import Bins, query_bins
from usagekit.engine.plan import Group, Plan, make_plan, persons
from usagekit.engine.store import Store
from usagekit.query import EventsQuery, UsageQuery
from usagekit.vocabulary import METRICS

_SECONDS = {"hour": 3600, "minute": 60}


def usage(store: Store, query: UsageQuery) -> pl.DataFrame:
    """Answer an aggregation query.

    Returns one row a bin and group in the API's order, with the columns ``query.columns``: ``datetime``
    and group columns as strings, counts as integers, ``total_time`` and ``avg_session_length`` as floats
    in the unit that the column ``unit`` names.
    """
    bins = query_bins(query)
    plan = make_plan(store, query)
    unit = METRICS[query.metric].unit(query.bin_size)
    if len(bins):
        sessions, seconds = store.scan(bins.start, bins.end)
        if query.automated is not None:
            sessions = sessions.filter(pl.col("automated") == query.automated)
        pieces = _pieces(_selected(sessions, plan), bins, 1 if seconds else 1_000_000)
        keys = [g.key for g in plan.groups]
        rows = pieces.group_by(*keys, "bin").agg(_sums(query.metric)).collect()
        per_unit = _SECONDS.get(unit, 1) * (1 if seconds else 1_000_000)
        rows = rows.select(*keys, "bin", _value(rows, query.metric, per_unit))
    else:
        rows = pl.DataFrame(schema=dict.fromkeys((*(g.key for g in plan.groups), "bin"), pl.Int32))
        rows = rows.with_columns(_value(rows.with_columns(sum=pl.lit(0), count=pl.lit(0)), query.metric, 1))
    if query.display_all:
        rows = _fill(rows, query, plan.groups, len(bins))
    return _label(rows, query, plan.groups, bins).with_columns(unit=pl.lit(unit)).select(query.columns)


def events(store: Store, query: EventsQuery) -> pl.DataFrame:
    """List the sessions that start in a range, also those without an end or with one before the start.

    Returns the columns user, email, team, automated, device_id, hostname, start_time, end_time, duration
    (whole seconds) and date; times are UTC strings as on the wire. User and email are null in automated
    rows, team in manual ones.
    """
    start = datetime.combine(query.start, time(), UTC)
    end = datetime.combine(query.end + timedelta(days=1), time(), UTC)
    sessions, seconds = store.scan(int(start.timestamp()), int(end.timestamp()))
    per_second = 1 if seconds else 1_000_000
    bounds = (int(start.timestamp()) * per_second, int(end.timestamp()) * per_second - 1)
    sessions = sessions.filter(pl.col("start").is_between(*bounds))
    codes = store.codes
    if query.devices is not None:
        address = pl.col("device_id") + "@" + pl.col("hostname")
        devices = codes["device"].filter(address.is_in(query.devices))["code"]
        sessions = sessions.filter(pl.col("device").is_in(devices.implode()))
    last = pl.col("start") + pl.col("duration")
    return (
        sessions.collect()
        .join(codes["device"], left_on="device", right_on="code", how="left", maintain_order="left")
        .join(
            codes["team"], left_on="team", right_on="code", how="left", maintain_order="left", suffix="_name"
        )
        .join(persons(store), on="person", how="left", maintain_order="left")
        .sort("start", "device_id", "hostname", last, nulls_last=False, maintain_order=True)
        .select(
            pl.when(~pl.col("automated")).then("user").alias("user"),
            pl.when(~pl.col("automated")).then("email").alias("email"),
            pl.when(pl.col("automated")).then("team_name").alias("team"),
            "automated",
            "device_id",
            "hostname",
            _clock(pl.col("start") // per_second, "%Y-%m-%d %H:%M:%S").alias("start_time"),
            _clock(last // per_second, "%Y-%m-%d %H:%M:%S").alias("end_time"),
            (pl.col("duration") // per_second).cast(pl.Int64).alias("duration"),
            _clock(pl.col("start") // per_second, "%Y%m%d").alias("date"),
        )
    )


def _clock(seconds: pl.Expr, form: str) -> pl.Expr:
    """UTC seconds as text."""
    return pl.from_epoch(seconds, "s").dt.strftime(form)


def _selected(sessions: pl.LazyFrame, plan: Plan) -> pl.LazyFrame:
    """Sessions that pass the filters and have a value in every group, with the group codes as columns."""
    for column, codes in plan.allowed.items():
        sessions = sessions.filter(pl.col(column).is_in(codes.implode()))
    for group in plan.groups:
        sessions = sessions.with_columns(_gather(group.mapping, group.source).alias(group.key))
    if plan.groups:
        sessions = sessions.drop_nulls([g.key for g in plan.groups])
    if plan.distinct:
        column, counted_as = plan.distinct
        sessions = sessions.with_columns(_gather(counted_as, column).alias("counted"))
    return sessions


def _gather(mapping: pl.Series, column: str) -> pl.Expr:
    return pl.lit(mapping).gather(pl.col(column)) if len(mapping) else pl.lit(None, dtype=pl.Int32)


def _pieces(sessions: pl.LazyFrame, bins: Bins, per_second: int) -> pl.LazyFrame:
    """Cut sessions at the bin edges: a row for every session and bin it belongs to.

    Adds ``bin``, ``inside`` (time within the bin) and ``starts`` (the session starts in this bin).
    """
    start, end = pl.col("start"), pl.col("end")
    low, high = bins.start * per_second, bins.end * per_second
    sessions = sessions.with_columns(end=start + pl.col("duration")).filter(
        (pl.col("duration") >= 0) & (start < high) & ((end > low) | (start >= low))
    )
    first = pl.max_horizontal(start, pl.lit(low))
    last = pl.max_horizontal(pl.min_horizontal(end, pl.lit(high)) - 1, first)
    sessions = sessions.with_columns(
        bin=_bin_of(first, bins, per_second), last=_bin_of(last, bins, per_second)
    )
    single = sessions.filter(pl.col("bin") == pl.col("last")).with_columns(
        inside=pl.min_horizontal(end, pl.lit(high)) - first, starts=start >= low
    )
    edges = pl.lit(pl.Series(bins.edges * per_second))
    several = (
        sessions.filter(pl.col("bin") < pl.col("last"))
        .with_columns(pl.int_ranges("bin", pl.col("last") + 1, dtype=pl.Int32).alias("bin"))
        .explode("bin")
        .with_columns(low=edges.gather(pl.col("bin")), high=edges.gather(pl.col("bin") + 1))
        .with_columns(
            inside=pl.min_horizontal(end, "high") - pl.max_horizontal(start, "low"),
            starts=start >= pl.col("low"),
        )
        .drop("low", "high")
    )
    return pl.concat([single, several])


def _bin_of(instant: pl.Expr, bins: Bins, per_second: int) -> pl.Expr:
    """The bin that holds an instant of the range."""
    if slots := bins.slots():
        slot, table = slots
        since = instant - bins.start * per_second
        return pl.lit(pl.Series(table)).gather(since // (slot * per_second))
    edges = pl.lit(pl.Series(bins.edges * per_second))
    return (edges.search_sorted(instant, side="right").cast(pl.Int32) - 1).cast(pl.Int32)


def _sums(metric: str) -> list[pl.Expr]:
    """The integers over the pieces of one bin and group that the metric is made of."""
    match metric:
        case "total_time":
            return [pl.col("inside").sum().alias("sum")]
        case "avg_session_length":
            return [
                pl.col("duration").filter("starts").sum().alias("sum"),
                pl.col("starts").sum().alias("count"),
            ]
        case "session_count":
            return [pl.len().alias("count")]
    return [pl.col("counted").drop_nulls().n_unique().alias("count")]


def _value(sums: pl.DataFrame, metric: str, per_unit: int) -> pl.Series:
    """The metric from its sums; a mean of nothing is null.

    NumPy divides: Polars multiplies by the reciprocal of a scalar, which can miss the nearest float.
    """
    match metric:
        case "total_time":
            values = pl.Series(sums["sum"].to_numpy() / per_unit, dtype=pl.Float64)
        case "avg_session_length":
            count = sums["count"].cast(pl.Int64)
            some = count.clip(1).to_numpy()
            means = pl.Series(sums["sum"].to_numpy() / (some * per_unit), dtype=pl.Float64)
            values = means.set(count == 0, None)
        case _:
            values = sums["count"].cast(pl.Int64)
    return values.alias(metric)


def _fill(rows: pl.DataFrame, query: UsageQuery, groups: tuple[Group, ...], bins: int) -> pl.DataFrame:
    """Add a row for every known member and bin that has none, with 0, or null for a mean of nothing."""
    everything = pl.DataFrame({"bin": pl.int_range(bins, dtype=pl.Int32, eager=True)})
    for group in groups:
        everything = everything.join(pl.DataFrame({group.key: group.members}), how="cross")
    keys = [*(g.key for g in groups), "bin"]
    missing = everything.select(keys).join(rows, on=keys, how="anti")
    zero = None if query.metric == "avg_session_length" else 0
    missing = missing.with_columns(pl.lit(zero, dtype=rows.schema[query.metric]).alias(query.metric))
    return pl.concat([rows, missing])


def _label(rows: pl.DataFrame, query: UsageQuery, groups: tuple[Group, ...], bins: Bins) -> pl.DataFrame:
    """Turn codes into names, and order the rows by bin and then by name."""
    for group in groups:
        rows = rows.join(group.labels, left_on=group.key, right_on="code", how="left")
    labels = pl.Series(bins.labels, dtype=pl.String)
    rows = rows.sort("bin", *query.group_columns, nulls_last=False)
    return rows.with_columns(datetime=labels.gather(rows["bin"]))

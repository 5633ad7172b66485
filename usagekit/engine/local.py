"""The Usage API computed here: Polars over the integer index of an event store.

Formulas and rules are those of docs/semantics.md. All sums are of integers (microseconds or seconds) and
are divided once at the end, so an answer does not depend on the order of the sessions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from itertools import cycle

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
    return usage_many(store, [query])[0]


def usage_many(store: Store, queries: Sequence[UsageQuery]) -> list[pl.DataFrame]:
    """Answer several aggregation queries, each as :func:`usage` does, in their order.

    Those that differ in nothing but the metric share one pass over the sessions.
    """
    passes: dict[UsageQuery, list[UsageQuery]] = {}
    for query in queries:
        passes.setdefault(replace(query, metric="total_time"), []).append(query)
    answers: dict[UsageQuery, pl.DataFrame] = {}
    for alike in passes.values():
        answers.update(_one_pass(store, {query.metric: query for query in alike}))
    return [answers[query] for query in queries]


def _one_pass(store: Store, queries: dict[str, UsageQuery]) -> dict[UsageQuery, pl.DataFrame]:
    """Answer queries that differ in their metric, by which they are given."""
    query = next(iter(queries.values()))
    bins = query_bins(query)
    plans = {metric: make_plan(store, asked) for metric, asked in queries.items()}
    keys = [*(g.key for g in plans[query.metric].groups), "bin"]
    sums, per_second = {metric: no_sums(plan) for metric, plan in plans.items()}, 1
    if len(bins):
        sessions, seconds = store.scan(bins.start, bins.end)
        if query.automated is not None:
            sessions = sessions.filter(pl.col("automated") == query.automated)
        per_second = 1 if seconds else 1_000_000
        pieces = _pieces(_selected(sessions, plans), bins, per_second)
        found = pieces.group_by(keys).agg(map(_sums, queries)).collect(engine="streaming")
        sums = {metric: found.select(*keys, metric).unnest(metric) for metric in queries}
    return {
        asked: answer(sums[metric], asked, plan=plans[metric], bins=bins, per_second=per_second)
        for metric, asked in queries.items()
    }


def no_sums(plan: Plan) -> pl.DataFrame:
    """The sums of no sessions at all, as :func:`answer` takes them."""
    keys = dict.fromkeys((*(g.key for g in plan.groups), "bin"), pl.Int32)
    return pl.DataFrame(schema={**keys, "sum": pl.Int64, "count": pl.Int64})


def answer(sums: pl.DataFrame, query: UsageQuery, *, plan: Plan, bins: Bins, per_second: int) -> pl.DataFrame:
    """Turn sums into the answer: a row a bin and group, with the codes of the plan and what ``_value`` needs."""
    unit = METRICS[query.metric].unit(query.bin_size)
    keys = [*(g.key for g in plan.groups), "bin"]
    rows = sums.select(*keys, _value(sums, query.metric, _SECONDS.get(unit, 1) * per_second))
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


def _selected(sessions: pl.LazyFrame, plans: dict[str, Plan]) -> pl.LazyFrame:
    """Sessions that pass the filters and have a value in every group.

    Adds the group codes, and for each metric that counts distinct values the codes of those.
    """
    plan = next(iter(plans.values()))
    for column, codes in plan.allowed.items():
        sessions = sessions.filter(pl.col(column).is_in(codes.implode()))
    for group in plan.groups:
        sessions = sessions.with_columns(_gather(group.mapping, group.source).alias(group.key))
    if plan.groups:
        sessions = sessions.drop_nulls([g.key for g in plan.groups])
    counted = {metric: _gather(p.distinct[1], p.distinct[0]) for metric, p in plans.items() if p.distinct}
    return sessions.with_columns(**counted)


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
    edges = pl.lit(pl.Series(bins.edges * per_second))
    # One stream: two branches, for sessions in one bin and in several, would hold all sessions in memory.
    return (
        sessions.with_columns(bin=_bin_of(first, bins, per_second), last=_bin_of(last, bins, per_second))
        .with_columns(pl.int_ranges("bin", pl.col("last") + 1, dtype=pl.Int32).alias("bin"))
        .explode("bin")
        .with_columns(low=edges.gather(pl.col("bin")), high=edges.gather(pl.col("bin") + 1))
        .with_columns(
            inside=pl.min_horizontal(end, "high") - pl.max_horizontal(start, "low"),
            starts=start >= pl.col("low"),
        )
        .drop("low", "high")
    )


def _bin_of(instant: pl.Expr, bins: Bins, per_second: int) -> pl.Expr:
    """The bin that holds an instant of the range."""
    if slots := bins.slots():
        slot, table = slots
        since = instant - bins.start * per_second
        return pl.lit(pl.Series(table)).gather(since // (slot * per_second))
    edges = pl.lit(pl.Series(bins.edges * per_second))
    return (edges.search_sorted(instant, side="right").cast(pl.Int32) - 1).cast(pl.Int32)


def _sums(metric: str) -> pl.Expr:
    """The integers over the pieces of one bin and group that the metric is made of, as a struct."""
    match metric:
        case "total_time":
            sums = [pl.col("inside").sum().alias("sum")]
        case "avg_session_length":
            sums = [
                pl.col("duration").filter("starts").sum().alias("sum"),
                pl.col("starts").sum().alias("count"),
            ]
        case "session_count":
            sums = [pl.len().alias("count")]
        case _:
            sums = [pl.col(metric).drop_nulls().n_unique().alias("count")]
    return pl.struct(sums).alias(metric)


def _value(sums: pl.DataFrame, metric: str, per_unit: int) -> pl.Series:
    """The metric from its sums; a mean of nothing is null."""
    match metric:
        case "total_time":
            values = _quotients(sums["sum"], pl.Series([per_unit]))
        case "avg_session_length":
            count = sums["count"].cast(pl.Int64)
            values = _quotients(sums["sum"], count.clip(1) * per_unit).set(count == 0, None)
        case _:
            values = sums["count"].cast(pl.Int64)
    return values.alias(metric)


def _quotients(tops: pl.Series, bottoms: pl.Series) -> pl.Series:
    """Integers divided by as many integers, or by one, each rounded once to the nearest float.

    NumPy divides: Polars multiplies by the reciprocal of a scalar, which can miss the nearest float. Integers
    that a float cannot hold would be rounded twice by NumPy; Python divides those.
    """
    if all((values.max() or 0) <= 2**53 for values in (tops, bottoms)):  # type: ignore[operator]
        return pl.Series(tops.cast(pl.Int64).to_numpy() / bottoms.to_numpy(), dtype=pl.Float64)
    pairs = zip(tops, bottoms if len(bottoms) > 1 else cycle(bottoms), strict=False)
    return pl.Series([top / bottom for top, bottom in pairs], dtype=pl.Float64)


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

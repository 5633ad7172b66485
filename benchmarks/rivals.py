"""The contenders: each answers the six metrics by team and day from the same event store.

A contender takes the store's path, first and last date and returns a frame with the columns of
:data:`benchmarks.question.COLUMNS`, in any order of rows. The rivals read the public Parquet files and nothing else; the
rules are those of docs/semantics.md.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from math import isclose
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.pandas_rivals import plain_pandas, vectorised_pandas
from benchmarks.question import COLUMNS, METRICS, ZONE, day_edges, files

if TYPE_CHECKING:
    import polars as pl


def polars_on_strings(store: Path, first: date, last: date) -> pl.DataFrame:
    """One lazy, streaming query over the public files; names become categories, few sessions explode."""
    import polars as pl

    edges, labels = day_edges(first, last)
    low, high = int(edges[0]), int(edges[-1])
    start, end = pl.col("start"), pl.col("end")
    days = pl.LazyFrame({"low": edges[:-1], "high": edges[1:], "datetime": labels}).with_row_index("day")
    sessions = (
        pl.scan_parquet(files(store, first, last), hive_partitioning=False)
        .select(
            pl.col("team").cast(pl.Categorical),
            pl.col("email").cast(pl.Categorical),
            device=(pl.col("device_id") + "@" + pl.col("hostname")).cast(pl.Categorical),
            start=pl.col("start_time").to_physical(),
            end=pl.col("end_time").to_physical(),
        )
        .filter(
            pl.col("team").is_not_null(),
            start <= end,
            start < high,
            (end > low) | (start >= low),
        )
    )
    begin = pl.max_horizontal(start, pl.lit(low))
    final = pl.max_horizontal(pl.min_horizontal(end, pl.lit(high)) - 1, begin)
    # Local dates count days without a look-up; the range's first day is day 0.
    sessions = sessions.with_columns(day=_local_day(begin, first), last=_local_day(final, first))
    within = sessions.filter(pl.col("day") == pl.col("last"))
    within = within.with_columns(inside=pl.min_horizontal(end, pl.lit(high)) - begin, starts=start >= low)
    over = (
        sessions.filter(pl.col("day") != pl.col("last"))
        .with_columns(day=pl.int_ranges("day", pl.col("last") + 1, dtype=pl.UInt32))
        .explode("day")
        .join(days.select("day", "low", "high"), on="day")
        .with_columns(
            inside=pl.min_horizontal(end, "high") - pl.max_horizontal(start, "low"),
            starts=start >= pl.col("low"),
        )
        .drop("low", "high")
    )
    length = (end - start).filter("starts")
    return (
        pl.concat([within, over], how="vertical_relaxed")
        .group_by("day", "team")
        .agg(
            total_time=pl.col("inside").sum() / 3.6e9,
            avg_session_length=length.mean() / 6e7,
            session_count=pl.len(),
            device_count=pl.col("device").n_unique(),
            user_count=pl.col("email").drop_nulls().n_unique(),
            team_count=pl.lit(1),
        )
        .join(days.select("day", "datetime"), on="day")
        .select(pl.col("team").cast(pl.String), pl.exclude("team"))
        .select(COLUMNS)
        .collect(engine="streaming")
    )


def usagekit_many(store: Path, first: date, last: date) -> pl.DataFrame:
    """Six queries asked together through the engine's public function."""
    from usagekit.engine import local
    from usagekit.engine.store import open_store

    frames = local.usage_many(open_store(store), _queries(first, last))
    return (
        frames[0]
        .select("datetime", "team")
        .with_columns(*(f[m] for f, m in zip(frames, METRICS, strict=True)))
    )


def usagekit_each(store: Path, first: date, last: date) -> pl.DataFrame:
    """Six queries asked one after another."""
    from usagekit.engine import local
    from usagekit.engine.store import open_store

    opened = open_store(store)
    frames = [local.usage(opened, query) for query in _queries(first, last)]
    return (
        frames[0]
        .select("datetime", "team")
        .with_columns(*(f[m] for f, m in zip(frames, METRICS, strict=True)))
    )


def scan(store: Path, first: date, last: date) -> pl.DataFrame:
    """The floor: decode three integer columns of the index and add them up, which answers nothing."""
    import polars as pl

    from usagekit.engine.store import open_store

    sums = [pl.col(c).cast(pl.Int64).sum() for c in ("team", "start", "duration")]
    files = [store / m.file for m in open_store(store).manifest.months]
    return (
        pl.scan_parquet(files, hive_partitioning=False, glob=False).select(sums).collect(engine="streaming")
    )


RIVALS: dict[str, Callable[[Path, date, date], Any]] = {
    "plain pandas": plain_pandas,
    "vectorised pandas": vectorised_pandas,
    "Polars on strings": polars_on_strings,
    "usagekit, one by one": usagekit_each,
    "usagekit": usagekit_many,
}
"""Contenders that answer, slowest first; :func:`scan` answers nothing."""


def rows_of(answer: Any) -> list[list[Any]]:
    """An answer as sorted rows of plain values; a mean of nothing is None."""
    columns = [[None if cell != cell else cell for cell in answer[c].to_list()] for c in COLUMNS]
    return sorted(map(list, zip(*columns, strict=True)))


def same(one: list[list[Any]], other: list[list[Any]]) -> bool:
    """Whether two answers agree: names and counts exactly, times to a billionth."""
    return len(one) == len(other) and all(
        mine == theirs
        or (isinstance(mine, float) and isinstance(theirs, float) and isclose(mine, theirs, rel_tol=1e-9))
        for a, b in zip(one, other, strict=True)
        for mine, theirs in zip(a, b, strict=True)
    )


def _queries(first: date, last: date) -> list[Any]:
    from usagekit.query import UsageQuery

    return [
        UsageQuery(by="team", start=first, end=last, metric=m, bin_size="day", timezone=ZONE) for m in METRICS
    ]


def _local_day(instant: pl.Expr, first: date) -> pl.Expr:
    import polars as pl

    local = pl.from_epoch(instant, "us").dt.convert_time_zone(ZONE).dt.date()
    return (local - pl.lit(first)).dt.total_days().cast(pl.UInt32)

"""A tidy frame in other shapes: as a table with a column a member, and safe for spreadsheets."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pandas as pd

from usagekit.engine.bins import query_bins
from usagekit.query import UsageQuery
from usagekit.values import without_formula
from usagekit.vocabulary import METRICS

_MEANS = {METRICS["avg_session_length"].column}


def to_wide(
    usage: pd.DataFrame, query: UsageQuery, *, groups: Sequence[str], metrics: Sequence[str], now: datetime
) -> pd.DataFrame:
    """See :meth:`usagekit.answer.Usage.wide`; bins that begin after ``now`` are left out unless they have rows."""
    values = [c for c in usage if str(c).startswith(tuple(metrics))]
    table: Any = usage.set_index(["datetime", *groups])[values]
    if groups:
        table = table.unstack(list(groups))
    bins = query_bins(query)
    begun = bins.edges[:-1] < now.timestamp()
    if query.bin_size == "hour":
        labels = pd.to_datetime(bins.edges[:-1], unit="s", utc=True).tz_convert(query.timezone)
    else:
        labels = pd.DatetimeIndex(bins.labels)
    index = labels[begun].as_unit("us").union(pd.DatetimeIndex(table.index))
    table = table.reindex(index.rename("datetime"))
    for column in table.columns:
        name = column[0] if groups else column
        if name in metrics and name not in _MEANS:
            table[column] = table[column].fillna(0).astype(usage[name].dtype)
    if groups and len(values) == len(groups) == 1:
        table = table.droplevel(0, axis=1).rename_axis(columns=f"{values[0]} by {groups[0]}")
    elif groups:
        table = table.rename_axis(columns=["metric", *groups])
    return pd.DataFrame(table)


def without_formulas(frame: pd.DataFrame) -> pd.DataFrame:
    """Put a ``'`` before every text that a spreadsheet would take for a formula; also in the header."""
    texts = [c for c in frame if not pd.api.types.is_numeric_dtype(frame[c]) and frame[c].dtype.kind != "M"]
    return frame.assign(**{str(c): frame[c].map(without_formula) for c in texts}).rename(
        columns=without_formula
    )

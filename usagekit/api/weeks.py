"""Weeks that begin on Monday, whatever the API's weeks are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pandas as pd

from usagekit.errors import SchemaError
from usagekit.query import UsageQuery
from usagekit.vocabulary import METRICS


def in_iso_weeks(
    frame: pd.DataFrame, query: UsageQuery, ask: Callable[[UsageQuery], pd.DataFrame]
) -> pd.DataFrame:
    """A frame of week bins whose weeks are those of ISO; ``ask`` answers a further question.

    Where the API labels a week by another day, weeks of total time are the sums of their days. Nothing
    else adds up over days.

    Raises
    ------
    SchemaError
        The API's weeks are others, and the metric cannot be built from days.
    """
    if query.bin_size != "week" or (frame["datetime"].dt.day_of_week == 0).all():
        return frame
    if query.metric != "total_time":
        found = frame["datetime"][frame["datetime"].dt.day_of_week != 0].iloc[0]
        raise SchemaError(
            f"the API labels a week {found:%A} {found:%Y-%m-%d}, not Monday, and {query.metric} of a week does not "
            "follow from its days: ask for it by day or by month"
        )
    days = ask(replace(query, bin_size="day"))
    back = pd.to_timedelta(days["datetime"].dt.day_of_week, unit="D").astype("timedelta64[us]")
    days["datetime"] = days["datetime"] - back
    keys = [name for name in ("datetime", *query.group_columns, "notes") if name in days]
    value = METRICS[query.metric].column
    sums: pd.DataFrame = days.groupby(keys, sort=True, dropna=False)[[value]].sum().reset_index()
    return sums

"""Whether an answer is one to the question asked: a cache, a proxy or a lost body may give another."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from typing import Final

import pandas as pd

from usagekit.errors import SchemaError
from usagekit.query import EventsQuery, UsageQuery
from usagekit.vocabulary import split_device_address

_COLUMN_OF_FILTER: Final = (
    ("team_name", "team"),
    ("user_email", "email"),
    ("device_address", "device_address"),
    ("hostname", "hostname"),
)
_ONE_DAY: Final = timedelta(days=1)


def check_usage(frame: pd.DataFrame, query: UsageQuery) -> None:
    """Raise SchemaError unless each row lies in the range and the filters, and no key comes twice."""
    labels = frame["datetime"]
    if query.bin_size == "hour":
        labels = labels.dt.tz_localize(None)
    first = query.start
    if query.bin_size == "week":
        first = max(first, date.min + 6 * _ONE_DAY) - 6 * _ONE_DAY  # on whichever day its weeks begin
    elif query.bin_size == "month":
        first = first.replace(day=1)
    _check_range(labels, first, query.end, query.route.path)
    for key, column in _COLUMN_OF_FILTER:
        values = query.filter_values(key)
        if values is not None and column in query.group_columns:
            _check_members(frame[column], values, query.route.path)
        if key == "device_address" and values is not None and "device_id" in query.group_columns:
            _check_members(frame["device_id"], [split_device_address(v)[0] for v in values], query.route.path)
    if frame.duplicated(["datetime", *query.group_columns]).any():
        raise SchemaError(f"the answer of {query.route.path} has two rows of one bin and group")


def check_events(frame: pd.DataFrame, query: EventsQuery) -> None:
    """Raise SchemaError unless each session is of the dates and devices asked for."""
    _check_range(frame["date"], query.start, query.end, query.path)
    if query.devices is not None:
        _check_members(frame["device_address"], query.devices, query.path)


def _check_range(labels: pd.Series, first: date, last: date, path: str) -> None:
    low, high = datetime.combine(first, time()), datetime.combine(last, time()) + _ONE_DAY
    outside = labels[(labels < low) | (labels >= high)]
    if len(outside):
        raise SchemaError(
            f"{path}: the API answered another question: asked for {first} to {last}, it gave {outside.iloc[0]}"
        )


def _check_members(cells: pd.Series, values: Iterable[str], path: str) -> None:
    # Without case: whether the API's filters look at it is unknown.
    known = {value.casefold() for value in values}
    for name in cells.unique():
        if not isinstance(name, str) or name.casefold() not in known:
            shown = repr(name[:40]) if isinstance(name, str) else "a row without a name"
            raise SchemaError(f"{path}: the API answered another question: it gave {shown}, not asked for")

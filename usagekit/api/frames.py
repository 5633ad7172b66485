"""Rows of an answer -> the frames that analysts work on.

Rows come from the wire (a list of dicts) or from the local engine (an Arrow table, or anything that speaks
Arrow's C stream, such as a Polars frame). Both ways give identical frames. Units are converted here, once.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa

from usagekit.api.cells import (
    Cells,
    any_column,
    date_column,
    instant_column,
    integer_column,
    number_column,
    seconds_column,
    text_column,
)
from usagekit.api.spellings import find_columns, require
from usagekit.errors import SchemaError
from usagekit.query import UsageQuery
from usagekit.vocabulary import EVENT_KEYS, EVENTS_PATH, METRICS, Metric

Rows = Sequence[Mapping[str, Any]] | Any
"""A list of dicts, a ``pyarrow.Table`` or an object with ``__arrow_c_stream__``."""

_SECOND, _MINUTE, _HOUR = (
    ("second", "seconds", "sec", "s"),
    ("minute", "minutes", "min"),
    ("hour", "hours", "h"),
)
# unit on the wire -> (multiply by, divide by): a conversion is one rounding at most
_SCALES: Final = MappingProxyType(
    {
        "total_time": {_HOUR: (1, 1), _MINUTE: (1, 60), _SECOND: (1, 3600)},
        "avg_session_length": {_MINUTE: (1, 1), _HOUR: (60, 1), _SECOND: (1, 60)},
    }
)
_TOLD_COLUMNS: Final[set[str]] = set()
"""Unknown columns that this process has warned of."""
_COUNT_UNITS: Final = ("n/a", "", "count")


def usage_frame(rows: Rows, query: UsageQuery) -> pd.DataFrame:
    """The frame of an aggregation query.

    Parameters
    ----------
    rows
        The rows of the answer, in any of the forms of :data:`Rows`.
    query
        The question they answer; it says which columns there must be.

    Returns
    -------
    ``datetime`` (datetime64[us]; for hour bins in the query's zone), the group columns (str, NaN where
    null), then the metric: ``total_time_hours`` (h), ``avg_session_minutes`` (min, NaN where no session
    started) or a count (int64). Columns that nobody asked for stay at the end.

    Raises
    ------
    SchemaError : a column is missing, a unit is unknown, or a cell is not what its column says.
    """
    metric = METRICS[query.metric]
    where = f"the answer of {query.route.path}"
    columns, length = _columns_of(rows)
    labels = [name for name in query.columns if name not in ("datetime", metric.name, "unit")]
    found = find_columns(columns, query.columns)
    if length:
        # Counts have no unit worth asking for; a time without one cannot be read.
        require(found, [n for n in query.columns if n != "unit" or not metric.is_count], where=where)
    cells = {name: columns[source] for name, source in found.items()}
    times = cells.get("datetime", [])
    frame = {
        "datetime": instant_column(times, name="datetime", zone=query.timezone)
        if query.bin_size == "hour"
        else date_column(times, name="datetime")
    }
    if frame["datetime"].isna().any():
        raise SchemaError(f"{where} has a row without datetime", missing=["datetime"])
    frame |= {name: text_column(cells.get(name, []), name=name) for name in labels}
    unit = cells.get("unit", [None] * length)
    frame[metric.column] = _metric_column(cells.get(metric.name, []), unit, metric)
    return _with_rest(frame, columns, found)


def events_frame(rows: Rows) -> pd.DataFrame:
    """The frame of single sessions, one row each.

    Parameters
    ----------
    rows
        The rows of the answer, in any of the forms of :data:`Rows`. A row with a team and neither
        user nor email (``N/A`` is none) is an automated session, unless a column ``automated`` says so itself.

    Returns
    -------
    ``user, email, team`` (str), ``automated`` (bool), ``device_id, hostname, device_address`` (str),
    ``start_time, end_time`` (datetime64[us, UTC]), ``duration_seconds`` (Int64, s), ``date``
    (datetime64[us], the UTC day of the start). The wire tells no team of a manual session and no user of an
    automated one; a table's are left out for that reason, a row that does tell both keeps both.

    Raises
    ------
    SchemaError : a column is missing or a cell is not what its column says.
    """
    columns, length = _columns_of(rows)
    people = ("user", "email", "team")
    found = find_columns(columns, (*people, "automated", *EVENT_KEYS))
    if length:
        require(found, EVENT_KEYS, where=f"the answer of {EVENTS_PATH}")
    cells = {name: columns[source] for name, source in found.items()}
    automated = _automated(rows, cells, found)
    frame = {name: text_column(cells.get(name, [None] * length), name=name) for name in people}
    if _is_table(rows):
        for name in people:
            frame[name] = frame[name].where(automated if name == "team" else ~automated)
    else:
        frame["email"] = frame["email"].mask(automated & (frame["email"] == "N/A"))
    frame["automated"] = automated
    for name in ("device_id", "hostname"):
        frame[name] = text_column(cells.get(name, []), name=name)
    frame["device_address"] = frame["device_id"] + "@" + frame["hostname"]
    for name in ("start_time", "end_time"):
        frame[name] = instant_column(cells.get(name, []), name=name, zone="UTC")
    frame["duration_seconds"] = seconds_column(cells.get("duration", []), name="duration")
    frame["date"] = date_column(cells.get("date", []), name="date")
    return _with_rest(frame, columns, found)


def _is_table(rows: Rows) -> bool:
    return hasattr(rows, "__arrow_c_stream__")


def _columns_of(rows: Rows) -> tuple[dict[str, Cells], int]:
    if _is_table(rows):
        table = rows if isinstance(rows, pa.Table) else pa.table(rows)
        return {name: table.column(name) for name in table.column_names}, table.num_rows
    if not all(isinstance(row, Mapping) for row in rows):
        raise SchemaError("the rows of the answer are not objects")
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}, len(rows)


def _metric_column(cells: Cells, unit: Cells, metric: Metric) -> Any:
    if metric.is_count:
        _check_count_units(unit, metric)
        counts = integer_column(cells, name=metric.name)
        if counts.isna().any():
            raise SchemaError(f"{metric.name} is null in a row")
        return counts.astype("int64")
    values = number_column(cells, name=metric.name)
    if metric.name != "avg_session_length" and np.isnan(values).any():
        raise SchemaError(f"{metric.name} is null in a row")
    codes, units = pd.factorize(text_column(unit, name="unit"))
    scales = [_scale(text, metric) for text in units]
    if (codes < 0).any():
        raise SchemaError(f"unit is null in a row of {metric.name}", missing=["unit"])
    factors = np.array(scales or [(1, 1)], dtype="float64")[codes]
    return values * factors[:, 0] / factors[:, 1]


def _scale(unit: str, metric: Metric) -> tuple[int, int]:
    for names, scale in _SCALES[metric.name].items():
        if unit.strip().casefold() in names:
            return scale
    raise SchemaError(f"unknown unit {unit[:40]!r} of {metric.name}")


def _check_count_units(unit: Cells, metric: Metric) -> None:
    for text in text_column(unit, name="unit").dropna().unique():
        if text.strip().casefold() not in _COUNT_UNITS:
            raise SchemaError(f"unknown unit {text[:40]!r} of {metric.name}")


def _automated(rows: Rows, cells: Mapping[str, Cells], found: Mapping[str, str]) -> pd.Series:
    if "automated" in cells:
        flags = cells["automated"]
        values = flags if isinstance(flags, list) else flags.to_pylist()
        if not all(isinstance(value, bool) for value in values):
            raise SchemaError("automated holds something other than true and false")
        return pd.Series(values, dtype="bool")
    if _is_table(rows):
        raise SchemaError("the table of events has no column automated", missing=["automated"])
    team, people = found.get("team"), {found[name] for name in ("user", "email") if name in found}
    return pd.Series([_by_machine(row, team, people) for row in rows], dtype="bool")


def _by_machine(row: Mapping[str, Any], team: str | None, people: set[str]) -> bool:
    if people.isdisjoint(row):
        return team in row
    # Some writers name every column in every row.
    named = any(row.get(name) not in (None, "", "N/A") for name in people)
    return not named and team is not None and row.get(team) is not None


def _with_rest(frame: dict[str, Any], columns: Mapping[str, Cells], found: Mapping[str, str]) -> pd.DataFrame:
    used = set(found.values())
    for name, cells in columns.items():
        if name not in used:
            if name not in _TOLD_COLUMNS:
                _TOLD_COLUMNS.add(name)
                warnings.warn(
                    f"the API sends a column {name[:60]!r} that usagekit does not know", stacklevel=1
                )
            while name in frame:  # never in place of one of ours
                name += "_"  # noqa: PLW2901
            frame[name] = any_column(cells)
    return pd.DataFrame(frame)

"""Cells of an answer, strictly read into typed pandas columns.

A column comes as a list of Python values (JSON rows) or as an Arrow array (the local engine); both give
the same result. Text is never parsed: a team called ``NA`` and a device called ``00123`` stay what they are.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa

from usagekit.errors import SchemaError

Cells: TypeAlias = Any
"""A list of Python values or a ``pyarrow.ChunkedArray``."""

_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def text_column(cells: Cells, *, name: str) -> pd.Series:
    """Strings with NaN where null. An integer becomes its digits, a list of names is sorted and joined."""
    if isinstance(cells, pa.ChunkedArray) and _is_text(cells.type):
        strings: pd.Series = cells.cast(pa.large_string()).to_pandas().astype("str")
        return strings
    return pd.Series([_text(value, name) for value in _values(cells)], dtype="str")


def number_column(cells: Cells, *, name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Float64 with NaN where null; numbers sent as strings are accepted."""
    if isinstance(cells, pa.ChunkedArray) and (
        pa.types.is_floating(cells.type) or pa.types.is_integer(cells.type)
    ):
        numbers: np.ndarray[Any, np.dtype[np.float64]] = cells.cast(pa.float64()).to_numpy()
    else:
        numbers = np.array([_number(value, name) for value in _values(cells)], dtype="float64")
    if np.isinf(numbers).any():
        raise SchemaError(f"{name} holds an infinite number")
    return numbers


def integer_column(cells: Cells, *, name: str) -> pd.Series:
    """Whole numbers as Int64 with NA where null."""
    if isinstance(cells, pa.ChunkedArray) and pa.types.is_signed_integer(cells.type) and not cells.null_count:
        return pd.Series(cells.cast(pa.int64()).to_numpy()).astype("Int64")
    return pd.Series([_integer(value, name) for value in _values(cells)], dtype="Int64")


def seconds_column(cells: Cells, *, name: str) -> pd.Series:
    """Seconds as Int64 with NA where null, cut to whole ones like every time of an event."""
    if isinstance(cells, pa.ChunkedArray):
        return integer_column(cells, name=name)
    return integer_column([_whole(value, name) for value in cells], name=name)


def date_column(cells: Cells, *, name: str) -> pd.Series:
    """Days (``YYYY-MM-DD``, ``YYYY/MM/DD`` or ``YYYYMMDD``) as naive datetime64[us]."""
    return _by_unique(text_column(cells, name=name), _day, name=name)


def instant_column(cells: Cells, *, name: str, zone: str) -> pd.Series:
    """ISO times as datetime64[us, zone]; one without an offset is read in ``zone``, where it must be unique."""
    local = ZoneInfo(zone)
    instants = _by_unique(text_column(cells, name=name), lambda text: _instant(text, local), name=name)
    zoned: pd.Series = instants.dt.tz_localize("UTC").dt.tz_convert(zone)
    return zoned


def any_column(cells: Cells) -> pd.Series:
    """A column that nobody asked for, kept as it is."""
    if isinstance(cells, list):
        try:
            cells = pa.chunked_array([pa.array(cells)])
        except (pa.ArrowException, OverflowError):
            return pd.Series(cells, dtype="object")
    kept: pd.Series = cells.to_pandas()
    return kept


def day_of(value: object) -> date:
    """The day that a ``date`` cell of an event names. Raises SchemaError."""
    try:
        return _day(_text(value, "date") or "").date()
    except ValueError:
        raise SchemaError(f"date holds {str(value)[:40]!r}, which is not a day") from None


def _values(cells: Cells) -> list[Any]:
    values: list[Any] = cells if isinstance(cells, list) else cells.to_pylist()
    return values


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _text(value: object, name: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(sorted(value))
    raise SchemaError(f"{name} holds a {type(value).__name__} where text belongs")


def _number(value: object, name: str) -> float:
    if value is None:
        return float("nan")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            return float("inf")
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return float(value)
    raise SchemaError(f"{name} holds {str(value)[:40]!r}, which is not a number")


def _integer(value: object, name: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]{1,18}", value):
        return int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        number = _number(value, name)
        value = int(number) if number.is_integer() else None
    if value is None or abs(value) >= 2**63:
        raise SchemaError(f"{name} holds a number that is not whole or far too large")
    return value


def _whole(value: object, name: str) -> object:
    if isinstance(value, float) or (isinstance(value, str) and "." in value):
        number = _number(value, name)
        return int(number) if math.isfinite(number) else value
    return value


def _by_unique(labels: pd.Series, read: Callable[[str], datetime], *, name: str) -> pd.Series:
    # A frame has few distinct labels: each is read once.
    codes, uniques = pd.factorize(labels)
    instants: list[Any] = []
    for text in uniques:
        try:
            instants.append(read(text))
        except ValueError:
            raise SchemaError(f"{name} holds {text[:40]!r}, which is not a time") from None
    known = pd.Series(pd.DatetimeIndex([*instants, pd.NaT]).as_unit("us"))
    return known.take(codes).reset_index(drop=True)  # code -1 (null) takes the last, NaT


@lru_cache(maxsize=4096)
def _day(text: str) -> datetime:
    if not re.fullmatch(r"[0-9]{4}([-/]?)[0-9]{2}\1[0-9]{2}", text):
        raise ValueError(text)
    return datetime.strptime(re.sub("[-/]", "", text), "%Y%m%d")  # noqa: DTZ007 - a calendar day has no zone


def _instant(text: str, local: ZoneInfo) -> datetime:
    """The instant in UTC, without saying so."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        early, late = (moment.replace(tzinfo=local, fold=fold).astimezone(UTC) for fold in (0, 1))
        if early != late:
            raise ValueError(text)
        moment = early
    return moment.astimezone(UTC).replace(tzinfo=None)

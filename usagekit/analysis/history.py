"""One number a month over the 13 months that end with the month reported."""

from __future__ import annotations

from datetime import date
from math import isnan

import pandas as pd

from usagekit.errors import SchemaError
from usagekit.period import Period, shift_month, trailing_months
from usagekit.vocabulary import CURRENT_ERA_START

Values = list[float | None]
"""Numbers by month, oldest first; None is a missing value."""


def comparable_history(
    frame: pd.DataFrame | None, column: str, *, month: str, era_start: date = CURRENT_ERA_START
) -> Values:
    """A column of the 13 months that end with ``month``, oldest first, from a frame with one row a month.

    A month without a row is 0. It is None if its value is missing, if the frame or the column could not be
    fetched, or if it lies on the other side of ``era_start``.

    Raises
    ------
    SchemaError : the frame has no ``datetime`` or several rows for one month.
    """
    names = trailing_months(month)
    current = [name >= f"{era_start:%Y-%m}" for name in names]
    values = by_month(frame, column, names)
    return [v if era == current[-1] else None for v, era in zip(values, current, strict=True)]


def has_year(
    month: str, partial: tuple[Period, Period] | None, *, era_start: date = CURRENT_ERA_START
) -> bool:
    """Whether a month compares with the same one of last year: it is over, and ``era_start`` lies before both."""
    return partial is None and shift_month(month, -12) >= f"{era_start:%Y-%m}"


def by_month(frame: pd.DataFrame | None, column: str, months: list[str]) -> Values:
    """A column by month; see :func:`comparable_history`, which also knows the eras."""
    if frame is None or (column not in frame and len(frame)):
        return [None] * len(months)
    if "datetime" not in frame:
        raise SchemaError("the frame has no column 'datetime'", missing=["datetime"])
    if not len(frame):
        return [0.0] * len(months)
    index = pd.to_datetime(frame["datetime"]).dt.strftime("%Y-%m")
    if index.duplicated().any():
        raise SchemaError("more than one row a month: narrow the frame to one team")
    found = dict(zip(index, frame[column].astype(float), strict=True))
    values = [found.get(month, 0.0) for month in months]
    return [None if isnan(v) else v for v in values]

"""Do the numbers add up? Sums over groups, automation and events against the total."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from math import inf
from typing import Final

import pandas as pd

from usagekit.period import Period
from usagekit.vocabulary import CURRENT_ERA_START

GREEN_SHARE: Final = 0.01
AMBER_SHARE: Final = 0.05
BADGES: Final = ("green", "amber", "red")
"""From good to bad; a part that could not be asked is ``missing``."""

_TEXTS = ("era", "part", "badge")
_HOURS = ("total_hours", "sum_hours", "difference_hours", "difference_share")
_ROUNDING_HOURS = 1e-6


@dataclass(frozen=True, slots=True)
class Part:
    """One sum to hold against the total of an era: its name and its hours (h), None when it could not be asked."""

    name: str
    hours: float | None


def eras(period: Period) -> list[tuple[str, Period]]:
    """The period by era: ``legacy`` before 2022-09-01, ``current`` from there on.

    >>> from datetime import date
    >>> [(era, str(part)) for era, part in eras(Period(date(2022, 8, 1), date(2022, 9, 30)))]
    [('legacy', '2022-08'), ('current', '2022-09')]
    """
    before = pd.Timestamp(CURRENT_ERA_START) - pd.Timedelta(days=1)
    found = []
    if period.start < CURRENT_ERA_START:
        found.append(("legacy", Period(period.start, min(period.end, before.date()))))
    if period.end >= CURRENT_ERA_START:
        found.append(("current", Period(max(period.start, CURRENT_ERA_START), period.end)))
    return found


def judged_parts(era: str, period: Period, *, total: float, parts: Iterable[Part]) -> pd.DataFrame:
    """Hold sums against the total of one era.

    Returns
    -------
    A row a part: ``era``, ``start``, ``end`` (datetime64[us], both included), ``part``, ``total_hours``,
    ``sum_hours``, ``difference_hours`` (h), ``difference_share`` (of the total; inf where that is 0) and ``badge``:
    green up to 1 %, amber up to 5 %, red above, missing where the part could not be asked.

    >>> from usagekit.period import parse_month
    >>> parts = [Part("teams", 400.0), Part("users", 390.0), Part("events", 300.0), Part("hosts", None)]
    >>> rows = judged_parts("current", parse_month("2023-03"), total=400.0, parts=parts)
    >>> list(zip(rows["difference_hours"].tolist(), rows["badge"]))
    [(0.0, 'green'), (-10.0, 'amber'), (-100.0, 'red'), (nan, 'missing')]
    """
    rows = []
    for part in parts:
        difference = None if part.hours is None else part.hours - total
        share = None if difference is None else _share(difference, total)
        rows.append(
            (era, period.start, period.end, part.name, total, part.hours, difference, share, badge(share))
        )
    columns = ["era", "start", "end", "part", *_HOURS, "badge"]
    kinds = dict.fromkeys(_TEXTS, "str") | dict.fromkeys(_HOURS, "float64")
    kinds |= dict.fromkeys(("start", "end"), "datetime64[us]")
    return pd.DataFrame(rows, columns=columns).astype(kinds)


def badge(share: float | None) -> str:
    """The colour of a difference, given as a share of the total."""
    if share is None:
        return "missing"
    return BADGES[(abs(share) > GREEN_SHARE) + (abs(share) > AMBER_SHARE)]


def hours_inside(events: pd.DataFrame, start: datetime, end: datetime) -> float:
    """Time (h) of single sessions inside two instants; one without an end, or that ends early, has none.

    ``events`` has ``start_time`` and ``end_time`` (UTC).
    """
    first, last = pd.Timestamp(start), pd.Timestamp(end)
    begun, ended = events["start_time"], events["end_time"]
    inside = ended.mask(ended > last, last) - begun.mask(begun < first, first)
    return float(inside[inside > pd.Timedelta(0)].dt.total_seconds().sum() / 3600)


def _share(difference: float, total: float) -> float:
    if abs(difference) <= _ROUNDING_HOURS:
        return 0.0
    return difference / total if total else inf

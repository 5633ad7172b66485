"""Which groups moved the hours from one month to the next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

COLUMNS = ("part", "rank", "name", "before", "after", "unit", "change_hours", "groups")


def factor_rows(
    split: dict[str, float], before: dict[str, float | None], after: dict[str, float | None]
) -> pd.DataFrame:
    """The effects of :func:`usagekit.analysis.change_split` as rows of the form of :func:`movers`.

    ``before`` and ``after`` hold hours (h), users and sessions.
    """
    sides = [_factors(values) for values in (before, after)] if split else []
    rows = [
        ("factor", rank, name, sides[0][name][0], sides[1][name][0], sides[0][name][1], effect, 1)
        for rank, (name, effect) in enumerate(sorted(split.items(), key=lambda item: -abs(item[1])), 1)
    ]
    return _frame(rows)


def movers(
    before: pd.DataFrame, after: pd.DataFrame, *, column: str, part: str, totals: tuple[float, float]
) -> pd.DataFrame:
    """The groups whose hours changed most, and all others as one row, so that the changes add up.

    Parameters
    ----------
    before, after
        one row a group (or several, which are added): ``column`` and ``total_time_hours`` (h).
    column
        the group column.
    part
        what the groups are called in the answer.
    totals
        hours (h) before and after, of all groups and of what has no group.

    Returns
    -------
    At most five groups and the rest: ``part``, ``rank`` (0 is the rest), ``name`` (missing for the rest),
    ``before``, ``after``, ``unit``, ``change_hours`` (h), ``groups`` (how many the row stands for).

    >>> before = pd.DataFrame({"team": ["a", "b"], "total_time_hours": [10.0, 4.0]})
    >>> after = pd.DataFrame({"team": ["a", "c"], "total_time_hours": [13.0, 9.0]})
    >>> movers(before, after, column="team", part="team", totals=(14.0, 22.0))[["name", "change_hours"]].values.tolist()
    [['c', 9.0], ['b', -4.0], ['a', 3.0]]
    """
    sums = [f.groupby(column)["total_time_hours"].sum() for f in (before, after)]
    table = pd.concat(sums, axis=1, keys=["before", "after"]).fillna(0.0)
    change = (table["after"] - table["before"]).rename("change")
    order = (
        change.to_frame().assign(size=-change.abs(), name=change.index).sort_values(["size", "name"]).index
    )
    moved = [name for name in order if change[name] != 0]
    top = table.loc[moved[:5]]
    rows: list[tuple[Any, ...]] = [
        (part, rank, name, b, a, "h", a - b, 1)
        for rank, (name, b, a) in enumerate(top.itertuples(name=None), 1)
    ]
    rest = [total - float(top[side].sum()) for total, side in zip(totals, ("before", "after"), strict=True)]
    others = len(table) - len(top)
    if any(abs(hours) > 1e-6 for hours in rest):
        rows.append((part, 0, None, rest[0], rest[1], "h", rest[1] - rest[0], others))
    return _frame(rows)


def _frame(rows: Sequence[tuple[object, ...]]) -> pd.DataFrame:
    kinds = ("str", "int64", "str", "float64", "float64", "str", "float64", "int64")
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(dict(zip(COLUMNS, kinds, strict=True)))


def _factors(values: dict[str, float | None]) -> dict[str, tuple[float, str]]:
    hours, users, sessions = (float(values[name] or 0) for name in ("hours", "users", "sessions"))
    return {
        "users": (users, "users"),
        "sessions per user": (sessions / users, "sessions"),
        "time per session": (60 * hours / sessions, "min"),
    }

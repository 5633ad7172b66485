"""Every team of a lab in one table whose hours add up to the lab's."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from math import fsum
from typing import Any, Final

import pandas as pd

from usagekit.analysis.changes import change_text, small_bases
from usagekit.analysis.history import Values, comparable_history
from usagekit.analysis.key_figures import relative_change
from usagekit.analysis.kpis import Kpi
from usagekit.analysis.trust import eras
from usagekit.errors import SchemaError
from usagekit.period import parse_month, trailing_months
from usagekit.vocabulary import CURRENT_ERA_START

NO_TEAM: Final = "no team"
UNATTRIBUTED: Final = "unattributed"
_LEAST_REST_HOURS: Final = 0.05
"""Less than this (h) is left of a total by rounding, and shows as no hours."""

_KINDS: Final[dict[str, Any]] = {
    "team": "str",
    "kind": "str",
    "total_time_hours": "float64",
    "share": "float64",
    "previous_hours": "float64",
    "change_hours": "float64",
    "change_share": "float64",
    "change": "str",
    "user_count": "Int64",
    "automation_share": "float64",
    "history": "object",
}


def team_table(
    teams: pd.DataFrame,
    automated: pd.DataFrame | None,
    *,
    total_hours: float | Sequence[float | None],
    month: str,
    no_team_hours: float = 0.0,
    era_start: date = CURRENT_ERA_START,
) -> pd.DataFrame:
    """List the teams of a month by how much their hours changed, and what belongs to none.

    Parameters
    ----------
    teams
        one row a team and month over the 13 that end with ``month``: ``datetime``, ``team``,
        ``total_time_hours`` (h), ``user_count`` and ``session_count`` if they could be fetched.
    automated
        the same for automated sessions, only ``total_time_hours``; None if it could not be fetched.
    total_hours
        device hours (h) of the whole lab in ``month``, or in each of the 13 months, oldest first.
    month
        ``YYYY-MM``.
    no_team_hours
        hours (h) of sessions in ``month`` that are known to have no team.
    era_start
        months on the other side of this date are not comparable and count as missing.

    Returns
    -------
    Largest change first, then largest hours; the rows of no team last: ``team`` (missing there), ``kind`` (``team``,
    ``no team`` or ``unattributed``), ``total_time_hours`` (h; the column adds up to ``total_hours``, but for a
    rest under 0.05 h), ``share`` of it,
    ``previous_hours`` and ``change_hours`` (h), ``change`` in words and ``change_share`` as a number where it is in
    percent, ``user_count``, ``automation_share`` (0 to 1), ``history`` (13 numbers, None where missing).

    Notes
    -----
    What is left of the total after all teams is time of sessions without a team before September 2022, when sessions
    by hand had none; from then on it is unattributed, and negative where the teams add up to more.

    Raises
    ------
    SchemaError : a column is missing, or a team has several rows for one month.

    >>> stamp = pd.to_datetime(["2023-02-01", "2023-03-01", "2023-03-01"])
    >>> teams = pd.DataFrame({"datetime": stamp, "team": ["a", "a", "b"], "total_time_hours": [9.0, 6.0, 3.0]})
    >>> table = team_table(teams, None, total_hours=10.0, month="2023-03")
    >>> table[["kind", "total_time_hours", "change"]].values.tolist()
    [['team', 6.0, '−33%'], ['team', 3.0, 'new'], ['unattributed', 1.0, 'n/a (no comparable data)']]
    """
    missing = [c for c in ("datetime", "team", "total_time_hours") if c not in teams]
    if missing:
        raise SchemaError(f"the frame lacks {', '.join(missing)}", missing=missing)
    totals = list(total_hours) if isinstance(total_hours, Sequence) else [*[None] * 12, total_hours]
    by_automation = {} if automated is None else dict(iter(automated.groupby("team")))
    none = None if automated is None else automated.iloc[:0]
    rows = []
    for name, usage in teams.groupby("team"):
        hours, sessions, users, runs = (
            comparable_history(frame, column, month=month, era_start=era_start)
            for frame, column in (
                (usage, "total_time_hours"),
                (usage, "session_count"),
                (usage, "user_count"),
                (by_automation.get(name, none), "total_time_hours"),
            )
        )
        row = _row(str(name), "team", hours, totals[-1], small=small_bases(hours, sessions)[0])
        # Sessions without any user are sessions whose users were not recorded.
        row["user_count"] = None if users[-1] == 0 and hours[-1] else users[-1]
        row["automation_share"] = runs[-1] / hours[-1] if runs[-1] is not None and hours[-1] else None
        rows.append(row)
    rows.sort(key=lambda row: (-abs(row["change_hours"] or 0), -(row["total_time_hours"] or 0), row["team"]))
    legacy = eras(parse_month(month))[0][0] == "legacy"
    rest = _rest([row["history"] for row in rows], totals)
    untold: Values = rest if legacy else [*[None] * 12, no_team_hours]
    special = [(NO_TEAM, untold)]
    if not legacy:
        # Only this month knows what has no team; the months before keep it in the rest.
        left = _without_rounding(None if rest[-1] is None else rest[-1] - no_team_hours)
        special.append((UNATTRIBUTED, [*rest[:-1], left]))
    rows += [
        _row(None, kind, hours, totals[-1], small=small_bases(hours, hours)[0])
        for kind, hours in special
        if hours[-1]
    ]
    return pd.DataFrame(rows, columns=list(_KINDS)).astype(_KINDS)


def total_row(figures: Sequence[Kpi]) -> dict[str, Any]:
    """The row below the teams: the lab's own figures, where people in two teams count once.

    ``figures`` are those of :func:`usagekit.analysis.kpis` for the whole lab; hours (h), shares from 0 to 1.

    >>> usage = pd.DataFrame({"datetime": pd.to_datetime(["2023-02-01", "2023-03-01"]), "total_time_hours": [8.0, 10.0],
    ...                       "session_count": [20, 20], "user_count": [3, 4]})
    >>> from usagekit.analysis.kpis import kpis
    >>> row = total_row(kpis(usage, None, month="2023-03"))
    >>> row["total_time_hours"], row["share"], row["change"], row["change_hours"], row["user_count"]
    (10.0, 1.0, '+25%', 2.0, 4)
    """
    hours, users, _, _, automation = figures
    known = None if hours.value is None or hours.previous is None else hours.value - hours.previous
    return {
        "team": "All",
        "kind": "all",
        "total_time_hours": hours.value,
        "share": 1.0 if hours.value else None,
        "previous_hours": hours.previous,
        "change_share": relative_change(hours.value, hours.previous, hours.change),
        "change": hours.change,
        "change_hours": known,
        "user_count": None if users.value is None else int(users.value),
        "automation_share": automation.value,
        "history": hours.history,
    }


def month_columns(month: str) -> tuple[str, ...]:
    """The columns of :func:`by_month`.

    >>> month_columns("2023-03")[-2:]
    ('hours_2023-02', 'hours_2023-03')
    """
    return tuple(f"hours_{name}" for name in trailing_months(month))


def by_month(history: pd.Series[Any], month: str) -> pd.DataFrame:
    """The hours (h) of each of the 13 months that end with ``month`` in a column of its own, from rows of 13."""
    return pd.DataFrame(
        history.tolist(), index=history.index, columns=list(month_columns(month)), dtype="float64"
    )


def _row(team: str | None, kind: str, hours: Values, total: float | None, *, small: bool) -> dict[str, Any]:
    value, previous = hours[-1], hours[-2]
    change = change_text(value, previous, "h", small=small)
    return {
        "team": team,
        "kind": kind,
        "total_time_hours": value,
        "share": value / total if value is not None and total else None,
        "previous_hours": previous,
        "change_hours": None if value is None or previous is None else value - previous,
        "change_share": relative_change(value, previous, change),
        "change": change,
        "user_count": None,
        "automation_share": None,
        "history": tuple(hours),
    }


def _rest(teams: list[tuple[float | None, ...]], totals: Sequence[float | None]) -> Values:
    """What is left of each month's total; None where either is missing."""
    rest: Values = []
    for at, total in enumerate(totals):
        parts = [-hours for history in teams if (hours := history[at]) is not None]
        left = None if total is None or (teams and not parts) else fsum([total, *parts])
        rest.append(_without_rounding(left))
    return rest


def _without_rounding(hours: float | None) -> float | None:
    return 0.0 if hours is not None and abs(hours) < _LEAST_REST_HOURS else hours

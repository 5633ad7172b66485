"""Which team a session by hand belongs to: the list of sessions does not say, the users of the teams may."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf, isnan
from typing import Final

import pandas as pd

from usagekit.analysis.columns import require
from usagekit.analysis.people import is_person
from usagekit.analysis.sessions import seconds_between

MIN_COVERAGE: Final = 0.8
"""Under this share of a team's hours its sessions say too little; as much above 1 they are not only its own."""


@dataclass(frozen=True, slots=True)
class TeamSessions:
    """The sessions of one team, ``None`` where too few of them are known; ``coverage`` as a share, if known."""

    sessions: pd.DataFrame | None = field(repr=False)
    coverage: float | None


def attribute_teams(events: pd.DataFrame, users_by_team: pd.DataFrame | None) -> pd.DataFrame:
    """Give sessions by hand the team of their user, where the user is in exactly one.

    Parameters
    ----------
    events
        one row a session: ``email``, ``team``, ``automated``. A team that a row has stays.
    users_by_team
        ``team`` and ``email`` of everyone with usage in a team. None when it was not fetched.

    Returns
    -------
    The same rows. Users of several teams, or of none, stay without a team, and so do sessions without an email.

    Raises
    ------
    SchemaError : a column is missing.

    >>> events = pd.DataFrame({"email": ["a@x", "b@x", None], "team": [None, None, "QA"]}).assign(
    ...     automated=[False, False, True])
    >>> users = pd.DataFrame({"team": ["NA", "NA", "Web"], "email": ["a@x", "b@x", "b@x"]})
    >>> attribute_teams(events, users)["team"].fillna("(none)").tolist()
    ['NA', '(none)', 'QA']
    """
    require(events, "email", "team", "automated")
    if users_by_team is None:
        return events.copy()
    require(users_by_team, "team", "email")
    known = users_by_team[is_person(users_by_team["email"]) & users_by_team["team"].notna()]
    pairs = known[["email", "team"]].drop_duplicates()
    only = pairs.drop_duplicates("email", keep=False).set_index("email")["team"]
    found = events["email"].map(only).astype("str").mask(events["automated"])
    return events.assign(team=events["team"].astype("str").fillna(found))


def coverage(sessions: pd.DataFrame, *, team: str, team_hours: float | None) -> float | None:
    """The share of a team's hours that is in its known sessions.

    Parameters
    ----------
    sessions
        one row a session, after :func:`attribute_teams`: ``team``, ``start``, ``end`` (UTC, cut to the month).
    team
        the name of the team.
    team_hours
        its device hours (h) of the month by /v1/usage/team, of the same kind of sessions.

    Returns
    -------
    known hours / hours of the team; more than 1 where its users also work outside it (inf where it has no
    hours). None when ``team_hours`` is not known.

    Raises
    ------
    SchemaError : a column is missing.

    >>> begin = pd.Timestamp("2023-03-01", tz="UTC")
    >>> frame = pd.DataFrame({"team": ["QA", None], "start": begin, "end": begin + pd.Timedelta("3h")})
    >>> coverage(frame, team="QA", team_hours=4.0)
    0.75
    """
    require(sessions, "team", "start", "end")
    if team_hours is None or isnan(team_hours):
        return None
    own = sessions[(sessions["team"] == team).to_numpy(dtype=bool)]
    hours = float(seconds_between(own["start"], own["end"]).sum() / 3600)
    if team_hours:
        return hours / team_hours
    return inf if hours else 1.0


def team_sessions(sessions: pd.DataFrame, *, team: str, manual_hours: float | None) -> TeamSessions:
    """The sessions of one team, if they cover enough of it.

    Automated sessions name their team, so only those by hand are judged: they must cover between 80 % and
    120 % of the hours by hand.

    Parameters
    ----------
    sessions
        one row a session, after :func:`attribute_teams`: ``team``, ``automated``, ``start``, ``end``.
    team
        the name of the team.
    manual_hours
        its device hours (h) by hand, from /v1/usage/team with automated=false.

    Raises
    ------
    SchemaError : a column is missing.

    >>> begin = pd.Timestamp("2023-03-01", tz="UTC")
    >>> known = pd.DataFrame({"team": ["QA", "QA"], "automated": [False, True], "start": begin,
    ...                       "end": begin + pd.Timedelta("3h")})
    >>> team_sessions(known, team="QA", manual_hours=3.5).coverage, team_sessions(known, team="QA", manual_hours=9.0).sessions
    (0.8571428571428571, None)
    """
    require(sessions, "team", "automated", "start", "end")
    own = sessions[(sessions["team"] == team).to_numpy(dtype=bool)].reset_index(drop=True)
    share = coverage(own[~own["automated"].astype(bool)], team=team, team_hours=manual_hours)
    enough = share is not None and MIN_COVERAGE <= share <= 2 - MIN_COVERAGE
    return TeamSessions(own if enough else None, share)

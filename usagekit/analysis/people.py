"""Who came, who stayed and who left: counts for the page, emails only for whoever asks for them.

A person is an email: a new name changes nobody. Usage without an email is nobody's and is counted apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from types import MappingProxyType
from typing import Final

import pandas as pd

from usagekit.analysis.columns import require
from usagekit.analysis.months import month_bounds
from usagekit.analysis.sessions import ended
from usagekit.period import shift_month, trailing_months

NO_EMAIL: Final = "N/A"
"""What the API writes where there is no email."""

_WEEK = pd.Timedelta(days=7)


@dataclass(frozen=True, slots=True)
class UserFlow:
    """How many users are ``active`` in a month, and where they come from; ``emails`` by the same names.

    ``new`` were active in none of the 12 months before, ``returning`` also in the month before, ``revived`` not
    in it but earlier; the three add up to ``active``. ``lapsed`` were active in both months before and
    no more; None while the month still runs. ``unnamed_hours`` (h) is the month's time without an email. ``known_months`` of
    the 12 before have usage at all: with few of them many are new.
    """

    active: int
    new: int
    returning: int
    revived: int
    lapsed: int | None
    unnamed_hours: float
    known_months: int
    emails: Mapping[str, tuple[str, ...]] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Regulars:
    """What became of the users of the last three months who had not been there before (``starters``).

    ``regular`` of them are, after ``median_weeks`` (None without one), ``not_yet`` are not; ``unseen`` have
    no session by hand, so nobody can tell.
    """

    starters: int
    regular: int
    not_yet: int
    unseen: int
    median_weeks: float | None


def is_person(emails: pd.Series[str]) -> pd.Series[bool]:
    """Which emails are somebody's: not missing, not blank, not the API's ``N/A``.

    >>> is_person(pd.Series(["a@x", "N/A", None, " ", "NA"])).tolist()
    [True, False, False, False, True]
    """
    return emails.notna() & ~emails.astype("str").str.strip().isin(["", NO_EMAIL])


def hours_by_person(users: pd.DataFrame, *, month: str) -> pd.Series[float]:
    """Device hours (h) of a month by email, persons only; for :func:`usagekit.analysis.concentration.concentration`.

    ``users`` has ``datetime``, ``email``, ``total_time_hours``. Raises SchemaError where a column is missing.
    """
    require(users, "datetime", "email", "total_time_hours")
    rows = users[(_months(users) == month) & is_person(users["email"])]
    return rows.groupby("email")["total_time_hours"].sum()


def user_flow(users: pd.DataFrame | None, *, month: str) -> UserFlow | None:
    """Tell the users of a month by what they did in the 12 months before.

    Parameters
    ----------
    users
        one row a user and month over the 13 months that end with ``month``: ``datetime``, ``email``,
        ``total_time_hours`` (h). None when it was not fetched.
    month
        ``YYYY-MM``.

    Returns
    -------
    The flow, None without ``users``. Active is who has sessions, where there is ``session_count``; else who has time.

    Raises
    ------
    SchemaError : a column is missing.
    QueryError : the month is not of the form ``YYYY-MM``.

    >>> users = pd.DataFrame({"email": ["a@x", "a@x", "b@x"], "total_time_hours": 1.0}).assign(
    ...     datetime=pd.to_datetime(["2023-02-01", "2023-03-01", "2023-03-01"]))
    >>> flow = user_flow(users, month="2023-03")
    >>> flow.active, flow.returning, flow.new, flow.emails["new"]
    (2, 1, 1, ('b@x',))
    """
    if users is None:
        return None
    months = trailing_months(month)
    present = _active(users, months)
    *earlier, before, now = (present.get(m, set()) for m in months)
    seen = set().union(*earlier)
    people = {
        "active": now,
        "new": now - seen - before,
        "returning": now & before,
        "revived": (now & seen) - before,
        "lapsed": (earlier[-1] & before) - now,
    }
    unnamed = users[(_months(users) == month) & ~is_person(users["email"])]
    return UserFlow(
        **{name: len(emails) for name, emails in people.items()},
        unnamed_hours=float(unnamed["total_time_hours"].sum()),
        known_months=sum(bool(present.get(m)) for m in months[:-1]),
        emails=MappingProxyType({name: tuple(sorted(emails)) for name, emails in people.items()}),
    )


def weeks_to_regular(
    users: pd.DataFrame | None, events: pd.DataFrame | None, *, month: str, timezone: str
) -> Regulars | None:
    """How long new users take until they come regularly.

    Parameters
    ----------
    users
        as for :func:`user_flow`.
    events
        the sessions of the month and of the two before: ``email``, ``start_time``, ``end_time`` (UTC). Of one
        team for the users of one team.
    month, timezone
        the month ``YYYY-MM`` and the IANA zone whose weeks count.

    Returns
    -------
    None when a frame is None, or when the users are not known from before the three months.

    Notes
    -----
    Starters are the users whose first month of the 13 is one of the last three. A user is regular from the
    first of two consecutive ISO weeks with use in each; the weeks are counted from the week of the
    first session (0: regular at once). Use after the month is not looked at.

    Raises
    ------
    SchemaError : a column is missing.
    QueryError : the month is not of the form ``YYYY-MM``.

    >>> users = pd.DataFrame({"email": ["old@x", "new@x"], "total_time_hours": 1.0}).assign(
    ...     datetime=pd.to_datetime(["2022-12-01", "2023-03-01"]))
    >>> begin = pd.to_datetime(["2023-03-01 09:00", "2023-03-15 09:00", "2023-03-22 09:00"], utc=True)
    >>> events = pd.DataFrame({"email": "new@x", "start_time": begin, "end_time": begin + pd.Timedelta("1h")})
    >>> weeks_to_regular(users, events, month="2023-03", timezone="UTC")
    Regulars(starters=1, regular=1, not_yet=0, unseen=0, median_weeks=2.0)
    """
    if users is None or events is None:
        return None
    require(events, "email")
    months = trailing_months(month)
    present = _active(users, months)
    recent = {shift_month(month, -back) for back in range(3)}
    if not present.keys() - recent:
        return None
    starters = set().union(*present.values()) - set().union(*(present[m] for m in present.keys() - recent))
    weeks = _weeks_of_use(events, starters, month_bounds(month, timezone)[1], timezone)
    waits = [
        next(((week - min(seen)) // _WEEK for week in sorted(seen) if week + _WEEK in seen), None)
        for seen in weeks.values()
    ]
    known = [wait for wait in waits if wait is not None]
    return Regulars(
        starters=len(starters),
        regular=len(known),
        not_yet=len(waits) - len(known),
        unseen=len(starters) - len(waits),
        median_weeks=float(median(known)) if known else None,
    )


def _active(users: pd.DataFrame, months: list[str]) -> dict[str, set[str]]:
    """The emails with use, by month."""
    require(users, "datetime", "email", "total_time_hours")
    measure = users["session_count" if "session_count" in users else "total_time_hours"]
    names = _months(users)
    rows = users[is_person(users["email"]) & (measure > 0) & names.isin(months)]
    return {str(name): set(part) for name, part in rows["email"].groupby(names)}


def _months(users: pd.DataFrame) -> pd.Series[str]:
    return pd.to_datetime(users["datetime"]).dt.strftime("%Y-%m")


def _weeks_of_use(
    events: pd.DataFrame, emails: set[str], last: pd.Timestamp, timezone: str
) -> dict[str, set[pd.Timestamp]]:
    """The Mondays of the local weeks that the sessions of each email reach into."""
    rows = ended(events[events["email"].isin(emails)])
    rows = rows[rows["start_time"] < last]
    # The end itself is no time: a session until Sunday midnight does not use Monday.
    ends = rows["end_time"].mask(rows["end_time"] > last, last) - pd.Timedelta(microseconds=1)
    spans = pd.DataFrame(
        {
            "email": rows["email"],
            "first": _mondays(rows["start_time"], timezone),
            "final": _mondays(ends.where(ends > rows["start_time"], rows["start_time"]), timezone),
        }
    )
    weeks: dict[str, set[pd.Timestamp]] = {}
    for email, first, final in spans.drop_duplicates().itertuples(index=False, name=None):
        weeks.setdefault(email, set()).update(pd.date_range(first, final, freq="7D"))
    return weeks


def _mondays(times: pd.Series[pd.Timestamp], timezone: str) -> pd.Series[pd.Timestamp]:
    days = times.dt.tz_convert(timezone).dt.tz_localize(None).dt.normalize()
    return days - pd.to_timedelta(days.dt.day_of_week, unit="D")

"""From what an analyst writes to the queries of the API, and from their answers to one frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypedDict

from usagekit.errors import QueryError, did_you_mean
from usagekit.period import Period, month_of
from usagekit.query import EventsQuery, UsageQuery
from usagekit.vocabulary import METRICS, ROUTES

if TYPE_CHECKING:
    import pandas as pd

Names = str | Iterable[str]
"""A name or several; the members of a dimension such as ``lab.teams`` will do."""

_MONTHS_AT_ONCE = 3


class UsageOptions(TypedDict, total=False):
    """Keyword options of :meth:`usagekit.lab.Lab.usage`; the switches are those of the API."""

    team: Names
    user: Names
    device: Names
    host: Names
    automated: bool
    timezone: str
    display_all: bool
    combine_phone_os: bool
    group_by_device_id: bool
    include_user_notes: bool


FILTERS = {"team": "team_name", "user": "user_email", "device": "device_address", "host": "hostname"}
_TEXTS = (*FILTERS, "timezone")


def names_of(option: str, given: Names) -> tuple[str, ...]:
    """One or several names as a tuple. Raises QueryError for an empty list or what is no text."""
    try:
        names = (given,) if isinstance(given, str) else tuple(given)
    except TypeError:
        names = (given,)  # type: ignore[assignment]  # refused below
    if not names:
        raise QueryError(f"{option} is an empty list: leave it out for all", parameter=option)
    for name in names:
        if not isinstance(name, str):
            raise QueryError(
                f"{option}={name!r} is not a name: give text, or a list of texts", parameter=option
            )
    return names


def read_question(
    span: Period, *, by: str | Sequence[str] | None, metric: Names, bin: str, options: dict[str, Any]
) -> tuple[UsageQuery, ...]:
    """The queries of one question, one a metric.

    Raises
    ------
    QueryError : the question cannot be asked; names what is wrong.
    """
    known = (*UsageOptions.__annotations__,)
    for name, value in options.items():
        if name not in known:
            raise QueryError(_unknown_option(name, known), parameter=name)
        if name not in _TEXTS and not isinstance(value, bool) and not (name == "automated" and value is None):
            raise QueryError(f"{name}={value!r} must be True or False", parameter=name)
    filters = tuple(
        (key, names_of(o, options[o])) for o, key in FILTERS.items() if options.get(o) is not None
    )
    switches = {name: value for name, value in options.items() if name not in FILTERS}
    metrics = dict.fromkeys(names_of("metric", metric))
    return tuple(
        UsageQuery(
            by=_route(by), start=span.start, end=span.end, metric=m, bin_size=bin, filters=filters, **switches
        )
        for m in metrics
    )


def keys_of(query: UsageQuery) -> list[str]:
    """Columns that identify a row of an answer; the notes of a user come with them."""
    return [c for c in query.columns if c not in (query.metric, "unit")]


def join_metrics(frames: Sequence[pd.DataFrame], queries: Sequence[UsageQuery]) -> pd.DataFrame:
    """One frame of several metrics, joined on the keys and never by the position of a row."""
    whole = frames[0]
    for frame in frames[1:]:
        keys = [c for c in whole.columns if c in keys_of(queries[0])]
        whole = whole.merge(frame, on=keys, how="outer", validate="one_to_one", sort=False)
    return whole


def in_months(query: EventsQuery) -> Iterator[EventsQuery]:
    """The query in pieces of three calendar months, each a legal request and whole months for a cache."""
    start = query.start
    while start <= query.end:
        end = min(month_of(start, shift=_MONTHS_AT_ONCE - 1).end, query.end)
        yield EventsQuery(start=start, end=end, devices=query.devices)
        start = end + timedelta(days=1)


def asked_text(queries: Sequence[UsageQuery]) -> str:
    """What was asked, in one line.

    >>> from datetime import date
    >>> asked_text([UsageQuery(by="team", start=date(2023, 3, 1), end=date(2023, 3, 31), bin_size="day")])
    'Device hours by team, per day, 2023-03'
    """
    query = queries[0]
    named = {option: query.filter_values(key) for option, key in FILTERS.items()}
    kind = {None: "", True: "automated only", False: "manual only"}[query.automated]
    switches = [s for s in ("display_all", "combine_phone_os", "group_by_device_id") if getattr(query, s)]
    labels = ", ".join(METRICS[q.metric].label for q in queries)
    parts = [
        labels + (f" by {query.by}" if query.by else ""),
        f"per {query.bin_size}",
        str(Period(query.start, query.end)),
        *(f"{option} {_some(names)}" for option, names in named.items() if names),
        kind,
        *switches,
    ]
    return ", ".join(filter(None, parts))


def _some(names: tuple[str, ...]) -> str:
    return " or ".join(names) if len(names) < 4 else f"any of {len(names)}"


def _unknown_option(name: str, known: Sequence[str]) -> str:
    if name in ("country", "devicemodel", "model"):
        by = "country" if name == "country" else "devicemodel"
        return f"the API cannot filter by {name}: group with by={by!r} and pick the rows you want"
    return f"unknown option {name!r}{did_you_mean(name, known) or '.'} Known: {', '.join(known)}"


def _route(by: str | Sequence[str] | None) -> str:
    """The route's tail for what an analyst groups by, in either order."""
    parts = [] if not by else by.split("/") if isinstance(by, str) else list(by)
    for tail in ROUTES:
        if sorted(tail.split("/") if tail else []) == sorted(map(str, parts)):
            return tail
    shown = "/".join(map(str, parts))
    raise QueryError(
        f"cannot group by {shown!r}{did_you_mean(shown, ROUTES) or '.'} Known: {', '.join(filter(None, ROUTES))}",
        parameter="by",
    )

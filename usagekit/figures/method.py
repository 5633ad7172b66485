"""How the numbers of a report came about: what its words mean, and how to get them again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping
from typing import Literal, Protocol
from urllib.parse import quote, urlencode

from usagekit.analysis.months import hours_in_days, partial_days
from usagekit.analysis.wording import count_text
from usagekit.figures import terms
from usagekit.figures.base import Figure, component
from usagekit.figures.parts import LabFacts
from usagekit.period import days_name, month_name, parse_month, shift_month
from usagekit.query import EventsQuery, UsageQuery
from usagekit.values import one_of

Params = tuple[tuple[str, str], ...]
Request = tuple[str, Params]
"""Path and parameters."""

_DIFFERING = {"metric": "total_time", "automated": "unset"}
"""Parameters in which requests on one line may differ, and what a request without one asks for."""

_TERMS = {
    "team": (*terms.FIGURES, *terms.SESSIONS, *terms.TEAM),
    "lab": (*terms.FIGURES, *terms.SESSIONS, *terms.LAB),
}


class Answer(Protocol):
    """What the way to reproduce a report needs to know about an answer of a lab."""

    @property
    def queries(self) -> tuple[UsageQuery | EventsQuery, ...]: ...


def definitions(
    lab: LabFacts,
    *,
    month: str,
    kind: Literal["team", "lab"] = "team",
    more: Mapping[str, str] | None = None,
) -> Figure:
    """What each term of the report means, with the numbers of this month.

    Parameters
    ----------
    lab, month
        whose month, as ``YYYY-MM``.
    kind
        which report: ``team`` or ``lab``.
    more
        further terms and their meanings.

    Raises
    ------
    QueryError : there is no such kind of report.
    """
    one_of("kind", kind, tuple(_TERMS))
    days = partial_days(month, lab.as_of, lab.timezone) or [
        parse_month(m) for m in (shift_month(month, -1), month)
    ]
    before, now = (month_name(day.month) if day.month else days_name(day, year=True) for day in days)
    facts = {
        "month": now,
        "before": before,
        "elapsed": count_text(hours_in_days(days[1], lab.timezone)),
        "zone": lab.timezone,
    }
    told = [[term, text.format(**facts)] for term, text in _TERMS[kind]]
    told += [[term, meaning] for term, meaning in (more or {}).items()]
    return component("definitions", "What the numbers mean.", {"terms": told})


def reproduce(*answers: Answer, team: str | None, month: str) -> Figure:
    """The requests behind the answers that a report shows, and the command that makes it again.

    Requests that differ in their metric alone, in ``automated`` or in the end of their path share a line, and what
    all of them ask alike is said once. An answer with a text ``each`` stands for many: the same requests for every
    team, device or host; these come last.
    """
    queries = [(query, getattr(answer, "each", "")) for answer in answers for query in answer.queries]
    command = f"usagekit render --month {shlex.quote(month)}"
    command += "" if team is None else f" --team {shlex.quote(team)}"
    usage = [(query, each) for query, each in queries if isinstance(query, UsageQuery)]
    once = _lines((query, each) for query, each in usage if not each)
    events = [
        f"GET {query.path} {json.dumps(query.to_params())}"
        for query in dict.fromkeys(q for q, _ in queries if isinstance(q, EventsQuery))
    ]
    many = _lines((query, each) for query, each in usage if each)
    title = "How to reproduce"
    requests = [*once, *events, *filter(None, ["; ".join(many)])]  # a paragraph: there is little room
    content = {"title": title, "requests": requests, "command": command}
    return component("reproduce", f"{title}: {command}", content)


def _lines(queries: Iterable[tuple[UsageQuery, str]]) -> list[str]:
    """The requests, one a line or several; what all of them have in common is the last line."""
    requests = list(
        dict.fromkeys(
            ((q.route.path, tuple((k, str(v)) for k, v in q.to_params())), f"  {each}" if each else "")
            for q, each in queries
        )
    )
    shared: Params = ()
    if len(requests) > 1:
        shared = tuple(
            pair
            for pair in requests[0][0][1]
            if pair[0] not in _DIFFERING and all(pair in params for (_, params), _ in requests)
        )
    told = [((path, tuple(p for p in params if p not in shared)), each) for (path, params), each in requests]
    for name, missing in _DIFFERING.items():
        told = _gathered(told, name, missing=missing)
    alike: dict[tuple[str, str], list[str]] = {}
    for (path, params), differing in told:
        folder, _, last = path.rpartition("/")
        alike.setdefault((folder, f"{_encoded(params)}{differing}"), []).append(last)
    lines = [
        f"GET {folder}/{'{' + ','.join(ends) + '}' if len(ends) > 1 else ends[0]}?{asked}"
        for (folder, asked), ends in alike.items()
    ]
    return [*lines, f"each with &{_encoded(shared)}"] if shared else lines


def _encoded(params: Params) -> str:
    return urlencode(params, quote_via=quote, safe="/@")


def _gathered(told: Iterable[tuple[Request, str]], name: str, *, missing: str) -> list[tuple[Request, str]]:
    """Put together what differs in one parameter alone; a single request keeps it in its place."""
    alike: dict[tuple[Request, str], list[tuple[Request, str]]] = {}
    for request, differing in told:
        path, params = request
        others = tuple(pair for pair in params if pair[0] != name)
        alike.setdefault(((path, others), differing), []).append((request, differing))
    gathered = []
    for (request, differing), group in alike.items():
        if len(group) == 1:
            gathered += group
            continue
        values = (dict(params).get(name, missing) for (_, params), _ in group)
        gathered.append((request, f"{differing}  {name} = {', '.join(values)}"))
    return gathered

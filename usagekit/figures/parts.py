"""The parts of a report that are words and numbers: header, finding, tiles, tables, definitions."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

import pandas as pd

from usagekit.analysis import Kpi, hours_in_month, month_name, shift_month
from usagekit.analysis.wording import NBSP, count_text, hours_text, percent_text, value_text
from usagekit.figures.base import Figure, component
from usagekit.figures.escape import shown_name
from usagekit.period import BusinessHours
from usagekit.query import UsageQuery
from usagekit.vocabulary import split_device_address

_TERMS = (
    (
        "Device hours",
        "Time of the team's sessions inside the month, added up over devices. {0} has {1} hours in {2}.",
    ),
    (
        "Active users",
        "Different people with at least one session. Such counts never add up over days, teams or devices.",
    ),
    ("Sessions", "Different sessions that touch the month. A session is one use of one device."),
    ("Mean session", "Device hours × 60 / sessions, in minutes; never a mean of means."),
    ("Automation share", "Device hours of automated sessions / all device hours."),
    (
        "Change",
        "Difference to {3} / its value; in points (pp) for shares, absolute if that had < 10 sessions or < 5 h.",
    ),
    ("Usual range", "Median of the six months before ± 3 × 1.4826 × their median absolute deviation."),
    (
        "Devices busy",
        "Device hours in a weekday and hour / how often that hour came in the month; · is below 0.05.",
    ),
)


class LabFacts(Protocol):
    """What a report's header needs to know about a lab."""

    @property
    def name(self) -> str: ...
    @property
    def timezone(self) -> str: ...
    @property
    def as_of(self) -> datetime: ...
    @property
    def business_hours(self) -> BusinessHours: ...


class Answer(Protocol):
    """What the way to reproduce a report needs to know about an answer of a lab."""

    @property
    def queries(self) -> tuple[UsageQuery, ...]: ...


def header(lab: LabFacts, *, team: str, month: str) -> Figure:
    """Who, which month, and what one must know to read the numbers: zone, business hours, data as of."""
    as_of = lab.as_of.astimezone(ZoneInfo(lab.timezone))
    facts = [
        ["Lab", lab.name],
        ["Time zone", lab.timezone],
        ["Business hours", _hours_fact(lab.business_hours)],
        ["Data as of", f"{as_of.day} {as_of:%B %Y, %H:%M %Z}"],
    ]
    content = {"team": shown_name(team), "month": month_name(month), "facts": facts}
    return component("header", f"{content['team']}, {content['month']}", content)


def _hours_fact(business: BusinessHours) -> str:
    holidays = len(business.holidays)
    return f"{business}{f', {holidays} holidays' if holidays else ''}"


def lead(sentence: str) -> Figure:
    """The finding, set large."""
    return component("lead", sentence, {"text": sentence})


def tiles(figures: Sequence[Kpi], *, month: str) -> Figure:
    """Key figures against the month before, each with its course over the whole history."""
    content = {"note": _tiles_note(figures, month), "tiles": [_tile(k) for k in figures]}
    alt = "; ".join(f"{k.label} {k.text}" + (f" ({k.change})" if k.change else "") for k in figures)
    return component("tiles", f"{alt}.", content)


def ranking(top: pd.DataFrame, *, title: str, month: str) -> Figure:
    """A table of the largest groups with a bar in each row, and the rest in the last one.

    Parameters
    ----------
    top
        what :func:`usagekit.analysis.top_rows` returns.
    title
        what the groups are, such as ``Devices``.
    month
        the month reported, ``YYYY-MM``; named when there was no usage.
    """
    if not len(top):
        text = f"No usage in {month_name(month)}."
        return component("empty", f"{title}: {text}", {"title": title, "text": text})
    column = str(top.columns[1])
    largest = float(top.loc[top["rank"] > 0, "total_time_hours"].max())
    rows = [_ranked(row, column, largest) for row in top.to_dict("records")]
    content = {"title": title, "columns": ["", title, "Device hours", "Share"], "rows": rows}
    first = rows[0]
    alt = f"{title} by device hours in {month_name(month)}: {first['name']} leads with {first['hours']}, {first['share']}."
    return component("ranking", alt, content)


def definitions(lab: LabFacts, *, month: str) -> Figure:
    """What each figure of the report means, with the numbers of this month."""
    elapsed, before = count_text(hours_in_month(month, lab.timezone)), month_name(shift_month(month, -1))
    terms = [[term, text.format(month_name(month), elapsed, lab.timezone, before)] for term, text in _TERMS]
    return component("definitions", "What the numbers mean.", {"terms": terms})


def reproduce(*answers: Answer, team: str, month: str) -> Figure:
    """The requests behind the answers of ``lab.usage`` that a report shows, and the command that makes it again."""
    queries = [query for answer in answers for query in answer.queries]
    requests = [f"GET {q.route.path}?{urlencode(q.to_params(), quote_via=quote, safe='/@')}" for q in queries]
    command = f"usagekit render --month {shlex.quote(month)} --team {shlex.quote(team)}"
    content = {"requests": requests, "command": command}
    return component("reproduce", f"How to reproduce: {command}", content)


def _tile(kpi: Kpi) -> dict[str, Any]:
    number, _, unit = kpi.text.rpartition(NBSP)
    moved = kpi.change.startswith(("+", "−"))
    top = max((v for v in kpi.history if v), default=0.0)
    known = [v for v in kpi.history if v is not None]
    low, high = (value_text(pick(known), kpi.unit) for pick in (min, max)) if known else ("", "")
    return {
        "label": kpi.label,
        "number": number or unit,
        "unit": unit if number else "",
        "change": kpi.change,
        "arrow": {"+": "▲", "−": "▼"}.get(kpi.change[:1], ""),
        "base": f"from {value_text(kpi.previous, kpi.unit)}" if moved and kpi.previous is not None else "",
        "notes": [note for note in (kpi.reason, kpi.note) if note],
        "columns": [None if v is None else round(v / top, 4) if top else 0 for v in kpi.history],
        "range": low if low == high else f"{low} to {high}",
    }


def _tiles_note(figures: Sequence[Kpi], month: str) -> str:
    count = max(len(k.history) for k in figures)
    note = f"Change against {month_name(shift_month(month, -1))}. "
    note += f"Columns from zero: {month_name(shift_month(month, 1 - count))} to {month_name(month)}, lowest to highest below."
    gaps = any(None in k.history for k in figures)
    return f"{note} A dot: nothing recorded that compares." if gaps else note


def _ranked(row: dict[Any, Any], column: str, largest: float) -> dict[str, Any]:
    name, rest = str(row[column]), int(row["groups"])
    others = row["rank"] == 0
    main, detail = (f"{count_text(rest)} more", "") if others else (name, "")
    if column == "device_address" and not others:
        device, host = split_device_address(name)
        main, detail = (device, f"@{host}") if device else (name, "")
    return {
        "rank": "" if others else str(row["rank"]),
        "name": main,
        "detail": detail,
        "hours": hours_text(row["total_time_hours"]),
        "bar": None if others else round(row["total_time_hours"] / largest, 4),
        "share": percent_text(row["share"]),
    }

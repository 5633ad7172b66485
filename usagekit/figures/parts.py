"""The parts of a report that are words and numbers: header, finding, tiles and rankings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol
from zoneinfo import ZoneInfo

import pandas as pd

from usagekit.analysis.key_figures import key_figures
from usagekit.analysis.kpis import Kpi
from usagekit.analysis.wording import NBSP, count_text, listed, value_text
from usagekit.figures.badges import trust_words
from usagekit.figures.base import Figure, component
from usagekit.figures.cells import ARROWS, BADGE_SIGNS, heights
from usagekit.figures.escape import shown_name
from usagekit.figures.layout import NOT_FETCHED, missing, no_usage
from usagekit.figures.tables import Column, raw_table, table
from usagekit.period import BusinessHours, month_name, parse_month, shift_month


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
    @property
    def source(self) -> object: ...


def header(
    lab: LabFacts,
    *,
    team: str | None,
    month: str,
    title: str | None = None,
    trust: pd.DataFrame | None = None,
) -> Figure:
    """Who, which month, and what one must know to read the numbers: zone, business hours, data as of.

    Parameters
    ----------
    lab
        the lab that the numbers came from; without a ``team`` the report is about all of it.
    team, month
        what the report is about; ``month`` as ``YYYY-MM``.
    title
        the time it covers where that is not the whole month, such as ``1–14 Oct (partial)``.
    trust
        what :func:`usagekit.analysis.trust.judged_parts` returns, for the badge; None shows none.
    """
    as_of = lab.as_of.astimezone(ZoneInfo(lab.timezone))
    facts = [
        *([["Lab", lab.name]] if team is not None else []),
        ["Time zone", lab.timezone],
        ["Business hours", _hours_fact(lab.business_hours, month)],
        ["Data as of", f"{as_of.day} {as_of:%B %Y, %H:%M %Z}"],
    ]
    badge, words = trust_words(trust)
    content = {
        "team": shown_name(lab.name if team is None else team),
        "month": title or month_name(month),
        "facts": facts,
        "badge": None if trust is None else {"colour": badge, "sign": BADGE_SIGNS[badge], "text": words},
    }
    alt = f"{content['team']}, {content['month']}" + ("" if trust is None else f". {words}")
    return component("header", alt, content)


def _hours_fact(business: BusinessHours, month: str) -> str:
    """When the lab is open, and on which of its weekdays of this month it is not."""
    period = parse_month(month)
    days = [
        str(day.day)
        for day in sorted(business.holidays)
        if period.start <= day <= period.end and day.weekday() in business.weekdays
    ]
    closed = f", without {listed(days, most=9)} {period.start:%B}" if days else ""
    return f"{business}{closed}"


def lead(sentence: str) -> Figure:
    """The finding, set large."""
    return component("lead", sentence, {"text": sentence})


def tiles(figures: Sequence[Kpi], *, month: str, days: tuple[str, str] | None = None) -> Figure:
    """Key figures against the month before, each with its course over the whole history.

    ``days`` names the days that compare, before and now, where the month still runs.
    """
    told = any(k.year_change and not k.year_change.startswith("n/a") for k in figures)
    content = {
        "note": _tiles_note(figures, month, days),
        "tiles": [_tile(k, with_year=told) for k in figures],
    }
    alt = "; ".join(f"{k.label} {k.text}" + (f" ({k.change})" if k.change else "") for k in figures)
    return component(
        "tiles", f"{alt}.", content, table=raw_table("key-figures", key_figures(figures, month=month))
    )


def ranking(
    top: pd.DataFrame | None, *, title: str, month: str, caption: str = "", reason: str = NOT_FETCHED
) -> Figure:
    """A table of the largest groups with a bar in each row, and the rest in the last one.

    Parameters
    ----------
    top
        what :func:`usagekit.analysis.top_rows` returns; None when it could not be fetched.
    title
        what the groups are, such as ``Devices``.
    month
        the month reported, ``YYYY-MM``; named when there was no usage.
    caption
        what the table is about, in a sentence.
    reason
        why there is no ``top``.
    """
    if top is None:
        return missing(title, reason)
    if not len(top):
        return no_usage(month, what=title)
    group = str(top.columns[1])
    rest = top["rank"] == 0
    names = top[group].mask(rest, top["groups"].map(count_text) + " more")
    columns = [
        Column(
            group.replace("_", " ").capitalize(), "device" if group == "device_address" else "text", group
        ),
        Column("Device hours", "bar", "total_time_hours"),
        Column("Share", "percent", "share"),
    ]
    shown = table(top.assign(**{group: names, "muted": rest}), columns, title=title, caption=caption)
    behind = raw_table(str(shown.content["table"]["name"]), top)
    first = shown.content["rows"][0]["cells"]
    leader = f"{first[0]['text']}{first[0].get('detail', '')}"
    alt = f"{title} by device hours in {month_name(month)}: {leader} leads with {first[1]['text']}, {first[2]['text']}."
    return replace(shown, kind="ranking", alt=alt, content={**shown.content, "table": behind})


def _tile(kpi: Kpi, *, with_year: bool) -> dict[str, Any]:
    number, _, unit = kpi.text.rpartition(NBSP)
    moved = kpi.change.startswith(("+", "−"))
    known = [v for v in kpi.history if v is not None]
    low, high = (value_text(pick(known), kpi.unit) for pick in (min, max)) if known else ("", "")
    return {
        "label": kpi.label,
        "number": number or unit,
        "unit": unit if number else "",
        "change": kpi.change,
        "arrow": ARROWS.get(kpi.change[:1], ""),
        "year": _year(kpi.year_change) if with_year else None,
        "base": f"from {kpi.previous_text}" if moved and kpi.previous is not None else "",
        "notes": [note for note in (kpi.reason, kpi.note) if note],
        "columns": heights(kpi.history),
        "range": low if low == high else f"{low} to {high}",
    }


def _year(change: str) -> dict[str, str] | None:
    """The change against last year in a few words; the note below the tiles says why there is none."""
    if not change:
        return None
    return {"sign": ARROWS.get(change[:1], ""), "text": "n/a" if change.startswith("n/a") else change}


def _tiles_note(figures: Sequence[Kpi], month: str, days: tuple[str, str] | None) -> str:
    if days:
        before, now = days
        return f"Change against {before}. Columns from zero: {before} and {now}. A dot: nothing that compares with part of a month."
    count = max(len(k.history) for k in figures)
    note = f"Change against {month_name(shift_month(month, -1))}"
    known = [not k.year_change.startswith("n/a") for k in figures if k.year_change]
    year = month_name(shift_month(month, -12))
    note += f"; year on year against {year}. " if any(known) else ". "
    if not all(known):
        note += "n/a: no comparable data. " if any(known) else f"Nothing comparable in {year}. "
    note += f"Columns from zero: {month_name(shift_month(month, 1 - count))} to {month_name(month)}, lowest to highest below."
    gaps = any(None in k.history for k in figures)
    return f"{note} A dot: nothing recorded that compares." if gaps else note

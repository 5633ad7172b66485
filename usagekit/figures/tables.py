"""The table of the reports: one description, for the screen and for paper."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from usagekit.analysis.wording import count_text
from usagekit.errors import SchemaError
from usagekit.figures.base import Figure, component
from usagekit.figures.cells import Kind, cell, common_domain, is_missing, raw
from usagekit.figures.escape import shown_name
from usagekit.figures.layout import NOT_FETCHED, missing
from usagekit.vocabulary import split_device_address

MAX_ROWS: Final = 100
"""Rows that a report prints of one table unless told; all of them are in ``content["table"]``."""

ADDS_UP: Final = frozenset(
    {
        "before_hours",
        "change_hours",
        "cost",
        "false_starts",
        "handoffs",
        "hold_hours",
        "hours",
        "owned",
        "session_count",
        "sessions",
        "share",
        "spare",
        "total_time_hours",
        "used",
    }
)
"""Columns whose sum over rows is true; people, medians, peaks and shares of each row's own do not add up."""

_KEPT_ROWS = 16
_KEPT_LETTERS = 300

_LOOKS: dict[Kind, str] = {
    "text": "text",
    "device": "device",
    "host": "text",
    "time": "label",
    "badge": "label",
    "note": "note",
    "bar": "bar",
    "percent_bar": "bar",
    "marks": "marks",
    "spark": "spark",
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its head, how its values are shown, and the frame's column.

    ========================== ==============================================================
    ``text``                   a name
    ``device``, ``host``       a device address ``id@host``; a host name. What all hosts end in is a note
    ``count``                  a whole number, or a text such as ``13+``
    ``hours``, ``minutes``     a time in that unit
    ``percent``                a share from 0 to 1
    ``change``                 a text such as ``+30%``, or a difference in hours; gets an arrow
    ``bar``, ``percent_bar``   hours, or a share, with a bar from zero
    ``spark``                  a tuple of values, one for each month, None where missing
    ``money``                  an amount with two decimals; the head names the currency
    ``time``                   a Timestamp; without a zone and at midnight it is a date
    ``badge``                  green, amber, red or missing
    ``note``                   a sentence
    ========================== ==============================================================

    ``data`` names the columns that the file beside the report has instead, where ``key`` holds words such as
    ``+30%`` or ``13+``.
    """

    title: str
    kind: Kind
    key: str
    data: tuple[str, ...] = ()


def table(
    frame: pd.DataFrame | None,
    columns: Sequence[Column],
    *,
    title: str,
    caption: str = "",
    total: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
    limit: int = MAX_ROWS,
    reason: str = NOT_FETCHED,
) -> Figure:
    r"""A table: a row for each row of the frame, and a total if there is one.

    Parameters
    ----------
    frame
        the rows, in order. A column ``muted`` (bool) marks rows that are no group of their own, such as "no team" or
        "unused": grey and without a bar. None is missing; without a row the table says so.
    columns
        what is shown. The first one names the row.
    title, caption
        what the table is about, in a few words and in a sentence.
    total
        a last row, by ``key``; keys left out stay empty.
    notes
        footnotes.
    limit
        rows printed. Those beyond are one row, with the sums of the columns in ``ADDS_UP``; muted rows always stay.
    reason
        why there is no ``frame``.

    Raises
    ------
    SchemaError : the frame has no such column.

    >>> hours = pd.DataFrame({"team": ["NA", "チーム"], "total_time_hours": [402.4, 47.25]})
    >>> shown = table(hours, [Column("Team", "text", "team"), Column("Hours", "bar", "total_time_hours")], title="Teams")
    >>> shown.alt.replace("\u00a0", " ")
    'Teams: 2 rows. First: NA, 402 h.'
    """
    if frame is None:
        return missing(title, reason)
    if lost := [key for c in columns for key in (c.key, *c.data) if key not in frame]:
        raise SchemaError(f"the frame lacks {', '.join(lost)}", missing=lost)
    rows = records(frame)
    behind = _behind(title, columns, rows, total)
    if not rows:
        words = {"title": title, "text": "None."}
        return component("empty", f"{title}: none.", words, table=behind)
    domain = common_domain(_hosts(columns, rows))
    ends = [f"Hosts end in {shown_name(domain)}."] if domain else []
    cells = _rows(columns, folded(rows, columns, limit=limit), domain)
    content = {
        "title": title,
        "caption": caption,
        "columns": [{"title": c.title, "look": _LOOKS.get(c.kind, "number")} for c in columns],
        "rows": cells,
        "total": [cell(total[c.key], c.kind) if c.key in total else {"text": ""} for c in columns]
        if total
        else [],
        "notes": [*ends, *notes],
        "kept": _fits_a_page(cells),
    }
    first = ", ".join(c["text"] for c in cells[0]["cells"] if c.get("text"))
    alt = f"{title}: {count_text(len(rows))} {'row' if len(rows) == 1 else 'rows'}. First: {first}."
    return component("table", alt, content, table=behind)


def slug(title: str) -> str:
    """A title as the name of a file.

    >>> slug("Owned, used & needed")
    'owned-used-needed'
    """
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "table"


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a frame, each by column name."""
    return [{str(k): v for k, v in row.items()} for row in frame.to_dict("records")]


def folded(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[Column], *, limit: int
) -> list[Mapping[str, Any]]:
    """The rows with those beyond ``limit`` added up in one; muted rows are no group and stay."""
    places = [n for n, row in enumerate(rows) if not row.get("muted", False)]
    if len(places) <= limit:
        return list(rows)
    end, rest = places[limit], [rows[n] for n in places[limit:]]
    more: dict[str, Any] = {c.key: _sum([row[c.key] for row in rest]) for c in columns if c.key in ADDS_UP}
    more |= {columns[0].key: f"{count_text(len(rest))} more", "muted": True}
    return [*rows[:end], more, *(row for row in rows[end:] if row.get("muted", False))]


def raw_table(name: str, frame: pd.DataFrame) -> dict[str, Any]:
    """A whole frame as the table behind a figure."""
    rows = [[raw(v) for v in row] for row in frame.itertuples(index=False, name=None)]
    return {"name": name, "columns": [str(c) for c in frame.columns], "rows": rows}


def _behind(
    title: str,
    columns: Sequence[Column],
    rows: Sequence[Mapping[str, Any]],
    total: Mapping[str, Any] | None,
) -> dict[str, Any]:
    # The first column that shows a value keeps it; marks are drawn from values of other columns.
    keys = list(dict.fromkeys(key for c in columns if c.kind != "marks" for key in c.data or (c.key,)))
    values = [[raw(row.get(key)) for key in keys] for row in (*rows, *([total] if total else []))]
    return {"name": slug(title), "columns": keys, "rows": values}


def _hosts(columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The host names in a table; a muted row has a name of another kind."""
    plain = [row for row in rows if not row.get("muted", False)]
    hosts = [str(r[c.key]) for c in columns if c.kind == "host" for r in plain if not is_missing(r[c.key])]
    addresses = (r[c.key] for c in columns if c.kind == "device" for r in plain if not is_missing(r[c.key]))
    return hosts + [host for device, host in map(split_device_address, map(str, addresses)) if device]


def _sum(values: Sequence[Any]) -> Any:
    return None if any(map(is_missing, values)) else sum(values)


def _rows(columns: Sequence[Column], rows: Sequence[Mapping[str, Any]], domain: str) -> list[dict[str, Any]]:
    plain = [r for r in rows if not r.get("muted", False)]
    largest = {c.key: _largest([r[c.key] for r in plain]) for c in columns if _LOOKS.get(c.kind) == "bar"}
    shown = []
    for r in rows:
        muted = bool(r.get("muted", False))
        cells = [
            cell(
                r[c.key],
                c.kind,
                largest=0.0 if muted else largest.get(c.key, 0.0),
                domain="" if muted else domain,
            )
            if c.key in r
            else {"text": ""}
            for c in columns
        ]
        shown.append({"muted": muted, "cells": cells})
    return shown


def _largest(values: Sequence[Any]) -> float:
    return max((float(v) for v in values if not is_missing(v)), default=0.0)


def _fits_a_page(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether paper may keep the table in one piece: what is taller than a page must break."""
    letters = (len(c.get("text", "")) + len(c.get("detail", "")) for row in rows for c in row["cells"])
    return len(rows) <= _KEPT_ROWS and max(letters) <= _KEPT_LETTERS

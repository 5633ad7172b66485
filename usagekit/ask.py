"""One question from the command line: any route with its raw parameters, printed as table, CSV or JSON."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from usagekit.errors import QueryError, did_you_mean
from usagekit.query import EventsQuery, UsageQuery
from usagekit.vocabulary import EVENT_CSV_HEADER, EVENT_KEYS, EVENTS_PATH, FORMATS, ROUTES

if TYPE_CHECKING:
    from rich.table import Table

Row = Mapping[str, Any]


def parse_question(route: str, params: Iterable[str]) -> UsageQuery | EventsQuery:
    """Read a route and its ``name=value`` parameters; ``devices`` of the events route may repeat.

    Raises
    ------
    QueryError : the route or a parameter is unknown or wrong.
    """
    pairs = [_pair(param) for param in params]
    path = "/" + route.strip("/")
    if path == EVENTS_PATH:
        body: dict[str, Any] = {name: value for name, value in pairs if name != "devices"}
        if devices := [value for name, value in pairs if name == "devices"]:
            body["devices"] = devices
        return EventsQuery.from_params(body)
    for known in ROUTES.values():
        if known.path == path:
            return UsageQuery.from_params(known.by, pairs)
    paths = [r.path for r in ROUTES.values()] + [EVENTS_PATH]
    raise QueryError(
        f"unknown route {route!r}{did_you_mean(path, paths) or '.'} Known: {', '.join(paths)}",
        parameter="route",
    )


def ask(question: UsageQuery | EventsQuery, store: Path | None) -> Sequence[Row]:
    """Rows as the API gives them, from the API of the settings or from an event store."""
    if store is None:
        from usagekit.api.client import Client
        from usagekit.settings import load_settings

        settings = load_settings()
        with Client(base_url=settings.base_url, token=settings.secret_token()) as client:
            return client.usage(question) if isinstance(question, UsageQuery) else client.events(question)
    from usagekit.engine import local
    from usagekit.engine.store import open_store

    opened = open_store(store)
    if isinstance(question, UsageQuery):
        return local.usage(opened, question).to_dicts()
    return [_event(row) for row in local.events(opened, question).iter_rows(named=True)]


def curl_line(question: UsageQuery | EventsQuery, base_url: str) -> str:
    """The equivalent curl command; the token is left to the shell's environment."""
    from usagekit.api.client import curl

    return curl(question, base_url)


def print_rows(question: UsageQuery | EventsQuery, rows: Sequence[Row], format: str) -> None:
    """Print rows as ``table``, or as the ``csv`` or ``json`` of the API."""
    if format not in ("table", *FORMATS):
        raise QueryError(f"unknown format {format!r}: known are table, csv and json", parameter="format")
    if format == "json":
        json.dump({"report": rows}, sys.stdout, ensure_ascii=False)
        sys.stdout.write("\n")
        return
    if isinstance(question, UsageQuery):
        header: Sequence[str] = question.columns
        lines = [[row.get(c) for c in header] for row in rows]
    else:
        header = EVENT_CSV_HEADER
        lines = [
            [r["team"], "N/A", *(r[k] for k in EVENT_KEYS)]
            if "team" in r
            else [r.get("user"), r.get("email"), *(r[k] for k in EVENT_KEYS)]
            for r in rows
        ]
    if format == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(lines)
    else:
        from rich.console import Console

        Console().print(_table(header, lines))


def _table(header: Sequence[str], lines: Iterable[Sequence[Any]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(*header)
    for line in lines:
        shown = (f"{v:,.2f}" if isinstance(v, float) else "-" if v is None else str(v) for v in line)
        # Text: a team named "[red]" is a name, not markup.
        table.add_row(
            *(
                Text(s, justify="right" if isinstance(v, int | float) else "left")
                for s, v in zip(shown, line, strict=True)
            )
        )
    return table


def _event(row: Row) -> Row:
    """An event with the keys of the wire: a team for automation, else user and email."""
    who = ("team",) if row["automated"] else ("user", "email")
    return {key: row[key] for key in (*who, *EVENT_KEYS)}


def _pair(param: str) -> tuple[str, str]:
    name, equals, value = param.partition("=")
    if not equals:
        raise QueryError(f"{param!r} is not of the form name=value", parameter=param)
    return name, value

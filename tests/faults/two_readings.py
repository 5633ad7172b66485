"""A lab served by a client of our own server that reads the document the other way round."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

from tests.faults.scripted import Asked, Reply, Scripted, scripted
from usagekit.api.client import Client
from usagekit.errors import ApiStatusError
from usagekit.query import EventsQuery, UsageQuery
from usagekit.vocabulary import EVENTS_PATH

DAY = timedelta(days=1)
BEHIND = timedelta(hours=7)
"""How far the clock of its events is behind UTC."""


def other_answer(asked: Asked, right: Client) -> Reply:
    """The answer of the server behind, with other names, ends, weeks, labels and clocks."""
    try:
        if asked.path == EVENTS_PATH:
            return _rows(_events(asked, right))
        return _rows(_usage(asked, right))
    except ApiStatusError as error:
        return Reply(b'{"detail": "no"}', error.status)


def _rows(rows: list[dict[str, Any]]) -> Reply:
    headers = {"X-RateLimit-Remaining": "99", "Date": "Mon, 01 Jan 2024 00:00:00 GMT"}
    return Reply(json.dumps({"report": rows}).encode(), headers=headers)


def _usage(asked: Asked, right: Client) -> list[dict[str, Any]]:
    query = UsageQuery.from_params(asked.path.removeprefix("/v1/usage").lstrip("/"), asked.params.items())
    if query.start == query.end:
        return []
    query = replace(query, end=query.end - DAY)
    if query.bin_size == "week":
        return _sunday_weeks(query, right)
    rows = right.as_asked(query)
    for row in rows:
        if query.bin_size == "hour":
            row["datetime"] = row["datetime"][:19].replace("T", " ")
        for ours, theirs in (
            ("device_address", "Device Address"),
            ("team", "team_name"),
            ("country", "nation"),
        ):
            if ours in row:
                row[theirs] = row.pop(ours)
        row["colour"] = "blue"
    return rows


def _sunday_weeks(query: UsageQuery, right: Client) -> list[dict[str, Any]]:
    sums: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in right.as_asked(replace(query, bin_size="day")):
        day = date.fromisoformat(row["datetime"])
        row["datetime"] = f"{day - (day.weekday() + 1) % 7 * DAY}"
        key = tuple(str(row[name]) for name in ("datetime", *query.group_columns))
        if key in sums:
            row[query.metric] += sums[key][query.metric]
        sums[key] = row
    return list(sums.values())


def _events(asked: Asked, right: Client) -> list[dict[str, Any]]:
    query = EventsQuery.from_params(asked.body)
    if (query.end - query.start).days >= 120:
        raise ApiStatusError("too long", method="GET", path=EVENTS_PATH, status=400)
    rows = right.as_asked(replace(query, end=min(query.end + DAY, query.start + 120 * DAY)))
    kept = []
    for row in rows:
        for name in ("start_time", "end_time"):
            if row[name]:
                row[name] = f"{datetime.fromisoformat(row[name]) - BEHIND}"
        row["date"] = row["start_time"][:10].replace("-", "")
        if f"{query.start:%Y%m%d}" <= row["date"] < f"{query.end:%Y%m%d}":
            kept.append(row)
    return kept


@contextmanager
def other_reading(right: Client) -> Iterator[Scripted]:
    """Serve the other reading of what ``right`` serves."""
    with scripted(lambda asked: other_answer(asked, right)) as server:
        yield server

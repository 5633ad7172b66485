"""Files of events and tables to import, and what an import did."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.engine.plain_store import (
    EVENTS,
    Row,
    public_rows,
)
from usagekit.engine.importer import ImportResult

HEADER = "User/Team,Email,Device Id,Hostname,Start time,End time,Duration,Date"
MANUAL = "Ana,ana@example.com,00123,lab-1,2023-03-01 08:00:00,2023-03-01 09:00:00,3600,20230301"
ROBOT = "NA,N/A,00123,lab-1,2023-03-02 08:00:00,2023-03-02 08:00:30,30,20230302"


def documented_csv(path: Path, rows: Sequence[str], header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def documented_json(path: Path, rows: Sequence[object]) -> Path:
    path.write_text(json.dumps({"report": rows}), encoding="utf-8")
    return path


def api_rows(csv_rows: Sequence[str]) -> list[Row]:
    """The JSON rows of the same events as documented CSV rows."""
    found = []
    for who, email, *rest in csv.reader(csv_rows):
        names = ("device_id", "hostname", "start_time", "end_time", "duration", "date")
        person: Row = (
            {"team": who or None} if email == "N/A" else {"user": who or None, "email": email or None}
        )
        found.append(person | dict(zip(names, rest, strict=True)))
    return found


def store_csv(path: Path, rows: Sequence[Row], columns: Sequence[str] = EVENTS.names) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows([["" if row[c] is None else row[c] for c in columns] for row in rows])
    return path


def bad(result: ImportResult) -> list[tuple[int, str]]:
    return [(row.line, row.reason) for row in result.bad]


def counts(result: ImportResult) -> tuple[int, int, int]:
    return result.added, result.changed, result.unchanged


def columns(store: Path, *names: str) -> list[tuple[Any, ...]]:
    """Some columns of all sessions, in the order of their start."""
    rows = [dict(zip(EVENTS.names, row, strict=True)) for row in public_rows(store)]
    rows.sort(key=lambda row: (row["start_time"], row["session_id"]))
    return [tuple(row[name] for name in names) for row in rows]

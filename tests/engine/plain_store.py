"""Stores as others write them, by pyarrow alone, and what can be seen of a store from outside."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.conftest import session
from usagekit.engine import local
from usagekit.engine.store import Store
from usagekit.query import EventsQuery, UsageQuery

Row = dict[str, Any]

TIME = pa.timestamp("us", "UTC")
EVENTS = pa.schema(
    [
        ("session_id", pa.string()),
        ("start_time", TIME),
        ("end_time", TIME),
        *((name, pa.string()) for name in ("device_id", "hostname", "user", "email", "team")),
        ("automated", pa.bool_()),
    ]
)
DIMENSIONS = {
    "devices": ("device_id", "hostname", "model", "os", "form_factor"),
    "hosts": ("hostname", "country"),
    "users": ("email", "user", "notes"),
    "memberships": ("email", "team"),
    "teams": ("team",),
}


HOURS = [
    session(1, "2023-03-01 08:00", "2023-03-01 09:00"),
    session(2, "2023-03-02 08:00", "2023-03-02 10:00", team="R&D / Café", user='#read("x")'),
    session(3, "2023-03-03 08:00", "2023-03-03 12:00", device_id="🧪", email=None, user=None, automated=True),
]
"""Sessions of 1, 2 and 4 hours in March 2023."""


def put_events(
    store: Path, rows: Sequence[Row], *, month: str = "2023-03", file: str = "events.parquet", **types: Any
) -> Path:
    """Write an events file; ``types`` change columns, None leaves one out."""
    table = pa.Table.from_pylist(list(rows), schema=EVENTS)
    for column, kind in types.items():
        place = table.schema.get_field_index(column)
        table = (
            table.remove_column(place)
            if kind is None
            else table.set_column(place, column, _as_type(table[column], kind))
        )
    path = store / "events" / f"month={month}" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, coerce_timestamps=None, store_schema=True)
    return path


def _as_type(column: pa.ChunkedArray, kind: Any) -> pa.ChunkedArray:
    if pa.types.is_dictionary(kind):
        return column.dictionary_encode()
    if pa.types.is_timestamp(kind) and kind.tz is None:
        return column.cast(pa.timestamp("us")).cast(kind)
    if pa.types.is_nested(kind):
        return pa.chunked_array([pa.array([[v] for v in column.to_pylist()], kind)])
    return column.cast(kind)


def put_dimension(store: Path, name: str, rows: Sequence[Sequence[str | None]]) -> Path:
    """Write a dimension table from rows in the order of its columns."""
    schema = pa.schema([(column, pa.string()) for column in DIMENSIONS[name]])
    table = pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows], schema=schema)
    store.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, store / f"{name}.parquet")
    return store / f"{name}.parquet"


def public_rows(store: Path) -> list[tuple[Any, ...]]:
    """All sessions in the public files, in the order of their ids."""
    rows: list[Row] = []
    for path in sorted((store / "events").glob("month=*/*.parquet")):
        rows += pq.ParquetFile(path).read().to_pylist()
    return sorted((tuple(r[c] for c in EVENTS.names) for r in rows), key=lambda row: (row[0] or "", row[1:3]))


def public_dimension(store: Path, name: str) -> list[Row]:
    return list(pq.ParquetFile(store / f"{name}.parquet").read().to_pylist())


def public_files(store: Path) -> list[Path]:
    """Files that belong to the store and not to its index, lock or staging."""
    return sorted([*(store / "events").glob("month=*/*"), *store.glob("*.parquet")])


def fingerprint(store: Path) -> dict[str, tuple[bytes, int]]:
    """Bytes and times of every file but the lock, which is opened by whoever looks whether it is free."""
    files = [p for p in store.rglob("*") if p.is_file() and p.name != ".lock"]
    return {p.relative_to(store).as_posix(): (p.read_bytes(), p.stat().st_mtime_ns) for p in files}


def answers(store: Store) -> list[Any]:
    """What the engine says about a store: its list of sessions, and each route by day."""
    first, last = date(2023, 1, 1), date(2023, 12, 31)
    found: list[Any] = [local.events(store, EventsQuery(start=first, end=last)).rows()]
    for by in ("", "device", "user/team", "team", "country", "devicemodel"):
        for metric in ("total_time", "session_count", "avg_session_length"):
            query = UsageQuery(by=by, start=first, end=last, metric=metric, bin_size="day")
            found.append(local.usage(store, query).rows())
    return found


def total_hours(store: Store, **changes: Any) -> float:
    """Device hours of 2023, or of the range in ``changes``."""
    settings: Mapping[str, Any] = {"start": date(2023, 1, 1), "end": date(2023, 12, 31)} | changes
    return float(local.usage(store, UsageQuery(**settings))["total_time"].sum())


def copied(store: Path, target: Path) -> Path:
    shutil.copytree(store, target)
    return target

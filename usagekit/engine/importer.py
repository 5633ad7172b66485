"""Importing files into an event store: what changes is decided first, then written all or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from usagekit.engine.commit import roll_forward
from usagekit.engine.files import locked
from usagekit.engine.index import event_files
from usagekit.engine.ingest import read_file
from usagekit.engine.readers import BadRow, read_table
from usagekit.engine.store import LOCK, PATIENCE, month_files, replace_files
from usagekit.engine.tables import DIMENSION_KEYS, DIMENSION_SCHEMAS, EVENTS_SCHEMA


@dataclass(slots=True)
class ImportResult:
    """What an import did: sessions and dimension rows that are new, changed or were there, and bad rows."""

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    bad: list[BadRow] = field(default_factory=list)
    written: bool = False


def import_files(
    files: Iterable[str | Path],
    store: str | Path,
    *,
    strict: bool = False,
    on_file: Callable[[Path], None] = lambda _: None,
) -> ImportResult:
    """Import files into the event store at ``store``, making it if need be.

    A session or a dimension row that is already there is replaced by the imported one where they differ.
    With ``strict`` a single bad row keeps everything out. Either all of the import is in the store at the
    end or nothing, whatever happens meanwhile.

    Raises
    ------
    SchemaError : a file is of no known kind; nothing is imported.
    StoreLocked : another import is running.
    StoreError : the store cannot be written, or a file of it is damaged.
    """
    store = Path(store).resolve()
    result = ImportResult()
    incoming: dict[str, list[pl.DataFrame]] = {}
    for file in map(Path, files):
        loaded = read_file(file)
        incoming.setdefault(loaded.name, []).append(loaded.rows)
        result.bad += loaded.bad
        on_file(file)
    if strict and result.bad:
        return result
    with locked(store / LOCK, what=f"the store {store}", patience=PATIENCE):
        roll_forward(store)
        changes: dict[str, pl.DataFrame | None] = {}
        for name, tables in incoming.items():
            rows = pl.concat(tables)
            changes |= (
                _merge_events(store, rows, result) if name == "events" else _merge(store, name, rows, result)
            )
        (store / "events").mkdir(exist_ok=True)
        if changes:
            replace_files(store, changes)
            result.written = True
    return result


def _merge_events(store: Path, rows: pl.DataFrame, result: ImportResult) -> dict[str, pl.DataFrame | None]:
    """New contents of the month files that an import touches."""
    rows = rows.unique("session_id", keep="last", maintain_order=True)
    present = event_files(store)
    ids = rows.select("session_id")
    found = [
        read_table(store / name, EVENTS_SCHEMA)
        .join(ids, on="session_id", how="semi")
        .with_columns(file=pl.lit(name))
        for name in present
    ]
    known = pl.concat(found) if found else pl.DataFrame(schema={**EVENTS_SCHEMA, "file": pl.String})
    same = known.join(rows, on=list(EVENTS_SCHEMA), how="semi", nulls_equal=True)
    rows = rows.join(same.select("session_id"), on="session_id", how="anti")
    outdated = known.join(rows, on="session_id", how="semi")
    result.unchanged += same["session_id"].n_unique()
    result.changed += outdated["session_id"].n_unique()
    result.added += rows.height - outdated["session_id"].n_unique()
    fresh = month_files(rows)
    months = {Path(name).parent.as_posix() for name in [*fresh, *outdated["file"].unique()]}
    changes: dict[str, pl.DataFrame | None] = {}
    for month in sorted(months):
        target = f"{month}/events.parquet"
        old = [name for name in present if Path(name).parent.as_posix() == month]
        parts = [read_table(store / p, EVENTS_SCHEMA).join(rows, on="session_id", how="anti") for p in old]
        parts += [t for t in (fresh.get(target),) if t is not None]
        merged = pl.concat(parts).sort("start_time", "session_id")
        changes |= dict.fromkeys(old)
        changes[target] = merged if merged.height else None
    return changes


def _merge(
    store: Path, name: str, rows: pl.DataFrame, result: ImportResult
) -> dict[str, pl.DataFrame | None]:
    """New content of a dimension table, or nothing when the import says what is known."""
    schema, keys = DIMENSION_SCHEMAS[name], list(DIMENSION_KEYS[name])
    rows = rows.unique(keys, keep="last", maintain_order=True)
    path = store / f"{name}.parquet"
    old = read_table(path, schema) if path.exists() else pl.DataFrame(schema=schema)
    same = rows.join(old, on=list(schema), how="semi", nulls_equal=True)
    changed = rows.join(same, on=keys, how="anti").join(old, on=keys, how="semi")
    result.unchanged += same.height
    result.changed += changed.height
    result.added += rows.height - same.height - changed.height
    if same.height == rows.height:
        return {}
    return {path.name: pl.concat([old.join(rows, on=keys, how="anti"), rows]).sort(keys)}

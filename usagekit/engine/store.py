"""The event store: a directory of Parquet files that any tool can read, and its index.

``open_store`` reads one, ``write_store`` makes one. Every change goes through :func:`replace_files`, which
a crash at any moment leaves either undone or to be completed by whoever opens the store next.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Self

import polars as pl

from usagekit.engine.files import locked, publish_text, sync_directory, sync_file
from usagekit.engine.index import Builder, Manifest, event_files
from usagekit.engine.tables import DIMENSION_SCHEMAS, EVENTS_SCHEMA, Tables
from usagekit.errors import StoreError, StoreLocked

STAGING = ".staging"
_COMMIT = "commit.json"
LOCK = ".lock"


@dataclass(frozen=True)
class Store:
    """One version of an event store, as its index describes it. Cheap to open, safe to share by threads."""

    path: Path
    manifest: Manifest

    @property
    def version(self) -> str:
        """A short text that changes when the content of the store changes."""
        return self.manifest.version

    def refresh(self) -> Self:
        """Give this store, or its newer version if the files have changed since."""
        if _is_current(self.path, self.manifest):
            return self
        return type(self)(self.path, open_store(self.path).manifest)

    @cached_property
    def codes(self) -> Mapping[str, pl.DataFrame]:
        """The code tables: ``device`` (device_id, hostname), ``person`` (email, user), ``team`` (team)."""
        return {n: pl.read_parquet(self.path / f, glob=False) for n, f in self.manifest.codes.items()}

    def dimension(self, name: str) -> pl.DataFrame:
        """A dimension table; one that the store lacks is empty."""
        return self._dimensions[name]

    @cached_property
    def _dimensions(self) -> Mapping[str, pl.DataFrame]:
        tables = {name: pl.DataFrame(schema=schema) for name, schema in DIMENSION_SCHEMAS.items()}
        for name, (_, file) in self.manifest.dimensions.items():
            tables[name] = pl.read_parquet(self.path / file, glob=False)
        return tables

    def scan(self, start: int, end: int) -> tuple[pl.LazyFrame, bool]:
        """Coded sessions of the months that reach into start..end (UTC seconds), and whether in seconds.

        Columns: start, duration (Int64; seconds, else microseconds), device, person, team (Int32 codes,
        null where unknown) and automated.
        """
        months = [m for m in self.manifest.months if m.sessions and m.start < end and m.end >= start]
        seconds = all(m.seconds for m in months)
        frames = [_empty_index().lazy()]
        for month in months:
            frame = pl.scan_parquet(self.path / month.file, hive_partitioning=False, glob=False)
            scale = 1 if month.seconds is seconds else 1_000_000
            frames.append(
                frame.with_columns(
                    pl.col("start").cast(pl.Int64) * scale, pl.col("duration").cast(pl.Int64) * scale
                )
            )
        return pl.concat(frames[1:] or frames), seconds


def open_store(path: str | Path) -> Store:
    """Open an event store, indexing what is new in it.

    Raises
    ------
    StoreError : there is no event store at ``path``, or a file of it is damaged.
    SchemaError : a table lacks a column.
    """
    path = Path(path).resolve()
    tables = [path / f"{name}.parquet" for name in DIMENSION_SCHEMAS]
    if not ((path / "events").is_dir() or any(p.exists() for p in [*tables, path / STAGING / _COMMIT])):
        raise StoreError(f"no event store at {path}: import events or make a sample there first")
    return Store(path, _current_manifest(path))


def write_store(path: str | Path, tables: Tables) -> Store:
    """Write a whole lab as the event store at ``path``, in place of what is there."""
    path = Path(path).resolve()
    with locked(path / LOCK, what=f"the store {path}"):
        roll_forward(path)
        files: dict[str, pl.DataFrame | None] = dict.fromkeys(event_files(path))
        files.update(month_files(tables.events))
        files.update({f"{name}.parquet": tables.dimension(name) for name in DIMENSION_SCHEMAS})
        replace_files(path, files)
    return open_store(path)


def month_files(events: pl.DataFrame) -> dict[str, pl.DataFrame | None]:
    """Events by the file of the store that they belong to: the UTC month of their start."""
    events = events.select(*EVENTS_SCHEMA).sort("start_time", "session_id")
    months = events.with_columns(month=pl.col("start_time").dt.strftime("%Y-%m"))
    return {
        f"events/month={month}/events.parquet": part.drop("month")
        for (month,), part in months.partition_by("month", as_dict=True).items()
    }


def replace_files(path: Path, files: Mapping[str, pl.DataFrame | None]) -> None:
    """Write tables (None: remove) at paths in the store, all or nothing. The caller holds the lock.

    New files are staged and synced first; the commit file then makes the change final, and
    :func:`roll_forward` moves the staged files into place, now or after a crash.
    """
    roll_forward(path)
    staging = path / STAGING
    staging.mkdir()
    moves: dict[str, str | None] = {}
    for number, (target, table) in enumerate(files.items()):
        moves[target] = None
        if table is not None:
            moves[target] = f"{number}.parquet"
            write_parquet(table, staging / f"{number}.parquet")
    sync_directory(path)
    publish_text(staging / _COMMIT, json.dumps(moves))
    roll_forward(path)
    _save_index(path)


def write_parquet(table: pl.DataFrame, path: Path) -> None:
    """Write one table of the store durably."""
    table.write_parquet(path, compression="zstd", statistics=True)
    sync_file(path)


def roll_forward(path: Path) -> None:
    """Complete a change whose commit file exists, and clear one without; a crash in here only repeats it.

    The caller holds the lock.
    """
    commit = path / STAGING / _COMMIT
    if commit.exists():
        moves: dict[str, str | None] = json.loads(commit.read_text())
        for target, staged in moves.items():
            final = path / target
            final.parent.mkdir(parents=True, exist_ok=True)
            if staged is None:
                final.unlink(missing_ok=True)
            elif (path / STAGING / staged).exists():
                (path / STAGING / staged).replace(final)
        # Names of new files and folders must last before the commit file, which could redo them, goes.
        for folder in sorted({parent for target in moves for parent in (path / target).parents}):
            if folder.is_relative_to(path):
                sync_directory(folder)
        commit.unlink()
    shutil.rmtree(path / STAGING, ignore_errors=True)


def _current_manifest(path: Path) -> Manifest:
    """The manifest of what the files are now, building the index where it is behind."""
    read_only, directory = _read_only(path), _index_directory(path)
    built = [Manifest.load(d / "manifest.json") for d in dict.fromkeys((path / "index", directory))]
    whole = [m for m in built if m and all((path / file).exists() for file in m.files)]
    for manifest in whole:
        if _is_current(path, manifest):
            return manifest
    lock = partial(locked, what=f"the store {path}", wait=not whole)
    try:
        with ExitStack() as locks:
            if read_only and (path / LOCK).exists():
                locks.enter_context(lock(path / LOCK, shared=True))
            locks.enter_context(lock((directory if read_only else path) / LOCK))
            if not read_only:
                roll_forward(path)
            elif (path / STAGING / _COMMIT).exists():
                raise StoreLocked(f"an import into {path} was cut short: who may write there must open it")
            return _save_index(path)
    except StoreLocked:
        # A writer is at work: until it publishes the next version, the last one stays whole.
        if not whole:
            raise
        return whole[0]


def _save_index(path: Path) -> Manifest:
    directory = _index_directory(path)
    old = Manifest.load(directory / "manifest.json")
    if old and not all((path / file).exists() for file in old.files):
        old = None
    manifest = Builder(path, directory, old).build()
    manifest.save(directory / "manifest.json")
    # Readers may still hold the version before this one; what only older versions used can go.
    keep = {Path(file).name for file in manifest.files | (old.files if old else set())}
    for file in directory.iterdir():
        if file.suffix in (".parquet", ".tmp") and file.name not in keep:
            file.unlink(missing_ok=True)
    return manifest


def _is_current(path: Path, manifest: Manifest) -> bool:
    """Whether the index describes the public files, judged by their names, sizes and times."""
    sources = manifest.sources
    present = {*event_files(path)}
    present |= {f"{name}.parquet" for name in DIMENSION_SCHEMAS if (path / f"{name}.parquet").exists()}
    return (
        not (path / STAGING / _COMMIT).exists()
        and present == {s.path for s in sources}
        and all(s.unchanged(path) for s in sources)
        and all((path / file).exists() for file in manifest.files)
    )


def _read_only(path: Path) -> bool:
    return not os.access(path, os.W_OK)


def _index_directory(path: Path) -> Path:
    """Where the index lives: inside the store, or in the temporary folder for a store that cannot be written."""
    if not _read_only(path):
        return path / "index"
    private = Path(tempfile.gettempdir()) / f"usagekit-{os.getuid()}"
    private.mkdir(mode=0o700, exist_ok=True)
    if private.stat().st_uid != os.getuid():
        raise StoreError(f"{private} belongs to somebody else: set TMPDIR to a folder of your own")
    return private / hashlib.sha256(os.fsencode(path)).hexdigest()[:16]


def _empty_index() -> pl.DataFrame:
    codes = dict.fromkeys(("device", "person", "team"), pl.Int32)
    return pl.DataFrame(schema={"start": pl.Int64, "duration": pl.Int64, **codes, "automated": pl.Boolean})

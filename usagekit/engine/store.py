"""The event store: a directory of Parquet files that any tool can read, and its index.

``open_store`` reads one, ``write_store`` makes one. Every change goes through :func:`replace_files`, which
a crash at any moment leaves either undone or to be completed by whoever opens the store next.
"""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Self

import polars as pl

from usagekit.engine.commit import commit_files, is_pending, roll_forward
from usagekit.engine.files import locked
from usagekit.engine.index import Builder, event_files
from usagekit.engine.manifest import Manifest
from usagekit.engine.tables import DIMENSION_SCHEMAS, EVENTS_SCHEMA, Tables
from usagekit.errors import StoreError, StoreLocked

MANIFEST = "manifest.json"
LOCK = ".lock"
PATIENCE = 0.3
"""How long a writer waits (s) for a reader that is indexing, before it takes it for another writer."""

_GRACE_SECONDS = 900
"""How long index files outlive the last version that used them."""


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
        if sum(m.total * (1 if m.seconds is seconds else 1_000_000) for m in months) >= 2**63:
            worst = max(months, key=lambda m: m.total).source.path
            raise StoreError(
                f"the sessions in {self.path} last longer than can be summed (292,471 years in all, as they have "
                f"fractions of seconds): look for broken end times, first in {worst}"
            )
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
    path = store_path(path)
    return Store(path, _current_manifest(path))


def store_path(path: str | Path) -> Path:
    """Where the store is; StoreError when there is none."""
    path = Path(path).resolve()
    tables = [path / f"{name}.parquet" for name in DIMENSION_SCHEMAS]
    if not ((path / "events").is_dir() or is_pending(path) or any(p.exists() for p in tables)):
        raise StoreError(f"no event store at {path}: import events or make a sample there first")
    return path


def write_store(path: str | Path, tables: Tables) -> Store:
    """Write a whole lab as the event store at ``path``, in place of what is there."""
    path = Path(path).resolve()
    with locked(path / LOCK, what=f"the store {path}", patience=PATIENCE):
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
    """Write tables (None: remove) at paths in the store, all or nothing. The caller holds the lock."""
    commit_files(path, files)
    _save_index(path)


def _current_manifest(path: Path) -> Manifest:
    """The manifest of what the files are now, building the index where it is behind or damaged."""
    whole = [m for m in built_manifests(path) if not m.damaged(path)]
    for manifest in whole:
        if _is_current(path, manifest):
            return manifest
    lock, read_only = partial(locked, what=f"the store {path}", wait=not whole), _read_only(path)
    try:
        with ExitStack() as locks:
            if read_only and (path / LOCK).exists():
                locks.enter_context(lock(path / LOCK, shared=True))
            locks.enter_context(lock((_private(path) if read_only else path) / LOCK))
            if not read_only:
                roll_forward(path)
            elif is_pending(path):
                raise StoreLocked(f"an import into {path} was cut short: who may write there must open it")
            return _save_index(path)
    except StoreLocked:
        # A writer is at work: until it publishes the next version, the last one stays whole.
        if not whole:
            raise
        return whole[0]


def built_manifests(path: Path) -> list[Manifest]:
    """The manifests that describe the store at ``path``, or did: in it and in private, the newest first."""
    private = _private(path, make=False)
    is_ours = private.parent.exists() and private.parent.stat().st_uid == os.getuid()
    files = [d / MANIFEST for d in (path / "index", *[private][:is_ours]) if (d / MANIFEST).exists()]
    files.sort(key=lambda file: file.stat().st_mtime_ns, reverse=True)
    return [m for m in map(Manifest.load, files) if m]


def _save_index(path: Path) -> Manifest:
    """Build the index inside the store, or in private where the store is read-only or its disk is full."""
    try:
        if _read_only(path):
            return _build_index(path, _private(path))
        try:
            return _build_index(path, path / "index")
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            return _build_index(path, _private(path))
    except OSError as error:
        raise StoreError(f"the index of {path} cannot be made: {error}") from error


def _build_index(path: Path, directory: Path) -> Manifest:
    old = Manifest.load(directory / MANIFEST)
    if old and old.damaged(path):
        old = None
    before = set(directory.iterdir()) if directory.exists() else set()
    try:
        manifest = Builder(path, directory, old).build()
        manifest.save(directory / MANIFEST)
    except OSError:
        for file in set(directory.iterdir()) - before:
            file.unlink()
        raise
    used, lately = ({(path / f).name for f in m.files} if m else set() for m in (manifest, old))
    for file in before:
        if file.suffix == ".tmp":
            file.unlink(missing_ok=True)
        elif file.suffix == ".parquet" and file.name not in used:
            # Readers may hold the version that needs it: it goes some time after the last that did.
            if file.name in lately:
                os.utime(file)
            elif time.time() - file.stat().st_mtime > _GRACE_SECONDS:
                file.unlink()
    return manifest


def _is_current(path: Path, manifest: Manifest) -> bool:
    """Whether the index describes the public files, judged by their names, sizes and times."""
    sources = manifest.sources
    present = {*event_files(path)}
    present |= {f"{name}.parquet" for name in DIMENSION_SCHEMAS if (path / f"{name}.parquet").exists()}
    return (
        not is_pending(path)
        and present == {s.path for s in sources}
        and all(s.unchanged(path) for s in sources)
        and not manifest.damaged(path)
    )


def _read_only(path: Path) -> bool:
    return not os.access(path, os.W_OK)


def _private(path: Path, *, make: bool = True) -> Path:
    """The folder under the temporary one for the index of a store that cannot hold its own."""
    private = Path(tempfile.gettempdir()) / f"usagekit-{os.getuid()}"
    if make:
        private.mkdir(mode=0o700, exist_ok=True)
        if private.stat().st_uid != os.getuid():
            raise StoreError(f"{private} belongs to somebody else: set TMPDIR to a folder of your own")
    return private / hashlib.sha256(os.fsencode(path)).hexdigest()[:16]


def _empty_index() -> pl.DataFrame:
    codes = dict.fromkeys(("device", "person", "team"), pl.Int32)
    return pl.DataFrame(schema={"start": pl.Int64, "duration": pl.Int64, **codes, "automated": pl.Boolean})

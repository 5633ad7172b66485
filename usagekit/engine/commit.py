"""Changing the public files of a store all or nothing: stage, commit, move into place.

New files are staged and synced first; the commit file then makes the change final, and
:func:`roll_forward` moves the staged files into place, now or after a crash.
"""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from usagekit.engine.files import publish_text, seal, sync_directory, write_synced
from usagekit.errors import StoreError

STAGING = ".staging"
_COMMIT = "commit.json"


def is_pending(path: Path) -> bool:
    """Whether a change of the store at ``path`` is final but not yet in place."""
    return (path / STAGING / _COMMIT).exists()


def commit_files(path: Path, files: Mapping[str, pl.DataFrame | None]) -> None:
    """Write tables (None: remove) at paths in the store, all or nothing. The caller holds the lock.

    Raises StoreError when they cannot be written, as on a full disk; then nothing has changed.
    """
    roll_forward(path)
    staging = path / STAGING
    try:
        staging.mkdir()
        moves: dict[str, str | None] = {}
        for number, (target, table) in enumerate(files.items()):
            moves[target] = None
            if table is not None:
                moves[target] = f"{number}.parquet"
                # Made now, so that nothing can run out of space once the change is final.
                (path / target).parent.mkdir(parents=True, exist_ok=True)
                write_parquet(table, staging / f"{number}.parquet")
        # What the commit file speaks of must last before it does: staged files and the folders they go to.
        sync_directory(staging)
        _sync_folders(path, moves)
        publish_text(staging / _COMMIT, json.dumps(moves))
    except OSError as error:
        if not is_pending(path):
            shutil.rmtree(staging, ignore_errors=True)
        raise StoreError(f"the store {path} cannot be written: {error}") from error
    roll_forward(path)


def write_parquet(table: pl.DataFrame, path: Path) -> None:
    """Write one table of the store durably, with page checksums for any reader and our seal over all of it."""
    buffer = io.BytesIO()
    arrow = table.to_arrow(compat_level=pl.CompatLevel.oldest())
    pq.write_table(arrow, buffer, compression="zstd", write_page_checksum=True, store_schema=False)
    write_synced(path, seal(buffer.getvalue()))


def roll_forward(path: Path) -> None:
    """Complete a change whose commit file exists, and clear one without; a crash in here only repeats it.

    The caller holds the lock.
    """
    commit = path / STAGING / _COMMIT
    if commit.exists():
        moves: dict[str, str | None] = json.loads(commit.read_text("utf-8"))
        for target, staged in moves.items():
            final = path / target
            final.parent.mkdir(parents=True, exist_ok=True)
            if staged is None:
                final.unlink(missing_ok=True)
            elif (path / STAGING / staged).exists():
                (path / STAGING / staged).replace(final)
        # Names of new files and folders must last before the commit file, which could redo them, goes.
        _sync_folders(path, moves)
        commit.unlink()
    shutil.rmtree(path / STAGING, ignore_errors=True)


def _sync_folders(path: Path, targets: Iterable[str]) -> None:
    """Force the entries of the store and of all folders of ``targets`` in it to the disk."""
    for folder in sorted({path, *(parent for target in targets for parent in (path / target).parents)}):
        if folder.is_relative_to(path) and folder.exists():
            sync_directory(folder)

"""Old months made small: their pages go, their manifests stay, so that the site goes on to show their hours."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from usagekit.engine.files import locked, publish_text, sha256, sync_directory
from usagekit.errors import QueryError
from usagekit.report.batch import LOCK_FILE
from usagekit.report.history import PRUNED, known_months
from usagekit.report.ledger import read_entries
from usagekit.report.publish import FAILED_NOTEBOOK, MANIFEST, read_manifest

_WORK = re.compile(r"\..+\.[a-z0-9_]{8}\.work")


def prune(
    reports: Path, *, keep_months: int, dry_run: bool = True, protected: Collection[str] = ()
) -> list[Path]:
    """Remove the files of reports older than the newest ``keep_months`` months, and what killed runs left.

    A file goes only if it is, byte for byte, the one that its manifest says was published; manifests, ledger and
    whatever else lies there stay. Symbolic links are neither followed nor removed. Write the site anew afterwards
    (:func:`usagekit.report.site.write_site`): its pages still lead to what is gone.

    Parameters
    ----------
    reports : directory of all months.
    keep_months : how many months with published reports stay whole, at least 1.
    dry_run : only tell what would go.
    protected : months that stay whole however old, such as those with mails to be sent.

    Returns
    -------
    The files and left-over work directories that were, or would be, removed.

    Raises
    ------
    QueryError : ``keep_months`` is less than 1.
    StoreLocked : a batch or a send is at work.
    StoreError : the ledger is damaged or of a newer usagekit.
    OSError : a file cannot be removed; doing it again goes on from there.
    """
    if keep_months < 1:
        raise QueryError(
            f"keep_months={keep_months}: at least the newest month stays", parameter="keep_months"
        )
    if not reports.is_dir():
        return []
    with locked(reports / LOCK_FILE, what=f"the reports directory {reports}", patience=0.2):
        months = [m for m in known_months(reports) if not (reports / m).is_symlink()]
        published = [m for m in months if any(map(read_manifest, _real_directories(reports / m)))]
        old = [m for m in published[keep_months:] if m not in protected]
        found = [path for month in months for path in _left_over(reports / month)]
        if not dry_run:
            for path in found:
                shutil.rmtree(path)
        for month in old:
            found += _prune_month(reports, month, dry_run=dry_run)
    return found


def _prune_month(reports: Path, month: str, *, dry_run: bool) -> list[Path]:
    known, found = read_entries(reports, month), []
    for directory in _real_directories(reports / month):
        manifest = read_manifest(directory) if not (directory / MANIFEST).is_symlink() else None
        going = list(_published(directory, manifest)) if manifest else []
        failed = directory / FAILED_NOTEBOOK
        if (manifest or directory.name in known) and failed.is_file() and not failed.is_symlink():
            going.append(failed)
        if going and not dry_run:
            if manifest:
                _mark(directory, manifest)
            for path in going:
                path.unlink(missing_ok=True)
            sync_directory(directory)
        found += going
    return found


def _mark(directory: Path, manifest: dict[str, Any]) -> None:
    """Say in the manifest that its files are gone on purpose; before they go, so that none is missed without it."""
    marked = {PRUNED: datetime.now(UTC).isoformat(timespec="seconds")} | manifest
    publish_text(directory / MANIFEST, json.dumps(marked, ensure_ascii=False, indent=1, allow_nan=False))


def _published(directory: Path, manifest: dict[str, Any]) -> Iterator[Path]:
    """The files of a report that are still what was published; one that somebody has changed is theirs."""
    for name, about in manifest["files"].items():
        path = directory / name
        if (
            Path(name).name == name
            and path.is_file()
            and not path.is_symlink()
            and sha256(path) == about["sha256"]
        ):
            yield path


def _left_over(month_directory: Path) -> Iterator[Path]:
    """Work directories of killed workers, which no batch needs while we hold its lock."""
    for path in month_directory.glob(".*.work"):
        if _WORK.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
            yield path


def _real_directories(month_directory: Path) -> list[Path]:
    return sorted(path for path in month_directory.glob("[!.]*/") if not path.is_symlink())

"""Looking for damage in an event store: every byte of its files against the checksums there are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from usagekit.engine.commit import is_pending
from usagekit.engine.files import locked, sha256
from usagekit.engine.index import event_files
from usagekit.engine.manifest import Manifest, Source
from usagekit.engine.readers import read_table
from usagekit.engine.store import LOCK, MANIFEST, built_manifests, open_store, store_path
from usagekit.engine.tables import DIMENSION_SCHEMAS, EVENTS_SCHEMA
from usagekit.errors import SchemaError, StoreError

_REMEDY = "restore it from a backup, or remove it and import its sessions again"
_REBUILT = "nothing to do, it is built again when the store is next opened"


@dataclass(frozen=True, slots=True)
class Damage:
    """A file of a store that is not what it was, and what to do about it."""

    file: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.file}: {self.reason}"


def verify_store(path: str | Path) -> list[Damage]:
    """Read a whole store and list its damaged files; an empty list means that every byte is as written.

    A public file is held against its seal and page checksums, and against the hash that the index has of
    it while its size and time say that nobody wrote it since. Nothing is changed, unless an import was cut
    short: that is completed first.

    Raises
    ------
    StoreError : there is no event store at ``path``.
    StoreLocked : an import is running.
    """
    path = store_path(path)
    if is_pending(path):
        open_store(path)
    if not (path / LOCK).exists():
        return _damages(path)
    with locked(path / LOCK, what=f"the store {path}", shared=True):
        return _damages(path)


def _damages(path: Path) -> list[Damage]:
    manifests = built_manifests(path)[:1]
    recorded = {source.path: source for manifest in manifests for source in manifest.sources}
    tables = {f"{name}.parquet": schema for name, schema in DIMENSION_SCHEMAS.items()}
    present = {*event_files(path), *(file for file in tables if (path / file).exists())}
    found = []
    for file in sorted(present | recorded.keys()):
        if file not in present:
            found.append(
                Damage(path / file, f"is gone since it was indexed; {_REMEDY}, or open the store without it")
            )
            continue
        try:
            read_table(path / file, tables.get(file, EVENTS_SCHEMA))
        except (StoreError, SchemaError) as error:
            found.append(Damage(path / file, f"{error}; {_REMEDY}"))
        else:
            if (source := recorded.get(file)) and _has_rotted(path, source):
                found.append(Damage(path / file, f"its bytes have changed, its time has not; {_REMEDY}"))
    return found + _index_damages(path, manifests)


def _has_rotted(path: Path, source: Source) -> bool:
    return source.unchanged(path) and sha256(path / source.path) != source.sha256


def _index_damages(path: Path, manifests: list[Manifest]) -> list[Damage]:
    stored = path / "index" / MANIFEST
    broken = {stored} if stored.exists() and Manifest.load(stored) is None else set()
    broken |= {file for manifest in manifests for file in manifest.damaged(path)}
    return [Damage(file, f"is damaged; {_REBUILT}") for file in sorted(broken)]

"""The sample lab as an analyst meets it: made once, kept in the user's cache."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

from usagekit.lab import Lab

MONTH: Final = "2023-03"
"""The last month of the sample lab."""

_TODAY = date(2023, 4, 1)
_AS_OF = datetime(2023, 4, 1, 6, tzinfo=UTC)
_VERSION = 3
"""Raised when the sample changes, so that caches of an older one are not used."""


def demo_lab() -> Lab:
    """Open the sample lab over its cached event store."""
    from usagekit.engine.store import open_store
    from usagekit.sources import StoreSource

    store = open_store(_cached("sample", write_sample))
    return Lab(
        StoreSource(store, as_of=_AS_OF), name="Sample device lab", timezone="Europe/Berlin", today=_TODAY
    )


def demo_snapshot() -> Path:
    """Folder of the snapshot of the sample's last month, made on the first call."""
    from usagekit.fetch import fetch_snapshot

    return _cached("snapshot", lambda folder: fetch_snapshot(demo_lab(), MONTH, folder))


def write_sample(folder: Path) -> None:
    """Write the sample lab as an event store."""
    from usagekit.engine.sample import build_sample
    from usagekit.engine.store import write_store

    write_store(folder, build_sample())


def cache_directory() -> Path:
    """Where usagekit keeps what it can make again: $USAGEKIT_CACHE, else usagekit in the user's cache."""
    own = os.environ.get("USAGEKIT_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(own) if own else Path(base) / "usagekit"


def _cached(name: str, make: Callable[[Path], object]) -> Path:
    """The cached folder ``name``, made whole beside its final place first."""
    final = cache_directory() / f"{name}-{_VERSION}"
    if not final.exists():
        final.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        making = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=final.parent))
        try:
            make(making)
            making.rename(final)
        except OSError:
            if not final.exists():  # else another process was faster, with the same content
                raise
        finally:
            shutil.rmtree(making, ignore_errors=True)
    return final

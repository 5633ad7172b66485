"""The four ways to a :class:`usagekit.lab.Lab`: the API, an event store, a frozen month, the sample."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from usagekit.errors import SettingsError
from usagekit.lab import Lab
from usagekit.period import month_of

if TYPE_CHECKING:
    from usagekit.api.client import Client
    from usagekit.api.kept import Kept


def connect(base_url: str | None = None, *, token: str | None = None) -> Lab:
    """Connect to the Usage API with the settings of the current folder.

    ``base_url`` and ``token`` are for trying things out; usually they come from usagekit.toml and from the
    environment variable HEADSPIN_API_TOKEN. Nothing is asked of the API yet.

    Raises
    ------
    SettingsError : there is no token, or a setting is wrong.
    """
    from usagekit.api.client import Client
    from usagekit.settings import load_settings
    from usagekit.sources import ApiSource

    settings = load_settings()
    url = base_url or settings.base_url
    client = Client(
        base_url=url,
        token=token or settings.secret_token(),
        end_excluded=settings.end_date == "excluded",
    )
    return Lab(
        ApiSource(client, _kept_answers(client, reading=f"end {settings.end_date}")),
        name=settings.lab_name,
        timezone=settings.timezone,
        business_hours=settings.hours,
        base_url=url,
    )


def _kept_answers(client: Client, *, reading: str) -> Kept | None:
    """The answers of this account in the user's cache; None, with a warning, where there can be no cache."""
    from usagekit.api.kept import Kept
    from usagekit.hosts import is_loopback
    from usagekit.sample_lab import cache_directory

    try:
        return Kept(
            cache_directory() / "answers",
            f"{client.base_url} {reading}",
            client.fingerprint,
            closes=not is_loopback(client.host),  # one's own server may get another store tomorrow
        )
    except SettingsError as error:
        warnings.warn(f"answers are not kept: {error}", stacklevel=3)
        return None


def open_store(path: str | Path, *, backend: object = None, root: str | None = None) -> Lab:
    """Open an event store: the same answers as the API's, computed here.

    Parameters
    ----------
    path : directory of the store.
    backend : where aggregations run: None for this process, "pyspark" or "duckdb", or an Ibis connection to
        either (docs/scaling.md). The answers are the same. Single events are always listed here.
    root : where the machines of the backend see the store, when not at ``path``; such as ``s3a://lab/store``.

    Raises
    ------
    StoreError : there is no event store at ``path``.
    SettingsError : the backend is unknown, or something it needs is not installed.
    """
    from usagekit.engine import store
    from usagekit.settings import load_settings
    from usagekit.sources import StoreSource

    cluster = None
    if backend is not None:
        from usagekit.engine.cluster import Cluster

        cluster = Cluster(backend, root=root)
    settings = load_settings()
    return Lab(
        StoreSource(store.open_store(path), cluster=cluster),
        name=settings.lab_name,
        timezone=settings.timezone,
        business_hours=settings.hours,
    )


def open_snapshot(path: str | Path) -> Lab:
    """Open a frozen month made by ``usagekit fetch``; ``"demo"`` is that of the sample lab.

    Raises
    ------
    StoreError : there is no snapshot at ``path``, or it is damaged.
    """
    from usagekit.sample_lab import demo_snapshot
    from usagekit.snapshot import SnapshotSource

    source = SnapshotSource(demo_snapshot() if str(path) == "demo" else Path(path))
    return Lab(
        source,
        name=source.lab_name,
        timezone=source.timezone,
        business_hours=source.business_hours,
        today=month_of(source.period.start, shift=1).start,
    )


def demo() -> Lab:
    """Open the sample lab, offline; the first call makes it (a few seconds), later ones find it in the cache."""
    from usagekit.sample_lab import demo_lab

    return demo_lab()

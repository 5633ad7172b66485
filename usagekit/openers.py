"""The four ways to a :class:`usagekit.lab.Lab`: the API, an event store, a frozen month, the sample."""

from __future__ import annotations

from pathlib import Path

from usagekit.lab import Lab
from usagekit.period import month_of


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
    client = Client(base_url=url, token=token or settings.secret_token())
    return Lab(
        ApiSource(client),
        name=settings.lab_name,
        timezone=settings.timezone,
        business_hours=settings.hours,
        base_url=url,
    )


def open_store(path: str | Path) -> Lab:
    """Open an event store: the same answers as the API's, computed here.

    Raises
    ------
    StoreError : there is no event store at ``path``.
    """
    from usagekit.engine import store
    from usagekit.settings import load_settings
    from usagekit.sources import StoreSource

    settings = load_settings()
    return Lab(
        StoreSource(store.open_store(path)),
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
    from usagekit.demo import demo_snapshot
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
    from usagekit.demo import demo_lab

    return demo_lab()

"""Where a lab's numbers come from: the API over HTTP, or an event store on this machine.

A source answers the two kinds of queries with the frames of :mod:`usagekit.api.frames`, so nobody
above can tell one from the other. The third source, a snapshot, lives in :mod:`usagekit.snapshot`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from usagekit.query import EventsQuery, UsageQuery

if TYPE_CHECKING:
    import pandas as pd

    from usagekit.api.client import Client
    from usagekit.engine.store import Store


class Source(Protocol):
    """Answers queries with pandas frames."""

    @property
    def name(self) -> str:
        """Where the numbers come from, for people; never holds a secret."""

    @property
    def as_of(self) -> datetime:
        """When the numbers were true (UTC)."""

    def usage(self, query: UsageQuery) -> pd.DataFrame:
        """The frame of :func:`usagekit.api.frames.usage_frame`."""

    def events(self, query: EventsQuery) -> pd.DataFrame:
        """The frame of :func:`usagekit.api.frames.events_frame`."""


class ApiSource:
    """The Usage API over HTTP."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.requests = 0
        """Queries asked so far; an events query over 120 days is several HTTP requests."""

    @property
    def name(self) -> str:
        return self._client.base_url

    @property
    def as_of(self) -> datetime:
        return datetime.now(UTC).replace(microsecond=0)

    def usage(self, query: UsageQuery) -> pd.DataFrame:
        from usagekit.api.frames import usage_frame

        self.requests += 1
        return usage_frame(self._client.usage(query), query)

    def events(self, query: EventsQuery) -> pd.DataFrame:
        from usagekit.api.frames import events_frame

        self.requests += 1
        return events_frame(self._client.events(query))


class StoreSource:
    """An event store, computed by the local engine; follows the store as it grows."""

    def __init__(self, store: Store, *, as_of: datetime | None = None) -> None:
        self._store = store
        self._as_of = as_of

    @property
    def name(self) -> str:
        return f"event store {self._store.path.name}"

    @property
    def as_of(self) -> datetime:
        return self._as_of or datetime.now(UTC).replace(microsecond=0)

    def usage(self, query: UsageQuery) -> pd.DataFrame:
        from usagekit.api.frames import usage_frame
        from usagekit.engine import local

        self._store = self._store.refresh()
        return usage_frame(local.usage(self._store, query).to_arrow(), query)

    def events(self, query: EventsQuery) -> pd.DataFrame:
        from usagekit.api.frames import events_frame
        from usagekit.engine import local

        self._store = self._store.refresh()
        return events_frame(local.events(self._store, query).to_arrow())

"""Where a lab's numbers come from: the API over HTTP, or an event store on this machine.

A source answers the two kinds of queries with the frames of :mod:`usagekit.api.frames`, so nobody
above can tell one from the other. The third source, a snapshot, lives in :mod:`usagekit.snapshot`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from usagekit.period import month_of
from usagekit.query import EventsQuery, UsageQuery

if TYPE_CHECKING:
    import pandas as pd

    from usagekit.api.client import Client
    from usagekit.api.kept import Kept, Restatement
    from usagekit.engine.cluster import Cluster
    from usagekit.engine.store import Store


Rows = list[dict[str, Any]]


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
    """The Usage API over HTTP.

    Every answer is held against its question before it is used or kept. With ``kept`` an answer that
    still stands is not asked for again; ``restatements`` lists those of closed months that have moved.
    """

    def __init__(self, client: Client, kept: Kept | None = None) -> None:
        self._client = client
        self._kept = kept
        self._refresh = False
        self._as_of: datetime | None = None
        self.requests = 0
        """Queries asked so far; an events query over 120 days is several HTTP requests."""
        self.restatements: list[Restatement] = []

    @property
    def name(self) -> str:
        return self._client.base_url

    @property
    def as_of(self) -> datetime:
        """When the last answer was true: now, or when the oldest kept part of it was asked for."""
        return (self._as_of or datetime.now(UTC)).replace(microsecond=0)

    @contextmanager
    def refreshing(self) -> Iterator[None]:
        """Ask for everything anew while the context lasts, and keep that."""
        before, self._refresh = self._refresh, True
        try:
            yield
        finally:
            self._refresh = before

    def usage(self, query: UsageQuery) -> pd.DataFrame:
        from usagekit.api.weeks import in_iso_weeks

        self.requests += 1
        self._as_of = None
        return in_iso_weeks(self._usage(query), query, self._usage)

    def events(self, query: EventsQuery) -> pd.DataFrame:
        from usagekit.api.frames import events_frame

        self.requests += 1
        self._as_of = None
        rows: Rows = []
        # Whole months can be kept whatever range they are part of; without a place to keep them fewer requests do.
        for part in _months(query) if self._kept else [query]:
            rows += self._rows(part, partial(self._checked_events, part))
        return events_frame(rows)

    def _usage(self, query: UsageQuery) -> pd.DataFrame:
        from usagekit.api.asked import check_usage
        from usagekit.api.frames import usage_frame

        def ask() -> Rows:
            rows = self._client.usage(query)
            check_usage(usage_frame(rows, query), query)
            return rows

        return usage_frame(self._rows(query, ask), query)

    def _checked_events(self, query: EventsQuery) -> Rows:
        from usagekit.api.asked import check_events
        from usagekit.api.frames import events_frame

        rows = self._client.events(query)
        check_events(events_frame(rows), query)
        return rows

    def _rows(self, query: UsageQuery | EventsQuery, ask: Callable[[], Rows]) -> Rows:
        """The rows of a question, kept or asked for; what is asked for has been checked."""
        from usagekit.api.kept import compare

        if self._kept is None:
            return ask()
        held = self._kept.find(query)
        if held and not self._refresh and self._kept.is_good(query, held):
            self._as_of = min(held.asked, self._as_of or held.asked)
            return held.rows
        rows = ask()
        if held and (moved := compare(query, held, rows)):
            self.restatements.append(moved)
            warnings.warn(str(moved), stacklevel=4)
        self._kept.keep(query, rows)
        return rows


def _months(query: EventsQuery) -> Iterator[EventsQuery]:
    """A range cut at the ends of months."""
    start = query.start
    while start <= query.end:
        end = min(month_of(start).end, query.end)
        yield replace(query, start=start, end=end)
        start = end + timedelta(days=1)


class StoreSource:
    """An event store, computed by the local engine or by a cluster; follows the store as it grows."""

    def __init__(
        self, store: Store, *, as_of: datetime | None = None, cluster: Cluster | None = None
    ) -> None:
        self._store = store
        self._as_of = as_of
        self._cluster = cluster

    @property
    def name(self) -> str:
        engine = f" on {self._cluster.name}" if self._cluster else ""
        return f"event store {self._store.path.name}{engine}"

    @property
    def as_of(self) -> datetime:
        return self._as_of or datetime.now(UTC).replace(microsecond=0)

    def usage(self, query: UsageQuery) -> pd.DataFrame:
        from usagekit.api.frames import usage_frame
        from usagekit.engine import local

        self._store = self._store.refresh()
        compute = self._cluster.usage if self._cluster else local.usage
        return usage_frame(compute(self._store, query).to_arrow(), query)

    def events(self, query: EventsQuery) -> pd.DataFrame:
        from usagekit.api.frames import events_frame
        from usagekit.engine import local

        self._store = self._store.refresh()
        return events_frame(local.events(self._store, query).to_arrow())

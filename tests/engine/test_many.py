"""Queries asked together get the answers that they get alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from polars.testing import assert_frame_equal

from usagekit.engine import local
from usagekit.engine.store import Store, open_store
from usagekit.query import UsageQuery
from usagekit.vocabulary import METRICS

MARCH = UsageQuery(by="team", start=date(2023, 3, 1), end=date(2023, 3, 31), bin_size="day", display_all=True)
QUESTIONS = [
    *(replace(MARCH, metric=metric) for metric in METRICS),
    replace(MARCH, metric="user_count", automated=True),
    replace(MARCH, by="device", group_by_device_id=True, metric="device_count"),
    replace(MARCH, end=date(2023, 4, 30), bin_size="hour"),
    MARCH,
    *(
        replace(MARCH, start=day, end=day, timezone="Pacific/Apia", metric=metric)
        for day in [date(2011, 12, 30)]  # a date that the zone skipped: no bins
        for metric in ("total_time", "avg_session_length")
    ),
]


def test_together_as_alone(foreign: Path) -> None:
    """Any mix of queries, repeated ones and some without bins as well, is answered in order, as each alone."""
    store = open_store(foreign)
    for query, together in zip(QUESTIONS, local.usage_many(store, QUESTIONS), strict=True):
        assert_frame_equal(together, local.usage(store, query))
        assert together.columns == list(query.columns)
    assert local.usage_many(store, []) == []


def test_metrics_share_one_pass(foreign: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sessions are scanned once for each question, however many metrics are asked of it."""
    scans = []
    scan = Store.scan
    monkeypatch.setattr(Store, "scan", lambda store, *span: scans.append(span) or scan(store, *span))
    local.usage_many(
        open_store(foreign), [replace(MARCH, metric=m, by=by) for m in METRICS for by in ("team", "")]
    )
    assert len(scans) == 2

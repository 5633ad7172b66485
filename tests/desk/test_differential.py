"""The same question gives the same frame over HTTP, from the store and from a snapshot."""

from __future__ import annotations

from datetime import date, timedelta

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from usagekit.errors import QueryError
from usagekit.lab import Lab
from usagekit.query import EventsQuery, UsageQuery
from usagekit.vocabulary import BIN_SIZES, METRICS, OPTIONS, ROUTES

VALUES = {
    "team_name": ("NA", "チーム", "R&D / Café", "Payments", "nobody"),
    "hostname": ("lab-us-sf-1.example.com", "lab-de-be-1.example.com", "nowhere"),
    "user_email": ("felix.krueger@example.com", "olivia.carter@example.com"),
}


@st.composite
def questions(draw: st.DrawFn) -> UsageQuery:
    """Any aggregation question about the sample's last fourteen months."""
    bin_size = draw(st.sampled_from(BIN_SIZES))
    start = date(2022, 1, 1) + timedelta(days=draw(st.integers(0, 440)))
    days = draw(st.integers(0, 6 if bin_size == "hour" else 60))
    filters = draw(st.dictionaries(st.sampled_from(sorted(VALUES)), st.integers(0, 3), max_size=2))
    by = draw(st.sampled_from(sorted(ROUTES)))
    return UsageQuery(
        by=by,
        start=start,
        end=start + timedelta(days=days),
        metric=draw(st.sampled_from(sorted(METRICS))),
        bin_size=bin_size,
        timezone=draw(st.sampled_from(["UTC", "Europe/Berlin", "US/Pacific", "Asia/Kolkata"])),
        automated=draw(st.sampled_from([None, True, False])),
        filters=tuple((key, VALUES[key][: n + 1]) for key, n in filters.items()),
        # Every member of a pair in every hour is a long table that says nothing new.
        **{
            o: draw(st.booleans())
            for o in OPTIONS
            if o != "display_all" or ("/" not in by and bin_size != "hour")
        },
    )


@settings(max_examples=150, deadline=None)
@given(query=questions())
def test_http_equals_local(query: UsageQuery, remote: Lab, local: Lab) -> None:
    """A frame over HTTP equals the local one to the last bit, types and order included."""
    pd.testing.assert_frame_equal(remote.source.usage(query), local.source.usage(query), check_exact=True)


@settings(max_examples=15, deadline=None)
@given(start=st.dates(date(2022, 1, 1), date(2023, 3, 1)), days=st.integers(0, 400))
def test_events_over_http_equal_local(start: date, days: int, remote: Lab, local: Lab) -> None:
    """Events of any range, asked in legal chunks, equal the local list: nothing lost, nothing doubled."""
    query = EventsQuery(start=start, end=start + timedelta(days=days))
    pd.testing.assert_frame_equal(remote.source.events(query), local.source.events(query), check_exact=True)


@pytest.mark.parametrize(
    ("period", "asked"),
    [
        (("2022-03", "2023-03"), {"by": "team", "team": "NA", "metric": ["total_time", "user_count"]}),
        (("2022-03", "2023-03"), {"by": "team", "team": "チーム", "automated": True}),
        (("2023-01", "2023-03"), {"by": "team", "metric": "session_count"}),
        (("2023-02", "2023-03"), {"by": "team", "bin": "hour", "team": "Payments"}),
        ("2023-03-26", {"by": "team", "bin": "hour", "team": "Payments"}),
        ("2023-03", {"bin": "hour", "automated": False}),
        ("2023-03", {"by": "team/device", "team": "R&D / Café"}),
        ("2023-03", {"by": "team/devicemodel", "team": "NA"}),
        ("2023-03", {"by": "team", "display_all": True}),
        (
            ("2022-03", "2023-03"),
            {"by": "device", "display_all": True, "metric": ["total_time", "session_count"]},
        ),
        (("2022-03", "2023-03"), {"by": "user", "team": "TV Apps"}),
        ("2023-03", {"by": "user", "team": "TV Apps"}),
        (("2022-03", "2023-03"), {"by": "team", "team": "Default"}),
    ],
)
def test_snapshot_equals_local(period: object, asked: dict[str, object], frozen: Lab, local: Lab) -> None:
    """A snapshot answers what it was fetched for, and narrower questions, with the frames of the store."""
    answer, expected = frozen.usage(period, **asked).df, local.usage(period, **asked).df
    pd.testing.assert_frame_equal(answer, expected, check_exact=True)


def test_snapshot_events_equal_local(frozen: Lab, local: Lab) -> None:
    """The snapshot's events of the month are those of the store."""
    pd.testing.assert_frame_equal(frozen.events("2023-03"), local.events("2023-03"), check_exact=True)


@pytest.mark.parametrize(
    ("period", "asked"),
    [
        ("2022-02", {"by": "team"}),
        ("2023-03", {"by": "team", "bin": "day"}),
        (("2023-03-02", "2023-03-31"), {"by": "team"}),
        ("2023-03", {"by": "device", "team": "NA"}),
        ("2023-03", {"by": "team", "timezone": "UTC"}),
    ],
)
def test_snapshot_refuses_what_it_does_not_hold(
    period: object, asked: dict[str, object], frozen: Lab
) -> None:
    """A snapshot never guesses: what does not follow exactly from it is an error that says what to do."""
    with pytest.raises(QueryError, match="connect"):
        frozen.usage(period, **asked)

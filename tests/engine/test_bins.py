"""Bin edges and labels in zones that break what one believes of days: a table of instants looked up by hand."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import session
from tests.engine.plain_store import put_events
from usagekit.engine import local
from usagekit.engine.bins import Bins, query_bins
from usagekit.engine.store import open_store
from usagekit.query import UsageQuery


def bins(zone: str, start: str, end: str, bin_size: str) -> Bins:
    query = UsageQuery(
        start=date.fromisoformat(start), end=date.fromisoformat(end), timezone=zone, bin_size=bin_size
    )
    return query_bins(query)


def shown(found: Bins) -> list[str]:
    """Edges as UTC texts, so that a failure can be read."""
    return [f"{datetime.fromtimestamp(edge, UTC):%Y-%m-%d %H:%M:%S}" for edge in found.edges.tolist()]


DAYS = [
    ("UTC", "2023-03-26", "2023-03-26 00:00:00", "2023-03-27 00:00:00", 24),
    ("Europe/Berlin", "2023-03-26", "2023-03-25 23:00:00", "2023-03-26 22:00:00", 23),
    ("Europe/Berlin", "2023-10-29", "2023-10-28 22:00:00", "2023-10-29 23:00:00", 25),
    ("Australia/Lord_Howe", "2023-10-01", "2023-09-30 13:30:00", "2023-10-01 13:00:00", 23.5),
    ("Australia/Lord_Howe", "2023-04-02", "2023-04-01 13:00:00", "2023-04-02 13:30:00", 24.5),
    # From +08 to +11 at 00:01
    ("Antarctica/Casey", "2020-10-04", "2020-10-03 16:00:00", "2020-10-04 13:00:00", 21),
    # At 00:01 forward and back: in November the day before comes again after this one has begun
    ("America/St_Johns", "2010-03-14", "2010-03-14 03:30:00", "2010-03-15 02:30:00", 23),
    ("America/St_Johns", "2010-11-06", "2010-11-06 02:30:00", "2010-11-07 02:30:00", 24),
    ("America/St_Johns", "2010-11-07", "2010-11-07 02:30:00", "2010-11-08 03:30:00", 25),
    # No midnight; and the hour before midnight twice
    ("America/Sao_Paulo", "2018-11-04", "2018-11-04 03:00:00", "2018-11-05 02:00:00", 23),
    ("America/Sao_Paulo", "2019-02-16", "2019-02-16 02:00:00", "2019-02-17 03:00:00", 25),
    # No midnight; and midnight twice
    ("America/Havana", "2023-03-12", "2023-03-12 05:00:00", "2023-03-13 04:00:00", 23),
    ("America/Havana", "2023-11-05", "2023-11-05 04:00:00", "2023-11-06 05:00:00", 25),
    ("Asia/Kathmandu", "2023-03-26", "2023-03-25 18:15:00", "2023-03-26 18:15:00", 24),
    ("Asia/Kathmandu", "1986-01-01", "1985-12-31 18:30:00", "1986-01-01 18:15:00", 23.75),
    ("Africa/Monrovia", "1972-01-06", "1972-01-06 00:44:30", "1972-01-07 00:44:30", 24),
    ("Africa/Monrovia", "1972-01-07", "1972-01-07 00:44:30", "1972-01-08 00:00:00", 23.2583333),
    ("Pacific/Apia", "2011-12-29", "2011-12-29 10:00:00", "2011-12-30 10:00:00", 24),
    ("Pacific/Apia", "2011-12-31", "2011-12-30 10:00:00", "2011-12-31 10:00:00", 24),
]


@pytest.mark.parametrize(("zone", "day", "start", "end", "hours"), DAYS)
def test_day(zone: str, day: str, start: str, end: str, hours: float) -> None:
    """A local day is the instants between its first and that of the next, however many hours that is."""
    found = bins(zone, day, day, "day")
    assert shown(found) == [start, end]
    assert found.labels == [day]
    assert (found.end - found.start) / 3600 == pytest.approx(hours)


@pytest.mark.parametrize(("zone", "day", "start", "end", "hours"), DAYS)
def test_hours_fill_the_day(zone: str, day: str, start: str, end: str, hours: float) -> None:
    """Hour bins cover the day without a gap, at most an hour each, and are labelled by their own edge."""
    found = bins(zone, day, day, "hour")
    assert [shown(found)[0], shown(found)[-1]] == [start, end]
    assert all(0 < length <= 3600 for length in np.diff(found.edges))
    assert [datetime.fromisoformat(label).timestamp() for label in found.labels] == found.edges[:-1].tolist()
    assert len(set(found.labels)) == len(found)


@pytest.mark.parametrize(
    ("zone", "day", "labels"),
    [
        (
            "Europe/Berlin",
            "2023-10-29",
            ["T01:00:00+02:00", "T02:00:00+02:00", "T02:00:00+01:00", "T03:00:00+01:00"],
        ),
        (
            "Australia/Lord_Howe",  # at 02:00 half an hour back
            "2023-04-02",
            ["T01:00:00+11:00", "T01:30:00+10:30", "T02:00:00+10:30", "T03:00:00+10:30"],
        ),
        (
            "Antarctica/Casey",
            "2020-10-04",
            ["T00:00:00+08:00", "T03:01:00+11:00", "T04:00:00+11:00", "T05:00:00+11:00"],
        ),
        (
            "America/Sao_Paulo",
            "2018-11-04",
            ["T01:00:00-02:00", "T02:00:00-02:00", "T03:00:00-02:00", "T04:00:00-02:00"],
        ),
        (
            "Asia/Kathmandu",
            "1986-01-01",
            ["T00:15:00+05:45", "T01:00:00+05:45", "T02:00:00+05:45", "T03:00:00+05:45"],
        ),
    ],
)
def test_hour_edges_at_a_change(zone: str, day: str, labels: list[str]) -> None:
    """Hours begin where the local clock shows a whole hour, and wherever the offset changes."""
    found = bins(zone, day, day, "hour").labels
    first = found.index(day + labels[0])
    assert [label.removeprefix(day) for label in found[first : first + 4]] == labels


def test_offset_with_seconds_is_labelled_with_seconds() -> None:
    """Monrovia's -00:44:30 has no form in whole minutes: the label keeps the seconds rather than lie."""
    found = bins("Africa/Monrovia", "1972-01-06", "1972-01-06", "hour")
    assert found.labels[:2] == ["1972-01-06T00:00:00-00:44:30", "1972-01-06T01:00:00-00:44:30"]
    assert len(found) == 24


def test_date_that_a_zone_skipped() -> None:
    """Apia went from 29 to 31 December 2011: the 30th has no bin, and alone is a range without any."""
    assert bins("Pacific/Apia", "2011-12-28", "2012-01-01", "day").labels == [
        "2011-12-28",
        "2011-12-29",
        "2011-12-31",
        "2012-01-01",
    ]
    for bin_size in ("hour", "day", "week", "month"):
        assert len(bins("Pacific/Apia", "2011-12-30", "2011-12-30", bin_size)) == 0


@pytest.mark.parametrize(
    ("bin_size", "start", "end", "labels", "edges"),
    [
        (
            "week",
            "2023-03-01",
            "2023-03-14",
            ["2023-02-27", "2023-03-06", "2023-03-13"],
            ["2023-03-01", "2023-03-06", "2023-03-13", "2023-03-15"],
        ),
        ("week", "2023-01-01", "2023-01-01", ["2022-12-26"], ["2023-01-01", "2023-01-02"]),
        (
            "month",
            "2023-01-31",
            "2023-03-01",
            ["2023-01-01", "2023-02-01", "2023-03-01"],
            ["2023-01-31", "2023-02-01", "2023-03-01", "2023-03-02"],
        ),
        ("month", "2024-02-29", "2024-02-29", ["2024-02-01"], ["2024-02-29", "2024-03-01"]),
        (
            "month",
            "2022-12-31",
            "2023-01-01",
            ["2022-12-01", "2023-01-01"],
            ["2022-12-31", "2023-01-01", "2023-01-02"],
        ),
    ],
)
def test_weeks_and_months_are_cut_at_the_range(
    bin_size: str, start: str, end: str, labels: list[str], edges: list[str]
) -> None:
    """The first and last bin end with the range, but are named after the start of the whole bin."""
    found = bins("UTC", start, end, bin_size)
    assert found.labels == labels
    assert shown(found) == [f"{edge} 00:00:00" for edge in edges]


@pytest.mark.parametrize("bin_size", ["hour", "day", "week"])
@pytest.mark.parametrize(
    ("zone", "seconds"), [("Europe/Berlin", 900), ("Antarctica/Casey", 60), ("Africa/Monrovia", 30)]
)
def test_slots_say_the_same_as_the_edges(zone: str, seconds: int, bin_size: str) -> None:
    """The table of slots puts every instant into the bin that the edges put it into."""
    found = bins(zone, "1971-12-01", "1972-02-01", bin_size)
    if zone == "Antarctica/Casey":
        found = bins(zone, "2020-09-01", "2020-11-01", bin_size)
    slots = found.slots()
    assert slots is not None
    length, table = slots
    assert length % seconds == 0 if bin_size != "hour" else length == seconds
    starts = found.start + length * np.arange(len(table))
    assert table.tolist() == (np.searchsorted(found.edges, starts, side="right") - 1).tolist()
    assert found.start + length * len(table) == found.end


def test_more_slots_than_fit_are_not_made(tmp_path: Path) -> None:
    """Two centuries in slots of 30 s would be too large: the edges are searched instead, to the same end."""
    put_events(tmp_path, [session(1, "1972-01-06 00:44:00", "1972-01-07 00:45:00")], month="1972-01")
    query = UsageQuery(
        start=date(1970, 1, 1), end=date(2199, 12, 31), timezone="Africa/Monrovia", bin_size="day"
    )
    assert query_bins(query).slots() is None
    found = local.usage(open_store(tmp_path), query).select("datetime", "total_time").rows()
    assert found == [("1972-01-05", 30 / 3600), ("1972-01-06", 24.0), ("1972-01-07", 30 / 3600)]

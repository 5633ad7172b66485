"""Rows -> frames: both ways alike, units converted once, text left alone, faults named."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pandas.testing import assert_frame_equal

from tests.wire.conftest import HOSTILE, TOKEN, Served, hostile_lab
from usagekit.api.client import Client
from usagekit.api.frames import events_frame, usage_frame
from usagekit.engine import local
from usagekit.errors import SchemaError
from usagekit.query import EventsQuery, UsageQuery
from usagekit.vocabulary import BIN_SIZES, METRICS, ROUTES

MARCH: dict[str, Any] = {"start": date(2023, 3, 1), "end": date(2023, 3, 31)}
BY_TEAM = UsageQuery(by="team", **MARCH)
ROW = {"datetime": "2023-03-01", "team": "NA", "total_time": 90.0, "unit": "minute"}
EVENT = {
    "user": "Ana",
    "email": "ana@example.com",
    "device_id": "00123",
    "hostname": "lab-1",
    "start_time": "2023-03-01 23:30:00",
    "end_time": "2023-03-02 00:30:00",
    "duration": 3600,
    "date": "20230301",
}


def same(left: pd.DataFrame, right: pd.DataFrame) -> None:
    assert_frame_equal(left, right, check_exact=True)


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[Client]:
    with Client(base_url=served.base_url, token=TOKEN) as connected:
        yield connected


@pytest.mark.parametrize("by", ROUTES)
@pytest.mark.parametrize("bin_size", BIN_SIZES)
def test_wire_and_engine_give_the_same_frame(client: Client, served: Served, by: str, bin_size: str) -> None:
    """A query answered over HTTP and answered here are the same frame, bit by bit."""
    for metric in METRICS:
        query = UsageQuery(
            by=by, bin_size=bin_size, metric=metric, timezone="US/Pacific", include_user_notes=True, **MARCH
        )
        wire = usage_frame(client.usage(query), query)
        same(wire, usage_frame(local.usage(served.store, query), query))
        same(wire.iloc[:0], usage_frame([], query))
        assert len(wire)
        assert "unit" not in wire


def test_events_both_ways(client: Client, served: Served) -> None:
    """Sessions listed over HTTP and listed here are the same frame, whatever the teams are called."""
    query = EventsQuery(**MARCH)
    wire = events_frame(client.events(query))
    same(wire, events_frame(local.events(served.store, query)))
    same(wire.iloc[:0], events_frame([]))
    assert set(HOSTILE) <= set(wire["team"].dropna())


def test_types_of_an_events_frame() -> None:
    """Each column has its type; a session without an end has neither end nor duration."""
    automated = {k: v for k, v in EVENT.items() if k not in ("user", "email")} | {"team": "NA"}
    frame = events_frame([EVENT, automated | {"end_time": None, "duration": None}])
    assert {name: str(kind) for name, kind in frame.dtypes.items()} == {
        "user": "str",
        "email": "str",
        "team": "str",
        "automated": "bool",
        "device_id": "str",
        "hostname": "str",
        "device_address": "str",
        "start_time": "datetime64[us, UTC]",
        "end_time": "datetime64[us, UTC]",
        "duration_seconds": "Int64",
        "date": "datetime64[us]",
    }
    assert frame["automated"].tolist() == [False, True]
    assert frame["team"].isna().tolist() == [True, False]
    assert frame["device_address"].tolist() == ["00123@lab-1"] * 2
    assert frame["start_time"][0] == pd.Timestamp("2023-03-01 23:30", tz="UTC")
    assert frame["date"][0] == pd.Timestamp("2023-03-01")
    assert frame[["end_time", "duration_seconds"]].loc[1].isna().all()


@pytest.mark.parametrize(
    ("value", "unit", "hours"),
    [(90, "minute", 1.5), ("90.0", "Minutes", 1.5), (1.5, "hour", 1.5), (5400, "seconds", 1.5)],
)
def test_units_are_those_of_each_row(value: object, unit: str, hours: float) -> None:
    """Hours come from the row's own unit, also where the number was sent as a string."""
    rows = [ROW | {"total_time": value, "unit": unit}, ROW | {"total_time": 2, "unit": "hour"}]
    assert usage_frame(rows, BY_TEAM)["total_time_hours"].tolist() == [hours, 2.0]


def test_mean_session_may_be_missing() -> None:
    """A mean of nothing is NaN in minutes; a missing sum or count is an error."""
    query = UsageQuery(metric="avg_session_length", **MARCH)
    rows = [{"datetime": "2023-03-01", "avg_session_length": v, "unit": "minute"} for v in (None, 1.25)]
    frame = usage_frame(rows, query)
    assert frame["avg_session_minutes"].isna().tolist() == [True, False]
    for metric in ("total_time", "user_count"):
        bad = [{"datetime": "2023-03-01", metric: None, "unit": "hour" if metric == "total_time" else "N/A"}]
        with pytest.raises(SchemaError, match=metric):
            usage_frame(bad, UsageQuery(metric=metric, **MARCH))


@pytest.mark.parametrize("value", [7, 7.0, "7"])
def test_counts_are_integers(value: object) -> None:
    """A count is int64 however it was sent, with or without a unit; half a session is an error."""
    query = UsageQuery(metric="session_count", **MARCH)
    frame = usage_frame([{"datetime": "2023-03-01", "session_count": value}], query)
    assert frame["session_count"].tolist() == [7]
    assert frame["session_count"].dtype == "int64"
    with pytest.raises(SchemaError, match="session_count"):
        usage_frame([{"datetime": "2023-03-01", "session_count": 7.5, "unit": "N/A"}], query)


def test_text_is_never_parsed() -> None:
    """Names that look like nothing or like numbers stay text; only null is missing."""
    names = [*HOSTILE, "None", "nan", "00123", "1e5", "True", None]
    rows = [ROW | {"team": name} for name in names]
    frame = usage_frame(rows, BY_TEAM)
    assert frame["team"].dtype == "str"
    assert frame["team"].tolist()[:-1] == names[:-1]
    assert frame["team"].isna().tolist() == [False] * (len(names) - 1) + [True]
    same(frame, usage_frame(pa.Table.from_pylist(rows), BY_TEAM))
    same(frame, usage_frame(pl.DataFrame(rows), BY_TEAM))


def test_hours_keep_their_instant() -> None:
    """Both one-o'clocks of the night the clock goes back stay apart; a label that could be either is refused."""
    query = UsageQuery(bin_size="hour", timezone="US/Pacific", start=date(2023, 11, 5), end=date(2023, 11, 5))
    labels = ["2023-11-05T01:00:00-07:00", "2023-11-05T01:00:00-08:00", "2023-11-05 03:00:00"]
    frame = usage_frame([{"datetime": d, "total_time": 1, "unit": "minute"} for d in labels], query)
    assert str(frame["datetime"].dtype) == "datetime64[us, US/Pacific]"
    assert frame["datetime"].dt.tz_convert("UTC").dt.hour.tolist() == [8, 9, 11]
    for label in ("2023-11-05 01:30:00", "noon", "", None):
        with pytest.raises(SchemaError, match="datetime"):
            usage_frame([{"datetime": label, "total_time": 1, "unit": "minute"}], query)


@pytest.mark.parametrize(
    ("by", "column", "spelling"),
    [
        ("device", "device_address", "Device Address"),
        ("host", "hostname", "host_name"),
        ("host", "hostname", "Host"),
        ("devicemodel", "device_model", "model"),
        ("team", "team", "Team"),
    ],
)
def test_other_spellings(by: str, column: str, spelling: str) -> None:
    """A column under another known spelling gets its own name."""
    row = {"datetime": "2023-03-01", spelling: "x", "Total Time": 1.0, "Unit": "hour"}
    assert list(usage_frame([row], UsageQuery(by=by, **MARCH))) == ["datetime", column, "total_time_hours"]


def test_unknown_columns_stay() -> None:
    """Columns that nobody asked for are kept at the end, never in place of one of ours."""
    row = {"extra": "00123", "total_time_hours": 7, **ROW, "more": [1]}
    frame = usage_frame([row], BY_TEAM)
    assert list(frame) == ["datetime", "team", "total_time_hours", "extra", "total_time_hours_", "more"]
    assert frame["extra"].tolist() == ["00123"]
    assert frame["total_time_hours"].tolist() == [1.5]


@pytest.mark.parametrize("column", ["datetime", "team", "total_time", "unit"])
def test_missing_columns_are_named(column: str) -> None:
    """An answer without a column that it must have is an error that names it."""
    rows = [{name: value for name, value in ROW.items() if name != column}]
    for form in (rows, pa.Table.from_pylist(rows)):
        with pytest.raises(SchemaError) as caught:
            usage_frame(form, BY_TEAM)
        assert caught.value.missing == (column,)


@pytest.mark.parametrize("column", ["device_id", "hostname", "start_time", "end_time", "duration", "date"])
def test_missing_event_columns_are_named(column: str) -> None:
    """Sessions without a column that they must have are an error that names it."""
    with pytest.raises(SchemaError) as caught:
        events_frame([{name: value for name, value in EVENT.items() if name != column}])
    assert caught.value.missing == (column,)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"unit": "fortnight"}, "fortnight"),
        ({"unit": None}, "unit"),
        ({"total_time": "1_0"}, "total_time"),
        ({"total_time": True}, "total_time"),
        ({"total_time": float("inf")}, "total_time"),
        ({"total_time": 10**400}, "total_time"),
        ({"team": {"name": "x"}}, "team"),
        ({"team": True}, "team"),
        ({"datetime": "2023-02-30"}, "datetime"),
        ({"datetime": "2023-03"}, "datetime"),
    ],
)
def test_cells_that_are_not_what_they_say(change: dict[str, object], word: str) -> None:
    """A cell that is no number, name, unit or day is an error that names the column."""
    with pytest.raises(SchemaError, match=word):
        usage_frame([ROW, ROW | change], BY_TEAM)


def test_lists_of_teams_are_joined() -> None:
    """Teams of a user that come as a list are sorted and joined, as the engine does."""
    row = {
        "datetime": "2023-03-01",
        "user": "Ana",
        "email": "a@b",
        "team": ["b", "a"],
        "total_time": 1,
        "unit": "hour",
    }
    frame = usage_frame([row], UsageQuery(by="user/team", **MARCH))
    assert frame["teams"].tolist() == ["a, b"]


def test_frames_do_not_load_polars() -> None:
    """Kernels read frames without Polars: neither the frames nor the client bring it along."""
    code = "import sys, usagekit.api.frames, usagekit.api.client; print('polars' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "False"


def test_labs_of_these_tests_are_hostile() -> None:
    """The lab behind these tests holds every hostile name as a team."""
    assert {s["team"] for s in hostile_lab().sessions} >= set(HOSTILE)

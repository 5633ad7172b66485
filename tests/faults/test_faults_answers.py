"""Answers that are whole and yet wrong, odd or changed: held against the question, kept, or named."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import pandas as pd
import pytest

from tests.conftest import session
from tests.faults.scripted import Asked, Reply, rows, scripted
from tests.oracle import Lab as Tables
from tests.strategies import tables
from tests.wire.conftest import TOKEN, Served
from usagekit.api import frames
from usagekit.api.client import Client
from usagekit.api.server import create_app, serving
from usagekit.engine.store import write_store
from usagekit.errors import ApiStatusError, QueryError, SchemaError
from usagekit.lab import Lab
from usagekit.query import EventsQuery, UsageQuery
from usagekit.sources import ApiSource

MARCH: dict[str, Any] = {"start": date(2023, 3, 1), "end": date(2023, 3, 31)}
ROW = {"datetime": "2023-03-01", "total_time": 1.5, "unit": "hour"}
EVENT = {
    "user": "Ana",
    "email": "ana@example.com",
    "device_id": "00123",
    "hostname": "lab-1",
    "start_time": "2023-03-05 10:00:00",
    "end_time": "2023-03-05 11:00:00",
    "duration": 3600,
    "date": "20230305",
}


@contextmanager
def source_of(*items: dict[str, Any]) -> Iterator[ApiSource]:
    """A source over a server that answers every question with these rows."""
    with scripted(lambda _: rows(*items)) as server, Client(base_url=server.base_url, token=TOKEN) as client:
        yield ApiSource(client)


@contextmanager
def source_of_lab(lab: Tables, path: Path) -> Iterator[ApiSource]:
    """A source over our own server, over a store that holds a lab."""
    write_store(path, tables(lab))
    with serving(create_app(path, token=TOKEN)) as url, Client(base_url=url, token=TOKEN) as client:
        yield ApiSource(client)


@pytest.mark.fault(19)
@pytest.mark.parametrize(
    ("asked", "row"),
    [
        ({"bin_size": "day"}, {"datetime": "2023-04-01"}),
        ({"bin_size": "day"}, {"datetime": "2023-02-28"}),
        ({"bin_size": "month"}, {"datetime": "2023-02-01"}),
        ({"bin_size": "month"}, {"datetime": "2023-04-01"}),
        ({"bin_size": "week"}, {"datetime": "2023-02-20"}),
        ({"bin_size": "hour"}, {"datetime": "2023-04-01T00:00:00+00:00"}),
        ({"bin_size": "hour", "timezone": "US/Pacific"}, {"datetime": "2023-03-01T00:00:00+00:00"}),
        ({"by": "team", "filters": (("team_name", ("NA",)),)}, {"team": "Payments"}),
        ({"by": "team", "filters": (("team_name", ("NA",)),)}, {"team": None}),
        ({"by": "host", "filters": (("hostname", ("lab-1", "lab-2")),)}, {"hostname": "lab-3"}),
        ({"by": "device", "filters": (("device_address", ("a@h",)),)}, {"device_address": "b@h"}),
        (
            {"by": "device", "filters": (("device_address", ("a@h",)),), "group_by_device_id": True},
            {"device_id": "b"},
        ),
        ({"by": "user", "filters": (("user_email", ("a@x",)),)}, {"user": "B", "email": "b@x"}),
    ],
)
def test_rows_of_another_question(asked: dict[str, Any], row: dict[str, Any]) -> None:
    """A row outside the range or the filters is an error that shows what was given."""
    with source_of(ROW | row) as source, pytest.raises(SchemaError, match="answered another question"):
        source.usage(UsageQuery(**MARCH | asked))


@pytest.mark.fault(19)
@pytest.mark.parametrize(
    ("change", "devices"),
    [
        ({"date": "20220305"}, None),
        ({"date": "20230510"}, None),
        ({}, ("00123@lab-2",)),
        ({"device_id": "99"}, ("00123@lab-1",)),
    ],
)
def test_events_of_another_question(change: dict[str, str], devices: tuple[str, ...] | None) -> None:
    """Events far outside the range (the body was dropped on the way) or of other devices are an error."""
    query = EventsQuery(**MARCH, devices=devices)
    with source_of(EVENT | change) as source, pytest.raises(SchemaError, match="answered another question"):
        source.events(query)


@pytest.mark.fault(19)
def test_rows_that_come_twice() -> None:
    """Two rows of one bin and group are an error: nobody can know whether to add them."""
    with (
        source_of(ROW, ROW | {"total_time": 2}) as source,
        pytest.raises(SchemaError, match="two rows of one bin"),
    ):
        source.usage(UsageQuery(**MARCH))


@pytest.mark.parametrize("text", ["NA", "na", "Straße"])
def test_filters_without_case(text: str) -> None:
    """Whether the API's filters look at case is unknown, so a row that differs in case only is taken."""
    query = UsageQuery(by="team", filters=(("team_name", (text,)),), **MARCH)
    with source_of(ROW | {"team": text.upper()}) as source:
        assert len(source.usage(query)) == 1


@pytest.mark.fault(20)
@pytest.mark.parametrize("refused_from", [120, 121])
def test_requests_are_legal_under_either_bound(served: Served, refused_from: int) -> None:
    """Whether 120 days are the last that is allowed or the first that is not, no request is refused."""

    def answer(asked: Asked) -> Reply:
        query = EventsQuery.from_params(asked.body)
        if (query.end - query.start).days >= refused_from:
            return Reply(b'{"detail": "too long"}', 400)
        with Client(base_url=served.base_url, token=TOKEN) as client:
            return rows(*client.as_asked(query))

    query = EventsQuery(start=date(2022, 6, 1), end=date(2023, 12, 31))
    with scripted(answer) as server, Client(base_url=server.base_url, token=TOKEN) as client:
        theirs = client.events(query)
    with Client(base_url=served.base_url, token=TOKEN) as client:
        assert theirs == client.events(query) != []


@pytest.mark.fault(22)
def test_equal_sessions_stay_two(tmp_path: Path) -> None:
    """Two sessions that are equal in every column are two, in the list, in the counts and in the time."""
    twins = [session(n, "2023-03-05 10:00", "2023-03-05 11:00") for n in (1, 2)]
    lab = Tables(sessions=twins, devices=[], hosts=[], users=[], memberships=[], teams=[])
    with source_of_lab(lab, tmp_path / "store") as source:
        assert len(source.events(EventsQuery(**MARCH))) == 2
        count = UsageQuery(metric="session_count", **MARCH)
        assert source.usage(count)["session_count"].tolist() == [2]
        assert source.usage(replace(count, metric="total_time"))["total_time_hours"].tolist() == [2.0]


@pytest.mark.fault(23, 32)
@pytest.mark.parametrize(
    ("zone", "day", "length"),
    [
        ("US/Pacific", date(2023, 3, 12), 23),
        ("US/Pacific", date(2023, 11, 5), 25),
        ("Australia/Lord_Howe", date(2023, 4, 2), 24.5),
        ("Australia/Lord_Howe", date(2023, 10, 1), 23.5),
        ("America/Sao_Paulo", date(2018, 11, 4), 23),
        ("Europe/Berlin", date(2023, 3, 31), 24),
    ],
)
def test_odd_days(tmp_path: Path, zone: str, day: date, length: float) -> None:
    """A session across an odd day and two that overlap: hours, days and months add up to the second."""
    noon = datetime.combine(day, datetime.min.time()) + timedelta(hours=12)
    long = (f"{noon - timedelta(days=3)}", f"{noon + timedelta(days=3)}")
    sessions = [session(1, *long), session(2, f"{noon}", f"{noon + timedelta(minutes=30)}")]
    lab = Tables(sessions=sessions, devices=[], hosts=[], users=[], memberships=[], teams=[])
    with source_of_lab(lab, tmp_path / "store") as source:
        span = UsageQuery(start=day - timedelta(days=5), end=day + timedelta(days=5), timezone=zone)
        sums = {
            size: source.usage(replace(span, bin_size=size))["total_time_hours"].sum()
            for size in ("hour", "day", "week", "month")
        }
        one = source.usage(replace(span, bin_size="day", start=day, end=day))["total_time_hours"].sum()
        labels = source.usage(replace(span, bin_size="hour"))["datetime"]
    assert all(abs(hours - 144.5) < 1 / 3600 for hours in sums.values())
    inside = length + 0.5 * (noon.replace(tzinfo=UTC).astimezone(ZoneInfo(zone)).date() == day)
    assert abs(one - inside) < 1 / 3600
    assert labels.is_unique


@pytest.mark.fault(24, 26)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("timezone", zone) for zone in ("us/pacific", "../../etc/passwd", "UTC\0", "/etc/localtime", "")),
        *(
            ("start_date", day)
            for day in ("202311", "2023121", "20230230", "2023/06/01", "٢٠٢٣٠٣٠١", "20230301 ")
        ),
    ],
)
def test_bad_zones_and_dates(served: Served, name: str, value: str) -> None:
    """A zone or date of an odd form is refused before it is sent, and by the server, by name."""
    params = {"start_date": "20230301", "end_date": "20230331", name: value}
    with pytest.raises(QueryError) as caught:
        UsageQuery.from_params("", params.items())
    assert caught.value.parameter == name
    assert name in str(caught.value)
    with (
        Client(base_url=served.base_url, token=TOKEN) as client,
        pytest.raises(ApiStatusError, match=name) as told,
    ):
        client._fetch("/v1/usage", target=f"/v1/usage?{urlencode(params)}")
    assert told.value.status == 400


@pytest.mark.fault(25)
def test_old_zone_names_without_the_system_s_zones() -> None:
    """US/Pacific works on a machine without any time zones of its own."""
    code = (
        "from datetime import date; from usagekit.query import UsageQuery; "
        "print(UsageQuery(start=date(2023, 3, 1), end=date(2023, 3, 1), timezone='US/Pacific').timezone)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONTZPATH": ""},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.strip() == "US/Pacific"


@pytest.mark.fault(27)
def test_new_columns_are_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A column that nobody knows is kept, and told once however many answers have it."""
    monkeypatch.setattr(frames, "_TOLD_COLUMNS", set())
    with source_of(ROW | {"carbon": 3}) as source, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            assert source.usage(UsageQuery(**MARCH))["carbon"].tolist() == [3]
    assert [str(w.message) for w in caught] == ["the API sends a column 'carbon' that usagekit does not know"]


@pytest.mark.fault(28)
@pytest.mark.parametrize(
    ("row", "word"),
    [
        ({"datetime": "2023-03-01", "total_time": 1.5}, "unit"),
        ({"datetime": "2023-03-01", "usage": 1.5, "unit": "hour"}, "total_time"),
        (ROW | {"total_time": [1.5]}, "total_time"),
        (ROW | {"total_time": "one"}, "total_time"),
        (ROW | {"total_time": 1e400}, "total_time|JSON"),
        (ROW | {"unit": "furlong"}, "furlong"),
        (ROW | {"datetime": 20230301.5}, "datetime"),
        (ROW | {"datetime": None}, "datetime"),
    ],
)
def test_columns_that_changed(row: dict[str, Any], word: str) -> None:
    """A column that is missing, renamed, or of another type or unit fails by its name."""
    with source_of(row) as source, pytest.raises(SchemaError, match=word):
        source.usage(UsageQuery(**MARCH))


@pytest.mark.fault(28)
@pytest.mark.parametrize(("unit", "hours"), [("hour", 90.0), ("minute", 1.5), ("Seconds", 0.025)])
@pytest.mark.parametrize("bin_size", ["day", "hour"])
def test_units_that_changed(bin_size: str, unit: str, hours: float) -> None:
    """Hours are right whatever the unit of a row is, at every bin size."""
    label = "2023-03-01T00:00:00+00:00" if bin_size == "hour" else "2023-03-01"
    with source_of({"datetime": label, "total_time": 90, "unit": unit}) as source:
        assert source.usage(UsageQuery(bin_size=bin_size, **MARCH))["total_time_hours"].tolist() == [hours]


PEOPLE = ("user", "email")


@pytest.mark.fault(29)
@pytest.mark.parametrize(
    ("who", "automated", "user", "email", "team"),
    [
        ({"user": "Ana", "email": "a@x"}, False, "Ana", "a@x", None),
        ({"team": "NA"}, True, None, None, "NA"),
        ({"team": None}, True, None, None, None),
        ({"team": ""}, True, None, None, ""),
        ({"team": "NA", "email": "N/A"}, True, None, None, "NA"),
        ({"user": None, "email": None, "team": "NA"}, True, None, None, "NA"),
        ({"user": "Ana", "email": "a@x", "team": None}, False, "Ana", "a@x", None),
        ({"user": "Ana", "email": "a@x", "team": "NA"}, False, "Ana", "a@x", "NA"),
        ({"user": "N/A", "email": "N/A"}, False, "N/A", "N/A", None),
        ({}, False, None, None, None),
    ],
)
def test_who_used_it(who: dict[str, Any], automated: bool, user: Any, email: Any, team: Any) -> None:
    """A session with a team, a user, both or neither is one row, with what it tells; a team NA is a name."""
    event = {k: v for k, v in EVENT.items() if k not in PEOPLE} | who
    with source_of(event) as source:
        (row,) = source.events(EventsQuery(**MARCH)).astype(object).to_dict("records")
    told = {k: None if row[k] != row[k] else row[k] for k in ("automated", "user", "email", "team")}
    assert told == {"automated": automated, "user": user, "email": email, "team": team}


NAMES = (
    *("🧪", "\u202egnp.exe", "e\u0301", "é", "x" * 10_000, "../../etc/passwd", "a/b", "con.txt", ".", "dot."),
    *(
        "{x}",
        "<script>alert(1)</script>",
        "=cmd|' /C calc'!A0",
        "Ölfass",
        "ölfass",
        "NA",
        "null",
        "[red]",
        "a\r\nb",
        "",
    ),
)


@pytest.mark.fault(30)
def test_names_travel_whole(tmp_path: Path) -> None:
    """Any name of a team comes back as it is, as a group, as a filter and in an event; twins stay two."""
    lab = Tables(
        sessions=[
            session(n, "2023-03-05 10:00", "2023-03-05 11:00", team=name, automated=True)
            for n, name in enumerate(NAMES)
        ],
        devices=[],
        hosts=[],
        users=[],
        memberships=[],
        teams=[],
    )
    with source_of_lab(lab, tmp_path / "store") as source:
        by_team = UsageQuery(by="team", **MARCH)
        assert sorted(source.usage(by_team)["team"]) == sorted(NAMES)
        assert sorted(source.events(EventsQuery(**MARCH))["team"]) == sorted(NAMES)
        for name in NAMES:
            one = source.usage(replace(by_team, filters=(("team_name", (name,)),)))
            assert one["team"].tolist() == [name]


@pytest.mark.fault(31)
@pytest.mark.parametrize(
    ("change", "seconds"),
    [
        ({"duration": 0}, 0),
        ({"duration": -60, "end_time": "2023-03-05 09:59:00"}, -60),
        ({"duration": 12.7}, 12),
        ({"duration": "12.7"}, 12),
        ({"duration": 10**12}, 10**12),
        ({"duration": 1}, 1),
        ({"duration": None, "end_time": None}, None),
        ({"end_time": "2199-12-31 23:59:59"}, 3600),
    ],
)
def test_impossible_sessions_are_kept(change: dict[str, Any], seconds: int | None) -> None:
    """A session of no, negative, broken, huge or contradictory length is kept as it is told, and found by quality."""
    with source_of(EVENT | change) as source:
        (row,) = source.events(EventsQuery(**MARCH)).astype(object).to_dict("records")
    assert row["duration_seconds"] == seconds or (seconds is None and pd.isna(row["duration_seconds"]))


@pytest.mark.fault(31)
def test_impossible_sessions_are_found(tmp_path: Path) -> None:
    """What is impossible is a finding of the lab's quality, not a failure."""
    sessions = [
        session(1, "2023-03-05 10:00", "2023-03-05 09:00"),
        session(2, "2023-03-06 10:00", "2023-03-06 10:00"),
        session(3, "2023-03-07 10:00", None),
        session(4, "2023-03-08 10:00", "2023-03-12 10:00"),
    ]
    lab = Tables(sessions=sessions, devices=[], hosts=[], users=[], memberships=[], teams=[])
    with source_of_lab(lab, tmp_path / "store") as source:
        found = Lab(source, today=date(2023, 4, 1)).quality("2023-03").df
    assert {"end_before_start", "zero_length", "missing_end", "very_long"} <= set(found["kind"])


@pytest.mark.fault(33)
def test_totals_across_the_change_of_2022(tmp_path: Path) -> None:
    """Before September 2022 teams and users together are the total, after it each of them is."""
    legacy = [
        session(1, "2022-08-10 10:00", "2022-08-10 12:00", team=None),
        session(2, "2022-08-11 10:00", "2022-08-11 13:00", email=None, user=None, automated=True),
    ]
    current = [session(3, "2022-09-10 10:00", "2022-09-10 14:00")]
    lab = Tables(sessions=legacy + current, devices=[], hosts=[], users=[], memberships=[], teams=[])
    with source_of_lab(lab, tmp_path / "store") as source:

        def hours(by: str, month: int) -> float:
            query = UsageQuery(by=by, start=date(2022, month, 1), end=date(2022, month, 30))
            return float(source.usage(query)["total_time_hours"].sum())

        assert hours("", 8) == hours("team", 8) + hours("user", 8) == 5
        assert hours("", 9) == hours("team", 9) == hours("user", 9) == 4


@pytest.mark.promise(2)
def test_the_token_is_in_its_header_only() -> None:
    """The token reaches the configured origin, once a request, in its header only."""
    with scripted(lambda _: rows(ROW)) as server, Client(base_url=server.base_url, token=TOKEN) as client:
        client.usage(UsageQuery(**MARCH))
    (asked,) = server.asked
    assert asked.headers["Authorization"] == f"Bearer {TOKEN}"
    told = [
        *asked.params.values(),
        asked.path,
        *(v for k, v in asked.headers.items() if k != "Authorization"),
    ]
    assert not any(TOKEN in text for text in told)

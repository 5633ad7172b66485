"""The engine answers exactly as the slow oracle does, and both as computed by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings

from tests import oracle
from tests.conftest import session
from tests.dice import first_seed
from tests.engine.oracle_cases import (
    QUESTIONS,
    ROUND,
    answer,
    ask_labs,
    check_answers,
    listed,
    listed_labs,
)
from tests.oracle import Lab
from tests.oracle_bins import DAY
from tests.strategies import MICROSECOND, Question, stored
from usagekit.engine import local
from usagekit.engine.bins import Bins, day_start, query_bins
from usagekit.engine.store import open_store
from usagekit.errors import StoreError
from usagekit.query import UsageQuery

ROUNDS = 26


@pytest.mark.slow
def test_every_route_answers_as_the_oracle() -> None:
    """26 rounds x 10 labs x 8 = 2,080 questions, in zones of all continents and at their changes, are the oracle's."""
    asked, zones = ask_labs(ROUNDS, first_seed())
    assert asked >= ROUNDS * ROUND * QUESTIONS >= 2_000
    assert len(zones) >= 50


def _with_empty_bins(query: UsageQuery) -> Bins:
    """A wrong ``query_bins``: dates that a zone skipped keep a bin of length zero."""
    right = query_bins(query)
    if query.bin_size != "day" or not len(right):
        return right
    zone = ZoneInfo(query.timezone)
    days = [query.start + n * DAY for n in range((query.end - query.start).days + 1)]
    edges = [day_start(day, zone) for day in days]
    return replace(right, edges=np.array([*edges, right.end], np.int64), labels=[str(day) for day in days])


@pytest.mark.slow
def test_random_questions_notice_a_bin_without_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A guard on the test above: with as many labs, a bin for dates that a zone skipped does not pass."""
    monkeypatch.setattr(local, "query_bins", _with_empty_bins)

    with pytest.raises(AssertionError):
        ask_labs(ROUNDS, first_seed(), shrink=False)


@pytest.mark.slow
@settings(max_examples=100)
@given(case=listed_labs())
def test_events_are_listed_as_by_the_oracle(case: tuple[Lab, list[dict[str, Any]]]) -> None:
    """Events, broken ones too, come with the oracle's values and in its order."""
    lab, bodies = case
    with stored(lab) as store:
        for body in bodies:
            assert listed(store, body) == oracle.events(lab, body)


DAYS = [("start_date", "20230301"), ("end_date", "20230302"), ("bin_size", "day")]
MONTH = [("start_date", "20230301"), ("end_date", "20230331")]
ADDRESS, OTHER = "00123@lab-1", "00123@lab-2"

BY_HAND: list[tuple[str, list[tuple[str, str]], list[tuple[Any, ...]]]] = [
    ("", DAYS, [("2023-03-01", 0.5, "hour"), ("2023-03-02", 1.75 + 0.5 / 3600, "hour")]),
    (
        "team",
        [*DAYS, ("metric", "session_count")],
        [("2023-03-01", "NA", 1, "N/A"), ("2023-03-02", "NA", 3, "N/A"), ("2023-03-02", "チーム", 1, "N/A")],
    ),
    (  # the mean belongs to the day of the start; a row without starts has none
        "device",
        [
            *DAYS,
            ("metric", "avg_session_length"),
            ("filter_on.team_name", "NA"),
            ("filter_on.user_email", "ana@example.com"),
        ],
        [
            ("2023-03-01", ADDRESS, 60.0, "minute"),
            ("2023-03-02", ADDRESS, None, "minute"),
            ("2023-03-02", OTHER, 60.0, "minute"),
        ],
    ),
    (
        "device",
        [*MONTH, ("metric", "device_count"), ("group_by_device_id", "true"), ("display_all", "true")],
        [
            ("2023-03-01", "00123", 1, "N/A"),
            ("2023-03-01", "a@b", 0, "N/A"),
            ("2023-03-01", "spare", 0, "N/A"),
        ],
    ),
    (
        "user/team",
        [*MONTH, ("metric", "session_count"), ("include_user_notes", "TRUE")],
        [
            ("2023-03-01", None, "bo@example.com", "", None, 1, "N/A"),
            ("2023-03-01", "Ana", "ana@example.com", "NA, チーム", "on leave", 3, "N/A"),
        ],
    ),
    (  # a membership alone makes no member of the user routes: it knows no name
        "user",
        [*MONTH, ("metric", "session_count"), ("display_all", "true")],
        [
            ("2023-03-01", None, "bo@example.com", 1, "N/A"),
            ("2023-03-01", "Ana", "ana@example.com", 3, "N/A"),
        ],
    ),
    (
        "devicemodel",
        [*MONTH, ("metric", "user_count"), ("combine_phone_os", "true"), ("display_all", "true")],
        [("2023-03-01", "AndroidPhone", 2, "N/A"), ("2023-03-01", "iPad", 0, "N/A")],
    ),
    (
        "country",
        [*MONTH, ("automated", "true"), ("display_all", "true")],
        [("2023-03-01", "DE", 0.0, "hour"), ("2023-03-01", "JP", 0.0, "hour")],
    ),
    (  # a week keeps its Monday; in Berlin session 1 lies within the 2nd of March
        "host",
        [
            ("start_date", "20230301"),
            ("end_date", "20230301"),
            ("bin_size", "week"),
            ("timezone", "Europe/Berlin"),
            ("display_all", "true"),
        ],
        [
            ("2023-02-27", "lab-1", 0.0, "hour"),
            ("2023-02-27", "lab-2", 0.0, "hour"),
            ("2023-02-27", "lab-3", 0.0, "hour"),
        ],
    ),
    (
        "",
        [
            ("start_date", "20230302"),
            ("end_date", "20230302"),
            ("bin_size", "hour"),
            ("timezone", "Asia/Kolkata"),
        ],
        [
            ("2023-03-02T05:00:00+05:30", 60.0, "minute"),
            ("2023-03-02T15:00:00+05:30", 0.0, "minute"),
            ("2023-03-02T17:00:00+05:30", 15 + 0.5 / 60, "minute"),
            ("2023-03-02T20:00:00+05:30", 30.0, "minute"),
            ("2023-03-02T21:00:00+05:30", 30.0, "minute"),
        ],
    ),
]


@pytest.mark.parametrize(("by", "params", "expected"), BY_HAND)
def test_small_lab_by_hand(
    small_lab: Lab, small_store: Path, by: str, params: list[tuple[str, str]], expected: list[tuple[Any, ...]]
) -> None:
    """Oracle and engine give the rows that were worked out on paper."""
    question = Question(by, params, date(2023, 3, 31))
    assert [tuple(row.values()) for row in oracle.usage(small_lab, by, params)] == expected
    assert [tuple(row.values()) for row in answer(open_store(small_store), question)] == expected


def test_events_by_hand(small_lab: Lab, small_store: Path) -> None:
    """Open and backward sessions are listed; automated rows carry a team, manual ones a user."""
    body = {"start_date": "2023/03/02", "end_date": "20230302", "devices": ["a@b@lab-1", OTHER]}
    device = {"device_id": "00123", "hostname": "lab-2"}
    ana = {"user": "Ana", "email": "ana@example.com"}
    expected = [
        ana
        | {"device_id": "a@b", "hostname": "lab-1", "start_time": "2023-03-02 13:00:00"}
        | {"end_time": None, "duration": None, "date": "20230302"},
        ana
        | device
        | {
            "start_time": "2023-03-02 14:00:00",
            "end_time": "2023-03-02 13:59:00",
            "duration": -61,
            "date": "20230302",
        },
        {"team": "NA"}
        | device
        | {
            "start_time": "2023-03-02 15:00:00",
            "end_time": "2023-03-02 16:00:00",
            "duration": 3600,
            "date": "20230302",
        },
    ]
    assert oracle.events(small_lab, body) == expected
    assert listed(open_store(small_store), body) == expected


CLOCKS = [
    (
        "Europe/Berlin",
        "20230326",
        ["T00:00:00+01:00", "T01:00:00+01:00", "T03:00:00+02:00", "T04:00:00+02:00"],
    ),
    (
        "Europe/Berlin",
        "20231029",
        ["T01:00:00+02:00", "T02:00:00+02:00", "T02:00:00+01:00", "T03:00:00+01:00"],
    ),
    ("Australia/Lord_Howe", "20230402", ["T01:00:00+11:00", "T01:30:00+10:30", "T02:00:00+10:30"]),
    ("Australia/Lord_Howe", "20231001", ["T01:00:00+10:30", "T02:30:00+11:00", "T03:00:00+11:00"]),
    ("America/Sao_Paulo", "20181104", ["T01:00:00-02:00", "T02:00:00-02:00"]),
    ("America/Havana", "20231105", ["T00:00:00-04:00", "T00:00:00-05:00", "T01:00:00-05:00"]),
    ("Asia/Kathmandu", "19860101", ["T00:15:00+05:45", "T01:00:00+05:45"]),
]


@pytest.mark.parametrize(("zone", "day", "labels"), CLOCKS)
def test_hours_when_the_clock_changes(zone: str, day: str, labels: list[str]) -> None:
    """Hour bins start at whole local hours and at the change itself, labelled with their offset."""
    iso = f"{day[:4]}-{day[4:6]}-{day[6:]}"
    params = [("start_date", day), ("end_date", day), ("bin_size", "hour"), ("timezone", zone)]
    lab = Lab(sessions=[session(1, "1970-01-02", "2037-01-01")])
    expected = oracle.usage(lab, "", params)
    starts = [row["datetime"] for row in expected]
    first = starts.index(iso + labels[0])
    assert starts[first : first + len(labels)] == [iso + label for label in labels]
    with stored(lab) as store:
        assert answer(store, Question("", params, date.max)) == expected


def test_time_is_divided_once_and_rounded_right() -> None:
    """5,399,966,896 microseconds are the double nearest to that many minutes, not one beside it."""
    lab = Lab(
        sessions=[
            session(1, "2023-03-01 00:00", "2023-03-01 00:30"),
            session(2, "2023-03-01 00:00:00.033104", "2023-03-01 01:00:00.033104"),
        ]
    )
    params = [("start_date", "20230301"), ("end_date", "20230301"), ("bin_size", "hour")]
    expected = [5_399_966_896 / 60_000_000, 33_104 / 60_000_000]
    assert [row["total_time"] for row in oracle.usage(lab, "", params)] == expected
    with stored(lab) as store:
        assert [row["total_time"] for row in answer(store, Question("", params, date.max))] == expected


DECADES = [("start_date", "19700101"), ("end_date", "20401231")]


@pytest.mark.parametrize("metric", ["total_time", "avg_session_length"])
def test_sums_that_no_float_can_hold(metric: str) -> None:
    """More than 2**53 microseconds (285 years) in one sum are still rounded once, to the nearest float."""
    lab = Lab(
        sessions=[session(n, "1970-01-01", f"2040-01-0{n} 00:00:00.{n * 3:06}") for n in (1, 2, 3, 5, 7)]
    )
    micros = sum((s["end_time"] - s["start_time"]) // MICROSECOND for s in lab.sessions)
    assert micros > 2**53
    params = [*DECADES, ("metric", metric), ("bin_size", "month")]
    check_answers(lab, [Question("", params, date.max), Question("team", params[:3], date.max)])


def test_sums_that_no_integer_can_hold() -> None:
    """Sessions of 292,471 years together and more are refused with the file of the worst; in seconds they fit."""
    ages = [session(n, "1970-01-01", "9999-01-01 00:00:00.000001") for n in range(40)]
    with stored(Lab(sessions=ages)) as store, pytest.raises(StoreError, match="month=1970-01/events"):
        answer(store, Question("", DECADES, date.max))
    whole = [s | {"end_time": s["end_time"].replace(microsecond=0)} for s in ages]
    check_answers(Lab(sessions=whole), [Question("", [*DECADES, ("metric", "avg_session_length")], date.max)])


def test_a_skipped_date_has_no_bin() -> None:
    """Samoa had no 30 December 2011: no row for it, and nothing of the days around it is lost."""
    lab = Lab(sessions=[session(1, "2011-12-29 10:00", "2011-12-31 10:00")])
    params = [("start_date", "20111229"), ("end_date", "20111231"), ("bin_size", "day")]
    params += [("timezone", "Pacific/Apia"), ("display_all", "true")]
    expected = [("2011-12-29", 24.0, "hour"), ("2011-12-31", 24.0, "hour")]
    assert [tuple(row.values()) for row in oracle.usage(lab, "", params)] == expected
    with stored(lab) as store:
        found = answer(store, Question("", params, date.max))
        assert [tuple(row.values()) for row in found] == expected
        only = [("start_date", "20111230"), ("end_date", "20111230"), *params[2:]]
        assert answer(store, Question("", only, date.max)) == oracle.usage(lab, "", only) == []

"""The engine answers exactly as the slow oracle does, and both as computed by hand."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import oracle
from tests.conftest import session
from tests.oracle import Lab, Row
from tests.strategies import Question, event_bodies, labs, questions, scenes, stored
from usagekit.engine import local
from usagekit.engine.store import Store, open_store
from usagekit.query import EventsQuery, UsageQuery
from usagekit.vocabulary import METRICS

EVENT_COLUMNS = [
    "user",
    "email",
    "team",
    "automated",
    "device_id",
    "hostname",
    "start_time",
    "end_time",
    "duration",
    "date",
]


def answer(store: Store, question: Question) -> list[Row]:
    """The engine's rows for raw parameters, after a look at the columns and types of its frame."""
    query = UsageQuery.from_params(question.by, question.params, today=lambda _: question.today)
    frame = local.usage(store, query)
    assert tuple(frame.columns) == query.columns
    values = frame.schema[query.metric]
    assert values.is_integer() if METRICS[query.metric].is_count else values == pl.Float64
    assert all(t == pl.String for c, t in frame.schema.items() if c != query.metric)
    return frame.to_dicts()


def listed(store: Store, body: dict[str, Any]) -> list[Row]:
    """The engine's events as the JSON rows that they become."""
    frame = local.events(store, EventsQuery.from_params(body))
    assert frame.columns == EVENT_COLUMNS
    assert frame.schema["duration"] == pl.Int64
    assert frame.schema["automated"] == pl.Boolean
    return [
        {
            c: v
            for c, v in row.items()
            if c not in (("automated", "user", "email") if row["automated"] else ("automated", "team"))
        }
        for row in frame.to_dicts()
    ]


@st.composite
def asked_labs(draw: st.DrawFn) -> tuple[Lab, list[Question]]:
    scene = draw(scenes())
    lab = draw(labs(scene.near))
    return lab, draw(st.lists(questions(scene, lab), min_size=1, max_size=6))


@st.composite
def listed_labs(draw: st.DrawFn) -> tuple[Lab, list[dict[str, Any]]]:
    scene = draw(scenes(zones=("UTC",)))
    lab = draw(labs(scene.near))
    return lab, draw(st.lists(event_bodies(scene, lab), min_size=1, max_size=3))


@pytest.mark.slow
@settings(max_examples=300)
@given(case=asked_labs())
def test_every_route_answers_as_the_oracle(case: tuple[Lab, list[Question]]) -> None:
    """Any question to any lab gives the oracle's rows: same keys, values, floats and order."""
    lab, asked = case
    with stored(lab) as store:
        for question in asked:
            expected = oracle.usage(lab, question.by, question.params, today=question.today)
            found = answer(store, question)
            assert found == expected
            assert [list(row) for row in found] == [list(row) for row in expected]


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

"""A query survives the wire, and what cannot be asked is refused by name."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usagekit import vocabulary
from usagekit.errors import QueryError
from usagekit.query import EventsQuery, UsageQuery, split_format
from usagekit.values import FIRST_DATE, LAST_DATE, check_timezone
from usagekit.vocabulary import BIN_SIZES, FILTER_KEYS, METRICS, OPTIONS, ROUTES

DAY = timedelta(days=1)
START = ("start_date", "20230301")
RANGE = [START, ("end_date", "20230331")]
BAD_DATES = [
    "202311",
    "2023121",
    "20230230",
    "20230001",
    "2023-06-01",
    "٢٠٢٣٠٦٠١",
    "20230601\n",
    " 20230601",
    "+2023061",
    "19691231",
    "22000101",
    "",
]

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
firsts = st.dates(FIRST_DATE, LAST_DATE - 121 * DAY)


@st.composite
def usage_queries(draw: st.DrawFn) -> UsageQuery:
    start = draw(firsts)
    return UsageQuery(
        by=draw(st.sampled_from(list(ROUTES))),
        start=start,
        end=start + draw(st.integers(0, 120)) * DAY,
        metric=draw(st.sampled_from(list(METRICS))),
        bin_size=draw(st.sampled_from(BIN_SIZES)),
        timezone=draw(st.sampled_from(["UTC", "US/Pacific", "Asia/Kathmandu", "Etc/GMT+12"])),
        automated=draw(st.sampled_from([None, True, False])),
        filters=tuple(
            (key, tuple(draw(st.lists(texts, min_size=1, max_size=3))))
            for key in draw(st.lists(st.sampled_from(FILTER_KEYS), max_size=4))
        ),
        **{option: draw(st.booleans()) for option in OPTIONS},
    )


@st.composite
def events_queries(draw: st.DrawFn) -> EventsQuery:
    start = draw(firsts)
    devices = draw(st.none() | st.lists(texts, min_size=1, max_size=4).map(tuple))
    return EventsQuery(start=start, end=start + draw(st.integers(0, 120)) * DAY, devices=devices)


def usage_of(*params: tuple[str, str]) -> UsageQuery:
    return UsageQuery.from_params("team", params)


@given(asked=usage_queries(), data=st.data())
def test_usage_query_survives_the_wire(asked: UsageQuery, data: st.DataObject) -> None:
    """Parameters read back, in any order, are the same query with the same hash."""
    params = data.draw(st.permutations(asked.to_params()))
    read = UsageQuery.from_params(asked.by, params)
    assert read == asked
    assert hash(read) == hash(asked)
    assert read.to_params() == asked.to_params()


@given(asked=events_queries())
def test_events_query_survives_the_wire(asked: EventsQuery) -> None:
    """A JSON body read back is the same query."""
    read = EventsQuery.from_params(asked.to_params())
    assert read == asked
    assert hash(read) == hash(asked)


@given(start=firsts, length=st.integers(0, 1000), days=st.integers(1, 120))
def test_chunks_cover_each_date_once(start: date, length: int, days: int) -> None:
    """Chunks are as long as allowed, and their dates in a row are those of the whole range."""
    end = min(start + length * DAY, LAST_DATE)
    chunks = list(EventsQuery(start=start, end=end, devices=("a@b",)).chunks(days))
    dates = [c.start + n * DAY for c in chunks for n in range((c.end - c.start).days + 1)]
    assert dates == [start + n * DAY for n in range((end - start).days + 1)]
    assert all((c.end - c.start).days + 1 == days for c in chunks[:-1])
    assert all(c.devices == ("a@b",) for c in chunks)


def test_defaults_are_those_of_the_document() -> None:
    """start_date alone asks for the total time a month, in UTC, up to today there."""
    asked = UsageQuery.from_params("", [START], today=lambda zone: date(2023, 3, len(zone)))
    assert asked == UsageQuery(start=date(2023, 3, 1), end=date(2023, 3, 3))
    assert (asked.metric, asked.bin_size, asked.timezone, asked.automated) == (
        "total_time",
        "month",
        "UTC",
        None,
    )
    assert asked.columns == ("datetime", "total_time", "unit")


def test_end_date_defaults_to_today_of_the_zone() -> None:
    """A missing end_date is the current date in the query's own zone, or in UTC for events."""
    todays = {"Asia/Tokyo": date(2023, 3, 9), "UTC": date(2023, 3, 8)}
    asked = UsageQuery.from_params("", [START, ("timezone", "Asia/Tokyo")], today=todays.__getitem__)
    assert asked.end == date(2023, 3, 9)
    assert EventsQuery.from_params(dict([START]), today=todays.__getitem__).end == date(2023, 3, 8)


def test_equal_questions_are_equal() -> None:
    """Order and repetition of filter values, and switches that a route ignores, make no other question."""
    one = usage_of(*RANGE, ("filter_on.team_name", "b"), ("filter_on.team_name", "a"), ("automated", "TRUE"))
    other = usage_of(
        ("automated", "true"),
        ("combine_phone_os", "true"),
        ("group_by_device_id", "True"),
        ("include_user_notes", "true"),
        ("filter_on.team_name", "a"),
        ("filter_on.team_name", "a"),
        ("filter_on.team_name", "b"),
        *RANGE,
    )
    assert one == other
    assert one.filter_values("team_name") == ("a", "b")
    assert one.filter_values("hostname") is None


COLUMNS = [
    ("device", "group_by_device_id", ("device_id",)),
    ("team/device", "group_by_device_id", ("team", "device_id")),
    ("user", "include_user_notes", ("user", "email", "notes")),
    ("user/team", "include_user_notes", ("user", "email", "teams", "notes")),
    ("devicemodel", "combine_phone_os", ("device_model",)),
    ("team/devicemodel", "group_by_device_id", ("team", "device_model")),
    ("country", "include_user_notes", ("country",)),
]


@pytest.mark.parametrize(("by", "option", "expected"), COLUMNS)
def test_switches_change_the_columns_of_their_routes(by: str, option: str, expected: tuple[str, ...]) -> None:
    """A switch changes the columns of the routes that use it and of no other."""
    asked = UsageQuery.from_params(by, [*RANGE, (option, "true")])
    assert asked.columns == ("datetime", *expected, "total_time", "unit")


REFUSED: list[tuple[list[tuple[str, str]], str, str]] = [
    ([], "start_date", "required"),
    ([*RANGE, ("binsize", "day")], "binsize", "did you mean 'bin_size'"),
    ([*RANGE, ("format", "json")], "format", "unknown"),
    ([*RANGE, ("Metric", "total_time")], "Metric", "did you mean 'metric'"),
    ([*RANGE, START], "start_date", "more than once"),
    ([*RANGE, ("display_all", "true"), ("display_all", "true")], "display_all", "more than once"),
    ([*RANGE, ("filter_on.team", "a")], "filter_on.team", "did you mean 'team_name'"),
    ([*RANGE, ("filter_on.", "a")], "filter_on.", "unknown"),
    ([*RANGE, ("metric", "total")], "metric", "'total_time'"),
    ([*RANGE, ("metric", "")], "metric", "unknown"),
    ([*RANGE, ("bin_size", "dya")], "bin_size", "did you mean 'day'"),
    ([*RANGE, ("automated", "yes")], "automated", "true or false"),
    ([*RANGE, ("automated", "")], "automated", "true or false"),
    ([*RANGE, ("display_all", "1")], "display_all", "true or false"),
    ([START, ("end_date", "20230228")], "end_date", "before start_date"),
    (
        [("start_date", "19700101"), ("end_date", "20191231"), ("bin_size", "hour")],
        "bin_size",
        "100,000 bins",
    ),
]


@pytest.mark.parametrize(("params", "parameter", "said"), REFUSED)
def test_refusals_name_their_parameter(params: list[tuple[str, str]], parameter: str, said: str) -> None:
    """A question that cannot be asked is a QueryError that names the parameter and says what is wrong."""
    with pytest.raises(QueryError, match=said) as refusal:
        usage_of(*params)
    assert refusal.value.parameter == parameter
    assert parameter.removeprefix("filter_on.") in str(refusal.value)
    assert isinstance(refusal.value, ValueError)


@pytest.mark.parametrize("text", [*BAD_DATES, "2023/06/01"])
@pytest.mark.parametrize("parameter", ["start_date", "end_date"])
def test_dates_are_read_strictly(parameter: str, text: str) -> None:
    """Only eight ASCII digits that are a real date from 1970 to 2199 are a date of the usage routes."""
    params = {**dict(RANGE), parameter: text}
    with pytest.raises(QueryError, match=f"^{parameter}=") as refusal:
        usage_of(*params.items())
    assert refusal.value.parameter == parameter


@pytest.mark.parametrize(
    "text", [*BAD_DATES, "2023/6/1", "2023/02/30", "2023/0601", 20230601, None, ["20230601"]]
)
@pytest.mark.parametrize("parameter", ["start_date", "end_date"])
def test_dates_of_events_are_read_strictly(parameter: str, text: object) -> None:
    """Events take the slash form too, and nothing else: no numbers, no nulls."""
    with pytest.raises(QueryError, match=f"^{parameter}=") as refusal:
        EventsQuery.from_params({**dict(RANGE), parameter: text})
    assert refusal.value.parameter == parameter


def test_both_documented_date_forms_of_events_mean_the_same() -> None:
    """2023/03/01 and 20230301 are one date in the body of events."""
    slashes = EventsQuery.from_params({"start_date": "2023/03/01", "end_date": "2023/03/31"})
    assert slashes == EventsQuery.from_params(dict(RANGE))


NEAR_ZONES = [
    ("us/pacific", "US/Pacific"),
    ("Europe/Berln", "Europe/Berlin"),
    ("utc", "UTC"),
    ("Asia/Tokio", "Asia/Tokyo"),
]


@pytest.mark.parametrize(("name", "near"), NEAR_ZONES)
def test_unknown_zones_get_near_names(name: str, near: str) -> None:
    """A zone that is nearly a name is refused with that name offered."""
    with pytest.raises(QueryError, match="did you mean") as refusal:
        usage_of(*RANGE, ("timezone", name))
    assert refusal.value.parameter == "timezone"
    assert repr(near) in str(refusal.value)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "../../etc/passwd",
        "/etc/localtime",
        "Europe/../UTC",
        "Europe/Berlin\0",
        "Europe",
        "localtime",
        "+02:00",
    ],
)
def test_no_zone_name_leaves_the_zone_database(name: str) -> None:
    """Paths, folders, NUL and offsets are not time zones, and reading them never escapes as another error."""
    with pytest.raises(QueryError, match="not an IANA time zone") as refusal:
        check_timezone(name)
    assert refusal.value.parameter == "timezone"


def test_as_many_bins_as_allowed_are_a_query() -> None:
    """The limit on bins counts bins, not days: 100,000 hours pass and a day more does not."""
    start = date(2000, 1, 1)
    days = vocabulary.MAX_BINS // 24
    assert UsageQuery(start=start, end=start + (days - 1) * DAY, bin_size="hour").bin_size == "hour"
    with pytest.raises(QueryError) as refusal:
        UsageQuery(start=start, end=start + days * DAY, bin_size="hour")
    assert refusal.value.parameter == "bin_size"


def test_events_span_at_most_120_days() -> None:
    """end_date - start_date may be 120 days on the wire; 121 is refused both ways, but is a question."""
    start = date(2023, 1, 1)
    longest = {"start_date": "20230101", "end_date": f"{start + 120 * DAY:%Y%m%d}"}
    too_long = EventsQuery(start=start, end=start + 121 * DAY)
    assert EventsQuery.from_params(longest).end == start + 120 * DAY
    with pytest.raises(QueryError, match="121 days") as sent:
        too_long.to_params()
    with pytest.raises(QueryError, match="121 days") as received:
        EventsQuery.from_params({**longest, "end_date": f"{too_long.end:%Y%m%d}"})
    assert sent.value.parameter == received.value.parameter == "end_date"


BODIES: list[tuple[dict[str, Any], str]] = [
    ({}, "start_date"),
    ({**dict(RANGE), "devices": []}, "devices"),
    ({**dict(RANGE), "devices": "a@b"}, "devices"),
    ({**dict(RANGE), "devices": [1]}, "devices"),
    ({**dict(RANGE), "devices": None}, "devices"),
    ({**dict(RANGE), "device": ["a@b"]}, "device"),
    ({**dict(RANGE), "timezone": "UTC"}, "timezone"),
    ({"start_date": "20230302", "end_date": "20230301"}, "end_date"),
]


@pytest.mark.parametrize(("body", "parameter"), BODIES)
def test_refused_bodies_name_their_key(body: dict[str, Any], parameter: str) -> None:
    """A body that is no question to the events is refused by the name of its key."""
    with pytest.raises(QueryError, match=parameter) as refusal:
        EventsQuery.from_params(body)
    assert refusal.value.parameter == parameter


def test_python_values_are_checked_as_those_of_the_wire() -> None:
    """A query made in Python refuses datetimes for dates and a bare string for filter values."""
    with pytest.raises(QueryError, match=r"datetime\.date") as of_date:
        UsageQuery(start=datetime(2023, 3, 1), end=date(2023, 3, 2))  # noqa: DTZ001
    with pytest.raises(QueryError, match="tuple of strings") as of_filter:
        UsageQuery(start=date(2023, 3, 1), end=date(2023, 3, 2), filters=(("team_name", "QA"),))  # type: ignore[arg-type]
    assert (of_date.value.parameter, of_filter.value.parameter) == ("start_date", "filter_on.team_name")


def test_format_is_not_part_of_the_question() -> None:
    """format is taken out first: json unless it says csv, once, and nothing else."""
    assert split_format(RANGE) == ("json", RANGE)
    assert split_format([("format", "csv"), *RANGE]) == ("csv", RANGE)
    for pairs in ([("format", "xml")], [("format", "csv"), ("format", "csv")]):
        with pytest.raises(QueryError) as refusal:
            split_format(pairs)
        assert refusal.value.parameter == "format"

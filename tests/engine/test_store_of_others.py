"""Stores that others wrote: what is accepted, what is exact, and what is an error that names the file."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.conftest import session
from tests.engine.plain_store import (
    EVENTS,
    HOURS,
    answers,
    copied,
    put_dimension,
    put_events,
    total_hours,
)
from usagekit.engine import local
from usagekit.engine.importer import import_files
from usagekit.engine.store import open_store
from usagekit.errors import SchemaError, StoreError
from usagekit.query import EventsQuery, UsageQuery

# What others may write


@pytest.mark.parametrize(
    "types",
    [
        {"start_time": pa.timestamp("us")},
        {"start_time": pa.timestamp("ms", "UTC"), "end_time": pa.timestamp("ms")},
        {"start_time": pa.timestamp("ns"), "end_time": pa.timestamp("ns", "UTC")},
        {"start_time": pa.timestamp("us", "Asia/Kathmandu"), "end_time": pa.timestamp("ms", "US/Pacific")},
        {"team": pa.dictionary(pa.int32(), pa.string()), "user": pa.dictionary(pa.int32(), pa.string())},
        {"device_id": pa.large_string(), "email": pa.string_view(), "hostname": pa.binary()},
    ],
    ids=str,
)
def test_types_of_others(foreign: Path, types: dict[str, Any]) -> None:
    """Naive, milli- and nanosecond times and all dresses of text give the same answers."""
    wanted = answers(open_store(foreign))
    plain = put_events(foreign, HOURS).read_bytes()
    path = put_events(foreign, HOURS, **types)
    assert path.read_bytes() != plain
    assert answers(open_store(foreign)) == wanted


@pytest.mark.parametrize(
    ("column", "kind"),
    [("start_time", pa.int64()), ("team", pa.list_(pa.string())), ("automated", pa.string())],
)
def test_types_that_mean_nothing(foreign: Path, column: str, kind: pa.DataType) -> None:
    """A column of a type that only a guess could read is an error that names file and column."""
    path = put_events(foreign, HOURS, **{column: kind})
    with pytest.raises(SchemaError, match=column) as caught:
        open_store(foreign)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("column", EVENTS.names)
def test_missing_column_is_named(foreign: Path, column: str) -> None:
    """A store without session_id, or any other column, is no store: the error names it and the file."""
    without: dict[str, Any] = {column: None}
    path = put_events(foreign, HOURS, **without)
    with pytest.raises(SchemaError, match=column) as caught:
        open_store(foreign)
    assert caught.value.missing == (column,)
    assert str(path) in str(caught.value)


def test_missing_tables_are_empty(foreign: Path, tmp_path: Path) -> None:
    """Without dimension tables everything but countries and models is answered; without events nothing is."""
    for name in ("devices", "hosts"):
        (foreign / f"{name}.parquet").unlink()
    opened = open_store(foreign)
    assert total_hours(opened, by="device") == 15
    assert total_hours(opened, by="country") == total_hours(opened, by="devicemodel") == 0
    put_dimension(tmp_path / "teams only", "teams", [("NA",), ("null",)])
    query = UsageQuery(by="team", start=date(2023, 3, 1), end=date(2023, 3, 1), display_all=True)
    assert local.usage(open_store(tmp_path / "teams only"), query)["team"].to_list() == ["NA", "null"]


def test_several_files_in_a_month(foreign: Path) -> None:
    """A month may have several files; drafts of a writer at work, by their names, are not among them."""
    wanted = answers(open_store(foreign))
    put_events(foreign, HOURS[:1], file="part-1.parquet")
    put_events(foreign, HOURS[1:], file="part-0.parquet")
    put_events(foreign, HOURS, file="_draft.parquet")
    put_events(foreign, HOURS, file=".part-2.parquet")
    (foreign / "events/month=2023-03/events.parquet").unlink()
    assert answers(open_store(foreign)) == wanted


def test_repeated_session_counts_once(foreign: Path) -> None:
    """Of rows with the same id in a file the first counts; rows without an id are kept apart."""
    put_events(foreign, [*HOURS, HOURS[0] | {"team": "other"}, *[HOURS[0] | {"session_id": None}] * 2])
    opened = open_store(foreign)
    assert total_hours(opened) == 17
    assert total_hours(opened, by="team", filters=(("team_name", ("other",)),)) == 0


def test_session_of_two_files_counts_once(foreign: Path) -> None:
    """An id that a file before has already is left out, in its month or another; it counts when that file goes."""
    again = session(1, "2023-04-01 08:00", "2023-04-01 08:30")
    put_events(foreign, [HOURS[1], session(9, "2023-03-09 08:00", "2023-03-09 09:00")], file="more.parquet")
    put_events(foreign, [again, again | {"session_id": None}], month="2023-04", file="more.parquet")
    opened = open_store(foreign)
    assert total_hours(opened) == 15 + 1 + 0.5
    assert {m.source.path: m.repeated for m in opened.manifest.months if m.repeated} == {
        "events/month=2023-03/more.parquet": 1,
        "events/month=2023-04/more.parquet": 1,
    }
    (foreign / "events/month=2023-03/events.parquet").unlink()
    assert total_hours(opened.refresh()) == 8 + 2 + 1 + 0.5 + 0.5


def test_imported_files_and_files_of_others_share_ids(foreign: Path, tmp_path: Path) -> None:
    """A file put beside imported ones is compared with them, though they are not compared with each other."""
    store = tmp_path / "ours"
    import_files([foreign / "events/month=2023-03/events.parquet"], store)
    assert total_hours(open_store(store)) == 7
    put_events(store, [HOURS[2], session(9, "2023-05-09 08:00", "2023-05-09 09:00")], month="2023-05")
    assert total_hours(open_store(store)) == 8


@pytest.mark.parametrize("folder", ["a[1]*{x}?", "month=2020-01", "~", "R&D Café チーム", "a%20b#c"])
def test_any_folder_will_do(foreign: Path, tmp_path: Path, folder: str) -> None:
    """The store's place may have any name: none of its characters is a pattern or a setting."""
    wanted = answers(open_store(foreign))
    path = copied(foreign, tmp_path / "x" / folder)
    assert answers(open_store(path)) == wanted
    shutil.rmtree(path / "index")
    assert answers(open_store(path)) == wanted
    put_events(tmp_path, [session(5, "2023-05-01 08:00", "2023-05-01 09:00")], file="in.parquet")
    assert import_files([tmp_path / "events/month=2023-03/in.parquet"], path).added == 1
    assert total_hours(open_store(path)) == 16


# Times


def test_fractions_in_one_month_only(tmp_path: Path) -> None:
    """Months in whole seconds and in microseconds add up exactly, at their border too."""
    put_events(tmp_path, [session(1, "2023-02-28 23:00", "2023-03-01 01:00")], month="2023-02")
    put_events(tmp_path, [session(2, "2023-03-31 23:59:59.999999", "2023-04-01 00:00:00.000001")])
    put_events(tmp_path, [session(3, "2023-04-01 00:00", "2023-04-01 00:00:01")], month="2023-04")
    query = UsageQuery(start=date(2023, 2, 1), end=date(2023, 4, 30))
    found = local.usage(open_store(tmp_path), query)["total_time"].to_list()
    hour = 3_600_000_000
    assert found == [1.0, (hour + 1) / hour, 1_000_001 / hour]


def test_negative_endless_and_huge_durations(tmp_path: Path) -> None:
    """A session that ends before it starts, or never, counts nowhere; one of a century fills every bin."""
    put_events(
        tmp_path,
        [
            session(1, "2023-03-01 10:00", "2023-03-01 09:00"),
            session(2, "2023-03-01 10:00", None),
            session(3, "2023-03-01 10:00:00.25", "1970-01-01 00:00"),
        ],
    )
    put_events(tmp_path, [session(4, "1923-03-01 00:00", "2123-03-01 00:00")], month="1923-03")
    opened = open_store(tmp_path)
    query = UsageQuery(start=date(2023, 3, 1), end=date(2023, 3, 2), bin_size="day", metric="session_count")
    assert local.usage(opened, query)["session_count"].to_list() == [1, 1]
    assert total_hours(opened) == 365 * 24
    listed = local.events(opened, EventsQuery(start=date(2023, 3, 1), end=date(2023, 3, 1)))
    assert listed.select("start_time", "end_time").rows() == [
        ("2023-03-01 10:00:00", None),
        ("2023-03-01 10:00:00", "2023-03-01 09:00:00"),
        ("2023-03-01 10:00:00", "1970-01-01 00:00:00"),
    ]


# Damage


@pytest.mark.fault(61)
@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: b"",
        lambda content: b"start_time,end_time\n",
        lambda content: content[:-9] + b"\xff" * 5 + content[-4:],
    ],
    ids=["cut", "empty", "csv", "footer"],
)
@pytest.mark.parametrize("file", ["events/month=2023-03/events.parquet", "devices.parquet"])
def test_damaged_file_is_named(foreign: Path, file: str, damage: Callable[[bytes], bytes]) -> None:
    """A file that is no whole Parquet file is an error that names it, also at a refresh."""
    opened = open_store(foreign)
    (foreign / file).write_bytes(damage((foreign / file).read_bytes()))
    for look in (opened.refresh, lambda: open_store(foreign)):
        with pytest.raises(StoreError) as caught:
            look()
        assert str(foreign / file) in str(caught.value)


def test_what_is_no_store(tmp_path: Path) -> None:
    """A folder that is missing, empty or of something else is no store, and stays as it was."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "figures.parquet").write_bytes(b"PAR1")
    (tmp_path / "file").write_text("events")
    before = sorted(tmp_path.rglob("*"))
    for name in ("missing", "empty", "else", "file"):
        with pytest.raises(StoreError, match=f"no event store at .*{name}"):
            open_store(tmp_path / name)
    assert sorted(tmp_path.rglob("*")) == before

"""The event store on disk: its layout, its version, and what it notices of changes by others."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.conftest import session
from tests.engine.plain_store import (
    EVENTS,
    HOURS,
    TIME,
    Row,
    answers,
    copied,
    public_files,
    public_rows,
    put_dimension,
    put_events,
    total_hours,
)
from tests.oracle import Lab
from tests.strategies import tables
from usagekit.engine import local, store
from usagekit.engine.store import open_store, write_store
from usagekit.errors import StoreError
from usagekit.query import UsageQuery

# Layout and version


def test_written_store_is_the_documented_one(small_lab: Lab, tmp_path: Path) -> None:
    """The public files have the documented places, columns and types, are sorted, and hold every session."""
    lab = Lab(sessions=[*small_lab.sessions, session(9, "2022-12-31 23:59", "2023-01-01 01:00")])
    write_store(tmp_path, tables(lab))
    assert [p.relative_to(tmp_path).as_posix() for p in public_files(tmp_path)] == [
        "devices.parquet",
        "events/month=2022-12/events.parquet",
        "events/month=2023-03/events.parquet",
        "hosts.parquet",
        "memberships.parquet",
        "teams.parquet",
        "users.parquet",
    ]
    table = pq.ParquetFile(tmp_path / "events/month=2023-03/events.parquet").read()
    assert table.schema.names == EVENTS.names
    assert table.schema.field("start_time").type == table.schema.field("end_time").type == TIME
    assert table["start_time"].to_pylist() == sorted(table["start_time"].to_pylist())
    wanted = [tuple(s[c] for c in EVENTS.names) for s in lab.sessions]
    assert public_rows(tmp_path) == sorted(wanted, key=lambda row: row[0])


def test_version_changes_with_content_and_only_then(foreign: Path, tmp_path: Path) -> None:
    """A new time of a file, a new index or another place keep the version; new content changes it."""
    before = open_store(foreign).version
    os.utime(foreign / "hosts.parquet", ns=(1, 1))
    assert open_store(foreign).version == before
    shutil.rmtree(foreign / "index")
    assert open_store(foreign).version == before
    assert open_store(copied(foreign, tmp_path / "copy")).version == before
    put_dimension(foreign, "hosts", [("lab-1", "FR")])
    changed = open_store(foreign).version
    assert changed != before
    put_dimension(foreign, "hosts", [("lab-1", "DE")])
    assert open_store(foreign).version == before
    put_events(foreign, [*HOURS[:2], HOURS[2] | {"team": "NA "}])
    assert open_store(foreign).version not in (before, changed)


@pytest.mark.fault(61)
def test_index_is_disposable(foreign: Path) -> None:
    """Without its index, or with one of another format or of rubbish, a store answers the same."""
    wanted = answers(open_store(foreign))
    manifest = foreign / "index" / "manifest.json"
    for text in ("", "[]", '{"format": 0}', manifest.read_text().replace('"format": 2', '"format": 99')):
        manifest.write_text(text)
        assert answers(open_store(foreign)) == wanted
    next((foreign / "index").glob("person.*.parquet")).unlink()
    assert answers(open_store(foreign)) == wanted
    shutil.rmtree(foreign / "index")
    assert answers(open_store(foreign)) == wanted


def test_index_keeps_no_leftovers(foreign: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of versions long gone and of writers that were killed do not pile up in the index."""
    monkeypatch.setattr(store, "_GRACE_SECONDS", 0)
    (foreign / "index").mkdir()
    (foreign / "index" / ".manifest.json.1.tmp").write_text("{")
    sizes = []
    for number in range(5):
        put_events(foreign, [session(10 + number, "2023-03-01 08:00", "2023-03-01 09:00", team=f"t{number}")])
        open_store(foreign)
        sizes.append(len(list((foreign / "index").iterdir())))
    assert sizes[-1] == sizes[-2]
    assert not list((foreign / "index").glob("*.tmp"))


# Changes by others


def _change(path: Path) -> None:
    put_events(path, [session(1, "2023-03-01 08:00", "2023-03-01 08:30")])


def _remove(path: Path) -> None:
    shutil.rmtree(path / "events" / "month=2023-03")


def _add(path: Path) -> None:
    put_events(path, [session(9, "2023-05-01 08:00", "2023-05-01 08:15")], month="2023-05")


def _append(path: Path) -> None:
    put_events(path, [session(9, "2023-03-09 08:00", "2023-03-09 08:15")], file="more.parquet")


@pytest.mark.parametrize(("change", "hours"), [(_change, 8.5), (_remove, 8), (_add, 15.25), (_append, 15.25)])
def test_refresh_sees_what_others_changed(
    foreign: Path, change: Callable[[Path], None], hours: float
) -> None:
    """A month file that somebody changed, removed or added is noticed; the store at hand stays as it was."""
    old = open_store(foreign)
    assert old.refresh() is old
    assert total_hours(old) == 15
    change(foreign)
    new = old.refresh()
    assert (total_hours(old), total_hours(new)) == (15, hours)
    assert new.version != old.version
    assert new.refresh() is new


def test_names_go_with_their_last_session(foreign: Path) -> None:
    """A team that only a removed session had is no known member any more."""
    query = UsageQuery(by="team", start=date(2023, 4, 1), end=date(2023, 4, 30), display_all=True)
    opened = open_store(foreign)
    assert local.usage(opened, query)["team"].to_list() == ["NA", "R&D / Café"]
    put_events(foreign, [HOURS[0] | {"team": "A"}])
    refreshed = opened.refresh()
    assert local.usage(refreshed, query)["team"].to_list() == ["A", "NA"]
    assert total_hours(refreshed, by="team", filters=(("team_name", ("NA",)),)) == 8


def test_refresh_sees_a_changed_dimension(foreign: Path) -> None:
    """New rows of a dimension table count from the next refresh on."""
    old = open_store(foreign)
    put_dimension(foreign, "hosts", [("lab-1", "日本")])
    query = UsageQuery(by="country", start=date(2023, 3, 1), end=date(2023, 3, 31))
    assert local.usage(old, query)["country"].to_list() == ["DE"]
    assert local.usage(old.refresh(), query)["country"].to_list() == ["日本"]


def test_refresh_of_a_deleted_store_says_so(foreign: Path) -> None:
    """A store that is gone is an error, and is not made again as an empty one."""
    opened = open_store(foreign)
    shutil.rmtree(foreign)
    with pytest.raises(StoreError, match="no event store"):
        opened.refresh()
    assert not foreign.exists()


def test_rows_are_times_in_utc(foreign: Path) -> None:
    """The helper of these tests reads what it wrote: a guard against tests that compare nothing."""
    first: Row = dict(zip(EVENTS.names, public_rows(foreign)[0], strict=True))
    assert first["start_time"] == datetime(2023, 3, 1, 8, tzinfo=UTC)
    assert len(public_rows(foreign)) == 4

"""Importing files: which sessions they are, and what an import changes."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import session
from tests.engine.event_files import (
    HEADER,
    MANUAL,
    ROBOT,
    api_rows,
    columns,
    counts,
    documented_csv,
    documented_json,
    store_csv,
)
from tests.engine.plain_store import (
    DIMENSIONS,
    EVENTS,
    fingerprint,
    public_dimension,
    public_rows,
    put_dimension,
    put_events,
)
from usagekit.engine.importer import import_files
from usagekit.engine.store import open_store
from usagekit.errors import SchemaError

# Forms


def test_documented_csv(tmp_path: Path) -> None:
    """A manual row of any era has user and email and no team; the email N/A marks an automated one with its team."""
    legacy = MANUAL.replace("2023-03-01", "2022-07-01")
    result = import_files([documented_csv(tmp_path / "e.csv", [MANUAL, ROBOT, legacy])], tmp_path / "store")
    assert counts(result) == (3, 0, 0)
    assert (result.bad, result.written) == ([], True)
    found = columns(tmp_path / "store", *EVENTS.names[1:])
    device, ana = ("00123", "lab-1"), ("Ana", "ana@example.com", None, False)
    assert found == [
        (datetime(2022, 7, 1, 8, tzinfo=UTC), datetime(2022, 7, 1, 9, tzinfo=UTC), *device, *ana),
        (datetime(2023, 3, 1, 8, tzinfo=UTC), datetime(2023, 3, 1, 9, tzinfo=UTC), *device, *ana),
        (
            datetime(2023, 3, 2, 8, tzinfo=UTC),
            datetime(2023, 3, 2, 8, 0, 30, tzinfo=UTC),
            *device,
            *(None, None, "NA", True),
        ),
    ]


def test_every_form_of_the_same_events_is_the_same_sessions(tmp_path: Path) -> None:
    """CSV, JSON, Parquet and the store's columns in CSV give the same ids, so one after another adds none."""
    quoted = [
        '"R&D, ""Café""",a@b,"d@1",lab-1,2023-03-03 08:00:00,,,20230303',
        MANUAL.replace("Ana,ana@example.com", ","),
    ]
    rows = [MANUAL, ROBOT, ROBOT, *quoted]
    store = tmp_path / "store"
    assert import_files([documented_csv(tmp_path / "e.csv", rows)], store).added == 5
    before = public_rows(store)
    answer = documented_json(tmp_path / "e.json", api_rows(rows))
    assert counts(import_files([answer], store)) == (0, 0, 5)
    month = pq.ParquetFile(store / "events/month=2023-03/events.parquet").read().drop(["session_id"])
    pq.write_table(month, tmp_path / "e.parquet")
    assert counts(import_files([tmp_path / "e.parquet"], store)) == (0, 0, 5)
    again = store_csv(tmp_path / "again.csv", month.to_pylist(), EVENTS.names[1:])
    assert counts(import_files([again], store)) == (0, 0, 5)
    assert public_rows(store) == before
    assert counts(import_files([answer, again, tmp_path / "e.csv"], tmp_path / "other")) == (5, 0, 0)
    assert public_rows(tmp_path / "other") == before


def test_dimension_tables(tmp_path: Path) -> None:
    """Each dimension table is known by its columns, in CSV and Parquet; what is known and differs is replaced."""
    rows: dict[str, list[tuple[str | None, ...]]] = {
        "devices": [("00123", "lab-1", "Pixel 8", "Android", "phone")],
        "hosts": [("lab-1", "NA")],
        "users": [("null", "Ana", None)],
        "memberships": [("null", "NA"), ("null", "チーム")],
        "teams": [("NA",), ("None",)],
    }
    files = [
        store_csv(
            tmp_path / f"{n}.csv", [dict(zip(DIMENSIONS[n], r, strict=True)) for r in found], DIMENSIONS[n]
        )
        for n, found in rows.items()
    ]
    store = tmp_path / "store"
    assert counts(import_files(files, store)) == (7, 0, 0)
    for name, wanted in rows.items():
        assert [tuple(row.values()) for row in public_dimension(store, name)] == wanted
    before = fingerprint(store)
    again = [put_dimension(tmp_path / "p", name, found) for name, found in rows.items()]
    result = import_files(again, store)
    assert (counts(result), result.written) == ((0, 0, 7), False)
    assert fingerprint(store) == before
    result = import_files(
        [put_dimension(tmp_path, "users", [("null", "Ana", "on leave"), ("b", "Bo", "")])], store
    )
    assert counts(result) == (1, 1, 0)
    assert [row["notes"] for row in public_dimension(store, "users")] == ["", "on leave"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("e.csv", "", "is empty"),
        ("e.csv", "email,user\na,b\n", "neither"),
        ("e.csv", "start_time,device_id,hostname\n", "neither"),
        ("e.csv", "team,team\na,b\n", "twice"),
        ("e.csv", HEADER.replace(",", ";"), "neither"),
        ("e.json", "{", "not JSON"),
        ("e.json", "[" * 100_000, "not JSON"),
        ("e.json", '{"rows": []}', "report"),
        ("e.parquet", "PAR1", "no Parquet file"),
        ("e.xlsx", "", "only .csv, .json and .parquet"),
    ],
)
def test_file_of_no_known_kind(tmp_path: Path, name: str, content: str, message: str) -> None:
    """One such file among others is an error that names it, and nothing at all is imported."""
    good = documented_csv(tmp_path / "good.csv", [MANUAL])
    (tmp_path / name).write_text(content)
    with pytest.raises(SchemaError, match=message) as caught:
        import_files([good, tmp_path / name], tmp_path / "store")
    assert str(tmp_path / name) in str(caught.value)
    assert not (tmp_path / "store").exists()


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    """A missing file, a folder, a header that is no text and a column of lists are errors that name the file."""
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "latin.csv").write_bytes(b"team,caf\xe9\n")
    put_events(tmp_path, [session(1, "2023-03-01", None)], file="lists.parquet", team=pa.list_(pa.string()))
    for name in ("missing.csv", "folder.csv", "latin.csv", "events/month=2023-03/lists.parquet"):
        with pytest.raises(SchemaError, match=Path(name).name):
            import_files([tmp_path / name], tmp_path / "store")


# Sessions


def test_equal_rows_are_sessions_of_their_own(tmp_path: Path) -> None:
    """Two identical rows of a file stay two sessions; importing that file again changes no byte and no time."""
    file = documented_csv(tmp_path / "e.csv", [ROBOT, MANUAL, ROBOT])
    store = tmp_path / "store"
    assert counts(import_files([file], store)) == (3, 0, 0)
    open_store(store)
    before = fingerprint(store)
    result = import_files([file], store)
    assert (counts(result), result.written) == ((0, 0, 3), False)
    assert fingerprint(store) == before
    open_store(store)
    assert fingerprint(store) == before


def test_overlapping_files(tmp_path: Path) -> None:
    """Sessions that several files list are kept once, equal rows as often as one file lists them."""
    others = [MANUAL.replace("-01 0", f"-{day:02} 0") for day in range(3, 13)]
    first = documented_csv(tmp_path / "1.csv", [ROBOT, ROBOT, *others[:6]])
    second = documented_csv(tmp_path / "2.csv", [ROBOT, *others[3:]])
    third = documented_json(tmp_path / "3.json", api_rows([ROBOT, ROBOT, ROBOT]))
    result = import_files([first, second], tmp_path / "store")
    assert counts(result) == (12, 0, 0)
    assert counts(import_files([second, third], tmp_path / "store")) == (1, 0, 9)
    assert len(public_rows(tmp_path / "store")) == 13


def test_changed_session_replaces(tmp_path: Path) -> None:
    """A session that comes back with another end is changed, and the last file to mention it wins."""
    running = store_csv(tmp_path / "1.csv", [session(1, "2023-03-01 08:00", None)])
    ended = store_csv(tmp_path / "2.csv", [session(1, "2023-03-01 08:00", "2023-03-01 09:00")])
    store = tmp_path / "store"
    import_files([running], store)
    assert counts(import_files([ended], store)) == (0, 1, 0)
    assert columns(store, "session_id", "end_time") == [("s1", datetime(2023, 3, 1, 9, tzinfo=UTC))]
    assert counts(import_files([ended, running], store)) == (0, 1, 0)
    assert columns(store, "session_id", "end_time") == [("s1", None)]


def test_new_name_of_a_user_keeps_the_sessions(tmp_path: Path) -> None:
    """A user who takes another name has the sessions under the new one, and not twice."""
    import_files([documented_csv(tmp_path / "1.csv", [MANUAL])], tmp_path / "store")
    renamed = documented_csv(tmp_path / "2.csv", [MANUAL.replace("Ana", "Ana-Marie")])
    assert counts(import_files([renamed], tmp_path / "store")) == (0, 1, 0)
    assert columns(tmp_path / "store", "user") == [("Ana-Marie",)]


def test_session_that_moves_to_another_month(tmp_path: Path) -> None:
    """A session whose start was corrected leaves its old month, which goes with its last session."""
    store = tmp_path / "store"
    rows = [session(1, "2023-03-31 23:00", "2023-04-01 01:00"), session(2, "2023-04-02", "2023-04-03")]
    import_files([store_csv(tmp_path / "1.csv", rows)], store)
    moved = [session(1, "2023-04-01 00:00", "2023-04-01 01:00")]
    assert counts(import_files([store_csv(tmp_path / "2.csv", moved)], store)) == (0, 1, 0)
    assert columns(store, "session_id") == [("s1",), ("s2",)]
    assert [p.parent.name for p in store.glob("events/*/*.parquet")] == ["month=2023-04"]


def test_import_into_a_store_of_others(tmp_path: Path) -> None:
    """Several files of a month become one; sessions that the import does not mention stay."""
    store = tmp_path / "store"
    rows = [session(n, f"2023-03-0{n} 08:00", f"2023-03-0{n} 09:00") for n in range(1, 6)]
    put_events(store, rows[:2], file="b.parquet", start_time=pa.timestamp("ns"))
    put_events(store, rows[2:4], file="a.parquet", team=pa.dictionary(pa.int32(), pa.string()))
    new = store_csv(tmp_path / "e.csv", [rows[0] | {"team": "null"}, rows[4], rows[1]])
    assert counts(import_files([new], store)) == (1, 1, 1)
    assert [p.name for p in store.glob("events/*/*")] == ["events.parquet"]
    assert columns(store, "session_id", "team") == [("s1", "null"), *[(f"s{n}", "NA") for n in range(2, 6)]]


def test_odd_sessions_are_kept(tmp_path: Path) -> None:
    """An end before the start and a missing end are findings for later, not bad rows."""
    rows = [MANUAL.replace("2023-03-01 09", "2023-03-01 07"), MANUAL.replace("2023-03-01 09:00:00", "")]
    result = import_files([documented_csv(tmp_path / "e.csv", rows)], tmp_path / "store")
    assert (result.added, result.bad) == (2, [])
    assert {end for (end,) in columns(tmp_path / "store", "end_time")} == {
        None,
        datetime(2023, 3, 1, 7, tzinfo=UTC),
    }

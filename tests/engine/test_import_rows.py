"""The rows of an import: names that survive, times that are understood, and bad rows that are listed."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from tests.conftest import session
from tests.engine.event_files import (
    HEADER,
    MANUAL,
    ROBOT,
    api_rows,
    bad,
    columns,
    counts,
    documented_csv,
    documented_json,
    store_csv,
)
from tests.engine.plain_store import (
    EVENTS,
    fingerprint,
    put_dimension,
    put_events,
)
from usagekit.engine.importer import import_files

LONG = "x" * 10_000
NAMES = [
    "NA",
    "null",
    "None",
    "N/A",
    "00123",
    "1e3",
    "true",
    "R&D / Café",
    "チーム",
    "🧪🏳️‍🌈",
    "<script>alert(1)</script>",
    '#read("x")',
    "=1+1",
    ' "quoted", ',
    "two\nlines\r\nthree",
    "tab\tnul\x00",
    "\u202egnp",
    LONG,
]


# Names and times


@pytest.mark.parametrize("form", ["documented.csv", "documented.json", "store.csv", "store.parquet"])
def test_names_survive(tmp_path: Path, form: str) -> None:
    """Whatever a team, user, device or host is called, it is called that in the store."""
    rows = [
        session(
            n, "2023-03-01 08:00", None, device_id=name, hostname=name, user=name, email=f"{n}", team=name
        )
        for n, name in enumerate(NAMES)
    ]
    robots = [row | {"user": None, "email": None, "automated": True} for row in rows]
    file = tmp_path / form
    if form == "store.parquet":
        put_events(tmp_path, rows + robots, file="e.parquet", session_id=None).rename(file)
    elif form == "store.csv":
        store_csv(file, rows + robots, EVENTS.names[1:])
    else:
        rows = [row | {"team": None} for row in rows]
        cells = [[r["user"], r["email"], r["device_id"], r["hostname"]] for r in rows]
        cells += [[r["team"], "N/A", r["device_id"], r["hostname"]] for r in robots]
        cells = [[*c, "2023-03-01 08:00:00", "", "", "20230301"] for c in cells]
        with file.open("w", encoding="utf-8", newline="") as out:
            csv.writer(out).writerows([HEADER.split(","), *cells])
        if form == "documented.json":
            documented_json(file, api_rows(file.open(encoding="utf-8", newline="").readlines()[1:]))
    result = import_files([file], tmp_path / "store")
    assert (result.bad, result.added) == ([], 2 * len(NAMES))
    wanted = [tuple(r[c] for c in EVENTS.names[3:]) for r in rows + robots]
    assert sorted(columns(tmp_path / "store", *EVENTS.names[3:]), key=repr) == sorted(wanted, key=repr)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2023-03-01 08:00:00", 0),
        ("2023-03-01T08:00:00Z", 0),
        ("2023-03-01T08:00:00.25+00:00", 0.25),
        ("2023-03-01 09:00:00.000001+01:00", 0.000001),
        ("2023-03-01 13:45:00+0545", 0),
        ("2023-02-28T23:30:00-08:30", 0),
        ("2023-02-29 08:00:00", None),
        ("2023-03-01", None),
        ("2023-03-01 25:00:00", None),
        ("01.03.2023 08:00:00", None),
        ("20230-03-01 08:00:00", None),
        ("-001-03-01 08:00:00", None),
        ("1677657600", None),
        ("now", None),
    ],
)
def test_times(tmp_path: Path, text: str, seconds: float | None) -> None:
    """Times are ISO 8601, in UTC where they do not say; nothing is guessed from anything else."""
    file = documented_csv(tmp_path / "e.csv", [MANUAL.replace("2023-03-01 08:00:00", text)])
    result = import_files([file], tmp_path / "store")
    if seconds is None:
        assert (bad(result), result.written) == ([(2, "start_time cannot be read")], False)
    else:
        ((start,),) = columns(tmp_path / "store", "start_time")
        assert start.timestamp() == datetime(2023, 3, 1, 8, tzinfo=UTC).timestamp() + seconds


# Bad rows


def test_bad_rows_are_listed_and_good_ones_kept(tmp_path: Path) -> None:
    """Every bad row is named by its line and reason, also behind names that span several lines."""
    lines = [
        HEADER.encode(),  # 1
        MANUAL.replace("Ana", '"Ana\nof\r\nthree lines"').encode(),  # 2-4
        ROBOT.encode() + b",one more",  # 5
        MANUAL.replace("2023-03-01 08", "2023-13-01 08").encode(),  # 6
        MANUAL.replace("00123", "").encode(),  # 7
        MANUAL.replace("Ana", "Caf\u00e9").encode("latin-1"),  # 8
        b"",  # 9
        b'"two\nlines",only',  # 10-11
        MANUAL.replace("09:00:00", "9 o'clock").encode(),  # 12
        MANUAL.replace("lab-1", "").encode(),  # 13
        ROBOT.encode(),  # 14
    ]
    (tmp_path / "e.csv").write_bytes(b"\xef\xbb\xbf" + b"\n".join(lines))
    result = import_files([tmp_path / "e.csv"], tmp_path / "store")
    assert bad(result) == [
        (5, "9 fields instead of 8"),
        (6, "start_time cannot be read"),
        (7, "device_id is missing"),
        (8, "not UTF-8"),
        (10, "2 fields instead of 8 (lines 10 to 11)"),
        (12, "end_time cannot be read"),
        (13, "hostname is missing"),
    ]
    assert str(result.bad[0]) == f"{tmp_path / 'e.csv'}:5: 9 fields instead of 8"
    assert columns(tmp_path / "store", "user", "team") == [("Ana\nof\r\nthree lines", None), (None, "NA")]


def test_bad_rows_of_json_and_parquet(tmp_path: Path) -> None:
    """In files without lines a bad row is named by its number."""
    good, robot = api_rows([MANUAL, ROBOT])
    rows: list[object] = [
        good,
        "text",
        good | {"device_id": 123},
        good | {"user": "\ud800"},
        good | {"start_time": None},
        robot,
    ]
    result = import_files([documented_json(tmp_path / "e.json", rows)], tmp_path / "store")
    assert bad(result) == [
        (2, "not an object"),
        (3, "device_id is not a text"),
        (4, "not Unicode"),
        (5, "start_time is missing"),
    ]
    assert result.added == 2
    sessions = [session(1, "2023-03-01", None), session(2, "2023-03-01", None, hostname=None)]
    file = put_events(tmp_path, sessions, file="e.parquet", automated=pa.string())
    assert bad(import_files([file], tmp_path / "store")) == [(2, "hostname is missing")]
    hosts = put_dimension(tmp_path, "hosts", [("lab-1", None), (None, "DE")])
    assert bad(import_files([hosts], tmp_path / "store")) == [(2, "hostname is missing")]


def test_lone_quote_says_what_it_swallowed(tmp_path: Path) -> None:
    """A quote that is never closed makes one bad row of all that follows, and the list says how much."""
    file = documented_csv(tmp_path / "e.csv", [MANUAL, '"' + ROBOT, *[ROBOT] * 5])
    result = import_files([file], tmp_path / "store")
    assert bad(result) == [(3, "1 fields instead of 8 (lines 3 to 8)")]
    assert result.added == 1


def test_strict_writes_nothing(tmp_path: Path) -> None:
    """With strict, one bad row in any file keeps everything out, and no store is begun."""
    good = documented_csv(tmp_path / "1.csv", [MANUAL])
    file = documented_csv(tmp_path / "2.csv", [ROBOT, "bad"])
    result = import_files([good, file], tmp_path / "store", strict=True)
    assert bad(result) == [(3, "1 fields instead of 8")]
    assert (counts(result), result.written, (tmp_path / "store").exists()) == ((0, 0, 0), False, False)
    import_files([good], tmp_path / "store")
    before = fingerprint(tmp_path / "store")
    import_files([file], tmp_path / "store", strict=True)
    assert fingerprint(tmp_path / "store") == before
    assert import_files([good], tmp_path / "store", strict=True).unchanged == 1

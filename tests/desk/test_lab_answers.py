"""Answers in other shapes: compared, wide, as CSV, and as what a notebook shows."""

from __future__ import annotations

import csv
from datetime import UTC, date, datetime
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from tests import oracle
from tests.conftest import session
from tests.strategies import tables
from usagekit.analysis.compare import NOT_COMPARABLE, base_period
from usagekit.engine.store import open_store, write_store
from usagekit.errors import QueryError
from usagekit.lab import Lab
from usagekit.period import Period
from usagekit.sources import StoreSource

HOSTILE = [
    "=1+1",
    "+x",
    "-x",
    "@x",
    "\tx",
    "\rx",
    "<script>alert(1)</script>\x1b[31m",
    '#read("x")',
    "NA",
    "チーム 🧪",
]


def lab_of(
    path: Path, sessions: list[oracle.Row], *, timezone: str = "UTC", today: date = date(2023, 4, 1)
) -> Lab:
    """A lab of these sessions over a store."""
    made = oracle.Lab(sessions=sessions, devices=[], hosts=[], users=[], memberships=[], teams=[])
    write_store(path, tables(made))
    as_of = datetime(today.year, today.month, today.day, 12, tzinfo=UTC)
    return Lab(StoreSource(open_store(path), as_of=as_of), today=today, timezone=timezone)


def used(team: str, start: str, hours: int, *, sessions: int = 1) -> list[oracle.Row]:
    """Sessions of a team that begin together and last ``hours`` together."""
    first = datetime.fromisoformat(start)
    end = first + pd.Timedelta(hours=hours) / sessions
    stamp = f"{end:%Y-%m-%d %H:%M:%S}"
    return [
        session(0, start, stamp, team=team) | {"session_id": f"{team} {start} {n}"} for n in range(sessions)
    ]


def test_compare_adds_up(local: Lab) -> None:
    """The value before is that of the month before, asked for itself; change and share follow from it."""
    frame = local.usage("2023-03", by="team", metric=["total_time", "session_count"]).compare("previous").df
    before = local.usage("2023-02", by="team").df.set_index("team")["total_time_hours"]
    found = frame.set_index("team")
    assert found["total_time_hours_previous"].to_dict() == before.to_dict()
    change = found["total_time_hours"] - found["total_time_hours_previous"]
    pd.testing.assert_series_equal(found["total_time_hours_change"], change, check_names=False)
    share = (change / found["total_time_hours_previous"])[found["session_count_previous"] >= 10]
    assert len(share) > 9
    shares = found["total_time_hours_change_share"]
    pd.testing.assert_series_equal(shares.dropna(), share, check_names=False)


def test_compare_new_gone_and_small(tmp_path: Path) -> None:
    """New members have no share, those that have gone are there with 0, and a small base has no share."""
    rows = [
        *used("new", "2023-03-02 10:00", 9, sessions=20),
        *used("gone", "2023-02-02 10:00", 20, sessions=20),
        *used("few sessions", "2023-02-03 10:00", 10, sessions=9),
        *used("few sessions", "2023-03-03 10:00", 20, sessions=9),
        *used("few hours", "2023-02-04 10:00", 4, sessions=10),
        *used("few hours", "2023-03-04 10:00", 8, sessions=10),
        *used("enough", "2023-02-05 10:00", 5, sessions=10),
        *used("enough", "2023-03-05 10:00", 10, sessions=10),
    ]
    found = lab_of(tmp_path, rows).usage("2023-03", by="team").compare().df.set_index("team")
    told = found[["total_time_hours", "total_time_hours_previous", "total_time_hours_change"]].round(6)
    assert told.loc["new"].tolist() == [9, 0, 9]
    assert told.loc["gone"].tolist() == [0, 20, -20]
    shares = found["total_time_hours_change_share"]
    assert shares[["new", "few sessions", "few hours"]].isna().all()
    assert (shares["gone"], round(shares["enough"], 9)) == (-1, 1)


def test_compare_across_the_eras(local: Lab) -> None:
    """A bin before 2022-09 compares with none after it: missing, never 0, and a note says so."""
    answer = local.usage(("2022-08", "2022-10"), by="team").compare("previous")
    known = answer.df.groupby("datetime")["total_time_hours_previous"].apply(lambda s: s.notna().all())
    assert known.tolist() == [True, False, True]
    assert answer.notes == (NOT_COMPARABLE,)
    year = local.usage("2023-03", metric=["total_time", "session_count"]).compare("year")
    assert year.df.filter(like="_year").isna().all(axis=None)
    assert year.notes == (NOT_COMPARABLE,)


@pytest.mark.parametrize(
    ("start", "end", "bin_size", "base", "expected"),
    [
        ("2023-03-01", "2023-03-31", "month", "previous", "2023-02"),
        ("2024-02-01", "2024-02-29", "month", "year", "2023-02"),
        ("2023-03-01", "2023-03-14", "month", "previous", "2023-02-01 to 2023-02-14"),
        ("2023-01-01", "2023-03-31", "month", "year", "2022-01-01 to 2022-03-31"),
        ("2023-03-01", "2023-03-30", "month", "previous", "2023-02"),
        ("2023-03-06", "2023-03-12", "week", "previous", "2023-02-27 to 2023-03-05"),
        ("2023-03-06", "2023-03-06", "day", "year", "2022-03-07"),
        ("2023-03-06", "2023-03-06", "hour", "previous", "2023-03-05"),
    ],
)
def test_what_is_compared(start: str, end: str, bin_size: str, base: str, expected: str) -> None:
    """Months meet months, parts of them the same days, and days the same weekday of last year."""
    period = Period(date.fromisoformat(start), date.fromisoformat(end))
    assert str(base_period(period, bin_size=bin_size, base=base)) == expected


def test_compare_hours_when_the_clock_changes(tmp_path: Path) -> None:
    """Hours meet the same hour of the clock; one that is there twice or not at all meets nothing."""
    rows = [
        *used("a", "2023-03-24 22:30:00", 27),  # UTC: into Sunday 26th 03:30 in Berlin, which has no 02:00
        *used("a", "2022-10-28 22:00:00", 51),  # Sunday 30th has 02:00 twice
    ]
    lab = lab_of(tmp_path, rows, timezone="Europe/Berlin")
    spring = lab.usage("2023-03-26", bin="hour").compare().df
    assert spring["datetime"].dt.hour.tolist()[:4] == [0, 1, 3, 4]
    assert spring["total_time_hours_previous"].round(6).tolist()[:3] == [1, 1, 1]
    autumn = lab.usage("2022-10-30", bin="hour").compare().df.head(4)
    assert autumn["datetime"].dt.hour.tolist() == [0, 1, 2, 2]
    assert autumn["total_time_hours_previous"].round(6).tolist() == [1, 1, 1, 0]


def test_compare_a_month_that_is_not_over(tmp_path: Path) -> None:
    """The running month is compared with the same days of the month before, and that is noted."""
    rows = [
        *used("a", "2023-02-05 10:00", 6, sessions=10),
        *used("a", "2023-02-20 10:00", 7),
        *used("a", "2023-03-02 10:00", 3),
    ]
    answer = lab_of(tmp_path, rows, today=date(2023, 3, 10)).usage("2023-03").compare()
    assert answer.df["total_time_hours_previous"].round(6).tolist() == [6]
    assert "not over" in answer.notes[0]


def test_compare_refuses_nonsense(local: Lab) -> None:
    """An unknown base is an error with the near ones, and comparing twice is one too."""
    answer = local.usage("2023-03")
    with pytest.raises(QueryError, match="did you mean 'previous'"):
        answer.compare("previos")
    with pytest.raises(QueryError, match="compared already"):
        answer.compare().compare()


def test_wide(local: Lab) -> None:
    """A column a member, a row a bin, zeros where nobody was, and the unit in the heading."""
    answer = local.usage("2023-03", by="team", bin="day")
    table = answer.wide()
    assert table.columns.name == "total_time_hours by team"
    assert list(table.index) == list(pd.date_range("2023-03-01", "2023-03-31"))
    assert table.notna().all(axis=None)
    assert table.sum().sum() == pytest.approx(answer.df["total_time_hours"].sum(), rel=1e-12)
    long = table.stack().rename("hours")
    assert len(long[long > 0]) == (answer.df["total_time_hours"] > 0).sum()


def test_wide_of_pairs_metrics_and_hours(local: Lab) -> None:
    """Pairs and several metrics become levels; counts stay whole numbers and means stay missing."""
    metrics = ["session_count", "avg_session_length"]
    table = local.usage(("2022-12", "2023-03"), by=["device", "team"], metric=metrics, team="NA").wide()
    assert table.columns.names == ["metric", "team", "device_address"]
    assert (table["session_count"].dtypes == "int64").all()
    assert table["avg_session_minutes"].isna().any(axis=None)
    assert (table["session_count"] == 0).any(axis=None)
    hours = local.usage("2023-03-26", bin="hour").wide()
    assert len(hours) == 23
    assert str(hours.index.tz) == "Europe/Berlin"
    people = local.usage("2023-03", by="user")
    assert list(people.wide().columns) == sorted(people.df["email"])


def test_wide_leaves_out_the_future(tmp_path: Path) -> None:
    """Days that have not begun are not zeros."""
    lab = lab_of(tmp_path, used("a", "2023-03-02 10:00", 3), today=date(2023, 3, 10))
    assert len(lab.usage("2023-03", bin="day").wide()) == 10


@pytest.fixture
def hostile(tmp_path: Path) -> Lab:
    """A lab whose team names are dangerous to spreadsheets, pages and terminals."""
    rows = [
        used(name, f"2023-03-02 {n:02d}:00", n + 1)[0] | {"session_id": str(n)}
        for n, name in enumerate(HOSTILE)
    ]
    return lab_of(tmp_path / "store", rows)


@pytest.mark.promise(7)
def test_csv_is_safe_for_spreadsheets(hostile: Lab, tmp_path: Path) -> None:
    """No cell of the file is a formula, numbers are numbers, and nothing is lost."""
    path = hostile.usage("2023-03", by="team").compare().to_csv(tmp_path / "a.csv")
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert not [r["team"] for r in rows if r["team"].startswith(("=", "+", "-", "@", "\t", "\r", "\n"))]
    assert {r["team"].removeprefix("'") for r in rows} == set(HOSTILE)
    assert sorted(float(r["total_time_hours"]) for r in rows) == pytest.approx(range(1, len(HOSTILE) + 1))
    raw = hostile.usage("2023-03", by="team").to_csv(tmp_path / "b.csv", raw=True)
    with raw.open(encoding="utf-8", newline="") as file:
        assert {r["team"] for r in csv.DictReader(file)} == set(HOSTILE)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.cells: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)
        if tag == "td":
            self.cells.append("")

    def handle_data(self, text: str) -> None:
        if self.cells:
            self.cells[-1] += text


def test_nothing_in_a_name_runs_or_vanishes(hostile: Lab) -> None:
    """Every name is on the page and in the terminal as text, without tags and without control characters."""
    shown = [hostile.usage("2023-03", by="team"), hostile.explain("2023-03", team=HOSTILE[6]), hostile.teams]
    reader = _Reader()
    reader.feed(shown[0]._repr_html_())
    cells = [c.strip() for c in reader.cells]
    for name in HOSTILE:
        assert name.replace("\x1b", "\ufffd").strip() in cells
    for one in shown:
        page = one._repr_html_()
        assert "<script" not in page
        assert "\x1b" not in page + repr(one)


def test_what_a_notebook_shows(local: Lab) -> None:
    """A caption says what was asked, zone, time and rows; the table shows twenty rows and counts the others."""
    answer = local.usage("2023-03", by="team", bin="day", team=["NA", "Payments"])
    for text in (answer._repr_html_(), repr(answer)):
        assert "Device hours by team, per day, 2023-03, team NA or Payments" in text
        assert "Europe/Berlin, as of " in text
        assert f"{len(answer.df)} rows" in text
        assert f"{len(answer.df) - 20} more" in text
    assert answer._repr_html_().count("<tr>") == 21
    assert 'class="uk-number"' in answer._repr_html_()
    assert "Test lab" in local._repr_html_()
    assert "Europe/Berlin" in repr(local)

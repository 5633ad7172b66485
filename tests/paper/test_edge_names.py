"""Names that want to run, escape, vanish or be merged, in the reports of their teams and of the lab; and many names."""

from __future__ import annotations

import csv
import io
from collections import Counter

import pytest

from tests.paper.edge_worlds import Report, Reports, World, plain, render_world, stay, workers

LONG = "Long" + " long" * 1999 + "!"
NAMES = [
    "NA",
    "R&D / Caf\u00e9",
    "R&D / Cafe\u0301",  # the same letters in another form: another team
    "\u05e9\u05dc\u05d5\u05dd \u05e6\u05d5\u05d5\u05ea",  # right to left
    "<script>alert(1)</script>",
    '#read("/etc/passwd")',
    "{x}",
    "../x",
    "\U0001f9ea",
    "=cmd|' /C calc'!A0",
    "\u30c1\u30fc\u30e0",
    "\u202egnp",
    "@SUM(1+1)",
]
DEVICES, TEAMS = 5_000, 200


# March 2026 has 743 hours in Berlin, and this store begins with it. The n-th name has n hours; it is that of a team,
# of a person and of a device.
STRANGE = World(
    [
        stay(n, "2026-03-10 02:00", f"2026-03-10 {2 + n:02}:00", name, user=name, device_id=name)
        for n, name in enumerate(NAMES, 1)
    ]
    + [stay(99, "2026-03-29 00:30", "2026-03-29 02:30", LONG)],  # half past one to half past four
    "2026-03",
    [None, LONG, *(name for name in NAMES if name != "\u30c1\u30fc\u30e0")],
    as_of="2026-04-01 06:00",
)


def many() -> World:
    """200 teams with 25 devices each; every device was used for an hour in this month and once in the year before."""
    sessions = []
    for n in range(DEVICES):
        day, hour, team = 1 + n % 28, 6 + n % 9, f"Team {n // 25:03}"
        own = {"device_id": f"d{n:04}", "email": f"{n % 1000}@example.com"}
        sessions.append(
            stay(2 * n, f"2026-10-{day:02} {hour:02}:00", f"2026-10-{day:02} {hour + 1:02}:00", team, **own)
        )
        # A day of its own among a hundred devices tells its model apart.
        past = f"2026-{3 + n % 100 // 25:02}-{1 + n % 25:02}"
        sessions.append(stay(2 * n + 1, f"{past} 08:00", f"{past} 08:30", team, **own))
    listed = [
        {
            "device_id": f"d{n:04}",
            "hostname": "lab-1",
            "model": f"M{n % 20:02}",
            "os": "iOS",
            "form_factor": "tv",
        }
        for n in range(DEVICES)
    ]
    return World(sessions, "2026-10", [None, "Team 199"], as_of="2026-11-02 06:00", more={"devices": listed})


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Reports:
    """The reports of the strange names and of their lab."""
    with workers() as pool:
        return render_world(STRANGE, tmp_path_factory.mktemp("names"), pool)


@pytest.mark.promise(3)
@pytest.mark.parametrize("name", [n for n in STRANGE.teams if n], ids=lambda n: ascii(n)[:30])
def test_a_name_is_a_name(reports: Reports, name: str) -> None:
    """The report of a team has its name whole, its own hours, and nothing of the name has run."""
    report = reports[name]
    assert report.facts["team"] == name
    assert report.facts["total_hours"] == (2 if name == LONG else 1 + NAMES.index(name))
    shown = name.replace("\u202e", "")
    html, pdf = (text.replace("\u202e", "") for text in report.texts)
    assert plain(shown) in html
    if name == LONG:  # goes over pages, with their feet in between
        assert pdf.split().count("long") >= 1998
        assert "long!" in pdf
    elif name.isascii():  # others are drawn from right to left, or have no letters in the fonts
        assert "".join(shown.split()) in "".join(pdf.split())
    assert plain(shown) in plain(str(report.reader.metadata.title)).replace("\u202e", "")
    assert len(report.pages) <= (16 if name == LONG else 2)
    nothing_ran(report)


def nothing_ran(report: Report) -> None:
    """No element, file or formula has come of a name."""
    assert report.html.find_all(["script", "iframe", "object", "link", "base", "form"]) == []
    assert [tag for tag in report.html.find_all(True) if any(a.startswith("on") for a in tag.attrs)] == []
    assert "root:x:0" not in "".join(report.texts)
    for path in report.directory.glob("*.csv"):
        for row in csv.reader(io.StringIO(path.read_bytes().decode("utf-8"), newline="")):
            for cell in row:
                assert cell[:1] not in "=+@\t\r" or not cell, f"{path.name}: {cell[:40]!r}"


def test_no_name_is_lost_or_merged_in_the_lab(reports: Reports) -> None:
    """The lab's report has a row for every team, twins of one look included, with the hours of each."""
    lab = reports[None]
    rows = [(row["team"].lstrip("'"), float(row["total_time_hours"])) for row in lab.tables["teams"]]
    wanted = {name: float(n) for n, name in enumerate(NAMES, 1)} | {LONG: 2.0, "All": sum(range(14)) + 2.0}
    assert dict(rows) == wanted
    assert len(rows) == len(wanted)
    for name in (*NAMES, LONG):
        assert plain(name) in lab.texts[0]
    assert Counter("".join(lab.texts[1].split()))["□"] <= 20
    nothing_ran(lab)


@pytest.mark.promise(6)
def test_the_names_have_a_directory_each(reports: Reports) -> None:
    """No two names share a directory, in letters that any disk keeps apart, and none leads elsewhere."""
    directories = [report.directory for report in reports.values()]
    assert len({str(d).lower() for d in directories}) == len(reports)
    assert {d.parent for d in directories} == {directories[0].parent}
    assert all(d.name.isascii() and len(d.name) <= 60 for d in directories)


def test_a_store_that_begins_this_month(reports: Reports) -> None:
    """Without a month before, usage is new and nothing is said to have fallen or risen by so many percent."""
    for name in ("NA", "{x}"):
        assert reports[name].tiles["Device hours"]["change"] == "new"
        assert reports[name].tiles["Mean session"]["change"] == "n/a (no comparable data)"
        reports[name].says("none in February 2026", "has 743 hours in Europe/Berlin")


@pytest.mark.slow
def test_many_teams_and_devices_stay_few_pages(tmp_path_factory: pytest.TempPathFactory) -> None:
    """200 teams with 5,000 devices make a lab report of six pages at most, soon; rows that are cut are counted."""
    with workers() as pool:
        made = render_world(many(), tmp_path_factory.mktemp("many"), pool)
    lab, team = made[None], made["Team 199"]
    assert lab.facts["total_hours"] == pytest.approx(5000)
    rest = TEAMS - sum(f"Team {n:03}" in lab.texts[0] for n in range(TEAMS))
    assert rest < TEAMS - 10
    lab.says("5 000 h", f"{rest} more {25 * rest:,} h".replace(",", " "))
    assert len(lab.tables["teams"]) == TEAMS + 1
    assert len(lab.pages) <= 6
    assert len(team.pages) <= 2
    assert team.facts["total_hours"] == 25
    assert (
        max(report.path(end).stat().st_size for report in made.values() for end in ("html", "pdf"))
        < 1_000_000
    )
    assert lab.seconds < 60

"""Reports of labs at the edges of time, of people and of size, rendered and read back; sums were made by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from math import isnan
from pathlib import Path
from typing import Any

import pytest

from tests.oracle import Row
from tests.paper.edge_worlds import Report, Reports, World, render_world, stay, workers, write_world
from usagekit.delivery.facts import read_facts
from usagekit.delivery.team_letter import team_letter
from usagekit.query import EventsQuery, UsageQuery
from usagekit.snapshot import SnapshotSource

Made = Callable[[str], Reports]

NO_COMPARISON = "n/a (no comparable data)"
ANA: dict[str, Any] = {"email": "ana@example.com", "user": "Ana", "device_id": "d1"}
REN: dict[str, Any] = {"email": "ren@example.com", "user": "New Name"}
LOCK: dict[str, Any] = {"email": "N/A", "user": "lock", "device_id": "d5"}
BOTS: dict[str, Any] = {"email": None, "user": None, "automated": True}
TWO_HOSTS = {"hosts": [{"hostname": "lab-1", "country": "DE"}, {"hostname": "lab-2", "country": "JP"}]}

PEOPLE = World(
    [
        stay(1, "2026-09-30 20:00", "2026-09-30 23:00", "Alpha", **ANA),  # October begins at 22:00
        stay(2, "2026-10-31 22:00", "2026-11-01 01:00", "Alpha", **ANA),  # and ends at 23:00
        stay(
            3, "2026-10-06 21:00", "2026-10-07 01:00", "Alpha", **ANA
        ),  # an hour before midnight, three after
        stay(
            4, "2026-10-25 00:00", "2026-10-25 02:00", "Alpha", **ANA
        ),  # two hours, both from 2 to 3 o'clock
        stay(5, "2026-10-08 10:00", "2026-10-08 12:00", "Alpha", device_id="d2"),
        stay(6, "2026-10-08 11:00", "2026-10-08 13:00", "Alpha", device_id="d2"),  # while another holds it
        stay(7, "2026-10-12 08:00", "2026-10-12 11:00", "Beta", **{**ANA, "device_id": "d3"}),
        stay(8, "2026-10-13 08:00", "2026-10-13 09:00", "Gamma", **{**ANA, "device_id": "d3"}),
        stay(9, "2026-09-15 08:00", "2026-09-15 10:00", "Beta", **{**REN, "user": "Old Name"}),
        stay(10, "2026-10-15 08:00", "2026-10-15 09:00", "Beta", **REN),
        stay(11, "2026-10-16 08:00", "2026-10-16 10:00", "Beta", device_id="moved", **REN),
        stay(12, "2026-10-20 08:00", "2026-10-20 11:00", "Beta", device_id="moved", hostname="lab-2", **REN),
        stay(13, "2026-10-21 08:00", "2026-10-21 12:00", "Beta", **LOCK),
        stay(14, "2026-10-21 13:00", "2026-10-21 14:00", "Beta", automated=True, **LOCK),
        stay(15, "2026-10-22 08:00", None, "Beta"),
        stay(16, "2026-10-22 10:00", "2026-10-22 09:00", "Beta"),
    ],
    "2026-10",
    [None, "Alpha", "Beta", "Gamma", "Idle"],
    as_of="2026-11-02 06:00",
    more={"teams": [{"team": "Idle"}], **TWO_HOSTS},
)

ERAS: list[Row] = [
    stay(1, "2022-07-11 08:00", "2022-07-11 09:00", "Bots", **BOTS),
    stay(2, "2022-08-10 08:00", "2022-08-10 11:00", None, **ANA),
    stay(3, "2022-08-11 08:00", "2022-08-11 13:00", "Bots", **BOTS),
    stay(4, "2022-09-06 08:00", "2022-09-06 12:00", "Apps", **ANA),
]


def denied(query: UsageQuery | EventsQuery) -> bool:
    """Nearly all that a report can do without."""
    if isinstance(query, EventsQuery):
        return True
    of_lab = not query.by and (query.bin_size == "hour" or query.metric == "session_count")
    return of_lab or query.by in ("device", "user", "devicemodel", "team/devicemodel")


def counts_denied(query: UsageQuery | EventsQuery) -> bool:
    """All that single events and devices can stand in for."""
    if isinstance(query, EventsQuery):
        return False
    counts = query.metric in ("session_count", "user_count", "device_count")
    return counts or query.automated is True or query.bin_size == "hour"


def lists_denied(query: UsageQuery | EventsQuery) -> bool:
    """Single events, and the devices of the lab."""
    return isinstance(query, EventsQuery) or query.by == "device"


def daily(number: int, month: str, days: int) -> list[Row]:
    """An hour on each of the first days of a month."""
    return [
        stay(number + n, f"{month}-{n:02} 08:00", f"{month}-{n:02} 09:00", "Apps") for n in range(1, days + 1)
    ]


SHARED: list[Row] = [
    stay(1, "2023-02-07 08:00", "2023-02-07 10:00", "Apps", **ANA),
    stay(2, "2023-03-06 08:00", "2023-03-06 11:00", "Apps", **ANA),  # a Monday, 9 to 12 o'clock
    stay(3, "2023-03-06 09:00", "2023-03-06 09:30", "Apps"),
    stay(4, "2023-03-07 20:00", "2023-03-07 21:00", "Apps", automated=True),  # after business hours
]

WORLDS = {
    "people": PEOPLE,
    "legacy": World(ERAS, "2022-08", [None, "Bots"], as_of="2022-10-02 06:00"),
    "change": World(ERAS, "2022-09", [None, "Apps"], as_of="2022-10-02 06:00"),
    "denied": World(
        [
            stay(1, "2023-03-06 08:00", "2023-03-06 11:00", "Apps"),
            stay(2, "2023-03-07 08:00", "2023-03-07 10:00", "Apps"),
        ],
        "2023-03",
        [None, "Apps"],
        as_of="2023-04-01 06:00",
        refuses=denied,
    ),
    "counts denied": World(
        SHARED, "2023-03", [None, "Apps"], as_of="2023-04-01 06:00", refuses=counts_denied
    ),
    "lists denied": World(SHARED, "2023-03", [None], as_of="2023-04-01 06:00", refuses=lists_denied),
    "running": World(
        [
            *daily(0, "2026-09", 10),
            stay(20, "2026-09-20 08:00", "2026-09-20 18:00", "Apps"),  # later than the days that compare
            *daily(30, "2026-10", 12),
            stay(50, "2026-10-15 07:00", "2026-10-15 08:00", "Apps"),  # on the day that still runs
        ],
        "2026-10",
        [None, "Apps"],
        as_of="2026-10-15 09:30",
    ),
    "nothing": World(
        [stay(1, "2026-09-08 08:00", "2026-09-08 12:00", "Apps")],
        "2026-10",
        [None, "Apps"],
        as_of="2026-11-02 06:00",
    ),
    "new york": World(
        [
            stay(1, "2026-11-01 03:00", "2026-11-01 05:00", "One"),  # November begins at 04:00
            stay(2, "2026-11-01 05:30", "2026-11-01 06:30", "One"),  # half past one to half past one
        ],
        "2026-11",
        ["One"],
        zone="America/New_York",
        as_of="2026-12-02 06:00",
    ),
    "kolkata": World(
        [
            stay(1, "2026-09-30 18:00", "2026-09-30 19:00", "One"),  # October begins at 18:30
            stay(2, "2026-10-05 03:30", "2026-10-05 04:30", "One"),  # a Monday, 9 to 10 o'clock
        ],
        "2026-10",
        ["One"],
        zone="Asia/Kolkata",
        as_of="2026-11-02 06:00",
    ),
    "kiritimati": World(
        [
            stay(1, "2026-09-30 09:00", "2026-09-30 11:00", "One"),  # October begins at 10:00
            stay(2, "2026-10-31 09:30", "2026-10-31 10:30", "One"),  # and ends at 10:00
        ],
        "2026-10",
        ["One"],
        zone="Pacific/Kiritimati",
        as_of="2026-11-02 06:00",
    ),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """Makes the reports of a world, once."""
    with workers() as pool:
        yield cache(lambda name: render_world(WORLDS[name], tmp_path_factory.mktemp("world"), pool))


def day(report: Report, date: str) -> float:
    """Device hours of a day (h)."""
    (row,) = (r for r in report.tables["device-hours-per-day"] if r["date"].startswith(date))
    return float(row["total_time_hours"] or "nan")


def week(report: Report) -> dict[tuple[str, int], float]:
    """Mean number of devices busy by weekday and hour, where any were."""
    rows = report.tables["devices-busy-by-weekday-and-hour"]
    cells = {(r["weekday"], int(r["hour"])): float(r["mean_devices_busy"]) for r in rows}
    return {cell: busy for cell, busy in cells.items() if busy}


def column(report: Report, table: str, key: str, value: str) -> dict[str, float]:
    """A column of numbers of a table by another one."""
    return {row[key]: float(row[value]) for row in report.tables[table]}


@pytest.mark.parametrize("name", WORLDS)
def test_every_report_is_whole_and_bounded(made: Made, name: str) -> None:
    """Each says its hours on page and PDF, sums that add up, and stays short and small."""
    for team, report in made(name).items():
        report.says(report.facts["shown"]["total_hours"], report.tiles["Device hours"]["value"])
        assert report.facts["mail"]["trust"]["badge"] in ("green", "amber")
        assert len(report.pages) <= (4 if team is None else 2)
        assert all(report.path(end).stat().st_size < 1_000_000 for end in ("html", "pdf"))
        assert "nan" not in "".join(report.texts).lower().split()


@pytest.mark.parametrize(
    ("name", "hours", "zone"),
    [
        ("people", 745, "Europe/Berlin"),
        ("new york", 721, "America/New_York"),
        ("kolkata", 744, "Asia/Kolkata"),
        ("kiritimati", 744, "Pacific/Kiritimati"),
    ],
)
def test_months_have_their_hours(made: Made, name: str, hours: int, zone: str) -> None:
    """A report names its zone and how many hours its month has there."""
    for report in made(name).values():
        report.says(f"has {hours} hours in {zone}")


def test_sessions_are_cut_at_midnight_and_at_the_ends_of_the_month(made: Made) -> None:
    """Of a session that crosses an end of the month the part inside counts, and a repeated hour counts twice."""
    alpha = made("people")["Alpha"]
    assert alpha.facts["total_hours"] == 12  # 1 + 1 + 4 + 2 + 2 + 2
    days = ("2026-10-01", "2026-10-06", "2026-10-07", "2026-10-25", "2026-10-31", "2026-10-02")
    assert [day(alpha, d) for d in days] == [1, 1, 3, 2, 1, 0]
    assert week(alpha)["Sunday", 2] == 2 / 5  # four Sundays and the hour that came twice
    assert alpha.tiles["Device hours"] | {"label": ""} == {
        "label": "",
        "value": "12.0 h",
        "previous": "2.0 h",
        "change": "+10.0 h",
        "year": "0 h",
    }


def test_people_in_several_teams_and_under_new_names(made: Made) -> None:
    """Who is in three teams is a user of each and of the lab once; a new name makes nobody new."""
    reports = made("people")
    users = {team: report.tiles["Active users"]["value"] for team, report in reports.items()}
    assert users == {None: "5", "Alpha": "3", "Beta": "3", "Gamma": "1", "Idle": "0"}
    assert reports["Beta"].tiles["Active users"]["previous"] == "1"
    reports["Beta"].says("Returning 1 also")
    # Ana's sessions by hand name no team: four of twelve hours are of people in Alpha alone.
    reports["Alpha"].says("33% of its hours")


def test_a_team_of_one_is_not_split_by_person(made: Made) -> None:
    """The report of a team with one person names nobody."""
    gamma = made("people")["Gamma"]
    assert gamma.tiles["Device hours"]["change"] == "new"
    gamma.says("1.0 h of device time in October 2026; none in September 2026.")
    gamma.says_not("ana@example.com")


def test_a_lock_without_an_email_counts_as_hours(made: Made) -> None:
    """Sessions of the email N/A keep their hours, their automation and their device."""
    beta = made("people")["Beta"]
    assert beta.facts["total_hours"] == 14  # 3 + 1 + 2 + 3 + 4 + 1
    assert beta.tiles["Automation share"]["value"] == "7%"  # of 14 hours one
    devices = column(beta, "devices", "device_address", "total_time_hours")
    assert devices == {"d5@lab-1": 5, "d3@lab-1": 3, "moved@lab-2": 3, "moved@lab-1": 2, "d10@lab-1": 1}


def test_sessions_without_a_proper_end_count_nowhere(made: Made) -> None:
    """An open session and one that ends before it starts are in no number."""
    beta = made("people")["Beta"]
    assert (beta.tiles["Sessions"]["value"], day(beta, "2026-10-22")) == ("6", 0)


def test_the_lab_adds_its_teams_up(made: Made) -> None:
    """The lab has every team's hours, counts a moved device twice and overlapping sessions on one device once."""
    lab = made("people")[None]
    hours = column(lab, "teams", "team", "total_time_hours")
    assert hours == {"Beta": 14, "Alpha": 12, "Gamma": 1, "All": 27}
    assert lab.tiles["Sessions"]["value"] == "13"
    lab.says("Devices used 7", "Peak 1 devices at once")
    assert column(lab, "countries", "country", "total_time_hours") == {"DE": 24, "JP": 3}


def test_a_team_or_lab_without_usage_says_so(made: Made) -> None:
    """No usage is a true zero in words, with what the month before had."""
    made("people")["Idle"].says("No usage in October 2026.")
    for report in made("nothing").values():
        report.says("No usage in October 2026. September 2026 had 4.0 h.")
        assert report.tiles["Device hours"]["value"] == "0 h"
        assert report.tiles["Mean session"]["value"] == "–"
        assert report.facts["mail"]["usage"] == "zero"


def test_months_of_two_eras_are_not_compared(made: Made) -> None:
    """In the first month of the current era nothing compares, and nobody reads a change of 0%."""
    for report in made("change").values():
        report.says(NO_COMPARISON, "there is no comparable month before")
        assert {tile["change"] for tile in report.tiles.values()} == {NO_COMPARISON}
        assert {tile["year"] for tile in report.tiles.values()} == {"–"}


def test_a_month_of_the_legacy_era_adds_up(made: Made) -> None:
    """Before September 2022 sessions have a team or a user: the lab is teams and users together."""
    reports = made("legacy")
    assert column(reports[None], "teams", "team", "total_time_hours") == {"Bots": 5, "no team": 3, "All": 8}
    (row,) = (r for r in reports[None].tables["do-the-numbers-add-up"] if r["part"] == "teams + users")
    assert (float(row["sum_hours"]), row["badge"]) == (8, "green")
    assert reports["Bots"].tiles["Active users"]["value"] == "–"
    assert reports["Bots"].tiles["Device hours"]["change"] == "+4.0 h"


def test_denied_parts_are_missing_with_a_reason(made: Made) -> None:
    """What the API refused is – with the reason below, and never 0; the rest is there."""
    reports = made("denied")
    for report in reports.values():
        assert report.facts["total_hours"] == 5
        report.says("– users: not in the snapshot of 2023-03", "not for this token")
    assert reports["Apps"].tiles["Sessions"]["value"] == "2"
    assert reports[None].tiles["Sessions"]["value"] == "–"
    # The API's own mean is all that is left of three and two hours.
    assert (reports["Apps"].tiles["Mean session"]["value"], reports[None].tiles["Mean session"]["value"]) == (
        "2 h 30",
        "≈2 h 30",
    )
    reports[None].says_not("Sessions 0", "0 of 0 devices", "New 0", "Peak 0")
    badges = {r["part"]: (r["badge"], r["sum_hours"]) for r in reports[None].tables["do-the-numbers-add-up"]}
    assert badges["users"] == badges["events"] == ("missing", "")
    assert badges["teams"][0] == "green"


def test_substitutes_are_marked_and_say_why(made: Made) -> None:
    """A number that stands in for a refused one has its mark before it, and below it what it is and the refusal."""
    lab, apps = made("counts denied")[None], made("counts denied")["Apps"]
    why = "not in the snapshot of 2023-03: "
    lab.says(
        "Sessions ≈3",
        "Active users ≥2",
        "Mean session ≈1 h 30",
        "Automation share ≈22%",
        "Devices used 3",
        f"approx., from single events: {why}",
        f"at least, people by hand in single events: {why}",
        f"approx., the API's own mean: {why}",
        f"of 3 devices; exact, counted by device: {why}",
        f"of 3 devices; approx., from single events: {why}",
        "– session count: not in the snapshot",
    )
    lab.says("Business utilisation ≈0.5%")  # 3.5 h of three devices times 23 days of ten hours
    assert lab.tiles["Sessions"] == {
        "label": "Sessions",
        "value": "≈3",
        "previous": "≈1",
        "change": "+2",
        "year": "–",
    }
    apps.says("Automation share ≈22%", "Mean session ≈1 h 30", f"approx., from single events: {why}")
    assert (apps.tiles["Sessions"]["value"], apps.tiles["Active users"]["value"]) == ("–", "–")
    letter = team_letter(read_facts({"facts": lab.facts, "parameters": {}}), {}, revision=1).text()
    assert "≈ approx., ≥ at least: the report says why." in letter
    assert "≈3" in letter


def test_bounds_stand_in_for_lists(made: Made) -> None:
    """Without single events the busiest hour is told, without a roster the share of used devices."""
    lab = made("lists denied")[None]
    # From nine o'clock to ten in UTC one device is busy throughout and one for half an hour.
    lab.says("Busiest hour, average 1.5 devices, 6 March 2023, 10:00 CET; a lower bound of the peak: not in")
    lab.says("of used devices; at most: not in the snapshot of 2023-03", "Calendar utilisation ≤")
    lab.says_not("Peak –", "Peak 0")


def test_a_running_month_counts_and_compares_whole_days(made: Made) -> None:
    """A running month ends with its last whole day and is held against as many days of the month before."""
    for report in made("running").values():
        report.says("1–14 Oct (partial)", "12.0 h (+20% against 1–14 Sep).")
        tile = report.tiles["Device hours"]
        assert (tile["value"], tile["previous"], tile["change"]) == ("12.0 h", "10.0 h", "+20%")
        assert report.facts["mail"]["partial"] is True
    apps = made("running")["Apps"]
    assert isnan(day(apps, "2026-10-15"))  # a day that still runs is missing, not idle
    assert day(apps, "2026-10-14") >= 0


def test_a_month_that_was_still_running_restates_nothing(tmp_path: Path) -> None:
    """A snapshot of half a month says nothing about how the whole month has moved; one of the whole month does."""
    running = WORLDS["running"]
    write_world(running, tmp_path)
    after = replace(running, month="2026-11", as_of="2026-12-02 06:00")
    assert SnapshotSource(write_world(after, tmp_path)).restated is None
    before = replace(running, as_of="2026-11-02 06:00")
    write_world(before, tmp_path / "again")
    more = replace(
        after, sessions=[*after.sessions, stay(60, "2026-10-20 08:00", "2026-10-20 09:00", "Apps")]
    )
    told = SnapshotSource(write_world(more, tmp_path / "again")).restated
    assert told is not None
    assert (told["before_hours"], told["after_hours"]) == (13, 14)


def test_the_repeated_hour_of_new_york(made: Made) -> None:
    """From half past one to half past one is an hour, of the six that five Sundays have at one o'clock."""
    one = made("new york")["One"]
    assert one.facts["total_hours"] == 2
    assert week(one) == {("Sunday", 0): pytest.approx(1 / 5), ("Sunday", 1): pytest.approx(1 / 6)}


def test_hours_of_a_zone_with_half_an_hour(made: Made) -> None:
    """Local hours of Kolkata begin half past in UTC, and so does its month."""
    one = made("kolkata")["One"]
    assert one.facts["total_hours"] == 1.5
    # Five Thursdays, four Mondays.
    assert week(one) == {("Thursday", 0): pytest.approx(0.5 / 5), ("Monday", 9): pytest.approx(1 / 4)}


def test_a_month_beyond_the_date_line(made: Made) -> None:
    """October of Kiritimati lasts from 30 September to 31 October, 10:00 UTC."""
    one = made("kiritimati")["One"]
    assert one.facts["total_hours"] == 1.5
    assert (day(one, "2026-10-01"), day(one, "2026-10-31")) == (1, 0.5)

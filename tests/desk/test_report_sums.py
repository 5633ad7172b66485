"""Figures, tables and sums of a report: against last year, by team, and against the total."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from math import fsum
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import session
from tests.desk.test_report_words import MONTH, STRANGE, by_month, figures, words
from tests.oracle import Lab as Rows
from tests.oracle import Row
from tests.strategies import tables
from usagekit.analysis.changes import NO_COMPARISON
from usagekit.analysis.crossing import crossing_sessions, hours_by_mean
from usagekit.analysis.kpis import Kpi, kpis, make_kpi
from usagekit.analysis.lab_kpis import lab_kpis
from usagekit.analysis.months import partial_days
from usagekit.analysis.reconcile import reconcile, restatement, worst
from usagekit.analysis.team_table import team_table
from usagekit.engine.store import open_store, write_store
from usagekit.errors import SchemaError
from usagekit.lab import Lab
from usagekit.reading import read_month
from usagekit.reading.lab import LabReading
from usagekit.reading.reading import Reading
from usagekit.reading.team import TeamReading
from usagekit.reading.telling import footnotes, people_facts
from usagekit.sources import StoreSource

# Last year


@pytest.mark.parametrize(
    ("ago", "change"),
    [(200.0, "+50%"), (300.0, "unchanged"), (0.0, "new"), (4.5, "+296 h"), (float("nan"), NO_COMPARISON)],
)
def test_year_change_follows_its_own_base(ago: float, change: str) -> None:
    """Last year is compared by the same rules as last month: new, absolute on a small base, none if missing."""
    hours = figures(ago, *[100.0] * 11, 300.0, month="2023-10")[0]
    assert words(hours.year_change) == change
    assert hours.change == "+200%"
    assert hours.year_ago == (None if ago != ago else ago)


def test_no_year_before_the_era() -> None:
    """A month whose last year lies before September 2022 has no year to compare with, also in the old era."""
    for month, year in (("2023-08", NO_COMPARISON), ("2023-09", "+50%"), ("2022-08", NO_COMPARISON)):
        assert figures(200.0, *[100.0] * 11, 300.0, month=month)[0].year_change == year


def test_a_missing_value_has_no_year() -> None:
    """A figure without a value of its own has no change to tell."""
    assert {(k.change, k.year_change) for k in kpis(None, None, month="2024-03")} == {("", "")}


def test_a_running_month_compares_days_and_no_year() -> None:
    """14 days of a month are spread over their own business days; a whole month a year ago says nothing."""
    partial = partial_days("2023-10", datetime(2023, 10, 15, 8, tzinfo=UTC), "UTC")
    usage = by_month("2023-10", total_time_hours=[200.0, 300.0, 100.0], session_count=[30.0] * 3)
    hours = kpis(usage, None, month="2023-10", partial=partial)[0]
    assert (words(hours.note), hours.year_change) == ("10.0 h per business day (−67%)", NO_COMPARISON)


# Figures of a lab


def test_lab_kpis_count_devices_and_shares() -> None:
    """Utilisation is time over what 10 devices had in the month, whose hours differ with the clock."""
    usage = by_month("2026-10", total_time_hours=[720.0, 1490.0], session_count=[90, 90], device_count=[6, 8])
    devices, calendar, business = lab_kpis(
        usage, {"2026-10": 0.5}, month="2026-10", timezone="Europe/Berlin", devices=10
    )
    assert (devices.value, devices.change, devices.note) == (8, "+33%", "of 10 devices")
    assert (calendar.value, calendar.previous) == pytest.approx((0.2, 0.1))
    assert (calendar.text, calendar.change) == ("20%", "+10 pp")
    assert (business.text, business.previous, business.change) == ("50%", None, NO_COMPARISON)


def test_lab_kpis_without_a_roster_say_so() -> None:
    """Without a roster the base is the devices used; without any figure the value is missing, not zero."""
    usage = by_month("2026-10", total_time_hours=[745.0], session_count=[90], device_count=[2])
    calendar = lab_kpis(usage, {}, month="2026-10", timezone="Europe/Berlin", devices=None)[1]
    assert (calendar.text, calendar.note) == ("50%", "of used devices")
    for figure in lab_kpis(None, {"2026-10": 0.1}, month="2026-10", timezone="UTC", devices=10):
        assert (figure.value, figure.text) == (None, "–")
        assert figure.reason
    none = by_month("2026-10", total_time_hours=[0.0], session_count=[0], device_count=[0])
    idle = lab_kpis(none, {}, month="2026-10", timezone="UTC", devices=10)
    assert [k.value for k in idle] == [0, 0, None]
    assert lab_kpis(none, {}, month="2026-10", timezone="UTC", devices=None)[1].reason == "no device was used"


def test_a_figure_needs_no_year() -> None:
    """A figure whose last year does not compare says so, and keeps its history."""
    make: Callable[..., Kpi] = make_kpi
    figure = make(("devices", "Devices used", ""), [12.0] * 13, year=False)
    assert (figure.change, figure.year_change, figure.year_ago) == ("unchanged", NO_COMPARISON, 12)


# The table of teams


def team_months(**teams: list[float]) -> pd.DataFrame:
    frames = [
        by_month(MONTH, total_time_hours=hours, user_count=[4.0] * len(hours)).assign(team=name)
        for name, hours in teams.items()
    ]
    return pd.concat(frames, ignore_index=True)


def test_teams_are_sorted_by_change() -> None:
    """Largest move first in either direction; the rest of the total is the last row, with its own history."""
    teams = team_months(A=[50.0, 55.0], B=[90.0, 60.0], C=[5.0])
    totals = [*[None] * 11, 150.0, 130.0]
    table = team_table(teams, team_months(B=[15.0]), total_hours=totals, month=MONTH)
    assert table["team"].fillna("-").tolist() == ["B", "A", "C", "-"]
    assert table["kind"].tolist() == ["team", "team", "team", "unattributed"]
    assert table["change_hours"].tolist() == [-30, 5, 5, 0]
    assert table["change"].tolist() == ["−33%", "+10%", "new", "unchanged"]
    assert table["automation_share"].fillna(-1).tolist() == [0.25, 0, 0, -1]
    assert table["user_count"].isna().tolist() == [False, False, False, True]
    assert table["total_time_hours"].sum() == 130
    assert table["share"].sum() == pytest.approx(1)
    assert table["history"].iloc[-1][-2:] == (10, 10)
    assert all(len(history) == 13 for history in table["history"])


def test_no_team_and_unattributed_are_two_things() -> None:
    """Time known to have no team, and time that nobody can place; before September 2022 all of it had no team."""
    teams = team_months(A=[60.0])
    table = team_table(teams, None, total_hours=100.0, month=MONTH, no_team_hours=30.0)
    assert table[["kind", "total_time_hours"]].values.tolist() == [
        ["team", 60],
        ["no team", 30],
        ["unattributed", 10],
    ]
    old = by_month("2022-08", total_time_hours=[60.0], user_count=[0.0]).assign(team="A")
    legacy = team_table(old, None, total_hours=100.0, month="2022-08")
    assert legacy[["kind", "total_time_hours"]].values.tolist() == [["team", 60], ["no team", 40]]
    assert legacy["user_count"].isna().all()
    assert legacy["automation_share"].isna().all()


@pytest.mark.parametrize("rest", [0.04, -0.02, 1e-12])
def test_what_rounding_leaves_is_no_row(rest: float) -> None:
    """A rest that shows as no hours has no row, and in an earlier month it is none: a real one after it is new."""
    teams = team_months(A=[60.0 - rest, 60.0 - rest])
    table = team_table(teams, None, total_hours=[*[None] * 11, 60.0, 60.0], month=MONTH)
    assert table["kind"].tolist() == ["team"]
    known = team_table(teams, None, total_hours=90.0, month=MONTH, no_team_hours=30.0)
    assert known["kind"].tolist() == ["team", "no team"]
    later = team_table(teams, None, total_hours=[*[None] * 11, 60.0, 70.0], month=MONTH)
    assert later["change"].iloc[-1] == "new"


def test_teams_that_add_up_to_more_than_the_total() -> None:
    """A rest below zero is shown as it is, so that the column still adds up."""
    table = team_table(team_months(A=[60.0], B=[50.0]), None, total_hours=100.0, month=MONTH)
    assert table["total_time_hours"].tolist() == [60, 50, -10]


def test_teams_of_strange_names_stay_apart() -> None:
    """Every name is a team of its own, also one that is called like a row of the table."""
    names = [*STRANGE, "no team", "unattributed"]
    table = team_table(team_months(**{name: [1.0] for name in names}), None, total_hours=10.0, month=MONTH)
    assert sorted(table["team"]) == sorted(names)
    assert set(table["kind"]) == {"team"}


@given(
    st.lists(st.floats(0, 1e5, allow_subnormal=False), max_size=12),
    st.floats(0, 1e6, allow_subnormal=False),
    st.floats(0, 50),
)
def test_the_column_adds_up_to_the_total(hours: list[float], total: float, none: float) -> None:
    """Whatever the teams and the total, the rows add up to the total, but for less than shows as 0.1 h."""
    stamp = pd.Timestamp(f"{MONTH}-01")
    teams = pd.DataFrame(
        {"datetime": stamp, "team": [f"t{n}" for n in range(len(hours))], "total_time_hours": hours}
    )
    table = team_table(teams, None, total_hours=total, month=MONTH, no_team_hours=none)
    assert fsum(table["total_time_hours"]) == pytest.approx(total, rel=1e-12, abs=0.05)


def test_a_team_table_needs_its_columns() -> None:
    """A missing column is named, and two rows for one team and month are refused."""
    with pytest.raises(SchemaError) as caught:
        team_table(pd.DataFrame({"team": ["A"]}), None, total_hours=1.0, month=MONTH)
    assert caught.value.missing == ("datetime", "total_time_hours")
    twice = pd.concat([team_months(A=[1.0]), team_months(A=[1.0])])
    with pytest.raises(SchemaError, match="more than one row a month"):
        team_table(twice, None, total_hours=2.0, month=MONTH)


# Trust


def test_sums_are_held_against_the_total() -> None:
    """Green to 1 %, amber to 5 %, red above; a part that was not fetched has a reason instead of a number."""
    parts = {"teams": 396.0, "users": 420.0, "events": 379.0, "hosts": None, "models": None}
    rows = reconcile(400.0, parts, month=MONTH, reasons={"hosts": "403 on /v1/usage/host"})
    assert rows["badge"].tolist() == ["green", "amber", "red", "missing", "missing"]
    assert rows["reason"].tolist() == ["", "", "", "403 on /v1/usage/host", "not recorded or not fetched"]
    told = worst(rows)
    assert (told.badge, told.red_share, told.text) == ("red", 0.0525, "Numbers do not reconcile (5%)")


def test_a_part_may_turn_amber_at_most() -> None:
    """Sessions times the mean length may differ at the ends of a month: it warns and never stops a report."""
    rows = reconcile(400.0, {"sessions": 300.0}, month=MONTH, at_most_amber=["sessions"])
    assert rows["badge"].tolist() == ["amber"]
    told = worst(rows)
    assert (told.badge, told.red_share, told.text) == ("amber", None, "Numbers differ by up to 25%")


@pytest.mark.parametrize(
    ("parts", "badge", "text"),
    [
        ({"teams": 400.0}, "green", "Numbers reconcile exactly"),
        ({"teams": 400.4}, "green", "Numbers reconcile within 1%"),
        ({"teams": 410.0, "events": None}, "amber", "Numbers differ by up to 3%"),
        ({"teams": None}, "missing", "Numbers could not be reconciled"),
    ],
)
def test_the_badge_in_words(parts: dict[str, float | None], badge: str, text: str) -> None:
    """The badge says how far the sums lie apart, never less than they do."""
    told = worst(reconcile(400.0, parts, month=MONTH))
    assert (told.badge, told.text) == (badge, text)


def test_a_total_of_nothing_does_not_hide_sums() -> None:
    """Sums above a total of zero are red, and no sums at all are not."""
    told = worst(reconcile(0.0, {"teams": 1.0}, month=MONTH))
    assert (told.badge, told.text) == ("red", "Numbers do not reconcile (against a total of 0)")
    assert worst(reconcile(0.0, {"teams": 0.0}, month=MONTH)).badge == "green"


def test_teams_and_users_are_one_sum_in_the_old_era() -> None:
    """Before September 2022 a session had a team or a user: only both together are all."""
    rows = reconcile(100.0, {"teams": 60.0, "users": 40.0, "events": 100.0}, month="2022-08")
    assert rows[["part", "badge"]].values.tolist() == [["events", "green"], ["teams + users", "green"]]
    (row,) = reconcile(100.0, {"teams": 60.0, "users": None}, month="2022-08").to_dict("records")
    assert (row["part"], row["badge"]) == ("teams + users", "missing")


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        (1204.0, 1219.0, "September 2026 restated 1 204 h → 1 219 h (+1%)"),
        (1000.0, 1005.0, None),
        (1000.0, 995.0, None),
        (1000.0, 1005.1, "September 2026 restated 1 000 h → 1 005 h (+1%)"),
        (1000.0, 900.0, "September 2026 restated 1 000 h → 900 h (−10%)"),
        (0.0, 0.0, None),
        (0.0, 3.0, "September 2026 restated 0 h → 3.0 h"),
    ],
)
def test_restatements_count_above_half_a_percent(before: float, after: float, text: str | None) -> None:
    """A month that moved by more than 0.5 % since it was reported says from what to what."""
    told = restatement(before, after, month="2026-09")
    assert (told if told is None else words(told)) == text


# Sessions that cross the ends of a month

BY_MEAN = "sessions × mean length"
CROSSING = [
    session(
        1, "2026-08-31 20:00", "2026-09-01 02:00"
    ),  # two hours in Berlin's September are 22:00 to 24:00 UTC
    session(2, "2026-09-10 08:00", "2026-09-10 09:00"),
    session(3, "2026-09-30 21:30", "2026-10-01 03:30"),
]


def _of(folder: Path, rows: list[Row], team: str | None = "QA", **more: list[Row]) -> Reading:
    store = folder / "store"
    write_store(store, tables(Rows(sessions=rows, **more)))
    at = datetime(2026, 11, 2, tzinfo=UTC)
    lab = Lab(StoreSource(open_store(store), as_of=at), timezone="Europe/Berlin", today=at.date())
    return read_month(lab, "2026-09", team=team)


def _row(said: Reading) -> dict[str, object]:
    rows = {str(row["part"]): row for row in said.reconciliation.to_dict("records")}
    return {str(k): v for k, v in rows[BY_MEAN].items()}


@pytest.mark.parametrize("team", ["QA", None])
def test_sessions_across_the_ends_are_no_difference(tmp_path: Path, team: str | None) -> None:
    """Good data of a small team is green although most of its sessions cross the ends of the month."""
    own = {"team": "QA", "email": "q@example.com", "user": "Q"}
    said = _of(tmp_path, [row | own for row in CROSSING], team)
    assert said.hours == 4 + 1 + 0.5
    assert _row(said)["sum_hours"] == pytest.approx(5.5)
    assert said.trust.badge == "green"


def test_crossing_sessions_of_unknown_team_explain_what_they_can(tmp_path: Path) -> None:
    """Somebody of two teams may have crossed the end for either: no difference that this explains is told."""
    person = {"email": "q@example.com", "user": "Q"}
    other = [row | {"session_id": f"o{n}", "team": "Web"} | person for n, row in enumerate(CROSSING)]
    said = _of(tmp_path, [*(row | {"team": "QA"} | person for row in CROSSING), *other])
    assert _row(said)["badge"] == "green"


def test_no_session_that_begins_has_no_mean(tmp_path: Path) -> None:
    """Where no session starts in the month there is no mean, which is not a mean of nothing."""
    own = {"team": "QA", "email": "q@example.com", "user": "Q"}
    said = _of(tmp_path, [CROSSING[0] | own])
    assert said.hours == 4
    row = _row(said)
    assert (row["badge"], row["reason"]) == ("missing", "no session begins in the month")
    assert said.trust.badge == "green"


def test_a_wrong_mean_is_still_seen() -> None:
    """What crossing sessions cannot explain stays a difference."""
    at = pd.to_datetime(["2023-02-28 23:00", "2023-03-01 00:00", "2023-03-01 02:00"], utc=True)
    sessions = pd.DataFrame(
        {"start_time": at[[0, 1]], "start": at[[1, 1]], "end": at[[2, 2]], "end_time": at[[2, 2]]}
    )
    crossing = crossing_sessions(sessions)
    assert len(crossing) == 1
    for certain in (True, False):
        told = hours_by_mean(
            2, 240, crossing=crossing, certain=pd.Series([certain]), total_hours=4.0
        )  # the true mean is 120 min
        assert told == pytest.approx(6.0)


# What cannot be placed


def _mixed() -> list[Row]:
    """By hand 8 h on a known and 2 h on an unknown device, 1 h by somebody of two teams; automated 1 h without a team."""
    known, odd = ({"device_id": name, "hostname": "lab-1"} for name in ("known", "odd"))
    ana, bo = ({"email": f"{name}@example.com", "user": name} for name in ("ana", "bo"))
    nobody = {"team": None, "email": "ci@example.com", "user": "ci", "automated": True}
    return [
        session(1, "2026-09-10 08:00", "2026-09-10 16:00") | ana | known | {"team": "QA"},
        session(2, "2026-09-11 08:00", "2026-09-11 10:00") | ana | odd | {"team": "QA"},
        session(3, "2026-09-12 08:00", "2026-09-12 08:30") | bo | known | {"team": "QA"},
        session(4, "2026-09-12 09:00", "2026-09-12 09:30") | bo | known | {"team": "Web"},
        session(5, "2026-09-13 08:00", "2026-09-13 09:00") | nobody | known,
        session(6, "2026-09-14 08:00", None) | ana | known | {"team": "QA"},
        session(7, "2026-09-15 08:00", "2026-09-15 07:00") | ana | known | {"team": "QA"},
        session(8, "2026-08-15 08:00", None) | ana | known | {"team": "QA"},
    ]


_FLEET = [
    {"device_id": "known", "hostname": "lab-1", "model": "Pixel 8", "os": "Android", "form_factor": "phone"}
]
_HOSTS = [{"hostname": "lab-1", "country": "DE"}]


def test_time_of_unknown_devices_is_no_fault_of_the_numbers(tmp_path: Path) -> None:
    """A sixth of the hours has no model: it is added to the sum by model, told as its own, and colours nothing."""
    for team, hours in ((None, 12.0), ("QA", 10.5)):
        said = _of(tmp_path / str(team), _mixed(), team, devices=_FLEET, hosts=_HOSTS)
        assert said.hours == hours
        assert said.sums["models"] == pytest.approx(hours)
        assert said.trust.badge == "green"
        told = [words(note) for note in footnotes(said) if note.startswith("No model")]
        share = {None: "17%", "QA": "19%"}[team]
        assert told == [f"No model is known of devices with 2.0 h ({share}): added to that sum."]


def test_more_time_than_unknown_devices_have_stays_a_difference(tmp_path: Path) -> None:
    """Hours that are missing from the sum by model and belong to no unknown device are still red."""
    said = _of(tmp_path, _mixed(), devices=_FLEET, hosts=_HOSTS)
    models = said.evidence.models
    assert models is not None
    assert (
        said.with_unknown(models.assign(total_time_hours=models["total_time_hours"] - 3), "device_model")
        == 7.5
    )


def test_automation_without_a_team_has_a_row(tmp_path: Path) -> None:
    """What the single sessions show to have no team is told from what nobody can place; both add up to the total."""
    said = _of(tmp_path, _mixed(), None, devices=_FLEET, hosts=_HOSTS)
    assert isinstance(said, LabReading)
    assert said.teams is not None
    rows = said.teams[["kind", "total_time_hours"]].values.tolist()
    assert sorted(rows) == [["no team", 1.0], ["team", 0.5], ["team", 10.5]]
    assert said.sums["teams"] == 12


def test_coverage_and_sessions_that_count_nowhere(tmp_path: Path) -> None:
    """The lab's notes say how much by hand is of people of one team, and how many sessions of the month count nowhere."""
    said = _of(tmp_path, _mixed(), None, devices=_FLEET, hosts=_HOSTS)
    notes = [words(note) for note in footnotes(said)]
    assert (
        "Coverage: people of one team have 91% of the hours by hand; single sessions name no team." in notes
    )
    assert "Sessions that count nowhere: 1 without an end and 1 with an end before the start." in notes
    assert not any("count nowhere" in note for note in footnotes(_of(tmp_path / "none", CROSSING[1:2], None)))


@pytest.mark.parametrize(
    ("teams", "text"),
    [
        ({"QA": [100.0, 90.0]}, "September 2026 restated 100 h → 90.0 h (−10%)"),
        ({"QA": [100.0, 100.2], "Web": [900.0, 800.0]}, None),
        ({"Web": [900.0, 800.0]}, None),
        (None, "Whole lab: September 2026 restated 1 000 h → 900 h (−10%)"),
    ],
)
def test_a_team_is_told_its_own_restatement(tmp_path: Path, teams: object, text: str | None) -> None:
    """What became of the lab's hours says nothing of a team; where the team's are not known, it says whose they are."""
    said = _of(tmp_path, [CROSSING[1] | {"team": "QA"}])
    restated = {"month": "2026-09", "before_hours": 1000.0, "after_hours": 900.0}
    if teams is not None:
        restated["teams"] = teams
    object.__setattr__(said.evidence, "restated", restated)
    assert (said.restatement and words(said.restatement)) == text


# What matters to a team


def test_a_model_counts_for_a_team_from_a_tenth_of_its_hours_on(tmp_path: Path) -> None:
    """A model that was sold out for others is no finding on a team that hardly used it."""
    names = ("main", "tenth", "odd")
    fleet = [row | {"device_id": name, "model": name} for name in names for row in _FLEET]
    person = {"team": "QA", "email": "q@example.com", "user": "Q", "hostname": "lab-1"}
    ends = {"main": "18:00:00", "tenth": "10:00:00", "odd": "09:59:59"}
    rows = [
        session(n, f"2026-09-1{n} 09:00:00", f"2026-09-1{n} {ends[name]}") | person | {"device_id": name}
        for n, name in enumerate(names)
    ]
    rows[0]["end_time"] = rows[0]["start_time"] + timedelta(hours=8, seconds=1)
    said = _of(tmp_path, rows, devices=fleet, hosts=_HOSTS)
    assert isinstance(said, TeamReading)
    assert said.hours == 10
    assert said.main_models == {"main", "tenth"}
    assert said.findings.whole_lab
    assert said.observations.whole_lab


@pytest.mark.parametrize(("people", "told"), [(4, False), (5, True)])
def test_few_people_are_not_split(tmp_path: Path, people: int, told: bool) -> None:
    """Under five people neither the share of the top one nor the effective number is printed, and the page says why."""
    rows = [
        CROSSING[1] | {"session_id": f"p{n}", "team": "QA", "email": f"{n}@example.com", "device_id": f"d{n}"}
        for n in range(people)
    ]
    facts = {
        label: (number, words(why)) for label, number, why in people_facts(_of(tmp_path, rows), names=True)
    }
    expected = ("5", "of 5, by even use; 0@example.com has 20%")
    assert facts["People, effective"] == (
        expected if told else ("–", "fewer than 5 people are not split by person")
    )

"""What stands in for a figure whose route was refused, held against the true number of the sample's raw sessions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import pytest

from tests.conftest import session
from tests.oracle import Lab as Rows
from tests.paper.edge_worlds import Query, Refusing
from tests.paper.raw_days import Days
from tests.paper.raw_fleet import Fleet
from tests.paper.raw_months import NOTHING_COMPARES, Months
from tests.paper.raw_numbers import HOUR, Piece, Raw
from tests.strategies import tables
from usagekit.analysis.kpis import Kpi
from usagekit.analysis.months import month_bounds
from usagekit.analysis.substitutes import busiest_hour
from usagekit.analysis.sweep import hour_bins
from usagekit.engine.store import open_store, write_store
from usagekit.lab import Lab
from usagekit.query import EventsQuery, UsageQuery
from usagekit.reading import read_month
from usagekit.reading.telling import capacity_facts, footnotes, mail_facts

MARCH, CHANGE, LEGACY = "2023-03", "2022-09", "2022-08"
ZONE, TEAM, WHY = "Europe/Berlin", "Payments", "not for this token"
RUNS = 16
"""The day of March on which its running month is read."""

Read = Callable[..., Any]
Q = TypeVar("Q", UsageQuery, EventsQuery)


def _events(query: Query) -> bool:
    return isinstance(query, EventsQuery)


def _roster(query: Query) -> bool:
    return not isinstance(query, EventsQuery) and query.by == "device"


def _counts(query: Query) -> bool:
    """The counts of sessions, people and devices, the automated hours and the hour bins."""
    if isinstance(query, EventsQuery):
        return False
    counts = query.metric in ("session_count", "user_count", "device_count")
    return counts or query.automated is True or query.bin_size == "hour"


REFUSALS: dict[str, Callable[[Query], bool]] = {
    "nothing": lambda _: False,
    "counts": _counts,
    "counts and events": lambda query: _counts(query) or _events(query),
    "roster": _roster,
    "roster and hour bins": lambda query: _roster(query) or getattr(query, "bin_size", "") == "hour",
    "events": _events,
    "sessions only": lambda query: getattr(query, "metric", "") == "session_count",
}


class _Remembering(Refusing):
    """Works each answer out once, for all readings: most of their questions are the same."""

    def __init__(self, *store: Any, known: dict[Query, pd.DataFrame], **options: Any) -> None:
        super().__init__(*store, **options)
        self._known = known

    def usage(self, query: UsageQuery) -> pd.DataFrame:
        return self._once(query, super().usage)

    def events(self, query: EventsQuery) -> pd.DataFrame:
        return self._once(query, super().events)

    def _once(self, query: Q, ask: Callable[[Q], pd.DataFrame]) -> pd.DataFrame:
        self._judge(query)
        if query not in self._known:
            self._known[query] = ask(query)
        return self._known[query].copy()


@pytest.fixture(scope="module")
def read(sample_store: Path) -> Read:
    """The reading of a month of the sample, of which the API refuses something; ``day`` is that on which it is read."""
    known: dict[Query, pd.DataFrame] = {}

    @cache
    def found(refused: str, month: str = MARCH, team: str | None = None, day: int = 0) -> Any:
        as_of = datetime(2023, 3, day, 6, tzinfo=UTC) if day else datetime(2023, 4, 1, 6, tzinfo=UTC)
        refuses = REFUSALS[refused]
        source = _Remembering(open_store(sample_store), known=known, refuses=refuses, as_of=as_of)
        return read_month(Lab(source, timezone=ZONE, today=as_of.date()), month, team=team)

    return found


@pytest.fixture(scope="module")
def raw(sample_store: Path) -> Callable[[str], Raw]:
    return cache(lambda month: Raw(sample_store, month))


def figure(said: Any, key: str) -> Kpi:
    (found,) = (k for k in (*said.kpis, *getattr(said, "lab_kpis", ())) if k.key == key)
    assert isinstance(found, Kpi)
    return found


def is_told(found: Kpi, mark: str, words: str) -> None:
    """The number has its mark, and the note says of what it is and why."""
    assert found.text.startswith(mark)
    assert words in found.note
    assert WHY in found.note
    assert found.reason == ""


# Sessions and people, by single events


@pytest.mark.parametrize("month", [MARCH, CHANGE, LEGACY])
def test_sessions_are_counted_from_events(read: Read, raw: Callable[[str], Raw], month: str) -> None:
    """The number of sessions and its change are true, of two months only, and never of two eras."""
    found, true = figure(read("counts", month), "sessions"), Months(raw(month))
    is_told(found, "≈", "approx., from single events")
    assert found.history[-2:] == tuple(true.history["sessions"][-2:])
    assert found.history[:-2] == (None,) * 11
    assert found.change == (NOTHING_COMPARES if month == CHANGE else true.change("sessions"))
    assert found.year_change == NOTHING_COMPARES


@pytest.mark.parametrize("month", [MARCH, LEGACY])
def test_people_by_hand_are_a_lower_bound(read: Read, raw: Callable[[str], Raw], month: str) -> None:
    """Active users are the emails of sessions by hand, and so at most as many as there are."""
    own, true = raw(month), Months(raw(month)).history["users"][-2:]

    def by_hand(pieces: list[Piece]) -> int:
        return len({p.session.email for p in pieces if not p.session.automated} - {None})

    found = figure(read("counts", month), "users")
    is_told(found, "≥", "at least, people by hand in single events")
    assert found.history[-2:] == (by_hand(own.pieces[own.before]), by_hand(own.pieces[month]))
    assert 0 < found.history[-1] <= true[-1]


def test_a_team_has_no_substitute_by_events(read: Read) -> None:
    """Sessions by hand name no team: its sessions and users stay missing, with the reason."""
    said = read("counts", MARCH, TEAM)
    for key in ("sessions", "users"):
        found = figure(said, key)
        assert (found.text, found.change, found.note, found.mark) == ("–", "", "", "")
        assert WHY in found.reason


# Mean session and automation, of the lab and of a team


@pytest.mark.parametrize("team", [None, TEAM])
@pytest.mark.parametrize("month", [MARCH, LEGACY])
def test_mean_session_is_the_apis_own(
    read: Read, raw: Callable[[str], Raw], month: str, team: str | None
) -> None:
    """The mean of the whole sessions that start in each month, and a change between two of them."""
    own, scope = raw(month), Months(raw(month), team).scope

    def mean(first: int, last: int) -> float:
        lengths = [s.end - s.start for s in own.sessions if scope(s) and first <= s.start < last]
        return sum(lengths) / len(lengths) / 60

    found = figure(read("counts", month, team), "mean_session")
    is_told(found, "≈", "approx., the API's own mean")
    assert found.history[-2:] == pytest.approx((mean(*own.borders[-3:-1]), mean(*own.borders[-2:])))
    known = [h is not None for h in found.history]
    assert known == [own.comparable(m) for m in own.months]
    change = found.history[-1] / found.history[-2] - 1
    assert found.change[:1] == ("+" if change > 0 else "−")


@pytest.mark.parametrize("team", [None, TEAM])
def test_automation_share_by_the_team_of_events(
    read: Read, raw: Callable[[str], Raw], team: str | None
) -> None:
    """Automated events name their team: the share of the lab and of a team is true, also of the month before."""
    found, true = figure(read("counts", MARCH, team), "automation"), Months(raw(MARCH), team)
    is_told(found, "≈", "approx., from single events")
    assert found.history[-2:] == pytest.approx(true.history["automation"][-2:])
    assert found.value
    assert found.change == true.change("automation")


@pytest.mark.parametrize("team", [None, TEAM])
def test_a_team_before_september_2022_tells_no_automation(read: Read, team: str | None) -> None:
    """Then a session had a team or a user: a row with a team is not for that an automated one."""
    found = figure(read("counts", LEGACY, team), "automation")
    assert (found.text, found.note) == ("–", "")
    assert WHY in found.reason


# Devices and utilisation


@pytest.mark.parametrize("month", [MARCH, CHANGE, LEGACY])
def test_devices_used_are_counted_exactly(read: Read, month: str) -> None:
    """Devices with time in each of the 13 months, without a mark but with the reason."""
    found, true = (figure(read(refused, month), "devices") for refused in ("counts", "nothing"))
    is_told(found, "", "exact, counted by device")
    assert (found.mark, found.history) == ("", true.history)
    assert (found.text, found.change, found.year_change) == (true.text, true.change, true.year_change)
    assert found.note.startswith(f"{true.note}; ")


@pytest.mark.parametrize("refused", ["roster", "roster and hour bins"])
def test_utilisation_of_used_devices(read: Read, raw: Callable[[str], Raw], refused: str) -> None:
    """Without a roster utilisation is of the devices used in each month, and an upper bound."""
    own, true = raw(MARCH), read("nothing")
    used = Months(own).history["devices"][-2:]
    calendar, business = (figure(read(refused), key) for key in ("calendar", "business"))
    is_told(calendar, "≤", "of used devices; at most: ")
    is_told(business, "≤" if refused == "roster" else "≈", "of used devices; at most: ")
    assert ("approx., from single events" in business.note) == (refused != "roster")
    for found in (calendar, business):
        owned = figure(true, found.key).history[-2:]
        assert found.history[-2:] == pytest.approx(
            [share * len(own.models) / devices for share, devices in zip(owned, used, strict=True)]
        )
        assert found.value > owned[-1]


@pytest.mark.parametrize("month", [MARCH, CHANGE, LEGACY])
def test_business_utilisation_from_events(read: Read, raw: Callable[[str], Raw], month: str) -> None:
    """Single events inside the business hours give the share that hour bins would give."""
    found, true = figure(read("counts", month), "business"), Months(raw(month)).history["business"]
    is_told(found, "≈", "devices; approx., from single events")
    assert found.history == pytest.approx(tuple(true))


def test_the_busiest_hour_is_below_the_peak(read: Read, raw: Callable[[str], Raw]) -> None:
    """Without events the fullest hour bin stands for the peak, by name and as a lower bound of it."""
    said, own = read("events"), raw(MARCH)
    seconds = own.by_hour(MARCH)
    top = max(range(len(seconds)), key=seconds.__getitem__)
    start, clock = own.clock(MARCH)[top]
    assert said.busiest_hour.devices == pytest.approx(seconds[top] / HOUR)
    assert said.busiest_hour.at.timestamp() == start
    assert said.busiest_hour.devices <= Fleet(own).peak()[0]
    ((label, number, why),) = capacity_facts(said)
    assert (label, number) == ("Busiest hour, average", f"{seconds[top] / HOUR:.1f}")
    assert why.startswith(f"devices, {clock.day} {clock:%B %Y, %H:%M}")
    assert "a lower bound of the peak: " in why
    assert WHY in why
    assert read("nothing").busiest_hour is None


def test_the_busiest_hour_may_be_half_an_hour() -> None:
    """In half an hour that repeats on Lord Howe five device hours are ten devices; the month before is another's."""
    zone, month = "Australia/Lord_Howe", "2026-04"
    bins = hour_bins(month, zone)
    lengths = (bins["end"] - bins["start"]) / pd.Timedelta(hours=1)
    hourly = pd.DataFrame(
        {"datetime": bins["start"], "total_time_hours": (8 * lengths).mask(lengths < 1, 5.0)}
    )
    before = pd.DataFrame({"datetime": bins["start"][:1] - pd.Timedelta("5D"), "total_time_hours": 99.0})
    given = pd.concat([before, hourly], ignore_index=True)
    hour = busiest_hour(given, month=month, timezone=zone, span=month_bounds(month, zone))
    assert hour is not None
    (half,) = bins["start"][lengths < 1]
    assert (hour.devices, hour.at) == (10, half)


# A month that still runs


def test_substitutes_of_a_running_month(read: Read, raw: Callable[[str], Raw]) -> None:
    """Each counts the days that are over and as many of the month before; devices are not known for part of a month."""
    said, days = read("counts", day=RUNS), Days(raw(MARCH), RUNS - 1)
    true = days.figures()
    for key in ("sessions", "automation", "business"):
        assert figure(said, key).history == pytest.approx((*[None] * 11, *true[key])), key
    emails = [
        {p.session.email for p in days.pieces(*span) if not p.session.automated} - {None}
        for span in days.spans
    ]
    assert figure(said, "users").history[-2:] == tuple(map(len, emails))
    assert figure(said, "devices").history == (*[None] * 12, true["devices"][-1])
    assert figure(said, "devices").change == NOTHING_COMPARES
    assert figure(said, "mean_session").history[:-2] == (None,) * 11
    assert None not in figure(said, "mean_session").history[-2:]
    team = figure(read("counts", MARCH, TEAM, RUNS), "automation")
    expected = Days(raw(MARCH), RUNS - 1, TEAM).figures()["automation"]
    assert team.history == pytest.approx((*[None] * 11, *expected))


def test_the_busiest_hour_of_a_running_month(read: Read, raw: Callable[[str], Raw]) -> None:
    """It is one of the days that are over."""
    hour, own = read("events", day=RUNS).busiest_hour, raw(MARCH)
    pairs = zip(own.by_hour(MARCH), own.clock(MARCH), strict=True)
    over = {start: seconds for seconds, (start, clock) in pairs if clock.day < RUNS}
    assert hour.devices == pytest.approx(max(over.values()) / HOUR)
    assert over[int(hour.at.timestamp())] == max(over.values())


# What a substitute must not do


@pytest.mark.parametrize(("month", "day"), [(MARCH, 0), (LEGACY, 0), (MARCH, RUNS)])
def test_without_events_too_figures_stay_missing(read: Read, month: str, day: int) -> None:
    """Where the substitute's source is refused as well there is no number, and the first refusal is the reason."""
    said = read("counts and events", month, None, day)
    for key in ("sessions", "users", "automation", "business"):
        found = figure(said, key)
        assert (found.text, found.change, found.mark) == ("–", "", ""), key
        assert "events" not in found.note
        assert WHY in found.reason
    assert said.busiest_hour is None
    assert capacity_facts(said)[0][:2] == ("Peak", "–")
    assert figure(said, "devices").value == figure(read("nothing", month, None, day), "devices").value


def test_no_rule_rests_on_a_substitute(read: Read) -> None:
    """Bridge, finding and the row below the teams know the real numbers only; refused calls are still listed."""
    said, true = read("counts"), read("nothing")
    assert true.bridge
    assert said.bridge == {}
    assert [k.value is None for k in said.measured] == [False, True, True, True, True]
    assert true.teams_total["user_count"]
    assert said.teams_total["user_count"] is said.teams_total["automation_share"] is None
    assert [s.rule for s in said.suggestions] == [s.rule for s in true.suggestions]
    notes = footnotes(said)
    for name in ("user count", "session count", "device count", "automated", "hourly"):
        assert any(note.startswith(f"– {name}: ") and WHY in note for note in notes), name


def test_a_finding_names_no_factor_that_is_a_substitute(tmp_path: Path) -> None:
    """Hours that are unusual because of more sessions are told without that reason where sessions were refused."""
    own = {"team": "QA", "email": "q@example.com", "user": "Q"}
    rows = [
        session(n, f"{month}-{day:02} 08:00", f"{month}-{day:02} 11:00") | own
        for n, (month, day) in enumerate(
            [("2023-02", d) for d in range(1, 10)] + [("2023-03", d) for d in range(1, 31)]
        )
    ]
    write_store(tmp_path / "store", tables(Rows(sessions=rows)))
    told = {}
    for refused in ("nothing", "counts"):
        source = Refusing(
            open_store(tmp_path / "store"),
            refuses=REFUSALS[refused],
            as_of=datetime(2023, 4, 1, 6, tzinfo=UTC),
        )
        said: Any = read_month(Lab(source, timezone=ZONE, today=source.as_of.date()), MARCH)
        sessions = figure(said, "sessions")
        told[refused] = (
            sessions.value,
            sessions.change,
            "mostly more sessions per user" in said.finding,
        )
    # After nine sessions a change is absolute, also that of a substitute.
    assert told == {"nothing": (30, "+21", True), "counts": (30, "+21", False)}


def test_a_team_whose_users_were_not_recorded_has_not_none(read: Read) -> None:
    """Before September 2022 no users of a team are known; that is no true zero where its sessions are refused."""
    found = figure(read("sessions only", LEGACY, TEAM), "users")
    assert (found.value, found.mark, found.reason) == (None, "", "not recorded or not fetched")


def test_the_mail_repeats_the_marks(read: Read) -> None:
    """In the table of a mail a substitute has its mark, now, before and a year ago."""
    said = read("counts")
    rows = {row["label"]: row for row in mail_facts(said)["kpis"]}
    assert rows["Sessions"]["value"].startswith("≈")
    assert rows["Sessions"]["previous"].startswith("≈")
    assert rows["Active users"]["value"].startswith("≥")
    assert rows["Device hours"]["value"][0].isdigit()
    assert rows["Sessions"]["year"] == rows["Mean session"]["year"] == "–"
    year = figure(read("counts", LEGACY), "mean_session").year_text
    assert year.startswith("≈")

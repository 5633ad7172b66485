"""A month that still runs: what is told compares equal days, and nothing is judged that needs a whole month."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from usagekit import figures
from usagekit.analysis.concurrency import business_minutes, business_spells
from usagekit.analysis.months import hours_in_days
from usagekit.engine.store import open_store
from usagekit.fetch import fetch_snapshot
from usagekit.lab import Lab
from usagekit.openers import open_snapshot
from usagekit.period import BusinessHours, Period
from usagekit.reading import read_month
from usagekit.reading.basis import RUNNING
from usagekit.reading.lab import LabReading
from usagekit.reading.team import TeamReading
from usagekit.reading.telling import people_facts
from usagekit.sources import StoreSource

MONTH, ZONE = "2023-03", "Europe/Berlin"


@pytest.fixture(scope="module", params=[16, 3])
def running(
    request: pytest.FixtureRequest, sample_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Lab:
    """The sample as fetched on a morning of March, from its snapshot."""
    source = StoreSource(open_store(sample_store), as_of=datetime(2023, 3, request.param, 6, tzinfo=UTC))
    folder = tmp_path_factory.mktemp("running") / MONTH
    fetch_snapshot(Lab(source, timezone=ZONE, name="Test lab"), MONTH, folder)
    return open_snapshot(folder)


def _days(lab: Lab) -> tuple[Period, Period]:
    last = lab.as_of.day - 1
    return Period(date(2023, 2, 1), date(2023, 2, last)), Period(date(2023, 3, 1), date(2023, 3, last))


def _hours(local: Lab, days: Period, **asked: str) -> float:
    return float(local.usage(days, **asked).df["total_time_hours"].sum())  # type: ignore[arg-type]


def _lab(lab: Lab) -> LabReading:
    said = read_month(lab, MONTH)
    assert isinstance(said, LabReading)
    return said


def test_utilisation_of_equal_days(running: Lab, local: Lab) -> None:
    """Calendar and business utilisation are shares of the hours that are over, in both months."""
    said, devices = _lab(running), len(local.devices.names)
    _, calendar, business = said.lab_kpis
    open_ = dict.fromkeys(_days(running), 0.0)
    for history, days in zip((-2, -1), _days(running), strict=True):
        capacity = devices * hours_in_days(days, ZONE)
        assert calendar.history[history] == pytest.approx(_hours(local, days) / capacity)
        hourly = local.usage(days, bin="hour").df
        clock = hourly["datetime"].dt.tz_convert(ZONE)
        inside = (clock.dt.day_of_week < 5) & clock.dt.hour.between(8, 17)
        open_[days] = 10 * sum(day.weekday() < 5 for day in _each(days))
        used = hourly.loc[inside, "total_time_hours"].sum()
        assert business.history[history] == pytest.approx(used / (devices * open_[days]))
    assert calendar.history[:-2] == business.history[:-2] == (None,) * 11
    assert said.business_minutes == 60 * open_[_days(running)[1]]


def _each(days: Period) -> list[date]:
    return [date(days.start.year, days.start.month, day) for day in range(days.start.day, days.end.day + 1)]


def test_no_whole_month_beside_part_of_one(running: Lab, local: Lab) -> None:
    """The course of each figure holds the two equal spans only, and so do teams and days."""
    said = _lab(running)
    before, now = _days(running)
    assert said.kpis[0].history[-2:] == pytest.approx((_hours(local, before), _hours(local, now)))
    assert {k.history[:-2] for k in (*said.kpis, *said.lab_kpis)} == {(None,) * 11}
    assert said.teams is not None
    assert {history[:-2] for history in said.teams["history"]} == {(None,) * 11}
    assert said.daily is not None
    assert said.daily["previous_hours"].sum() == pytest.approx(_hours(local, before))
    assert said.daily["total_time_hours"].sum() == pytest.approx(_hours(local, now))


@pytest.mark.parametrize("team", [None, "Payments"])
def test_nothing_is_judged_by_part_of_a_month(running: Lab, team: str | None) -> None:
    """No device is idle, dormant or fading, nobody has lapsed and no month is forecast before this one is over."""
    said = read_month(running, MONTH, team=team)
    assert isinstance(said, LabReading | TeamReading)
    assert said.fading is None
    assert said.why("fading") == RUNNING
    assert said.flow is not None
    assert said.flow.lapsed is None
    assert ("Lapsed", "–", RUNNING) in people_facts(said)
    assert "idle" not in said.finding
    assert "retire" not in {s.rule for s in said.suggestions}
    if isinstance(said, LabReading):
        assert (said.idle, said.forecast, said.why("idle"), said.why("forecast")) == (
            None,
            None,
            RUNNING,
            RUNNING,
        )
        shown = figures.forecast_chart(None, history=(), month=MONTH, reason=said.why("forecast"))
        assert RUNNING in shown.alt
    else:
        assert said.findings.leader == ""


def test_the_clock_of_sold_out_hours_ends_with_the_days(running: Lab) -> None:
    """Minutes by weekday and hour are means over the hours that are over, of the same minutes as ever."""
    said = _lab(running)
    week, last = said.sold_out_week, _days(running)[1].end
    assert week is not None
    assert said.week is not None
    assert week.isna().equals(said.week.isna())
    assert week.isna().to_numpy().any() == (last.day < 7)


def test_figures_name_the_days_that_compare(running: Lab) -> None:
    """Tiles, bridge, days and definitions name the days of both months, not the months."""
    said, last = read_month(running, MONTH, team="Payments"), running.as_of.day - 1
    spans = (f"1–{last} February 2023", f"1–{last} March 2023")
    assert said.days == spans
    hours = said.kpis[0]
    drawn = [
        figures.tiles(said.kpis, month=MONTH, days=said.days).content["note"],
        figures.bridge(
            said.bridge, before=hours.previous, after=hours.value, month=MONTH, days=said.days
        ).alt,
        figures.daily_chart(said.daily, month=MONTH, days=said.days).html,
        str(figures.definitions(running, month=MONTH).content),
    ]
    for text in drawn:
        for span in spans:
            assert span in text
        assert "in February 2023" not in text
        assert "against February 2023" not in text


def test_a_lab_that_never_closes_is_open_while_its_month_runs() -> None:
    """Business time that spans days is cut at the last one, not dropped."""
    always = BusinessHours(start=datetime.min.time(), end=datetime.max.time(), weekdays=tuple(range(7)))
    until = business_spells(MONTH, "UTC", BusinessHours())["end"].iloc[1]
    assert business_minutes(MONTH, "UTC", always, until=until) == pytest.approx(60 * 42, abs=0.1)
    assert business_minutes(MONTH, "UTC", BusinessHours(), until=until) == 1200

"""The evidence of a month: from a snapshot or the API the same, with three states kept apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from usagekit import figures
from usagekit.errors import ApiStatusError, NotFetchedError, ServerError
from usagekit.evidence import Evidence, gather
from usagekit.fetch import fetch_snapshot, month_queries
from usagekit.figures import reproduce
from usagekit.lab import Lab
from usagekit.openers import open_snapshot
from usagekit.period import BusinessHours
from usagekit.query import EventsQuery, UsageQuery
from usagekit.reading import read_month
from usagekit.reading.basis import Basis
from usagekit.reading.lab import LabReading
from usagekit.reading.telling import capacity_facts, footnotes
from usagekit.snapshot import SnapshotSource

MONTH = "2023-03"


def _frames(evidence: Evidence) -> dict[str, pd.DataFrame]:
    return {name: value for name, value in vars(evidence).items() if isinstance(value, pd.DataFrame)}


@pytest.mark.parametrize("team", [None, "NA"])
def test_a_snapshot_and_the_api_give_the_same(frozen: Lab, remote: Lab, team: str | None) -> None:
    """A report read from a snapshot rests on the very numbers that the API gives."""
    ours, theirs = _frames(gather(frozen, MONTH, team)), _frames(gather(remote, MONTH, team))
    assert set(ours) == set(theirs)
    assert {"usage", "devices", "users", "hourly", "events", "fleet", "people"} <= set(ours)
    for name, frame in ours.items():
        pd.testing.assert_frame_equal(frame, theirs[name], obj=name)


def _refusing(lab: Lab, monkeypatch: pytest.MonkeyPatch, *, status: int, by: str) -> None:
    """Let the API refuse every question by ``by``, and events where that is ``events``."""
    usage, events = lab.source.usage, lab.source.events

    def refused(query: UsageQuery | EventsQuery) -> pd.DataFrame:
        if by == ("events" if isinstance(query, EventsQuery) else query.by):
            raise ApiStatusError("not for you", method="GET", path="/v1/usage/x", status=status)
        return usage(query) if isinstance(query, UsageQuery) else events(query)

    monkeypatch.setattr(lab.source, "usage", refused)
    monkeypatch.setattr(lab.source, "events", refused)


@pytest.mark.parametrize("by", ["devicemodel", "host", "events", "device"])
def test_what_the_api_denies_is_missing_not_zero(
    remote: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    """A denied part costs that part alone: it is None with a reason, and the rest is there."""
    if by != "device":
        _refusing(remote, monkeypatch, status=403, by=by)
    else:
        _refusing(remote, monkeypatch, status=500, by=by)
    folder = tmp_path / MONTH
    fetch_snapshot(remote, MONTH, folder)
    source = SnapshotSource(folder)
    assert source.missing
    evidence = gather(Lab(source, timezone=source.timezone), MONTH)
    name = {"devicemodel": "models", "host": "hosts", "device": "devices", "events": "events"}[by]
    assert getattr(evidence, name) is None
    assert "not for you" in evidence.missing[name]
    assert evidence.usage is not None
    assert evidence.usage["total_time_hours"].sum() > 0
    if by == "device":
        assert evidence.fleet is None
        with pytest.raises(NotFetchedError, match="not for you"):
            source.usage(next(q for q, _ in source.missing if isinstance(q, UsageQuery)))


def _denied(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, folder: Path, *, what: Callable[[UsageQuery], bool]
) -> Lab:
    """The snapshot of a lab whose API denies some questions."""
    usage = lab.source.usage

    def refused(query: UsageQuery) -> pd.DataFrame:
        if what(query):
            raise ApiStatusError("not for you", method="GET", path="/v1/usage/x", status=403)
        return usage(query)

    monkeypatch.setattr(lab.source, "usage", refused)
    fetch_snapshot(lab, MONTH, folder / MONTH)
    return open_snapshot(folder / MONTH)


def test_no_known_model_says_nothing_of_models(
    remote: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where models are denied no model is called never sold out, needed, movable or spare: each is missing, and why."""
    said = read_month(_denied(remote, monkeypatch, tmp_path, what=lambda q: q.by == "devicemodel"), MONTH)
    assert isinstance(said, LabReading)
    assert said.evidence.fleet is not None
    assert said.evidence.fleet["device_model"].isna().all()
    parts = {name: getattr(said, name) for name in ("sizes", "sold_out_week", "movable", "twins")}
    assert parts == dict.fromkeys(parts)
    assert said.findings.sold_out is None
    assert {"not for you" in said.why(name) for name in parts} == {True}
    assert any("models" in note and "not for you" in note for note in footnotes(said))
    facts = {label: (number, why) for label, number, why in capacity_facts(said)}
    assert facts["Movable automation"][0] == "–"
    assert said.sites("country") is not None
    week = figures.heatmap(said.week, month=MONTH, timezone=said.timezone, sold_out=said.sold_out_week)
    drawn = [week.alt, figures.right_size_chart(said.sizes, reason=said.why("sizes")).alt]
    assert not any("No model" in text for text in drawn)
    assert "not for you" in drawn[1]


def test_no_known_country_is_no_table_of_one(
    remote: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where countries are denied their table is missing, with the reason."""
    said = read_month(_denied(remote, monkeypatch, tmp_path, what=lambda q: q.by == "country"), MONTH)
    assert isinstance(said, LabReading)
    assert said.sites("country") is None
    assert "not for you" in said.why("country")
    assert said.sizes is not None


def test_refused_figures_of_teams_stop_no_report(
    remote: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the hours of the lab and of its teams are needed; any other answer by team is missing with its reason."""

    def more(query: UsageQuery) -> bool:
        plain = query.metric == "total_time" and query.automated is None and query.bin_size == "month"
        return query.by == "team" and not plain

    lab = _denied(remote, monkeypatch, tmp_path, what=more)
    whole, team = read_month(lab, MONTH), read_month(lab, MONTH, team="NA")
    assert isinstance(whole, LabReading)
    assert whole.teams is not None
    assert whole.teams["total_time_hours"].sum() == pytest.approx(whole.hours)
    assert whole.teams["user_count"].isna().all()
    assert whole.kpis[1].value
    assert any("teams user count: " in note and "not for you" in note for note in footnotes(whole))
    assert [k.value is None for k in team.measured] == [False, True, True, True, True]
    assert [k.mark for k in team.kpis] == ["", "", "", "", "≈"]  # automated events name their team
    assert team.hours > 0
    assert any("user count: " in note and "not for you" in note for note in footnotes(team))


@pytest.mark.parametrize(("by", "status"), [("", 403), ("team", 500), ("host", 401), ("host", 429)])
def test_without_the_total_there_is_no_snapshot(
    remote: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str, status: int
) -> None:
    """The total, the teams, a token and a rate limit concern every report: then nothing is made."""
    _refusing(remote, monkeypatch, status=status, by=by)
    with pytest.raises(ApiStatusError):
        fetch_snapshot(remote, MONTH, tmp_path / MONTH)
    assert not (tmp_path / MONTH / "manifest.json").exists()


def test_a_month_that_changed_after_its_report_is_told(
    remote: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The snapshot of the next month says what the month before was then and is now."""
    fetch_snapshot(remote, "2023-02", tmp_path / "2023-02")
    asked = remote.source.usage
    total = month_queries(MONTH, remote.timezone)[0]

    def more(query: UsageQuery) -> pd.DataFrame:
        frame = asked(query)
        if query == total:
            late = frame["datetime"] == pd.Timestamp("2023-02-01")
            frame["total_time_hours"] = frame["total_time_hours"].where(~late, frame["total_time_hours"] + 15)
        return frame

    monkeypatch.setattr(remote.source, "usage", more)
    fetch_snapshot(remote, MONTH, tmp_path / MONTH)
    restated = SnapshotSource(tmp_path / MONTH).restated
    assert restated is not None
    assert restated["month"] == "2023-02"
    assert restated["after_hours"] - restated["before_hours"] == pytest.approx(15)
    assert set(restated["teams"]) == set(remote.teams.names)
    assert all(before == after > 0 for before, after in restated["teams"].values())
    assert sum(before for before, _ in restated["teams"].values()) == pytest.approx(restated["before_hours"])
    assert SnapshotSource(tmp_path / MONTH).fleet_requests == 0  # the fleet of February is known
    assert SnapshotSource(tmp_path / "2023-02").restated is None


def test_notes_travel_with_the_snapshot(remote: Lab, tmp_path: Path) -> None:
    """A remark on a device is part of the frozen month, whatever its characters."""
    notes = {"d1@h": '#read("x") <b> チーム', "d2": "maintenance"}
    fetch_snapshot(remote, MONTH, tmp_path / MONTH, notes=notes)
    source = SnapshotSource(tmp_path / MONTH)
    assert gather(Lab(source, timezone=source.timezone), MONTH).notes == notes


def test_a_failing_server_is_no_missing_token(remote: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over the API too a failed part is missing, and the total is not negotiable."""

    def failing(_query: UsageQuery) -> pd.DataFrame:
        raise ServerError("down", method="GET", path="/v1/usage", status=503)

    monkeypatch.setattr(remote.source, "usage", failing)
    with pytest.raises(ServerError):
        gather(remote, MONTH)


@pytest.mark.parametrize("zone", ["America/Los_Angeles", "Pacific/Kiritimati", "Asia/Kolkata"])
def test_events_cover_the_month_in_any_zone(local: Lab, zone: str) -> None:
    """Single events, which the API dates in UTC, add up to the month's hours west and east of it."""
    there = Lab(local.source, timezone=zone, today=local.today)
    month = read_month(there, "2023-02")
    events = month.sums["events"]
    assert events == pytest.approx(month.hours, rel=1e-12)
    assert month.trust.badge == "green"


def test_a_missing_figure_says_why_as_the_api_does() -> None:
    """The reason below a tile is the refusal that is known, and a general one only where nothing is."""
    usage = pd.DataFrame(
        {"datetime": pd.to_datetime(["2023-02-01", "2023-03-01"]), "total_time_hours": [8.0, 10.0]}
    )
    lab = SimpleNamespace(timezone="Europe/Berlin", business_hours=BusinessHours())
    evidence = Evidence(
        lab, "2023-03", None, usage=usage, missing={"user_count": "403: not for this account"}
    )
    hours, users, sessions, *_ = Basis(evidence).measured
    assert (hours.text.replace("\u00a0", " "), hours.reason) == ("10.0 h", "")
    assert (users.text, users.reason) == ("–", "403: not for this account")
    assert (sessions.text, sessions.reason) == ("–", "not recorded or not fetched")


def test_every_question_behind_a_report_is_told(frozen: Lab) -> None:
    """Sessions, users of each team and the fleet are among the questions, and not only the usage routes."""
    for team in (None, "Payments"):
        evidence = gather(frozen, MONTH, team)
        asked = reproduce(*evidence.answers, team=team, month=MONTH).content["requests"]
        *_, events, many = asked
        assert events == 'GET /v0/usage/events {"start_date": "20221231", "end_date": "20230331"}'
        assert [many.count(words) for words in ("each team", "{device,devicemodel}", "{host,country}")] == [
            1,
            1,
            1,
        ]
        assert f"filter_on.team_name={team}" in asked[-3] or team is None

"""Every number of the sample's reports, computed a second time from the raw sessions of its store."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pypdf import PdfReader

from tests.paper.raw_days import Days
from tests.paper.raw_fleet import Fleet
from tests.paper.raw_months import Months
from tests.paper.raw_numbers import Raw
from tests.paper.raw_pages import BUCKETS, Pages
from tests.paper.raw_people import Sessions, weeks_median
from tests.paper.raw_words import Words
from usagekit.delivery.facts import read_facts
from usagekit.delivery.team_letter import team_letter
from usagekit.engine.store import open_store
from usagekit.fetch import fetch_snapshot
from usagekit.lab import Lab
from usagekit.openers import open_snapshot
from usagekit.reading import read_month
from usagekit.reading.telling import mail_facts, people_facts, shown_facts
from usagekit.report.batch import Rendered, plan_month
from usagekit.report.render import render_unit
from usagekit.sample_lab import write_sample
from usagekit.sources import StoreSource

MARCH, OCTOBER, LEGACY = "2023-03", "2022-10", "2022-08"
TEAMS = (None, "Payments", "NA")
CASES = [(month, team) for month in (MARCH, OCTOBER, LEGACY) for team in TEAMS]
CURRENT = [(month, team) for month, team in CASES if month != LEGACY]
CENTS = 1_234_567

Read = Callable[[str, str | None], Any]
Oracle = Callable[[str], Raw]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("numbers") / "store"
    write_sample(path)
    return path


@pytest.fixture(scope="module")
def snapshot(store: Path) -> Callable[[str], Path]:
    source = StoreSource(open_store(store), as_of=datetime(2023, 4, 1, 6, tzinfo=UTC))
    lab = Lab(source, name="Test lab", timezone="Europe/Berlin", today=date(2023, 4, 1))

    @cache
    def fetched(month: str) -> Path:
        return fetch_snapshot(lab, month, store.parent / "snapshots" / month).parent

    return fetched


@pytest.fixture(scope="module")
def read(snapshot: Callable[[str], Path]) -> Read:
    return cache(lambda month, team: read_month(open_snapshot(snapshot(month)), month, team=team))


@pytest.fixture(scope="module")
def raw(store: Path) -> Oracle:
    return cache(lambda month: Raw(store, month))


def check(found: Any, expected: Any, where: str = "") -> None:
    """Equal in every part; numbers to a millionth."""
    if isinstance(expected, list | tuple):
        assert len(found) == len(expected), (where, found, expected)
        for place, (one, other) in enumerate(zip(found, expected, strict=True)):
            check(one, other, f"{where}[{place}]")
    elif isinstance(expected, dict):
        assert list(found) == list(expected), where
        check(list(found.values()), list(expected.values()), f"{where} {list(expected)}")
    elif expected is None or isinstance(expected, str | datetime):
        assert found == expected, where
    else:
        assert found == pytest.approx(float(expected), abs=1e-6), where


def rows(frame: pd.DataFrame, *columns: str) -> list[tuple[Any, ...]]:
    """The rows of a frame; None for what is missing."""
    return [
        tuple(None if pd.api.types.is_scalar(v) and pd.isna(v) else v for v in row)
        for row in frame[list(columns) or list(frame)].itertuples(index=False, name=None)
    ]


# A month and the months before it


@pytest.mark.parametrize(("month", "team"), CASES)
def test_figures(read: Read, raw: Oracle, month: str, team: str | None) -> None:
    """Each figure, its 13 months, its change, and last year's, which lies before the change of era."""
    said, months = read(month, team), Months(raw(month), team)
    figures = [*said.kpis, *(said.lab_kpis if team is None else ())]
    assert len(figures) == (8 if team is None else 5)
    for figure in figures:
        check(figure.history, months.history[figure.key], figure.key)
        assert figure.change == months.change(figure.key), figure.key
        assert figure.year_change == ("" if figure.value is None else "n/a (no comparable data)")
    assert said.kpis[0].note == months.rate_note()
    check(said.bridge, months.bridge())
    assert not said.bridge or sum(said.bridge.values()) == pytest.approx(
        said.kpis[0].value - said.kpis[0].previous
    )
    assert shown_facts(said) == {"total_hours": said.kpis[0].text}
    told = mail_facts(said)
    assert [k["change"] for k in told["kpis"]] == [k.change for k in said.kpis]
    check(told["history"], months.history["hours"])


@pytest.mark.slow
def test_real_mails_keep_their_words(read: Read, raw: Oracle) -> None:
    """The mail of every team of the sample has at most 120 words as anybody counts them, and room for what is worth doing."""
    letters, asked = [], {}
    for team in sorted(raw(MARCH).teams):
        said = read(MARCH, team)
        asked[team] = len(said.suggestions)
        about = {
            "month": MARCH,
            "lab": "Lab",
            "timezone": "Europe/Berlin",
            "as_of": "2023-04-01T06:00:00+00:00",
        }
        facts = about | {"total_hours": said.kpis[0].value, "mail": mail_facts(said)}
        letters.append(
            team_letter(
                read_facts({"facts": facts, "parameters": {"team": team}}),
                {},
                revision=1,
                contact="lab@example.com",
            )
        )
    assert len(letters) == 12
    assert [letter.title for letter in letters if len(letter.text().split()) > 120] == []
    assert [letter.title for letter in letters if len(letter.actions) < min(2, asked[letter.title])] == []


@pytest.mark.parametrize("day", [3, 16])
def test_a_running_month(store: Path, raw: Oracle, tmp_path: Path, day: int) -> None:
    """On the 3rd and the 16th every figure compares equal days; nothing of the whole months before stands beside them."""
    source = StoreSource(open_store(store), as_of=datetime(2023, 3, day, 6, tzinfo=UTC))
    fetch_snapshot(Lab(source, timezone="Europe/Berlin", today=date(2023, 3, day)), MARCH, tmp_path / MARCH)
    for team in TEAMS:
        said: Any = read_month(open_snapshot(tmp_path / MARCH), MARCH, team=team)
        days = Days(raw(MARCH), day - 1, team)
        expected = days.figures()
        for figure in (*said.kpis, *(said.lab_kpis if team is None else ())):
            check(figure.history, [*[None] * 11, *expected[figure.key]], figure.key)
        before, now = days.by_day()
        table = rows(said.daily, "total_time_hours", "previous_hours")
        check(table[: day - 1], list(zip(now, before, strict=True)))
        assert set(table[day - 1 :]) == {(None, None)}
        assert said.trust.badge == "green"
        assert said.fading is None
        if team is None:
            changed = {row["team"]: row["change_hours"] for row in said.teams.to_dict("records")}
            check(dict(sorted(changed.items())), dict(sorted(days.teams().items())))
            assert (said.idle, said.forecast) == (None, None)


@pytest.mark.parametrize(("month", "team"), CASES)
def test_days_and_weeks(read: Read, raw: Oracle, month: str, team: str | None) -> None:
    """Hours of each day of both months, and the mean number of devices busy by weekday and hour of the local clock."""
    said, own = read(month, team), raw(month)
    months = Months(own, team)
    before = {day.day: hours for day, hours in own.daily(own.before, months.scope).items()}
    days = [(str(day), hours, before.get(day.day)) for day, hours in own.daily(month, months.scope).items()]
    check([(str(d.date()), h, p) for d, h, p, _ in rows(said.daily)], days)
    week = own.week(own.by_hour(month, months.scope))
    check(said.week.to_numpy().ravel().tolist(), [week[divmod(cell, 24)] for cell in range(168)])


@pytest.mark.parametrize(("month", "team"), CASES)
def test_largest_devices_and_models(read: Read, raw: Oracle, month: str, team: str | None) -> None:
    """The ten largest with their shares and the rest in one row; and how evenly devices and people share the hours."""
    said, months = read(month, team), Months(raw(month), team)
    check(
        rows(said.top_devices, "rank", "device_address", "total_time_hours", "share", "groups"),
        months.top(lambda s: s.device),
    )
    check(
        rows(said.top_models, "rank", "device_model", "total_time_hours", "share", "groups"),
        months.top(lambda s: s.model),
    )
    shared = [said.device_concentration]
    expected = [months.concentration(lambda s: s.device)]
    if months.history["users"][-1]:
        shared.append(said.user_concentration)
        expected.append(months.concentration(lambda s: s.email))
    check([(c.members, c.effective, c.top_share) for c in shared], expected)


@pytest.mark.parametrize(("month", "team"), CASES)
def test_sums(read: Read, raw: Oracle, month: str, team: str | None) -> None:
    """The hours added up in every other way; before September 2022 teams and users are one sum, and a team has no users."""
    said, expected = read(month, team), Months(raw(month), team).sums
    if month == LEGACY:
        users = expected.pop("users")
        if team is None:
            expected["teams + users"] = expected.pop("teams") + users
    table = said.reconciliation
    check(dict(sorted(rows(table, "part", "sum_hours"))), dict(sorted(expected.items())))
    check(table["total_hours"].unique().tolist(), [Months(raw(month), team).hours])
    assert set(table["badge"]) == {"green"}


# Sessions and people


@pytest.mark.parametrize(("month", "team"), CURRENT)
def test_sessions(read: Read, raw: Oracle, month: str, team: str | None) -> None:
    """Lengths and mix, holds, spikes, false starts and suspects; of a team those that are surely its own."""
    said, own = read(month, team), Sessions(raw(month), team)
    if team is not None:
        check(said.team_sessions.coverage, own.coverage())
        assert 0.8 <= own.coverage() <= 1.2
    check(rows(said.lengths), [(kind, *levels) for kind, levels in own.lengths().items()])
    check(rows(said.mix), [(b, *row) for b, row in zip(BUCKETS, own.mix(), strict=True)])
    held, manual = own.holds
    found = [
        (device, int(start.timestamp()), int(end.timestamp()), hours, hold)
        for device, start, end, hours, hold, _ in rows(said.holds)
    ]
    check(found, held)
    total = sum(row[4] for row in held)
    summary = said.hold_summary
    check(
        (summary.sessions, summary.hold_hours, summary.manual_hours, summary.share),
        (len(held), total, manual, total / manual),
    )
    check(rows(said.spikes), own.spikes())
    starts = said.false_starts
    check((starts.sessions, starts.count, starts.bursts), own.false_starts())
    columns = ("device_address", "sessions", "false_starts", "lower", "fleet_rate")
    check(rows(said.suspects, *columns), own.suspects())


@pytest.mark.parametrize(("month", "team"), CASES)
def test_people(read: Read, raw: Oracle, month: str, team: str | None) -> None:
    """New, returning, revived and lapsed users, and after how many weeks the new ones come regularly."""
    said, own = read(month, team), Sessions(raw(month), team)
    check({name: getattr(said.flow, name) for name in own.flow()}, own.flow())
    starters, waits, not_yet = own.regulars()
    found = said.regulars
    if found is None:
        assert not any(list(own.active().values())[:-3])
        return
    expected = (starters, len(waits), not_yet, starters - len(waits) - not_yet, weeks_median(waits))
    check((found.starters, found.regular, found.not_yet, found.unseen, found.median_weeks), expected)


def test_beginners_of_an_unknown_past(read: Read) -> None:
    """Where users are not known from before, nobody is called a beginner, and the page says why."""
    said = read(OCTOBER, "NA")
    assert said.regulars is None
    facts = {label: (number, why) for label, number, why in people_facts(said)}
    assert facts["Weeks to regular use"] == ("–", "no users are known from before these three months")


# The fleet


@pytest.mark.parametrize("month", [MARCH, OCTOBER, LEGACY])
def test_capacity(read: Read, raw: Oracle, month: str) -> None:
    """Peak, duration curve and its levels, sites, sold-out hours, and what moving automation would change."""
    said, fleet = read(month, None), Fleet(raw(month))
    most, at = fleet.peak()
    assert (said.peak.devices, said.peak.at.isoformat()) == (most, at.isoformat())
    longer = fleet.longer(fleet.steps)
    check(rows(said.curve), [(k, s / 60, s / fleet.raw.open_seconds) for k, s in enumerate(longer)])
    assert said.levels == {0.95: fleet.enough(fleet.steps, 95), 0.99: fleet.enough(fleet.steps, 99)}
    for column in ("country", "hostname"):
        check(rows(said.sites(column)), fleet.sites(column))
    week = fleet.sold_out_week
    check(said.sold_out_week.to_numpy().ravel().tolist(), [week[divmod(cell, 24)] for cell in range(168)])
    hours, before, after = fleet.movable
    moved = said.movable
    check(
        (moved.hours, moved.sold_out_minutes, moved.remaining_minutes, moved.saved_share),
        (hours, before, after, 1 - after / before),
    )


@pytest.mark.parametrize("month", [MARCH, OCTOBER, LEGACY])
def test_models_and_devices(read: Read, raw: Oracle, month: str) -> None:
    """Owned, used, needed, sold out and handed over by model; devices idle, fading, and never busy together."""
    said, fleet = read(month, None), Fleet(raw(month))
    sizes = fleet.sizes
    check(rows(said.candidates, *sizes[0]), [tuple(row.values()) for row in sizes])
    idle = [
        (d, n, None if last is None else f"{last:%Y-%m}")
        for d, n, last in rows(said.idle, "device_address", "idle_months", "last_used")
    ]
    check(idle, fleet.idle)
    check(
        rows(said.fading, "device_address", "state", "usual_hours", "before_hours", "hours"), fleet.fading()
    )
    check(rows(said.twins), fleet.twins)
    assert said.roster_size == len(fleet.raw.models)


@pytest.mark.parametrize(("month", "team"), [case for case in CASES if case[1]])
def test_fading_devices_of_teams(read: Read, raw: Oracle, month: str, team: str) -> None:
    """Devices that the team used before, and hardly or not at all now."""
    columns = ("device_address", "state", "usual_hours", "before_hours", "hours")
    check(rows(read(month, team).fading, *columns), Fleet(raw(month)).fading(team))


# Teams and money


@pytest.mark.parametrize("month", [MARCH, OCTOBER, LEGACY])
def test_teams_and_money(read: Read, raw: Oracle, month: str) -> None:
    """The table of the teams, who pays what in both modes to the cent, and the next month with its band."""
    said, months = read(month, None), Months(raw(month))
    expected = months.teams
    for found, row in zip(said.teams.to_dict("records"), expected, strict=True):
        for key, value in row.items():
            own = found[key]
            check(None if not isinstance(own, tuple) and pd.isna(own) else own, value, f"{row['team']} {key}")
    for mode in ("used", "all-in"):
        split = said.showback(CENTS / 100, mode)
        parts = months.showback(CENTS, mode)
        assert [int(cost * 100) for cost in split["cost"]] == [cents for *_, cents in parts]
        assert sum(cents for *_, cents in parts) == CENTS
        check(split["total_time_hours"].tolist(), [hours for _, hours, _ in parts])
        check(split["share"].tolist(), [hours / sum(h for _, h, _ in parts) for _, hours, _ in parts])
    found = said.forecast
    check(found and (found.month, found.hours, found.low, found.high), months.forecast())
    assert (found is None) == (month == OCTOBER)


# Words


@pytest.mark.parametrize(("month", "team"), [*CURRENT, (LEGACY, None)])
def test_rules_and_their_numbers(read: Read, raw: Oracle, month: str, team: str | None) -> None:
    """The rule that makes the finding and those that make suggestions, the hours at stake, and the numbers they name."""
    said, words = read(month, team), Words(raw(month), team)
    start, numbers = words.finding()
    assert said.finding.startswith(start)
    assert [number for number in numbers if number not in said.finding] == []
    expected = words.suggestions()
    assert [s.rule for s in said.suggestions] == [rule for rule, *_ in expected]
    for suggestion, (_, hours, numbers) in zip(said.suggestions, expected, strict=True):
        check(suggestion.hours, hours)
        assert [number for number in numbers if number not in suggestion.text] == []


# The pages and the files beside them


@pytest.fixture(scope="module")
def printed(
    snapshot: Callable[[str], Path], raw: Oracle, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., tuple[Path, Pages]]:
    @cache
    def made(team: str | None, month: str = MARCH, paper: str = "a4") -> tuple[Path, Pages]:
        template, options = (
            ("team_month", {}) if team else ("lab_month", {"price": CENTS / 100, "names": True})
        )
        (unit,) = plan_month(
            month,
            [team],
            snapshot=snapshot(month),
            reports=tmp_path_factory.mktemp("reports"),
            template=template,
            options={**options, "paper": paper},
        )
        outcome = render_unit(unit)
        assert isinstance(outcome, Rendered), outcome
        return unit.directory, Pages(Words(raw(month), team), cents=CENTS)

    return made


@pytest.mark.parametrize(
    ("month", "paper"), [(MARCH, "a4"), (LEGACY, "a4"), (MARCH, "us-letter"), (LEGACY, "us-letter")]
)
@pytest.mark.parametrize("team", TEAMS)
def test_two_pages_and_four(
    printed: Callable[..., tuple[Path, Pages]], team: str | None, month: str, paper: str
) -> None:
    """In either era and on either paper a team's report has two pages and the lab's four, with showback."""
    folder, _ = printed(team, month, paper)
    assert len(PdfReader(folder / "report.pdf").pages) == (2 if team else 4)


@pytest.mark.parametrize("team", [None, "Payments"])
def test_a_running_month_has_as_many_pages(store: Path, tmp_path: Path, team: str | None) -> None:
    """What a running month says besides leaves its reports their two pages and four."""
    source = StoreSource(open_store(store), as_of=datetime(2023, 3, 16, 6, tzinfo=UTC))
    fetch_snapshot(Lab(source, timezone="Europe/Berlin", today=date(2023, 3, 16)), MARCH, tmp_path / MARCH)
    template = "team_month" if team else "lab_month"
    (unit,) = plan_month(
        MARCH, [team], snapshot=tmp_path / MARCH, reports=tmp_path, template=template, options={}
    )
    assert isinstance(render_unit(unit), Rendered)
    assert len(PdfReader(unit.directory / "report.pdf").pages) == (2 if team else 4)


@pytest.mark.parametrize("team", TEAMS)
def test_files(printed: Callable[[str | None], tuple[Path, Pages]], team: str | None) -> None:
    """Every cell of every table beside a report; no file and no column is left out."""
    folder, pages = printed(team)
    assert {file.stem for file in folder.glob("*.csv")} == set(pages.files)
    for name, table in pages.files.items():
        expected = table
        found = list(csv.DictReader(io.StringIO((folder / f"{name}.csv").read_text("utf-8"))))
        if name == "do-the-numbers-add-up":
            found, expected = (sorted(rows, key=lambda row: row["part"]) for rows in (found, table))
            found = [{key: row[key] for key in expected[0]} for row in found]
        assert set(found[0]) <= set(expected[0]), name
        wanted = [{key: row[key] for key in found[0]} for row in expected]
        check([_values(row, like) for row, like in zip(found, wanted, strict=True)], wanted, name)


@pytest.mark.parametrize("kind", ["html", "pdf"])
@pytest.mark.parametrize("team", TEAMS)
def test_pages(printed: Callable[[str | None], tuple[Path, Pages]], team: str | None, kind: str) -> None:
    """Every row of every table and every fact, as printed; a table that is cut says how many rows it leaves out."""
    folder, pages = printed(team)
    text = _condensed(_text(folder / f"report.{kind}"))
    heads = {
        file.stem: next(csv.reader(io.StringIO(file.read_text("utf-8")))) for file in folder.glob("*.csv")
    }
    for name, table in pages.tables(heads).items():
        shown = [_condensed(row) in text for row in table]
        hidden, count = shown.count(False), [*shown, False].index(False)
        # Rows that are no group of their own, such as what nobody used, stay at the end.
        assert all(shown[count + hidden :]), (name, table)
        assert not hidden or (count >= 3 and f"{hidden}more" in text), (name, table[count])
        if name == "devices-owned-and-needed-by-model" and hidden:
            assert _condensed(pages.other_models(count)) in text
    assert [fact for fact in pages.facts() if not _says(text, *fact)] == []
    mail = json.loads((folder / "manifest.json").read_text("utf-8"))["facts"]["mail"]
    assert [words for words in (mail["finding"], *mail["actions"]) if _condensed(words) not in text] == []


def _says(text: str, start: str, numbers: list[str]) -> bool:
    """Whether a fact stands somewhere, with its other numbers close behind."""
    parts = text.split(_condensed(start))[1:]
    return any(all(_condensed(number) in part[:250] for number in numbers) for part in parts)


def _values(found: dict[str, str], like: dict[str, Any]) -> dict[str, Any]:
    """Cells of a file as what is expected of them: a text, a number, or nothing."""
    return {
        key: found[key].removeprefix("'")
        if isinstance(value, str)
        else float(found[key])
        if found[key]
        else None
        for key, value in like.items()
    }


def _text(file: Path) -> str:
    if file.suffix == ".pdf":
        return "".join(page.extract_text() for page in PdfReader(file).pages)
    page = _Text()
    page.feed(file.read_text("utf-8"))
    return "".join(page.found)


class _Text(HTMLParser):
    """The text that a page shows."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._tag = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._tag = tag

    def handle_data(self, data: str) -> None:
        if self._tag not in ("style", "script"):
            self.found.append(data)


def _condensed(text: str) -> str:
    """Without white space, arrows and badges, invisible characters and the domain that all hosts share."""
    letters: Iterable[str] = (
        c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c)[0] not in "ZC"
    )
    return "".join(c for c in letters if c not in "▲▼●").replace(".example.com", "")

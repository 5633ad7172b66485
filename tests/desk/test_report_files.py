"""The files beside a report hold numbers, and every insight is said also where there is nothing to see."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from nbformat import v4

from tests.desk.test_report_sums import CROSSING, _of
from tests.desk.test_report_words import figures, words
from usagekit import figures as drawn
from usagekit.analysis.candidates import candidates
from usagekit.analysis.key_figures import key_figures
from usagekit.analysis.kpis import make_kpi
from usagekit.figures import Column, table
from usagekit.lab import Lab
from usagekit.reading import read_month
from usagekit.reading.insights import (
    device_words,
    moved_fact,
    sold_out_words,
    spike_fact,
    team_notes,
)
from usagekit.reading.lab import LabReading
from usagekit.reading.numbers import people_numbers, session_numbers
from usagekit.reading.team import TeamReading
from usagekit.reading.telling import people_facts, session_facts
from usagekit.report.tables import csv_files

OWN = {"team": "QA", "email": "q@example.com", "user": "Q"}


def alike(count: int, *, seconds: int = 1800, **more: Any) -> list[dict[str, Any]]:
    """Sessions of one length, one a quarter of an hour."""
    first = CROSSING[1]
    starts = [first["start_time"] + timedelta(minutes=15 * n) for n in range(count)]
    return [
        first
        | OWN
        | {"session_id": f"{seconds}-{n}", "start_time": s, "end_time": s + timedelta(seconds=seconds)}
        | more
        for n, s in enumerate(starts)
    ]


def rows_of(*figures: drawn.Figure) -> dict[str, list[str]]:
    """The lines of each file of these figures."""
    cells = [
        v4.new_code_cell(outputs=[v4.new_output("display_data", f._repr_mimebundle_())]) for f in figures
    ]
    found = csv_files(v4.new_notebook(cells=cells))
    return {name: content.decode().split("\r\n")[:-1] for name, content in found.items()}


# Files


def test_key_figures_are_numbers() -> None:
    """Values unrounded, counts whole, changes as differences and shares; a change that is told in hours has no share."""
    hours, users, *_ = figures(200.0, *[100.0] * 11, 300.0, month="2023-10")
    share = make_kpi(("automation", "Automation share", "share"), [*[None] * 11, 0.5, 0.25])
    lost = make_kpi(("users", "Active users", ""), [*[None] * 11, 3.0, None], reason="refused")
    small = make_kpi(("hours", "Device hours", "h"), [*[None] * 11, 2.0, 3.0], small=(True, True))
    rows = key_figures([hours, users, share, lost, small], month="2023-10").to_dict("records")
    assert [rows[0][key] for key in ("previous", "year_ago", "change", "change_share", "year_change")] == [
        *(100.0, 200.0, 200.0, 2.0, 100.0)
    ]
    assert rows[0]["2022-10"] == 200.0
    assert (rows[1]["unit"], type(rows[1]["value"])) == ("count", int)
    assert (rows[2]["change"], rows[2]["change_share"]) == (-0.25, None)
    assert [rows[3][key] for key in ("value", "previous", "change", "reason")] == [None, 3, None, "refused"]
    assert (rows[4]["change"], rows[4]["change_share"]) == (1.0, None)


def test_tiles_have_a_file() -> None:
    """The figures of the tiles lie beside the report; a text that begins like a formula cannot run."""
    figure = make_kpi(("hours", "=Device hours", "h"), [*[None] * 11, 100.0, 60.25])
    lines = rows_of(drawn.tiles([figure], month="2023-03"))["key-figures.csv"]
    head, values = (line.split(",") for line in lines)
    told = dict(zip(head, values, strict=True))
    wanted = {"label": "'=Device hours", "value": "60.25", "change": "-39.75", "change_share": "-0.3975"}
    assert {key: told[key] for key in wanted} == wanted
    assert (told["year_ago"], told["2023-02"]) == ("", "100.0")


def test_a_file_has_numbers_for_words() -> None:
    """Where a column shows words the file has the columns that it names, also in the row of the total."""
    frame = pd.DataFrame(
        {"team": ["A"], "change": ["+75%"], "change_share": [0.75], "m1": [1.0], "m2": [2.0]}
    )
    frame["history"] = [(1.0, 2.0)]
    columns = [
        Column("Team", "text", "team"),
        Column("Change", "change", "change", ("change_share",)),
        Column("Months", "spark", "history", ("m1", "m2")),
    ]
    total = {"team": "All", "change": "new", "change_share": None, "m1": 1.0, "m2": 2.0}
    shown = table(frame, columns, title="Teams", total=total)
    assert shown.content["rows"][0]["cells"][1]["text"] == "+75%"
    assert rows_of(shown)["teams.csv"] == ["team,change_share,m1,m2", "A,0.75,1.0,2.0", "All,,1.0,2.0"]


def test_an_amount_below_zero_is_a_number() -> None:
    """A cost of less than nothing is no text with a minus, which would be taken for a formula."""
    frame = pd.DataFrame({"team": ["A"], "cost": [Decimal("-1.50")]})
    shown = table(frame, [Column("Team", "text", "team"), Column("Cost", "money", "cost")], title="Showback")
    assert rows_of(shown)["showback.csv"][1] == "A,-1.5"


def test_the_file_of_a_small_group_names_no_shares(tmp_path: Path) -> None:
    """What the page keeps of fewer than five people, the file keeps, too."""
    rows = [
        row | {"email": f"{n}@example.com"}
        for n in range(5)
        for row in alike(1, device_id=f"d{n}", session_id=f"s{n}")
    ]
    for count, told in ((4, False), (5, True)):
        said = _of(tmp_path / str(count), rows[:count])
        measures = people_numbers(said).set_index("measure")["value"]
        assert ("people_top_share" in measures) is told
        assert measures["active"] == count
        assert not any("@" in str(value) for value in measures)


# Insights


@pytest.mark.parametrize(
    ("count", "told"),
    [
        (19, ("–", "fewer than 20 sessions say too little")),
        (20, ("30 min", "± 2 s: 20 of 20 sessions")),
    ],
)
def test_a_spike_is_told_from_twenty_sessions_on(tmp_path: Path, count: int, told: tuple[str, str]) -> None:
    """The length that most sessions share stands beside the long holds; of few sessions nothing is said."""
    said = _of(tmp_path, alike(count))
    label, number, why = spike_fact(said)
    assert (label, words(number), words(why)) == ("Spike of lengths", *told)
    assert (label, number, why) in session_facts(said)
    measures = session_numbers(said).set_index("measure")["value"]
    assert measures["spikes"] == (count >= 20)
    assert measures.get("spike_1_length") == (1800 if count >= 20 else None)


def test_no_spike_is_said(tmp_path: Path) -> None:
    """Sessions of as many lengths have no spike, and the page says that it looked."""
    rows = [row for n in range(24) for row in alike(1, seconds=600 + 60 * n)]
    told = ("Spike of lengths", "none", "no one length has over 5% of them")
    assert spike_fact(_of(tmp_path, rows)) == told


def test_several_spikes_are_counted(tmp_path: Path) -> None:
    """Of two lengths the more frequent one is named, and the other counted."""
    _, number, why = spike_fact(_of(tmp_path, [*alike(12), *alike(8, seconds=3000)]))
    assert (words(number), words(why)) == ("30 min", "± 2 s: 12 of 20 sessions; 1 more")


@pytest.mark.parametrize("team", [None, "Payments"])
def test_without_single_sessions_every_line_says_why(
    remote: Lab, monkeypatch: pytest.MonkeyPatch, team: str | None
) -> None:
    """Where the list of sessions is denied, spikes are missing with the reason, never none."""
    said = read_month(remote, "2023-03", team=team)
    object.__setattr__(said.evidence, "events", None)
    said.evidence.missing["events"] = "not for you"
    assert spike_fact(said)[1:] == ("–", "not for you")
    assert said.why("suspects") == said.why("holds") == "not for you"
    assert session_facts(said) == [("Sessions", "–", "not for you")]
    assert [row for row in session_numbers(said)["measure"] if "spike" in row] == []


def test_a_scarce_model_is_told_to_the_team(tmp_path: Path) -> None:
    """Sold-out time of a main model, in the whole lab; of single devices nothing is said, and that is said."""
    devices = [
        {
            "device_id": f"d{n}",
            "hostname": "lab-1",
            "model": "Pixel 8",
            "os": "Android",
            "form_factor": "phone",
        }
        for n in range(2)
    ]
    hosts = [{"hostname": "lab-1", "country": "DE"}]
    at = CROSSING[1]["start_time"].replace(day=15, hour=9, minute=0, second=0)
    rows = [
        alike(1, device_id=f"d{n}", hostname="lab-1", session_id=f"s{n}")[0]
        | {"start_time": at, "end_time": at + timedelta(hours=1 + n)}
        for n in range(2)
    ]
    said = _of(tmp_path / "two", rows, devices=devices, hosts=hosts)
    assert isinstance(said, TeamReading)
    assert words(sold_out_words(said)) == "Pixel 8 sold out for 1 h 00 in the whole lab"
    assert device_words(said) == "2 used as evenly as 2; the top one has 67%; none suspect"
    alone = _of(tmp_path / "one", rows[:1], devices=devices[:1], hosts=hosts)
    assert isinstance(alone, TeamReading)
    assert sold_out_words(alone) == "no main model has two devices, to be sold out"
    unknown = _of(tmp_path / "unknown", rows)
    assert isinstance(unknown, TeamReading)
    assert sold_out_words(unknown) == "sold out: – (see the notes)"


def test_what_moved_the_hours_adds_up(remote: Lab) -> None:
    """The lab's line names the change and its three parts, which add up to it."""
    said = read_month(remote, "2023-03")
    label, number, why = moved_fact(said)
    change = (said.kpis[0].value or 0) - (said.kpis[0].previous or 0)
    assert label == "What moved the hours"
    assert sum(said.bridge.values()) == pytest.approx(change)
    assert why.count(",") == 2
    assert number[0] == ("+" if change > 0 else "−")


def test_a_first_month_has_nothing_to_split(tmp_path: Path) -> None:
    """After a month without usage the change is told and that it cannot be split."""
    number, why = moved_fact(_of(tmp_path, alike(2)))[1:]
    assert (words(number), why) == ("+1.0 h", "a split needs users and sessions in both months")


def test_nobody_recorded_is_said(tmp_path: Path) -> None:
    """A group without a person says so instead of leaving the line out."""
    rows = [row | {"email": None, "user": None, "automated": True} for row in alike(3)]
    facts = {label: (number, why) for label, number, why in people_facts(_of(tmp_path, rows))}
    assert facts["People, effective"] == ("–", "no people are recorded")


def test_every_dash_of_the_teams_is_explained(tmp_path: Path) -> None:
    """Where a cell of the table of teams is –, a note says what it stands for; without one there is no note."""
    said = _of(tmp_path, [*alike(2), *alike(1, seconds=60, team=None, automated=True)], None)
    assert isinstance(said, LabReading)
    (note,) = team_notes(said)
    assert note.startswith(
        "–: of what belongs to no team neither users nor automation are known; there is no"
    )
    full = _of(tmp_path / "full", alike(2), None)
    assert isinstance(full, LabReading)
    assert team_notes(full) == []


# Candidates


def test_candidates_follow_the_suggestions() -> None:
    """A device with a note or idle for two months stays; a model is scarce only with hand-offs; without idle devices none is told."""
    sizes = pd.DataFrame(
        {
            "device_model": ["Pixel 8", "iPad", "Tab", None],
            "sold_out_share": [0.0, 0.02, 0.5, None],
            "handoffs": [0, 10, 9, None],
        }
    )
    idle = pd.DataFrame({"device_address": list("abcd"), "idle_months": [13, 3, 2, 5]})
    fleet = pd.DataFrame({"device_address": list("abcd"), "device_model": ["Pixel 8"] * 3 + [None]})
    found = candidates(sizes, idle, fleet=fleet, notes={"a": "spare"})
    assert found["retire"].tolist() == [1, 0, 0, 1]
    assert found["add"].tolist() == [0, 1, 0, 0]
    assert candidates(sizes, None, fleet=fleet, notes={})["retire"].isna().all()


def test_candidates_stand_beside_their_model() -> None:
    """The table says what to retire and to add, adds up the models that it does not name, and gives the rule."""
    models = pd.DataFrame(
        {"device_model": ["A", "B", "C"], "owned": 4, "used": 3, "total_time_hours": 9.0, "peak": 2}
    )
    models = models.assign(
        needed_99=2, spare=2, sold_out_minutes=1.0, handoffs=0, retire=[0, 1, 2], add=[1, 0, 0]
    )
    shown = drawn.right_size_chart(models, limit=1)
    assert [row["cells"][-1]["text"] for row in shown.content["rows"]] == ["add 1", "retire 3"]
    assert shown.content["notes"][1].startswith("Candidates: retire devices idle for 3 months")
    none = drawn.right_size_chart(models.assign(retire=pd.NA, add=0))
    assert {row["cells"][-1]["text"] for row in none.content["rows"]} == {""}
    assert none.content["notes"][1].startswith("No candidates: add to a model")
    assert none.content["notes"][2] == "Which devices could be retired is not known."

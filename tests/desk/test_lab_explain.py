"""Why it changed, whether it adds up, and what a slow question shows."""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from tests.desk.test_lab_answers import lab_of, used
from usagekit import waiting as waiting_module
from usagekit.analysis.trust import badge
from usagekit.errors import ApiError, QueryError
from usagekit.lab import Lab
from usagekit.query import EventsQuery, UsageQuery
from usagekit.waiting import waiting

TEXT, HOURS, WHOLE, TIME = "str", "float64", "int64", "datetime64[us]"
EXPLAINED = {
    "part": TEXT, "rank": WHOLE, "name": TEXT, "before": HOURS, "after": HOURS,
    "unit": TEXT, "change_hours": HOURS, "groups": WHOLE,
}  # fmt: skip
CHECKED = {
    "era": TEXT, "start": TIME, "end": TIME, "part": TEXT, "total_hours": HOURS, "sum_hours": HOURS,
    "difference_hours": HOURS, "difference_share": HOURS, "badge": TEXT,
}  # fmt: skip
EVENTS = {
    "user": TEXT, "email": TEXT, "team": TEXT, "automated": "bool", "device_id": TEXT, "hostname": TEXT,
    "device_address": TEXT, "start_time": "datetime64[us, UTC]", "end_time": "datetime64[us, UTC]",
    "duration_seconds": "Int64", "date": TIME,
}  # fmt: skip
COMPARED = {
    "datetime": TIME, "team": TEXT, "total_time_hours": HOURS, "session_count": WHOLE,
    "total_time_hours_previous": HOURS, "total_time_hours_change": HOURS, "total_time_hours_change_share": HOURS,
    "session_count_previous": "Int64", "session_count_change": "Int64", "session_count_change_share": HOURS,
    "total_time_hours_year_before": HOURS, "total_time_hours_year_change": HOURS,
    "total_time_hours_year_change_share": HOURS, "session_count_year_before": "Int64",
    "session_count_year_change": "Int64", "session_count_year_change_share": HOURS,
}  # fmt: skip


def kinds(frame: pd.DataFrame) -> dict[str, str]:
    return {str(name): str(dtype) for name, dtype in frame.dtypes.items()}


@pytest.mark.parametrize("period", ["2023-03", "2024-06"])
def test_types_are_pinned(local: Lab, period: str) -> None:
    """Every column of every method has one type, with rows and without."""
    metrics = [
        "total_time",
        "session_count",
        "avg_session_length",
        "user_count",
        "device_count",
        "team_count",
    ]
    counts = dict.fromkeys(["session_count", "user_count", "device_count", "team_count"], WHOLE)
    means = {"total_time_hours": HOURS, "avg_session_minutes": HOURS}
    assert kinds(local.usage(period, metric=metrics).df) == {"datetime": TIME} | means | counts
    assert kinds(local.usage(period, by="user/team", include_user_notes=True).df) == {
        "datetime": TIME, "user": TEXT, "email": TEXT, "teams": TEXT, "notes": TEXT, "total_time_hours": HOURS,
    }  # fmt: skip
    hour = kinds(local.usage(period, by="device", bin="hour", host=local.hosts[0]).df)
    assert hour == {
        "datetime": "datetime64[us, Europe/Berlin]",
        "device_address": TEXT,
        "total_time_hours": HOURS,
    }
    assert (
        kinds(local.usage(period, by="team", metric=metrics[:2]).compare("previous", "year").df) == COMPARED
    )
    assert kinds(local.events(period)) == EVENTS
    assert kinds(local.events("2024-01", "2024-12")) == EVENTS
    idle = {"device_address": TEXT, "idle_months": WHOLE, "last_used": TIME}
    assert kinds(local.devices.idle(period)) == idle
    assert kinds(local.explain(period).df) == EXPLAINED
    assert kinds(local.check(period).df) == CHECKED


@pytest.mark.parametrize("team", [None, "Payments", "チーム"])
def test_each_part_adds_up_to_the_change(local: Lab, team: str | None) -> None:
    """Factors, teams, devices and models each add up to the change of the hours."""
    hours = local.usage(
        ("2023-02", "2023-03"), by="team" if team else None, **({"team": team} if team else {})
    ).df
    before, after = hours["total_time_hours"]
    told = local.explain("2023-03", team=team)
    sums = told.df.groupby("part")["change_hours"].sum()
    assert set(sums.index) == {"factor", "device", "model"} | ({"team"} if team is None else set())
    for part, total in sums.items():
        assert total == pytest.approx(after - before, abs=1e-6), part
    groups = told.df[told.df["part"] != "factor"].groupby("part")[["before", "after"]].sum()
    assert groups["before"].to_list() == pytest.approx([before] * len(groups))
    assert groups["after"].to_list() == pytest.approx([after] * len(groups))
    assert "March 2023" in told.sentence
    assert "against February 2023" in told.sentence


def test_what_grows_is_named(tmp_path: Path) -> None:
    """The sentence names the team that moved the hours, not one that moved against them."""
    rows = [
        *used("big", "2023-02-02 10:00", 20, sessions=10),
        *used("big", "2023-03-02 10:00", 60, sessions=10),
        *used("down", "2023-02-03 10:00", 30, sessions=10),
        *used("down", "2023-03-03 10:00", 20, sessions=10),
    ]
    told = lab_of(tmp_path, rows).explain("2023-03")
    assert "+30" in told.sentence
    assert "team big +40" in told.sentence
    assert "down" not in told.sentence
    assert "time per session +30" in told.sentence


def test_no_split_where_there_is_none(local: Lab) -> None:
    """The month after the change of eras is not explained, nor one before which nothing happened."""
    over = local.explain("2022-09")
    assert "does not compare" in over.sentence
    assert over.df.empty
    empty = local.explain("2024-06")
    assert empty.df.empty
    assert "No split" in empty.notes[0]
    assert "0" in empty.sentence
    with pytest.raises(QueryError, match="not one whole month"):
        local.explain(("2023-01", "2023-03"))
    with pytest.raises(QueryError, match="did you mean 'Payments'"):
        local.explain("2023-03", team="Paymens")


def test_the_sample_adds_up(local: Lab) -> None:
    """Everything is green on the sample, in each era with its own rule and both where a range has both."""
    march = local.check("2023-03")
    assert march.badge == "green"
    parts = ["devices", "hosts", "countries", "models", "teams", "users", "automated + manual", "events"]
    assert march.df["part"].tolist() == parts
    assert march.quality is not None
    both = local.check(("2022-08", "2022-09"))
    assert both.df.groupby("era")["part"].apply(set).to_dict() == {
        "legacy": set(parts) - {"teams", "users"} | {"teams + users"},
        "current": set(parts),
    }
    # Sessions that began before the change have a user or a team and reach into the month after it.
    assert set(both.df["badge"]) <= {"green", "amber"}
    assert set(both.df.loc[both.df["era"] == "legacy", "badge"]) == {"green"}
    assert "Do the numbers of 2023-03 add up?" in march._repr_html_()
    assert "green" in repr(march)


@pytest.mark.parametrize(
    ("share", "colour"),
    [(0.0, "green"), (-0.01, "green"), (0.0101, "amber"), (0.05, "amber"), (-0.051, "red"), (math.inf, "red"), (None, "missing")],
)  # fmt: skip
def test_badges(share: float | None, colour: str) -> None:
    """Up to one percent is green, up to five amber, more red, and what was not asked has no colour."""
    assert badge(share) == colour


def test_what_does_not_add_up_is_red(tmp_path: Path) -> None:
    """Sessions without a team are missing from the sum over teams, which the panel shows."""
    rows = [*used("a", "2023-03-02 10:00", 9), *used("b", "2023-03-03 10:00", 1)]
    rows[1] |= {"team": None}
    told = lab_of(tmp_path, rows).check("2023-03")
    found = told.df.set_index("part")
    assert (found.loc["teams", "badge"], round(found.loc["teams", "difference_share"], 9)) == ("red", -0.1)
    assert found.loc["users", "badge"] == "green"
    assert told.badge == "red"
    assert "uk-red" in told._repr_html_()


def test_a_refused_part_is_missing_and_noted(local: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the API refuses is missing with its reason, and the other parts are judged."""
    asked = local.source.usage

    def refusing(query: UsageQuery) -> object:
        if query.by == "host":
            raise ApiError("not allowed", method="GET", path="/v1/usage/host")
        return asked(query)

    monkeypatch.setattr(local.source, "usage", refusing)
    told = local.check("2023-03")
    assert told.df.set_index("part")["badge"].to_dict()["hosts"] == "missing"
    assert told.notes == ("hosts: GET /v1/usage/host: not allowed",)
    assert told.badge == "green"


class _Display:
    def __init__(self) -> None:
        self.soon, self.told = False, []

    def show(self, done: int, of: int) -> None:
        self.told.append((done, of))

    def close(self) -> None:
        self.told.append("closed")


def test_progress_only_when_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quick question shows nothing; a slow one shows how far it is and takes that away at the end."""
    display, now = _Display(), 0.0
    monkeypatch.setattr(waiting_module, "_find_display", lambda: display)
    monkeypatch.setattr(waiting_module, "monotonic", lambda: now)
    with waiting(3) as step:
        for _ in range(3):
            step()
    assert display.told == []
    with waiting(2) as step:
        now = 3.0
        with waiting(2) as inner:  # a question inside a question
            inner()
        step()
    assert display.told == [(1, 4), (2, 4), "closed"]


def test_a_terminal_shows_a_bar_while_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A single request that hangs is seen too, where a thread may draw."""
    display = _Display()
    display.soon = True
    monkeypatch.setattr(waiting_module, "_find_display", lambda: display)
    monkeypatch.setattr(waiting_module, "PATIENCE_SECONDS", 0.01)
    with waiting(1):
        deadline = time.monotonic() + 10
        while not display.told and time.monotonic() < deadline:
            time.sleep(0.01)
    assert display.told == [(0, 1), "closed"]


def test_a_notebook_shows_a_line_and_clears_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a notebook the progress is one line of HTML that is gone when the answer is there."""
    from IPython import display

    shown: list[str] = []

    class Handle:
        def display(self, line: display.HTML) -> None:
            shown.append(line.data)

        update = display

    monkeypatch.setattr(display, "DisplayHandle", Handle)
    monkeypatch.setattr(sys.modules["IPython"], "get_ipython", lambda: SimpleNamespace(kernel=object()))
    monkeypatch.setattr(waiting_module, "PATIENCE_SECONDS", -1)
    with waiting(3) as step:
        step()
        step()
        step()
    assert "1 of 3 requests" in shown[0]
    assert shown[-1] == ""


def test_quick_questions_print_nothing(local: Lab, capfd: pytest.CaptureFixture[str]) -> None:
    """Asking prints nothing, on neither stream."""
    local.usage("2023-03", by="team", metric=["total_time", "session_count"])
    local.events("2023-03")
    assert capfd.readouterr() == ("", "")


def test_events_are_asked_in_whole_months(local: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long list of events comes in pieces of at most 92 days that end with months, and none twice."""
    asked: list[EventsQuery] = []
    real = local.source.events
    monkeypatch.setattr(local.source, "events", lambda query: asked.append(query) or real(query))
    whole = local.events("2022-01-15", "2023-03")
    assert all((q.end - q.start).days < 93 and (q.end + pd.Timedelta(days=1)).day == 1 for q in asked)
    assert len(asked) == 5
    pd.testing.assert_frame_equal(whole, real(EventsQuery(start=asked[0].start, end=asked[-1].end)))


def test_refresh_reaches_the_source(local: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """refresh=True asks anew where the source keeps answers, and is no error where it does not."""
    from contextlib import contextmanager

    told: list[str] = []

    @contextmanager
    def refreshing():
        told.append("anew")
        yield

    local.usage("2023-03", refresh=True)
    monkeypatch.setattr(local.source, "refreshing", refreshing, raising=False)
    local.usage("2023-03")
    assert told == []
    local.usage("2023-03", refresh=True)
    local.events("2023-03", refresh=True)
    assert told == ["anew", "anew"]

"""The words of a report follow rules: each rule on both sides of its threshold."""

from __future__ import annotations

from datetime import UTC, date, datetime
from math import nextafter
from typing import Any

import pandas as pd
import pytest

from usagekit.analysis.contention import Movable
from usagekit.analysis.finding import Findings, finding, leader
from usagekit.analysis.holds import Holds
from usagekit.analysis.kpis import Kpi, kpis
from usagekit.analysis.months import partial_days, period_title
from usagekit.analysis.movers import movers
from usagekit.analysis.suggestions import Observations, suggestions
from usagekit.analysis.usual import is_unusual, usual_range
from usagekit.analysis.wording import NARROW, NBSP, listed
from usagekit.errors import QueryError
from usagekit.period import Period, trailing_months

MONTH = "2023-03"
STRANGE = [
    "NA",
    "null",
    "R&D / Café",
    "チーム",
    "📱",
    "<script>alert(1)</script>",
    '#read("x")',
    "x" * 10_000,
]


def words(text: str) -> str:
    return text.replace(NBSP, " ").replace(NARROW, " ")


def by_month(month: str, **columns: list[float]) -> pd.DataFrame:
    """One row a month, the last of which is ``month``."""
    count = len(next(iter(columns.values())))
    stamps = pd.to_datetime([f"{name}-01" for name in trailing_months(month, count=count)])
    return pd.DataFrame({"datetime": stamps, **columns})


def figures(*hours: float, month: str = MONTH) -> tuple[Kpi, ...]:
    usage = by_month(
        month,
        total_time_hours=[*hours],
        session_count=[2 * h for h in hours],
        user_count=[h / 10 for h in hours],
    )
    return kpis(usage, None, month=month)


# Usual


def test_usual_is_three_deviations() -> None:
    """Median 300 and MAD 10: up to 44.478 h away is usual, the next float is not."""
    before = [280.0, 290.0, 300.0, 310.0, 300.0, 310.0]
    low, high = usual_range([*before, 0]) or (0, 0)
    assert (low, high) == pytest.approx((300 - 44.478, 300 + 44.478))
    assert [is_unusual([*before, v]) for v in (low, high)] == [False, False]
    assert [is_unusual([*before, v]) for v in (nextafter(low, 0), nextafter(high, 999))] == [True, True]


@pytest.mark.parametrize(
    ("history", "unusual"),
    [
        ([40, 50], True),  # 25 % and 10 h
        ([40, 49.9], False),
        ([36, 46], True),
        ([36, 45.9], False),  # 9.9 h
        ([100, 124.9], False),
        ([100, 75], True),
        ([100] * 6 + [124], False),  # six equal months: no deviation to measure by
        ([100] * 6 + [125], True),
        ([None, 100], False),
        ([100, None], False),
        ([0, 10], True),
    ],
)
def test_without_a_spread_a_quarter_and_ten_hours_count(history: list[float | None], unusual: bool) -> None:
    """With little history or none that varies, a change counts from 25 % and 10 h on."""
    assert usual_range(history) is None
    assert is_unusual(history) is unusual


# The finding


STEADY = figures(310.0, 320.0)


def test_finding_says_the_first_rule_that_holds() -> None:
    """Trust, unusual hours, sold out, dormant devices, steady: each hides those after it."""
    dormant, sold_out = (2, 9), ("Pixel 8", 60.0)
    jump = figures(310.0, 402.6)
    all_of_it = Findings(trust_share=0.07, sold_out=sold_out, dormant=dormant)
    assert finding(jump, month=MONTH, evidence=all_of_it) == "Numbers do not reconcile (7%) in March 2023."
    told = finding(jump, month=MONTH, evidence=Findings(sold_out=sold_out, dormant=dormant))
    assert words(told) == (
        "Hours +30% against February 2023 (310 h to 403 h), mostly more users; 2 of 9 devices idle."
    )
    told = finding(STEADY, month=MONTH, evidence=Findings(sold_out=sold_out, dormant=dormant))
    assert words(told) == (
        "Pixel 8 sold out for 1 h 00 of business hours; 320 h (+3% against February 2023)."
    )
    told = finding(STEADY, month=MONTH, evidence=Findings(dormant=dormant))
    assert words(told) == "2 of 9 devices idle; 320 h (+3% against February 2023)."
    assert words(finding(STEADY, month=MONTH)) == "Steady: 320 h (+3% against February 2023)."


@pytest.mark.parametrize(
    "evidence",
    [
        Findings(trust_share=0.05),
        Findings(trust_share=-0.05),
        Findings(sold_out=("Pixel 8", 59.9)),
        Findings(dormant=(1, 9)),
        Findings(leader="team A +9.0 h"),
    ],
)
def test_below_the_thresholds_the_month_is_steady(evidence: Findings) -> None:
    """5 % off, 59.9 minutes sold out or one dormant device change nothing."""
    assert finding(STEADY, month=MONTH, evidence=evidence) == finding(STEADY, month=MONTH)


def test_finding_names_who_is_behind() -> None:
    """The group that moved most in the direction of the change is named, whatever it is called."""
    before, after = (
        pd.DataFrame({"team": ["NA", "B", "C"], "total_time_hours": hours})
        for hours in ([100.0, 200.0, 10.0], [171.0, 160.0, 71.6])
    )
    moved = movers(before, after, column="team", part="team", totals=(310.0, 402.6))
    assert words(leader(moved, word="team")) == "team NA +71.0 h"
    told = finding(figures(310.0, 402.6), month=MONTH, evidence=Findings(leader=leader(moved, word="team")))
    assert words(told).endswith(", mostly more users, team NA +71.0 h.")
    for half, told in ((46.3, "team B +46.3 h"), (46.2, "")):
        rows = pd.DataFrame({"team": [f"t{n}" for n in range(9)], "total_time_hours": 0.0})
        rest = rows.assign(total_time_hours=(92.6 - half) / 9)
        moved = movers(
            pd.concat([rows, pd.DataFrame({"team": ["B"], "total_time_hours": [0.0]})]),
            pd.concat([rest, pd.DataFrame({"team": ["B"], "total_time_hours": [half]})]),
            column="team",
            part="team",
            totals=(0.0, 92.6),
        )
        assert words(leader(moved, word="team")) == told
    fewer = movers(after, before, column="team", part="team", totals=(402.6, 310.0))
    assert words(leader(fewer, word="team")) == "team NA −71.0 h"
    assert (
        leader(movers(before, before, column="team", part="team", totals=(310.0, 310.0)), word="team") == ""
    )


def test_finding_without_a_month_to_compare() -> None:
    """After nothing, or without a comparable month, idle devices are still told."""
    start = figures(40.0, month="2022-09")
    told = finding(start, month="2022-09", evidence=Findings(dormant=(3, 9)))
    assert words(told) == (
        "3 of 9 devices idle; 40.0 h of device time in September 2022; there is no comparable month before."
    )
    scarce = Findings(sold_out=("X", 99.0), dormant=(3, 9))
    assert words(finding(figures(0.0, 40.0), month=MONTH, evidence=scarce)) == (
        "40.0 h of device time in March 2023, unusual after none in February 2023; 3 of 9 devices idle."
    )
    assert words(finding(figures(0.0, 9.0), month=MONTH, evidence=scarce)) == (
        "X sold out for 1 h 39 of business hours; 9.0 h of device time in March 2023; none in February 2023."
    )


def test_unusual_after_a_month_of_nothing_is_said() -> None:
    """A month without hours before hides neither that this one is unusual nor, where it is not, what is sold out."""
    before = [0.0, 300.0, 0.0, 200.0, 300.0, 0.0]  # median 100, deviation 100
    scarce = Findings(sold_out=("X", 99.0))
    told = finding(figures(*before, 600.0), month=MONTH, evidence=scarce)
    assert words(told) == (
        "600 h of device time in March 2023, above its usual range of 0–545 h, after none in February 2023."
    )
    told = finding(figures(*before, 500.0), month=MONTH, evidence=scarce)
    assert words(told) == (
        "X sold out for 1 h 39 of business hours; 500 h of device time in March 2023; none in February 2023."
    )


def test_a_finding_on_a_team_says_that_the_whole_lab_was_sold_out() -> None:
    """A model is sold out for everybody: a team's finding says so."""
    told = finding(STEADY, month=MONTH, evidence=Findings(sold_out=("X", 99.0), whole_lab=True))
    assert words(told).startswith("X sold out in the whole lab for 1 h 39 of business hours; ")


def test_finding_of_a_running_month_compares_its_days() -> None:
    """A running month is held against the same days; whole months before it make no usual range."""
    months = figures(280.0, 290.0, 300.0, 310.0, 300.0, 310.0, 150.0, 155.0)
    days = (Period(date(2023, 2, 1), date(2023, 2, 14)), Period(date(2023, 3, 1), date(2023, 3, 14)))
    told = finding(months, month=MONTH, evidence=Findings(partial=days))
    assert words(told) == "Steady: 155 h (+3% against 1–14 Feb)."


@pytest.mark.parametrize("name", [*STRANGE, "\u200b"])
def test_names_stay_whole_in_words(name: str) -> None:
    """A name is never cut, escaped or invisible; what shows it escapes it."""
    shown = name if name.isprintable() else "(no name)"
    assert shown in finding(STEADY, month=MONTH, evidence=Findings(sold_out=(name, 90.0)))
    idle = pd.DataFrame({"device_address": [name], "idle_months": [13]})
    assert shown in suggestions(Observations(open_hours=220, idle=idle))[0].text


# Running months


@pytest.mark.parametrize(
    ("month", "as_of", "title"),
    [
        ("2026-10", datetime(2026, 10, 14, 22, 30, tzinfo=UTC), "1–14 Oct (partial)"),  # 15th 0:30 in Berlin
        ("2026-10", datetime(2026, 10, 14, 21, 30, tzinfo=UTC), "1–13 Oct (partial)"),
        ("2026-10", datetime(2026, 10, 2, 12, tzinfo=UTC), "1 Oct (partial)"),
        ("2026-10", datetime(2026, 10, 31, 22, 59, tzinfo=UTC), "1–30 Oct (partial)"),
        ("2026-10", datetime(2026, 10, 31, 23, 0, tzinfo=UTC), "October 2026"),  # midnight in winter time
        ("2026-10", datetime(2027, 3, 1, tzinfo=UTC), "October 2026"),
    ],
)
def test_title_of_a_running_month(month: str, as_of: datetime, title: str) -> None:
    """Only days that are over in the report's zone count; after the last of them the month is whole."""
    assert period_title(month, as_of, "Europe/Berlin") == title
    assert (partial_days(month, as_of, "Europe/Berlin") is not None) is title.endswith("(partial)")


def test_days_before_are_as_many_as_there_are() -> None:
    """30 days of March are compared with all 28 of February; a month not begun is an error."""
    found = partial_days("2023-03", datetime(2023, 3, 31, 12, tzinfo=UTC), "UTC")
    assert found is not None
    assert [str(days) for days in found] == ["2023-02", "2023-03-01 to 2023-03-30"]
    with pytest.raises(QueryError, match="not one day of March 2023"):
        partial_days("2023-03", datetime(2023, 3, 1, 12, tzinfo=UTC), "UTC")


# Suggestions


def size(sold_out: float, handoffs: int, model: str | None = "Pixel 8") -> pd.DataFrame:
    row = {
        "device_model": model,
        "owned": 12,
        "sold_out_minutes": sold_out * 13_200,
        "sold_out_share": sold_out,
        "handoffs": handoffs,
    }
    return pd.DataFrame([row])


def idle(months: int) -> pd.DataFrame:
    return pd.DataFrame({"device_address": ["a@h"], "idle_months": [months]})


def suspect(sessions: int, lower: float) -> pd.DataFrame:
    values = {"sessions": sessions, "false_starts": 9, "rate": 0.3, "lower": lower, "fleet_rate": 0.05}
    return pd.DataFrame([{"device_address": "a@h", **values}])


def spike(share: float) -> pd.DataFrame:
    return pd.DataFrame({"seconds": [1800], "sessions": [140], "share": [share]})


@pytest.mark.parametrize(
    ("rule", "fact", "holds", "fails"),
    [
        ("retire", "idle", idle(3), idle(2)),
        ("add", "right_size", size(0.02, 10), size(0.0199, 10)),
        ("add", "right_size", size(0.02, 10), size(0.02, 9)),
        ("add", "right_size", size(0.5, 99), size(0.5, 99, model=None)),
        ("release", "holds", Holds(3, 31.0, 310.0, 0.1, 2.0), Holds(3, 30.9, 310.0, 0.0997, 2.0)),
        ("release", "holds", Holds(3, 1.0, 1.0, 1.0, 2.0), Holds(0, 0.0, 0.0, None, None)),
        ("automation", "spikes", spike(0.051), spike(0.05)),
        ("check", "suspects", suspect(20, 0.101), suspect(19, 0.101)),
        ("check", "suspects", suspect(20, 0.101), suspect(20, 0.1)),
        ("move", "movable", Movable(46.0, 340.0, 170.0, 0.5), Movable(46.0, 340.0, 171.0, 0.497)),
        ("move", "movable", Movable(46.0, 340.0, 0.0, 1.0), Movable(0.0, 0.0, 0.0, None)),
    ],
)
def test_each_rule_on_both_sides(rule: str, fact: str, holds: Any, fails: Any) -> None:
    """A rule speaks at its threshold and is silent just below it."""
    assert [s.rule for s in suggestions(Observations(open_hours=220, **{fact: holds}))] == [rule]
    assert suggestions(Observations(open_hours=220, **{fact: fails})) == ()


def text_of(**facts: Any) -> tuple[str, float]:
    (found,) = suggestions(Observations(open_hours=220, **facts))
    return words(found.text), round(found.hours, 3)


def test_suggestions_have_number_rule_and_threshold() -> None:
    """Each suggestion says what to do, how much it is, and from where on it is said."""
    assert text_of(right_size=size(0.02, 10)) == (
        "Add 1 Pixel 8 to 12: none free for 4 h 24, 2% of business time, with 10 hand-offs (rule: from 2% and 10 on).",
        4.4,
    )
    assert text_of(holds=Holds(3, 42.0, 310.0, 42 / 310, 2.0)) == (
        "Release devices after use: 42.0 h of 310 h by hand (14%) were holds (rule: from 10% on).",
        42.0,
    )
    assert text_of(spikes=spike(0.18)) == (
        "Repair automation or a timeout: 140 of 778 sessions last 30 min ± 2 s (rule: more than 5%, 3 times as many as just below and above).",
        70.0,
    )
    odd = pd.DataFrame({"seconds": [474, 3605], "sessions": [27, 26], "share": [27 / 530, 26 / 530]})
    text, _ = text_of(spikes=odd)
    assert "27 of 530 sessions last 7 min 54 s ± 2 s" in text
    assert "(5%)" not in text
    told, _ = text_of(right_size=size(0.02, 10), whole_lab=True)
    assert "none free in the whole lab for 4 h 24" in told
    assert text_of(suspects=suspect(30, 0.2)) == (
        "Check a@h: 9 of 30 sessions end within 60 s, 5% in the fleet (rule: surely more than twice that, from 20 sessions on).",
        0.15,
    )
    assert text_of(movable=Movable(46.0, 340.0, 64.6, 0.81)) == (
        "Move 46.0 h of automation out of busy business hours: 81% of 5 h 40 sold out would go (rule: from 50% on).",
        4.59,
    )


def test_dormant_devices_are_told_by_model() -> None:
    """Of how many of a model; several models in one suggestion; devices of unknown model are not lost."""
    fleet = pd.DataFrame(
        {
            "device_address": [f"{n}@h" for n in range(20)],
            "device_model": ["iPhone 13"] * 14 + ["NA"] * 4 + [None] * 2,
        }
    )
    gone = pd.DataFrame({"device_address": ["0@h", "1@h", "15@h", "19@h"], "idle_months": [13, 3, 5, 4]})
    rule = "idle for 3 months or longer, no note (rule: from 3 months on)."
    assert text_of(idle=gone, fleet=fleet) == (
        f"Give back or move 4 devices (2 of 14 iPhone 13, 1 of 4 NA and 1 of 2 devices of unknown model): {rule}",
        880.0,
    )
    notes = {"15@h": "in repair", "19@h": "spare", "0@h": " "}
    assert text_of(idle=gone, fleet=fleet, notes=notes) == (
        f"Give back or move 2 of 14 iPhone 13: {rule}",
        440.0,
    )
    assert text_of(idle=gone, notes=notes) == (f"Give back or move 2 devices (0@h and 1@h): {rule}", 440.0)


def test_three_suggestions_with_most_hours() -> None:
    """Of more than three, those with most hours at stake stay, the largest first."""
    facts = Observations(
        open_hours=220,
        idle=idle(4),
        right_size=pd.concat([size(0.3, 20), size(0.4, 20, "iPhone 13")]),
        holds=Holds(3, 42.0, 310.0, 0.135, 2.0),
        suspects=suspect(30, 0.2),
        movable=Movable(46.0, 340.0, 64.6, 0.81),
    )
    found = suggestions(facts)
    assert [(s.rule, round(s.hours, 3)) for s in found] == [("retire", 220), ("add", 154), ("release", 42)]
    assert "Add 1 iPhone 13 to 12" in found[1].text
    assert found[1].text.endswith("; the same holds for Pixel 8.")
    assert suggestions(Observations(open_hours=220)) == ()


@pytest.mark.parametrize(
    ("names", "text"),
    [([], ""), (["a"], "a"), (["a", "b", "c"], "a, b and c"), (["a", "b", "c", "d"], "a, b, c and 1 more")],
)
def test_names_are_listed(names: list[str], text: str) -> None:
    """A few names are listed, more are counted."""
    assert listed(names) == text

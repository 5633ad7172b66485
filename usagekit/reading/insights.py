"""Insights in a few words each, said also where there is nothing to see."""

from __future__ import annotations

from typing import Final

from usagekit.analysis.concentration import Concentration
from usagekit.analysis.holds import MIN_SESSIONS, SPIKE_SHARE, SPIKE_SPREAD_SECONDS
from usagekit.analysis.wording import count_text, hours_text, length_text, minutes_text, percent_text, signed
from usagekit.figures.escape import shown_name
from usagekit.reading.lab import LabReading
from usagekit.reading.reading import Reading
from usagekit.reading.team import TeamReading

Fact = tuple[str, str, str]
"""A label, a number and what it means."""

MISSING: Final = "–"


def spike_fact(reading: Reading) -> Fact:
    """The length that most sessions share, or that none stands out."""
    label, found, mix = "Spike of lengths", reading.spikes, reading.mix
    if found is None or mix is None:
        return label, MISSING, reading.why("spikes")
    count = int(mix["sessions"].sum())
    if count < MIN_SESSIONS:
        return label, MISSING, f"fewer than {MIN_SESSIONS} sessions say too little"
    if found.empty:
        return label, "none", f"no one length has over {percent_text(SPIKE_SHARE)} of them"
    first = found.iloc[0]
    others = f"; {count_text(len(found) - 1)} more" if len(found) > 1 else ""
    of = f"{count_text(first['sessions'])} of {count_text(count)} sessions"
    return label, length_text(first["seconds"]), f"± {SPIKE_SPREAD_SECONDS} s: {of}{others}"


def device_words(reading: TeamReading) -> str:
    """How evenly a team used devices, and whether one of the ten largest is suspect; the lab has a table of these."""
    shared = reading.device_concentration
    if shared is None or not shared.members or shared.top_share is None:
        return ""
    top = percent_text(shared.top_share)
    even = f"{count_text(shared.members)} used as evenly as {shared.effective:.0f}; the top one has {top}"
    if reading.own_suspects is None:
        return even
    return f"{even}; {count_text(len(reading.own_suspects)) if len(reading.own_suspects) else 'none'} suspect"


def sold_out_words(reading: TeamReading) -> str:
    """How long the scarcest of a team's main models was sold out in the whole lab."""
    if reading.evidence.models is None or reading.sizes is None:
        return f"sold out: {MISSING} (see the notes)"
    told = reading.sold_out(reading.main_models)
    if told is None:
        return "no main model has two devices, to be sold out"
    model, minutes = told
    if not minutes:
        return "no main model was sold out"
    return f"{shown_name(model)} sold out for {minutes_text(minutes)} in the whole lab"


def moved_fact(reading: Reading) -> Fact:
    """What users, sessions per user and time per session did to the hours, in one line."""
    label, hours = "What moved the hours", reading.kpis[0]
    if hours.value is None or hours.previous is None:
        return label, MISSING, hours.reason or "no comparable hours of the month before"
    change = hours.value - hours.previous
    steps = [f"{name} {signed(hours_text(abs(h)), h)}" for name, h in reading.bridge.items()]
    why = ", ".join(steps) or "a split needs users and sessions in both months"
    return label, signed(hours_text(abs(change)), change), why


def team_notes(reading: LabReading) -> list[str]:
    """What each – in the table of the teams stands for."""
    rows = reading.teams
    if rows is None:
        return []
    plain, idle = rows["kind"] == "team", rows["total_time_hours"] == 0
    untold = {
        "of a team without hours no part is automated": (plain & idle).any(),
        "users were not recorded": (plain & rows["user_count"].isna()).any(),
        "of what belongs to no team neither users nor automation are known": (~plain).any(),
        "there is no comparable month before": rows["change_hours"].isna().any(),
    }
    told = [words for words, is_so in untold.items() if is_so]
    return [f"{MISSING}: {'; '.join(told)}."] if told else []


def regular_fact(reading: Reading) -> Fact:
    """How many weeks people take from their first session to regular use."""
    found, number = reading.regulars, MISSING
    if found is None:
        why = reading.evidence.missing.get("events", "no users are known from before these three months")
    elif not found.starters:
        why = "nobody began in these three months"
    elif found.median_weeks is None:
        why = f"none of {found.starters} beginners is regular yet"
    else:
        number = f"{found.median_weeks:g}"
        why = f"median; {found.regular} of {found.starters} new in three months"
    if found and found.unseen:
        why += f"; {found.unseen} without a session by hand that tells"
    return "Weeks to regular use", number, why


def concentration_fact(what: str, shared: Concentration, *, names: bool) -> Fact:
    """As how many people or devices they are used, and the share of the top one; ``names`` says who that is."""
    top = "" if shared.top_share is None else f"; the top has {percent_text(shared.top_share)}"
    if names and shared.top_name and top:
        top = f"; {shown_name(shared.top_name)} has {percent_text(shared.top_share or 0)}"
    label = f"{what.capitalize()}, effective"
    return (
        label,
        f"{shared.effective:.0f}",
        f"of {count_text(shared.members)}, by even use{top}",
    )

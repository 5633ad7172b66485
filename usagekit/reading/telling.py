"""A reading in words: the small facts of its pages, its footnotes, and what its mail repeats."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from usagekit.analysis.trust import BADGES, eras
from usagekit.analysis.wording import (
    count_text,
    hours_text,
    minutes_text,
    percent_text,
)
from usagekit.figures.badges import trust_words
from usagekit.period import month_name, parse_month, shift_month
from usagekit.reading.basis import RUNNING
from usagekit.reading.insights import MISSING as _MISSING
from usagekit.reading.insights import Fact, concentration_fact, regular_fact, spike_fact
from usagekit.reading.lab import LabReading
from usagekit.reading.reading import Reading
from usagekit.reading.team import TeamReading

LEAST_PEOPLE: Final = 5
"""A group of fewer people is not split by person."""


def people_facts(reading: Reading, *, names: bool = False) -> list[Fact]:
    """Who came, stayed and left, how soon people become regular users, and how much depends on few.

    ``names`` shows the top user by email; never in a group of fewer than five.
    """
    flow = reading.flow
    if flow is None:
        return [("People", _MISSING, reading.evidence.missing.get("users", "could not be fetched"))]
    before = month_name(shift_month(reading.month, -1))
    facts = [
        ("New", count_text(flow.new), "no session in the 12 months before"),
        ("Returning", count_text(flow.returning), f"also in {before}"),
        ("Revived", count_text(flow.revived), f"earlier, but not in {before}"),
        ("Lapsed", _MISSING, RUNNING)
        if flow.lapsed is None
        else ("Lapsed", count_text(flow.lapsed), "in both months before, not in this one"),
    ]
    if flow.known_months < 12:
        facts[0] = (
            *facts[0][:2],
            _upper_bound(flow.known_months),
        )
    facts.append(regular_fact(reading))
    shared = reading.user_concentration
    if shared and not shared.members:
        facts.append(("People, effective", _MISSING, "no people are recorded"))
    elif shared and shared.members < LEAST_PEOPLE:
        facts.append(
            ("People, effective", _MISSING, f"fewer than {LEAST_PEOPLE} people are not split by person")
        )
    elif shared:
        facts.append(concentration_fact("people", shared, names=names))
    return facts


def device_facts(reading: Reading) -> list[Fact]:
    """How evenly the devices were used."""
    shared = reading.device_concentration
    if shared and shared.members:
        return [concentration_fact("devices", shared, names=False)]
    why = "no device was used" if shared else reading.evidence.missing.get("devices", "could not be fetched")
    return [("Devices, effective", _MISSING, why)]


def session_facts(reading: Reading) -> list[Fact]:
    """How long sessions last, which were held, and which broke off at once."""
    if reading.lengths is None or reading.hold_summary is None or reading.false_starts is None:
        reason = reading.sessions_missing if isinstance(reading, TeamReading) else ""
        return [
            ("Sessions", _MISSING, reason or reading.evidence.missing.get("events", "could not be fetched"))
        ]
    facts = []
    for row in reading.lengths.to_dict("records"):
        if row["kind"] != "all" and row["sessions"]:
            levels = [minutes_text(row[f"p{level}_minutes"]) for level in (50, 90, 99)]
            kind = "By hand" if row["kind"] == "manual" else "Automated"
            long = f"; {percent_text(row['over_8h_share'])} over 8 h" if row["over_8h_share"] else ""
            facts.append(
                (
                    f"{kind}, median",
                    levels[0],
                    f"90%: {levels[1]}, 99%: {levels[2]}{long}",
                )
            )
    held, broken = reading.hold_summary, reading.false_starts
    share = "" if held.share is None else f"; {percent_text(held.share)} of hours by hand"
    facts.append(
        (
            "Long holds",
            hours_text(held.hold_hours),
            f"in {count_text(held.sessions)} sessions{share}",
        )
    )
    facts.append(spike_fact(reading))
    if broken.share is None:
        facts.append(("False starts", _MISSING, "no sessions"))
    else:
        bursts = f"; {count_text(broken.bursts)} bursts of three in 10 min" if broken.bursts else ""
        facts.append(
            (
                "False starts",
                percent_text(broken.share),
                f"{count_text(broken.count)} of {count_text(broken.sessions)} end within 60 s{bursts}",
            )
        )
    if coverage := _coverage(reading):
        facts.append(coverage)
    return facts


def capacity_facts(reading: LabReading) -> list[Fact]:
    """The busiest moment, what would have been enough, and what automation takes from people."""
    missing = reading.evidence.missing.get("events", "could not be fetched")
    if (hour := reading.busiest_hour) is not None:
        when = f"{hour.at.day} {hour.at:%B %Y, %H:%M %Z}"
        busy = "<0.1" if hour.devices < 0.05 else f"{hour.devices:.1f}"
        return [("Busiest hour, average", busy, f"devices, {when}; a lower bound of the peak: {missing}")]
    if reading.steps is None:
        return [("Peak", _MISSING, missing)]
    facts = []
    if reading.peak is None:
        facts.append(("Peak", _MISSING, "no session took time"))
    else:
        at = reading.peak.at
        facts.append(
            ("Peak", count_text(reading.peak.devices), f"devices at once, {at.day} {at:%B %Y, %H:%M %Z}")
        )
    for share, devices in reading.levels.items():
        facts.append(
            (f"{share:.0%} of business time", count_text(devices), "devices or fewer were busy at once")
        )
    moved = reading.movable
    if moved is None:
        facts.append(("Movable automation", _MISSING, reading.why("movable")))
    elif moved.saved_share is None:
        facts.append(
            ("Movable automation", hours_text(moved.hours), "no model of two devices or more was sold out")
        )
    else:
        facts.append(
            (
                "Movable automation",
                hours_text(moved.hours),
                (
                    f"in business hours while 90% of a model was busy; moved to nights, "
                    f"{percent_text(moved.saved_share)} of {minutes_text(moved.sold_out_minutes)} sold out would go"
                ),
            )
        )
    return facts


def footnotes(reading: Reading) -> list[str]:
    """Each call that failed or was refused, for which – or a substitute stands on the pages, and restatements."""
    found = [f"– {name.replace('_', ' ')}: {reason}" for name, reason in reading.evidence.missing.items()]
    if reading.restatement:
        found.append(f"{reading.restatement}.")
    return [*found, *_doubts(reading)]


def _doubts(reading: Reading) -> list[str]:
    """Time that no model, country or team is known of, and sessions that count nowhere."""
    evidence, found = reading.evidence, []
    for what, frame, column in (
        ("model", evidence.models, "device_model"),
        ("country", evidence.countries, "country"),
    ):
        if hours := reading.unknown_hours(frame, column):
            share = f" ({percent_text(hours / reading.hours)})" if reading.hours else ""
            found.append(f"No {what} is known of devices with {hours_text(hours)}{share}: added to that sum.")
    if not isinstance(reading, LabReading):
        return found
    if reading.placed_share is not None and eras(parse_month(reading.month))[0][0] == "current":
        share = percent_text(reading.placed_share)
        found.append(
            f"Coverage: people of one team have {share} of the hours by hand; single sessions name no team."
        )
    endless, backward = reading.uncounted
    counts = ((endless, "without an end"), (backward, "with an end before the start"))
    told = [f"{count_text(n)} {words}" for n, words in counts if n]
    return [*found, f"Sessions that count nowhere: {' and '.join(told)}."] if told else found


def mail_facts(reading: Reading) -> dict[str, Any]:
    """What the mail of a report repeats of it, as plain values."""
    kpis = [
        {
            "label": k.label,
            "value": k.text,
            "previous": k.previous_text,
            "change": k.change,
            "year": k.year_text,
        }
        for k in reading.kpis
    ]
    badge, words = trust_words(reading.reconciliation)
    hours = reading.kpis[0]
    return {
        "finding": reading.finding,
        "kpis": kpis,
        "actions": [s.text for s in reading.suggestions],
        "trust": {"badge": badge if badge in BADGES else "amber", "text": words},
        "usage": "missing" if hours.value is None else "value" if hours.value else "zero",
        "partial": reading.evidence.partial is not None,
        "history": list(hours.history),
    }


def shown_facts(reading: Reading) -> Mapping[str, str]:
    """Numbers as the pages print them, to be read back from the finished report."""
    return {"total_hours": reading.kpis[0].text}


def _upper_bound(months: int) -> str:
    return f"at most: {count_text(months)} {'month' if months == 1 else 'months'} before had usage"


def _coverage(reading: Reading) -> Fact | None:
    told = reading.team_sessions if isinstance(reading, TeamReading) else None
    by_hand = told is not None and told.sessions is not None and not told.sessions["automated"].all()
    if told is None or told.coverage is None or not by_hand:
        return None
    why = "by hand, of people in this team alone"
    return ("Coverage", percent_text(min(told.coverage, 1.0)), why)

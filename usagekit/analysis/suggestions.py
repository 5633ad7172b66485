"""What a lab could do about its month: at most three suggestions, each with its number, rule and threshold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import pandas as pd

from usagekit.analysis.false_starts import SUSPECT_SESSIONS, SUSPECT_TIMES
from usagekit.analysis.holds import SPIKE_SHARE, SPIKE_TIMES
from usagekit.analysis.wording import (
    count_text,
    hours_text,
    length_text,
    listed,
    minutes_text,
    percent_text,
)
from usagekit.figures.escape import shown_name

if TYPE_CHECKING:
    from usagekit.analysis.contention import Movable
    from usagekit.analysis.holds import Holds

MOST: Final = 3
DORMANT_MONTHS: Final = 3
SOLD_OUT_SHARE: Final = 0.02
HANDOFFS: Final = 10
HOLD_SHARE: Final = 0.10
SAVED_SHARE: Final = 0.50


@dataclass(frozen=True, slots=True)
class Suggestion:
    """One thing to do, the hours (h) at stake, and its ``rule``: retire, add, release, automation, check or move."""

    text: str
    hours: float
    rule: str


@dataclass(frozen=True, slots=True, eq=False)
class Observations:
    """What suggestions are made from; a rule whose facts are None says nothing.

    ``open_hours`` is the business time (h) of the month, ``whole_lab`` that ``right_size`` is of the whole lab where the
    rest is of a team. ``idle`` is what
    :func:`usagekit.analysis.idle.idle_devices` returns, ``fleet`` has ``device_address`` and ``device_model`` of every
    known device, ``notes`` a text by device address (such as maintenance) that keeps a device from being given
    back. The others are what ``capacity.right_size``, ``holds.hold_summary``, ``holds.duration_spikes``,
    ``false_starts.suspect_devices`` and ``contention.movable_automation`` return.
    """

    open_hours: float
    whole_lab: bool = False
    idle: pd.DataFrame | None = None
    fleet: pd.DataFrame | None = None
    notes: Mapping[str, str] = field(default_factory=dict)
    right_size: pd.DataFrame | None = None
    holds: Holds | None = None
    spikes: pd.DataFrame | None = None
    suspects: pd.DataFrame | None = None
    movable: Movable | None = None


def suggestions(facts: Observations) -> tuple[Suggestion, ...]:
    """At most three suggestions, those with most hours at stake first; devices and teams are their subjects.

    The rules, and after each the hours that are at stake:

    - retire: devices without time in the month and the two before, and without a note; their business time
    - add: a model sold out in 2 % of business time or more, with ten hand-offs or more; its sold-out time
    - release: hold hours are 10 % of the hours by hand or more; the hold hours
    - automation: more than 5 % of the sessions share a length, three times as many as its neighbours; their time
    - check: devices that false starts make suspect; a minute for each false start
    - move: moving automation saves half of the sold-out time or more; the sold-out time saved

    Each rule speaks once, of all that it found.

    >>> idle = pd.DataFrame({"device_address": ["a@h", "b@h"], "idle_months": [3, 2]})
    >>> [s.text for s in suggestions(Observations(open_hours=220, idle=idle))]
    ['Give back or move 1 device (a@h): idle for 3 months or longer, no note (rule: from 3 months on).']
    """
    rules: tuple[Callable[[Observations], Suggestion | None], ...]
    rules = (_retire, _add, _release, _automation, _check, _move)
    found = [suggestion for rule in rules if (suggestion := rule(facts))]
    return tuple(sorted(found, key=lambda suggestion: -suggestion.hours)[:MOST])


def dormant_devices(idle: pd.DataFrame, *, notes: Mapping[str, str]) -> list[str]:
    """The devices without time in the month and in the two before it that no note explains, longest idle first.

    >>> idle = pd.DataFrame({"device_address": ["a@h", "b@h", "c@h"], "idle_months": [9, 3, 2]})
    >>> dormant_devices(idle, notes={"a@h": "spare"})
    ['b@h']
    """
    devices = idle.loc[idle["idle_months"] >= DORMANT_MONTHS, "device_address"]
    return [device for device in devices if not notes.get(device, "").strip()]


def scarce(right_size: pd.DataFrame) -> pd.Series[bool]:
    """Which models are candidates for one device more: often sold out, and handed from user to user."""
    known, share = right_size["device_model"].notna(), right_size["sold_out_share"].astype("float64")
    return known & (share >= SOLD_OUT_SHARE) & (right_size["handoffs"].fillna(0) >= HANDOFFS).astype(bool)


def _retire(facts: Observations) -> Suggestion | None:
    idle = facts.idle
    if idle is None or not (devices := dormant_devices(idle, notes=facts.notes)):
        return None
    least = idle.loc[idle["device_address"].isin(devices), "idle_months"].min()
    models = _of_models(devices, facts.fleet)
    subject = f"{_count(len(devices), 'device')} ({listed([*map(shown_name, devices)])})"
    if models:
        many = f"{_count(len(devices), 'device')} ({listed(models, rest='more models')})"
        subject = models[0] if len(models) == 1 else many
    rule = f"(rule: from {DORMANT_MONTHS} months on)"
    text = f"Give back or move {subject}: idle for {least} months or longer, no note {rule}."
    return Suggestion(text, len(devices) * facts.open_hours, "retire")


def _of_models(devices: list[str], fleet: pd.DataFrame | None) -> list[str]:
    """How many of each model, such as ``2 of 14 iPhone 13``; the largest number first."""
    if fleet is None:
        return []
    models = fleet.drop_duplicates("device_address").set_index("device_address")["device_model"]
    owned = models.value_counts(dropna=False)
    found = models.reindex(devices).value_counts(dropna=False)
    rows = [
        (
            count,
            owned.get(model, count),
            shown_name(model) if isinstance(model, str) else "devices of unknown model",
        )
        for model, count in found.items()
    ]
    rows.sort(key=lambda row: (-row[0], row[2]))
    return [f"{count_text(count)} of {count_text(max(of, count))} {model}" for count, of, model in rows]


def _add(facts: Observations) -> Suggestion | None:
    if facts.right_size is None:
        return None
    short = facts.right_size[scarce(facts.right_size)]
    if short.empty:
        return None
    rows = short.sort_values(["sold_out_minutes", "device_model"], ascending=[False, True])
    first = rows.iloc[0]
    more = [shown_name(model) for model in rows["device_model"].iloc[1:]]
    where = " in the whole lab" if facts.whole_lab else ""
    text = (
        f"Add 1 {shown_name(first['device_model'])} to {count_text(first['owned'])}: none free{where} for "
        f"{minutes_text(first['sold_out_minutes'])}, {percent_text(first['sold_out_share'])} of business time, "
        f"with {count_text(first['handoffs'])} hand-offs (rule: from {percent_text(SOLD_OUT_SHARE)} and {HANDOFFS} on)"
    )
    others = f"; the same holds for {listed(more)}" if more else ""
    return Suggestion(f"{text}{others}.", float(rows["sold_out_minutes"].sum()) / 60, "add")


def _release(facts: Observations) -> Suggestion | None:
    held = facts.holds
    if held is None or not held.hold_hours or held.hold_hours < HOLD_SHARE * held.manual_hours:
        return None
    text = (
        f"Release devices after use: {hours_text(held.hold_hours)} of {hours_text(held.manual_hours)} by hand "
        f"({percent_text(held.hold_hours / held.manual_hours)}) were holds (rule: from {percent_text(HOLD_SHARE)} on)."
    )
    return Suggestion(text, held.hold_hours, "release")


def _automation(facts: Observations) -> Suggestion | None:
    if facts.spikes is None:
        return None
    found = facts.spikes[facts.spikes["share"] > SPIKE_SHARE]
    if found.empty:
        return None
    first = found.sort_values("sessions", ascending=False).iloc[0]
    # No share: one that is just above the rule would read as if it were not.
    every = round(first["sessions"] / first["share"])
    text = (
        f"Repair automation or a timeout: {count_text(first['sessions'])} of {_count(every, 'session')} last "
        f"{length_text(first['seconds'])} ± 2 s (rule: more than {percent_text(SPIKE_SHARE)}, "
        f"{SPIKE_TIMES} times as many as just below and above)."
    )
    return Suggestion(text, float((found["seconds"] * found["sessions"]).sum()) / 3600, "automation")


def _check(facts: Observations) -> Suggestion | None:
    if facts.suspects is None:
        return None
    table = facts.suspects
    suspect = (table["lower"] > SUSPECT_TIMES * table["fleet_rate"]) & (table["sessions"] >= SUSPECT_SESSIONS)
    found = table[suspect].sort_values(["lower", "device_address"], ascending=[False, True])
    if found.empty:
        return None
    first = found.iloc[0]
    others = f" of {shown_name(first['device_address'])}" if len(found) > 1 else ""
    text = (
        f"Check {listed([shown_name(device) for device in found['device_address']])}: "
        f"{count_text(first['false_starts'])} of {_count(first['sessions'], 'session')}{others} end within 60 s, "
        f"{percent_text(first['fleet_rate'])} in the fleet (rule: surely more than twice that, "
        f"from {SUSPECT_SESSIONS} sessions on)."
    )
    return Suggestion(text, float(found["false_starts"].sum()) / 60, "check")


def _move(facts: Observations) -> Suggestion | None:
    move = facts.movable
    if move is None or move.saved_share is None or move.saved_share < SAVED_SHARE:
        return None
    text = (
        f"Move {hours_text(move.hours)} of automation out of busy business hours: "
        f"{percent_text(move.saved_share)} of {minutes_text(move.sold_out_minutes)} sold out would go "
        f"(rule: from {percent_text(SAVED_SHARE)} on)."
    )
    return Suggestion(text, (move.sold_out_minutes - move.remaining_minutes) / 60, "move")


def _count(count: int, word: str) -> str:
    return f"{count_text(count)} {word}{'' if count == 1 else 's'}"

"""The month in one sentence, and what moved its hours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import Final

import pandas as pd

from usagekit.analysis.history import Values
from usagekit.analysis.kpis import Kpi
from usagekit.analysis.reconcile import share_text
from usagekit.analysis.trust import badge
from usagekit.analysis.usual import changed_much, is_unusual, usual_range
from usagekit.analysis.wording import count_text, hours_range_text, hours_text, minutes_text, signed
from usagekit.figures.escape import shown_name
from usagekit.period import Period, days_name, month_name, shift_month

SOLD_OUT_MINUTES: Final = 60
DORMANT_DEVICES: Final = 2
LEADER_SHARE: Final = 0.5


@dataclass(frozen=True, slots=True)
class Findings:
    """What a finding may say beyond the figures; what is not known is left out.

    ``trust_share`` is how far the sums are off the total, as a share of it
    (:attr:`usagekit.analysis.reconcile.Reconciled.red_share`). ``leader`` is
    what :func:`leader` says. ``sold_out`` is a model and for how many business minutes (min) none of its
    devices was free, ``whole_lab`` that this is told of the whole lab in a finding on a team. ``dormant`` is the number of dormant devices and of all devices. ``partial`` is what
    :func:`usagekit.analysis.months.partial_days` says of a running month.
    """

    trust_share: float | None = None
    leader: str = ""
    sold_out: tuple[str, float] | None = None
    dormant: tuple[int, int] | None = None
    partial: tuple[Period, Period] | None = None
    whole_lab: bool = False


NOTHING_MORE: Final = Findings()


def change_split(hours: Values, users: Values, sessions: Values) -> dict[str, float]:
    """Split a change of hours (h) into users, sessions per user and session length; adds up exactly.

    Each argument is ``[before, after]``. effect of factor f = L(after, before) * ln(f after / f before)
    with the logarithmic mean L(a, b) = (a - b) / ln(a / b). Empty where any value is zero or missing.

    >>> split = change_split([310.0, 402.5], [31, 34], [620, 770])
    >>> round(sum(split.values()), 6), max(split, key=split.get)
    (92.5, 'sessions per user')
    """
    pairs = list(zip(hours, users, sessions, strict=True))
    if not all(v for pair in pairs for v in pair):
        return {}
    (h0, u0, s0), (h1, u1, s1) = [(float(h or 0), float(u or 0), float(s or 0)) for h, u, s in pairs]
    weight = h1 if h1 == h0 else (h1 - h0) / log(h1 / h0)
    factors = {
        "users": u1 / u0,
        "sessions per user": (s1 / u1) / (s0 / u0),
        "time per session": (h1 / s1) / (h0 / s0),
    }
    return {name: weight * log(factor) for name, factor in factors.items()}


def leader(moved: pd.DataFrame, *, word: str) -> str:
    """The group behind most of a change of hours, such as ``device X +31.0 h``; empty if none makes half of it.

    Parameters
    ----------
    moved
        what :func:`usagekit.analysis.movers.movers` returns.
    word
        what the groups are called: ``team`` or ``device``.
    """
    total = float(moved["change_hours"].sum())
    same_way = moved[(moved["rank"] > 0) & (moved["change_hours"] * total > 0)]
    if same_way.empty:
        return ""
    changes = zip(same_way["change_hours"], same_way["name"], strict=True)
    hours, name = max(changes, key=lambda pair: abs(pair[0]))
    if abs(hours) < LEADER_SHARE * abs(total):
        return ""
    return f"{word} {shown_name(name)} {signed(hours_text(abs(hours)), hours)}"


def finding(figures: tuple[Kpi, ...], *, month: str, evidence: Findings = NOTHING_MORE) -> str:
    r"""The month in one sentence, by rule; teams, devices and hours are its subjects, never people.

    The first that holds: the sums differ from the total by more than 5 %; the hours are unusual
    (:func:`usagekit.analysis.usual.is_unusual`); a model was sold out for 60 business minutes or more; two
    or more devices are dormant; else the hours are within their usual range, and steady unless they changed by
    25 % or more. A running month has no usual range, since the months before it are whole.

    >>> from usagekit.analysis.kpis import make_kpi
    >>> hours = make_kpi(("hours", "Device hours", "h"), [*[None] * 11, 310.0, 320.0])
    >>> users, sessions = (make_kpi((key, key, ""), [None] * 13) for key in ("users", "sessions"))
    >>> finding((hours, users, sessions), month="2023-03").replace("\u00a0", " ")
    'Steady: 320 h (+3% against February 2023).'
    """
    by_key = {k.key: k for k in figures}
    hours = by_key["hours"]
    now, before = month_name(month), month_name(shift_month(month, -1))
    history = hours.history
    if evidence.partial:
        before, now = map(days_name, evidence.partial)
        history = history[-2:]
    if badge(evidence.trust_share) == "red":
        return f"Numbers do not reconcile ({share_text(evidence.trust_share)}) in {now}."
    if not hours.value:
        return _nothing(hours, now, before)
    dormant = _dormant(evidence)
    if is_unusual(history):
        told = _unusual(by_key, history, before) if hours.previous else _begun(hours, history, (before, now))
        return f"{told}{_more(evidence.leader, ', ')}{_more(dormant, '; ')}."
    if hours.previous:
        told = _usual(hours, history, before)
    else:
        past = "there is no comparable month before" if hours.previous is None else f"none in {before}"
        told = f"{hours.text} of device time in {now}; {past}"
    if evidence.sold_out and evidence.sold_out[1] >= SOLD_OUT_MINUTES:
        model, minutes = evidence.sold_out
        where = " in the whole lab" if evidence.whole_lab else ""
        return f"{shown_name(model)} sold out{where} for {minutes_text(minutes)} of business hours; {told}."
    if dormant:
        return f"{dormant}; {told}."
    calm = hours.previous and not changed_much(hours.value, hours.previous)
    return f"{'Steady: ' if calm else ''}{told}."


def _nothing(hours: Kpi, now: str, before: str) -> str:
    if hours.value is None:
        return f"The device hours of {now} are not available: {hours.reason}."
    past = f" {before} had {hours_text(hours.previous)}." if hours.previous else ""
    return f"No usage in {now}.{past}"


def _unusual(by_key: dict[str, Kpi], history: Sequence[float | None], before: str) -> str:
    hours, usual = by_key["hours"], usual_range(history)
    value, previous = hours.value or 0, hours.previous or 0
    where = f"{hours_text(previous)} to {hours.text}"
    if usual:
        side = "above" if value > usual[1] else "below"
        where = f"{hours.text}, {side} its usual range of {hours_range_text(*usual)}"
    return f"Hours {hours.change} against {before} ({where}){_largest_factor(by_key)}"


def _begun(hours: Kpi, history: Sequence[float | None], months: tuple[str, str]) -> str:
    """Unusual hours after a month without any, or without one that compares."""
    before, now = months
    usual, told = usual_range(history), f"{hours.text} of device time in {now}"
    if usual is None:
        return f"{told}, unusual after none in {before}"
    side = "above" if (hours.value or 0) > usual[1] else "below"
    past = "" if hours.previous is None else f", after none in {before}"
    return f"{told}, {side} its usual range of {hours_range_text(*usual)}{past}"


def _usual(hours: Kpi, history: Sequence[float | None], before: str) -> str:
    usual, moved = usual_range(history), f"{hours.change} against {before}"
    if usual:
        return f"{hours.text}, within its usual range ({hours_range_text(*usual)}), {moved}"
    return f"{hours.text} ({moved})"


def _more(text: str, joint: str) -> str:
    return f"{joint}{text}" if text else ""


def _dormant(evidence: Findings) -> str:
    count, of = evidence.dormant or (0, 0)
    return f"{count_text(count)} of {count_text(of)} devices idle" if count >= DORMANT_DEVICES else ""


def _largest_factor(by_key: dict[str, Kpi]) -> str:
    columns = [list(by_key[key].history[-2:]) for key in ("hours", "users", "sessions")]
    split = change_split(*columns)
    change = sum(split.values())
    if not round(change, 6):
        return ""
    rising = change > 0
    name = (max if rising else min)(split, key=lambda factor: split[factor])
    return f", mostly {'more' if rising else 'fewer' if name != 'time per session' else 'less'} {name}"

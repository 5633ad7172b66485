"""The month in one sentence, and what moved its hours."""

from __future__ import annotations

from math import log
from statistics import median

from usagekit.analysis.kpis import Kpi, Values
from usagekit.analysis.months import month_name, shift_month
from usagekit.analysis.wording import count_text, hours_text


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


def finding(figures: tuple[Kpi, ...], *, month: str) -> str:
    """The month in one sentence, by rule; teams and hours are its subjects, never people.

    The hours are outside their usual range when they differ from the median of the six months before by
    more than 3 * 1.4826 * MAD; without six comparable months, or with MAD = 0, when they changed by at
    least 25 % and 10 h. Within it the month is called steady unless its hours changed by 25 %.
    """
    by_key = {k.key: k for k in figures}
    hours = by_key["hours"]
    now, before = month_name(month), month_name(shift_month(month, -1))
    if not hours.value or not hours.previous:
        return _finding_alone(hours, now, before)
    moved = f"{hours.change} against {before}"
    delta = hours.value - hours.previous
    quarter = abs(delta) >= hours.previous / 4
    if usual := _usual_range(hours.history[-7:-1]):
        low, high = usual
        span = f"{count_text(low)}–{hours_text(high)}"
        if low <= hours.value <= high:
            return f"{'' if quarter else 'Steady: '}{hours.text}, within the usual range of {span} ({moved})."
        side = "above" if hours.value > high else "below"
        sentence = f"{hours.text}, {side} the usual range of {span}: {moved}"
    elif quarter and abs(delta) >= 10:
        sentence = f"Hours {moved} ({hours_text(hours.previous)} to {hours.text})"
    else:
        return f"{'' if quarter else 'Steady: '}{hours.text} ({moved})."
    return f"{sentence}{_largest_factor(by_key)}."


def _finding_alone(hours: Kpi, now: str, before: str) -> str:
    if hours.value is None:
        return f"The device hours of {now} are not available: {hours.reason}."
    if hours.value == 0:
        past = f" {before} had {hours_text(hours.previous)}." if hours.previous else ""
        return f"No usage in {now}.{past}"
    past = "there is no comparable month before" if hours.previous is None else f"none in {before}"
    return f"{hours.text} of device time in {now}; {past}."


def _usual_range(before: tuple[float | None, ...]) -> tuple[float, float] | None:
    known = [v for v in before if v is not None]
    if len(known) < 6:
        return None
    middle = median(known)
    spread = 3 * 1.4826 * median(abs(v - middle) for v in known)
    return (max(0.0, middle - spread), middle + spread) if spread else None


def _largest_factor(by_key: dict[str, Kpi]) -> str:
    columns = [list(by_key[key].history[-2:]) for key in ("hours", "users", "sessions")]
    split = change_split(*columns)
    if not split:
        return ""
    rising = sum(split.values()) > 0
    name = (max if rising else min)(split, key=lambda factor: split[factor])
    return f", mostly {'more' if rising else 'fewer' if name != 'time per session' else 'less'} {name}"

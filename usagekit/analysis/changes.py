"""What a change is, in words: relative only where its base carries it."""

from __future__ import annotations

from typing import Final

from usagekit.analysis.history import Values
from usagekit.analysis.wording import count_text, signed, value_text

NO_COMPARISON: Final = "n/a (no comparable data)"
MIN_BASE_HOURS: Final = 5
MIN_BASE_SESSIONS: Final = 10


def small_bases(hours: Values, sessions: Values) -> tuple[bool, bool]:
    """Whether the month before and the same month of last year had under 5 h or under 10 sessions."""
    before, year = (
        any(
            v is not None and v < least
            for v, least in ((hours[at], MIN_BASE_HOURS), (sessions[at], MIN_BASE_SESSIONS))
        )
        for at in (-2, -13)
    )
    return before, year


def change_text(value: float | None, base: float | None, unit: str, *, small: bool = False) -> str:
    """A change in words: relative, absolute on a ``small`` base, in points for a share.

    >>> [change_text(v, 310.0, "h") for v in (402.5, 309.1, 310.0, None)], change_text(4.0, 0.0, "h")
    (['+30%', '−0.3%', 'unchanged', ''], 'new')
    """
    if value is None:
        return ""
    if base is None:
        return NO_COMPARISON
    delta = value - base
    if delta == 0:
        return "unchanged"
    points = unit == "share"
    if not points and (small or base == 0):
        return signed(value_text(abs(delta), unit), delta) if base else "new"
    percent = 100 * abs(delta) / (1 if points else base)
    if percent < 0.05:
        return "almost unchanged"
    amount = f"{percent:.1f}" if round(percent, 1) < 1 else count_text(percent)
    return signed(f"{amount} pp" if points else f"{amount}%", delta)

"""Which hours of a month are usual, by the months before it."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Final

MONTHS: Final = 6
SPREADS: Final = 3 * 1.4826
"""1.4826 median absolute deviations are one standard deviation of a normal distribution; three of them count."""

LEAST_SHARE: Final = 0.25
LEAST_HOURS: Final = 10


def usual_range(history: Sequence[float | None]) -> tuple[float, float] | None:
    """The hours (h) that are usual for the last month of ``history``: median ± 3 * 1.4826 * MAD.

    The median and the median absolute deviation from it (Hampel 1974) are those of the six months before. None with
    fewer than six months, or when the deviation is 0.

    >>> usual_range([280, 290, 300, 310, 300, 310, 500])
    (255.522, 344.478)
    """
    known = [v for v in history[-MONTHS - 1 : -1] if v is not None]
    if len(known) < MONTHS:
        return None
    middle = median(known)
    spread = SPREADS * median(abs(v - middle) for v in known)
    return (max(0.0, middle - spread), middle + spread) if spread else None


def is_unusual(history: Sequence[float | None]) -> bool:
    """Whether the last month of ``history`` (h) lies outside its usual range.

    Without such a range: whether it changed by at least 25 % and 10 h against the month before. A missing
    month is not unusual.

    >>> is_unusual([280, 290, 300, 310, 300, 310, 340]), is_unusual([40, 50]), is_unusual([40, 49])
    (False, True, False)
    """
    value, previous = history[-1], history[-2]
    if value is None:
        return False
    if usual := usual_range(history):
        return not usual[0] <= value <= usual[1]
    return previous is not None and changed_much(value, previous) and abs(value - previous) >= LEAST_HOURS


def changed_much(value: float, previous: float) -> bool:
    """Whether hours changed by at least 25 %."""
    return abs(value - previous) >= LEAST_SHARE * previous

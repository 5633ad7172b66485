"""Numbers as readers read them: the one place that rounds, groups and names units."""

from __future__ import annotations

NARROW = "\u202f"
"""Narrow no-break space: groups thousands."""

NBSP = "\u00a0"


def count_text(value: float) -> str:
    """A whole number with narrow spaces between thousands.

    >>> count_text(12345).replace(NARROW, "_")
    '12_345'
    """
    return f"{value:,.0f}".replace(",", NARROW).replace("-", "−")


def hours_text(hours: float) -> str:
    """Hours (h) with one decimal below 100 and none from there on.

    >>> [hours_text(h).replace(NBSP, " ") for h in (0, 0.02, 47.25, 99.96, 402.5)]
    ['0 h', '<0.1 h', '47.2 h', '100 h', '402 h']
    """
    if 0 < hours < 0.05:
        return f"<0.1{NBSP}h"
    small = 0 < round(abs(hours), 1) < 100
    return f"{f'{hours:.1f}'.replace('-', '−') if small else count_text(hours)}{NBSP}h"


def minutes_text(minutes: float) -> str:
    """Minutes (min), from an hour on as hours and minutes.

    >>> [minutes_text(m).replace(NBSP, " ").replace(NARROW, " ") for m in (8.25, 47.4, 59.7, 125)]
    ['8.2 min', '47 min', '1 h 00', '2 h 05']
    """
    whole = round(minutes)
    if whole >= 60:
        return f"{count_text(whole // 60)}{NARROW}h{NARROW}{whole % 60:02d}"
    small = 0 < round(minutes, 1) < 10
    return f"{minutes:.1f}{NBSP}min" if small else f"{whole}{NBSP}min"


def percent_text(share: float) -> str:
    """A share from 0 to 1 in whole percent that never rounds something to nothing or to all.

    >>> [percent_text(s) for s in (0, 0.002, 0.34, 0.998, 1)]
    ['0%', '<1%', '34%', '>99%', '100%']
    """
    if 0 < share < 0.005:
        return "<1%"
    if 0.995 <= share < 1:
        return ">99%"
    return f"{count_text(100 * share)}%"


def signed(text: str, amount: float) -> str:
    """Put the sign of ``amount`` before the text of its size.

    >>> signed("3%", -0.03)
    '−3%'
    """
    return f"{'+' if amount > 0 else '−' if amount < 0 else '±'}{text}"


def value_text(value: float, unit: str) -> str:
    """A value in the unit of its KPI: ``h``, ``min``, ``share`` or a plain count (``""``)."""
    texts = {"h": hours_text, "min": minutes_text, "share": percent_text, "": count_text}
    return texts[unit](value)

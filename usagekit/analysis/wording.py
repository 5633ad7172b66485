"""Numbers as readers read them: the one place that rounds, groups and names units."""

from __future__ import annotations

from decimal import Decimal

NARROW = "\u202f"
"""Narrow no-break space: groups thousands."""

NBSP = "\u00a0"

APPROX, AT_LEAST, AT_MOST = "≈", "≥", "≤"
MARKS = {APPROX: "approx.", AT_LEAST: "at least", AT_MOST: "at most"}
"""What stands before a number that is a substitute, in words."""


def count_text(value: float) -> str:
    """A whole number with narrow spaces between thousands; what rounds to 0 has no sign.

    >>> count_text(12345).replace(NARROW, "_"), count_text(-3), count_text(-0.4)
    ('12_345', '−3', '0')
    """
    text = f"{value:,.0f}"
    return "0" if text == "-0" else text.replace(",", NARROW).replace("-", "−")


def hours_text(hours: float) -> str:
    """Hours (h) with one decimal below 100 and none from there on.

    >>> [hours_text(h).replace(NBSP, " ") for h in (0, 0.02, -0.02, 47.25, 99.96, 402.5)]
    ['0 h', '<0.1 h', '0 h', '47.2 h', '100 h', '402 h']
    """
    if 0 < hours < 0.05:
        return f"<0.1{NBSP}h"
    small = 0 < round(abs(hours), 1) < 100
    return f"{f'{hours:.1f}'.replace('-', '−') if small else count_text(hours)}{NBSP}h"


def hours_range_text(low: float, high: float) -> str:
    """Two numbers of hours (h) as one range.

    >>> hours_range_text(82.25, 344.5).replace(NBSP, " ")
    '82.2–344 h'
    """
    return f"{hours_text(low).removesuffix(f'{NBSP}h')}–{hours_text(high)}"


def minutes_text(minutes: float) -> str:
    """Minutes (min), from an hour on as hours and minutes.

    >>> [minutes_text(m).replace(NBSP, " ").replace(NARROW, " ") for m in (0, 0.02, 8.25, 47.4, 59.7, 125)]
    ['0 min', '<1 min', '8.2 min', '47 min', '1 h 00', '2 h 05']
    """
    if 0 < minutes < 0.05:
        return f"<1{NBSP}min"
    whole = round(minutes)
    if whole >= 60:
        return f"{count_text(whole // 60)}{NARROW}h{NARROW}{whole % 60:02d}"
    small = 0 < round(minutes, 1) < 10
    return f"{minutes:.1f}{NBSP}min" if small else f"{whole}{NBSP}min"


def length_text(seconds: float) -> str:
    """A length (s) to the second, as two of them are told apart by seconds.

    >>> length_text(474).replace(NBSP, " "), length_text(0).replace(NBSP, " ")
    ('7 min 54 s', '0 s')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "min"), (rest, "s"))
    return " ".join(f"{count_text(n)}{NBSP}{unit}" for n, unit in parts if n) or f"0{NBSP}s"


def percent_text(share: float) -> str:
    """A share from 0 to 1 in whole percent that never rounds something to nothing or to all.

    >>> [percent_text(s) for s in (0, 0.002, -0.002, 0.34, 0.998, 1)]
    ['0%', '<1%', '0%', '34%', '>99%', '100%']
    """
    if 0 < share < 0.005:
        return "<1%"
    if 0.995 <= share < 1:
        return ">99%"
    return f"{count_text(100 * share)}%"


def money_text(amount: Decimal, currency: str = "") -> str:
    """An amount to the cent, with its currency behind it.

    >>> money_text(Decimal("-12345.6"), "EUR").replace(NARROW, "_").replace(NBSP, " ")
    '−12_345.60 EUR'
    """
    text = f"{amount:,.2f}".replace(",", NARROW).replace("-", "−")
    return f"{text}{NBSP}{currency}" if currency else text


def listed(names: list[str], *, most: int = 3, rest: str = "more") -> str:
    """Names in a sentence; more than ``most`` are counted.

    >>> listed(["a", "b", "c", "d", "e"]), listed(["a", "b"])
    ('a, b, c and 2 more', 'a and b')
    """
    more = len(names) - most
    parts = [*names[:most], f"{count_text(more)} {rest}"] if more > 0 else names
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))


def signed(text: str, amount: float) -> str:
    """Put the sign of ``amount`` before the text of its size; what rounds to nothing has neither sign.

    >>> signed("3%", -0.03), signed("<0.1 h", -0.01), signed(f"<1{NBSP}min", 0.01).replace(NBSP, " ")
    ('−3%', '±0.0 h', '±0 min')
    """
    for least, nothing in (("<0.1", "±0.0"), (f"<1{NBSP}min", f"±0{NBSP}min")):
        if text.startswith(least):
            return nothing + text.removeprefix(least)
    return f"{'+' if amount > 0 else '−' if amount < 0 else '±'}{text}"


def compared_texts(value: float | None, base: float | None, unit: str) -> tuple[str, str]:
    """A value and the one it is compared with, – where missing.

    Shares and minutes have a decimal more where whole numbers would tell another difference.

    >>> compared_texts(0.336, 0.324, "share"), compared_texts(0.42, 0.32, "share"), compared_texts(0.3, None, "share")
    (('33.6%', '32.4%'), ('42%', '32%'), ('30%', '–'))
    >>> [text.replace(NBSP, " ") for text in compared_texts(15.8, 16.1, "min")]
    ['15.8 min', '16.1 min']
    """
    plain = tuple("–" if v is None else value_text(v, unit) for v in (value, base))
    scale = {"share": 100, "min": 1}.get(unit, 0)
    if value is None or base is None or not scale:
        return plain[0], plain[1]
    if not 0.05 <= scale * min(value, base) <= scale * max(value, base) < (59.5 if unit == "min" else 100):
        return plain[0], plain[1]
    delta = scale * (value - base)
    told = round(scale * value) - round(scale * base)
    if abs(delta) < 0.05 or (abs(told - delta) < 0.5 and abs(delta) >= 1):
        return plain[0], plain[1]
    end = "%" if unit == "share" else f"{NBSP}min"
    return f"{scale * value:.1f}{end}", f"{scale * base:.1f}{end}"


def value_text(value: float, unit: str) -> str:
    """A value in the unit of its KPI: ``h``, ``min``, ``share`` or a plain count (``""``)."""
    texts = {"h": hours_text, "min": minutes_text, "share": percent_text, "": count_text}
    return texts[unit](value)

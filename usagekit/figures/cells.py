"""One value of a table: as readers read it, and as a file keeps it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from decimal import Decimal
from itertools import takewhile
from typing import Any, Final, Literal

import pandas as pd

from usagekit.analysis.wording import NARROW, NBSP, count_text, hours_text, minutes_text, percent_text, signed
from usagekit.figures.escape import shown_name
from usagekit.vocabulary import split_device_address

Kind = Literal[
    "text",
    "device",
    "host",
    "count",
    "hours",
    "minutes",
    "percent",
    "change",
    "bar",
    "percent_bar",
    "marks",
    "spark",
    "money",
    "time",
    "badge",
    "note",
]
"""How the values of a column are shown; :class:`~usagekit.figures.tables.Column` says what each takes."""

MISSING: Final = "–"
BADGE_SIGNS: Final = {"green": "●", "amber": "▲", "red": "■", "missing": MISSING}
"""A shape for each colour of trust, for readers and printers without colours."""

ARROWS: Final = {"+": "▲", "−": "▼"}

_TEXTS: Final[dict[str, Any]] = {
    "count": count_text,
    "hours": hours_text,
    "bar": hours_text,
    "minutes": minutes_text,
    "percent": percent_text,
    "percent_bar": percent_text,
}


def cell(value: Any, kind: Kind, *, largest: float = 0.0, domain: str = "") -> dict[str, Any]:
    """One cell as plain values.

    ``largest`` is the value of a bar of full length, 0 for no bar; ``domain`` is left off host names.
    """
    if kind in ("marks", "spark"):
        return {"marks": value} if kind == "marks" else {"columns": heights(value)}
    if is_missing(value):
        return {"text": MISSING if kind != "note" else "", "bar": None}
    if kind in ("device", "host"):
        return _address(str(value), kind, domain)
    text = _text(value, kind)
    if kind in ("bar", "percent_bar"):
        return {"text": text, "bar": round(float(value) / largest, 4) if largest else None}
    if kind in ("change", "badge"):
        signs = ARROWS if kind == "change" else BADGE_SIGNS
        return {"text": text, "sign": signs.get(text if kind == "badge" else text[:1], "")}
    return {"text": text}


def raw(value: Any) -> Any:
    """The value for a file: exact, of a kind that JSON knows; None when missing.

    >>> [raw(v) for v in (float("nan"), pd.Timestamp("2023-03-01"), Decimal("-1.50"), (1.5, None))]
    [None, '2023-03-01T00:00:00', -1.5, '1.5 ']
    """
    if isinstance(value, tuple | list):
        return " ".join("" if is_missing(v) else f"{v:.12g}" for v in value)
    if is_missing(value):
        return None
    if isinstance(value, pd.Timestamp):
        return value.isoformat()
    if isinstance(value, Decimal):  # as text a negative one would pass for a formula
        return float(value)
    if hasattr(value, "item"):
        return value.item()
    return value if isinstance(value, str | int | float) else str(value)


def common_domain(hosts: Iterable[str]) -> str:
    """What all host names end in, from a dot on; empty where they are fewer than two or end differently.

    >>> common_domain(["a-1.example.com", "b-2.example.com"]), common_domain(["192.168.0.5", "192.168.1.5"])
    ('.example.com', '')
    """
    # Each host keeps its first part.
    endings = [name.split(".")[:0:-1] for name in {*hosts}]
    if len(endings) < 2:
        return ""
    same = [parts[0] for parts in takewhile(lambda parts: len({*parts}) == 1, zip(*endings, strict=False))]
    return f".{'.'.join(reversed(same))}" if same and not same[0].isdigit() else ""


def is_missing(value: Any) -> bool:
    """None, NaN, NaT and NA; an empty text is a value."""
    return (
        value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and math.isnan(value))
    )


def heights(history: Any) -> list[float | None]:
    """Columns from zero, as shares of the tallest; None where there is no value."""
    values = [None if is_missing(v) else float(v) for v in history]
    top = max((v for v in values if v), default=0.0)
    return [None if v is None else round(v / top, 4) if top else 0.0 for v in values]


def _address(name: str, kind: Kind, domain: str) -> dict[str, Any]:
    device, host = split_device_address(name) if kind == "device" else ("", name)
    if device:
        return {"text": shown_name(device), "detail": f"@{host.removesuffix(domain)}"}
    return {"text": shown_name(host.removesuffix(domain))}


def _text(value: Any, kind: Kind) -> str:
    if kind == "count" and isinstance(value, str):
        return value
    if kind in _TEXTS:
        return str(_TEXTS[kind](value))
    if kind == "change":
        text = value if isinstance(value, str) else signed(hours_text(abs(value)), value)
        return "n/a" if text.startswith("n/a") else text
    if kind == "money":
        return f"{value:,.2f}".replace(",", NARROW).replace("-", "−")
    if kind == "time":
        day = f"{value.day}{NBSP}{value:%b}{NBSP}{value.year}"
        return day if value.tz is None and value == value.normalize() else f"{day}, {value:%H:%M}"
    return shown_name(str(value)) if kind == "text" else str(value)

"""What a notebook shows of an answer: a title, what was asked, small tables and notes; never the whole frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import isfinite
from numbers import Integral, Number
from typing import Any, Final

import pandas as pd
from jinja2 import Template
from markupsafe import Markup

from usagekit.analysis.trust import BADGES
from usagekit.analysis.wording import NARROW, count_text, percent_text, signed
from usagekit.figures.base import environment, source
from usagekit.figures.escape import printable, shown_name

SHOWN_ROWS: Final = 20
"""Rows that a panel shows of a table."""

MISSING: Final = "–"
_FREE_TEXT = ("teams", "notes", "detail")


@dataclass(frozen=True, slots=True)
class Table:
    """Cells as text. ``numbers`` names the columns set to the right; ``of`` is how many rows there are, and of ``what``."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: frozenset[str] = frozenset()
    of: int = 0
    what: str = ""

    @property
    def more(self) -> str:
        """How many rows are not shown, in words."""
        rest = self.of - len(self.rows)
        return f"{count_text(rest)} more {self.what}".strip() if rest > 0 else ""

    def text(self) -> str:
        """The table for a terminal: numbers to the right, no control characters."""
        cells = [self.columns, *([printable(c) for c in row] for row in self.rows)]
        widths = [max(len(row[i]) for row in cells) for i in range(len(self.columns))]
        right = [name in self.numbers for name in self.columns]
        lines = [
            "  ".join(
                cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(row, widths, right, strict=True)
            )
            for row in cells
        ]
        return "\n".join(filter(None, [*(line.rstrip() for line in lines), self.more]))


def frame_table(frame: pd.DataFrame, *, rows: int = SHOWN_ROWS, what: str = "") -> Table:
    """The first rows of a frame, as people read them: grouped digits, dates without midnight, – for missing."""
    shown = frame.head(rows)
    numbers = frozenset(
        str(n) for n in frame if pd.api.types.is_numeric_dtype(frame[n]) and frame[n].dtype != bool
    )
    columns = [[_cell(value, str(name)) for value in shown[name]] for name in shown]
    return Table(
        tuple(map(str, frame.columns)),
        tuple(zip(*columns, strict=True)),
        numbers=numbers,
        of=len(frame),
        what=what,
    )


def panel(
    title: str,
    *,
    caption: str = "",
    colour: str = "",
    tables: Sequence[Table] = (),
    notes: Sequence[str] = (),
) -> str:
    """One piece of HTML that stands alone; all that it is given is text, nothing of it is markup."""
    return _template().render(
        css=_css(),
        title=title,
        caption=caption,
        colour=colour,
        tables=[t for t in tables if t.rows],
        notes=notes,
        colours=(*BADGES, "missing"),
    )


def plain(title: str, *, caption: str = "", tables: Sequence[Table] = (), notes: Sequence[str] = ()) -> str:
    """The same for a terminal."""
    parts = [
        printable(title),
        printable(caption),
        *(t.text() for t in tables if t.rows),
        *map(printable, notes),
    ]
    return "\n".join(filter(None, parts))


def _cell(value: Any, column: str) -> str:
    if value is None or value is pd.NA or value is pd.NaT or value != value:  # noqa: PLR0124 - NaN
        return MISSING
    if isinstance(value, str):
        return value if column in _FREE_TEXT else shown_name(value)
    if isinstance(value, pd.Timestamp):
        by_day = value.tz is None and value == value.normalize()
        return f"{value:%Y-%m-%d}" if by_day else value.isoformat(" ", timespec="minutes")
    if isinstance(value, bool) or not isinstance(value, Number):
        return str(value)
    return _number(value, column)


def _number(value: Any, column: str) -> str:
    if isinstance(value, Integral):
        return count_text(int(value))
    if not isfinite(value):
        return "all" if column.endswith("share") else str(value)
    if column.endswith("_share"):
        return signed(percent_text(abs(value)), value) if value else "0%"
    return (
        percent_text(value) if column == "share" else f"{value:,.2f}".replace(",", NARROW).replace("-", "−")
    )


@cache
def _css() -> Markup:
    return Markup(source("panels.css").strip())  # noqa: S704 - our own file


@cache
def _template() -> Template:
    return environment().get_template("panels.html.j2")

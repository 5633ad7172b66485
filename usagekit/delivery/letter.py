"""What a mail says before it has a recipient, as HTML for mail programs and as plain text with the same words."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Final

import css_inline
from jinja2 import Template

from usagekit.figures.base import environment
from usagekit.figures.escape import printable, shown_name
from usagekit.figures.mail_chart import HEIGHT, WIDTH

MAX_WORDS: Final = 120
MAX_HTML_BYTES: Final = 100_000
"""Gmail cuts longer mails (at 102 KB) behind a link."""

_NAME_LETTERS, _TEXT_LETTERS = 120, 500


@dataclass(frozen=True, slots=True)
class Table:
    """A table of texts; ``numbers`` sets all columns but the first to the right."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: bool = True


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that goes with a mail; ``mime`` such as ``application/pdf``."""

    name: str
    content: bytes
    mime: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A PNG, what it shows in words, and the two ends of its axis."""

    png: bytes
    alt: str
    ends: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail's content. ``title`` may be a team's name of any kind; ``facts`` is the line below it.

    ``note`` explains a sign in the first table.
    """

    subject: str
    title: str
    facts: str
    finding: str
    why: str
    contact: str = ""
    tables: tuple[Table, ...] = ()
    note: str = ""
    chart: Chart | None = None
    actions: tuple[str, ...] = ()
    caveats: tuple[str, ...] = ()
    attachments: tuple[Attachment, ...] = ()

    @property
    def closing(self) -> str:
        """Whom to ask."""
        return f"Questions: {self.contact}" if self.contact else "Questions: just reply."

    def html(self, chart_source: str) -> str:
        """The HTML part with its styles in the elements; the chart comes from ``chart_source``, a cid: or data: URL."""
        page = _template().render(letter=self, source=chart_source, width=WIDTH, height=HEIGHT, short=short)
        return _inliner().inline(page)

    def text(self) -> str:
        """The plain part: the same words and numbers, without the chart."""
        blocks = [f"{isolated(shown_name(self.title))}\n{self.facts}", self.finding]
        tables = [_lines(table) for table in self.tables]
        blocks += ["\n".join(filter(None, [tables[0], self.note]))] if tables else []
        blocks += tables[1:]
        if self.actions:
            blocks.append("\n".join(f"{n}. {printable(a)}" for n, a in enumerate(self.actions, 1)))
        blocks += [*self.caveats, f"{self.closing}\n{self.why}"]
        return "\n\n".join(_printable_lines(block) for block in blocks) + "\n"


def words(letter: Letter) -> int:
    """Number of words of a letter's plain part, each number, unit and sign included; only a second table is not counted."""
    return len(replace(letter, tables=letter.tables[:1]).text().split())


def short(text: str, *, letters: int = _TEXT_LETTERS) -> str:
    """Text of any length, cut with an ellipsis where it is longer than a mail can take."""
    return text if len(text) <= letters else f"{text[: letters - 1]}…"


def short_name(name: str) -> str:
    """A name as a subject or a row shows it: visible, on one line, of at most 120 characters."""
    return isolated(short(shown_name(name), letters=_NAME_LETTERS))


def isolated(name: str) -> str:
    """A name that cannot turn the text around it: right-to-left ones are wrapped in isolates (UAX 9)."""
    turning = any(unicodedata.bidirectional(c) not in _LEFT_TO_RIGHT for c in name)
    return f"\u2068{name}\u2069" if turning else name


# Everything but R, AL, AN and the explicit marks (LRE, RLO, PDF, LRI, …).
_LEFT_TO_RIGHT = frozenset({"L", "EN", "ES", "ET", "CS", "NSM", "BN", "B", "S", "WS", "ON", ""})


def _printable_lines(block: str) -> str:
    return "\n".join(printable(line) for line in block.split("\n"))


def _lines(table: Table) -> str:
    rows = [tuple(printable(cell) for cell in row) for row in (table.head, *table.rows)]
    if not table.numbers:
        return "\n".join(f"- {': '.join(row)}" for row in rows[1:])
    widths = [max(_width(row[column]) for row in rows) for column in range(len(table.head))]
    return "\n".join(_line(row, widths).rstrip() for row in rows)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = (" " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True))
    return "  ".join([row[0] + first, *(pad + cell for pad, cell in zip(others, row[1:], strict=True))])


def _width(text: str) -> int:
    """Columns that a text takes in a font of fixed width."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text
    )


@cache
def _template() -> Template:
    return environment().from_string(files("usagekit.delivery").joinpath("letter.html.j2").read_text("utf-8"))


@cache
def _inliner() -> css_inline.CSSInliner:
    return css_inline.CSSInliner(load_remote_stylesheets=False)

"""The blocks that a report is made of, whichever paper it goes to.

``document`` makes them from a notebook, ``page`` turns them into HTML and ``typst`` into a PDF.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Token = dict[str, Any]
"""One node of parsed Markdown, as mistune makes it."""


@dataclass(frozen=True, slots=True)
class Prose:
    """Markdown, parsed; its links, images and heading levels are already settled."""

    tokens: list[Token]


@dataclass(frozen=True, slots=True)
class Figure:
    """An output of usagekit.figures: HTML and Typst code that are escaped by construction.

    ``kind`` is the figure's own word: a ``header`` holds the heading of level 1, a ``page_break`` only ends a page.
    """

    html: str
    typst: str
    alt: str
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Foreign:
    """HTML of somebody else, already sanitised."""

    html: str


@dataclass(frozen=True, slots=True)
class Picture:
    """A checked image. ``width`` and ``height`` are CSS pixels, 0 for SVG, which knows its own."""

    media: str
    content: bytes
    alt: str
    width: float = 0
    height: float = 0


@dataclass(frozen=True, slots=True)
class Plain:
    """Text set as it is, in a fixed-width font."""

    text: str


@dataclass(frozen=True, slots=True)
class Notice:
    """A box that states what is missing, or the error of a cell."""

    text: str
    kind: Literal["note", "error"] = "note"


Paper = Literal["a4", "us-letter"]
"""Sizes of a page, by the names that Typst has for them."""

Block = Prose | Figure | Foreign | Picture | Plain | Notice


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A notebook made ready for paper.

    ``shows_title`` says that the title is to be printed above the blocks, as the heading of level 1: neither a
    heading of the notebook nor a header of ours does so. ``as_of`` is an instant in the report's own zone,
    ``snapshot`` the SHA-256 of the figures' snapshot and ``version`` that of the usagekit that made them.
    """

    title: str
    language: str = "en"
    lab: str = ""
    team: str = ""
    month: str = ""
    as_of: datetime | None = None
    snapshot: str = ""
    version: str = ""
    paper: Paper = "a4"
    shows_title: bool = False
    blocks: list[Block] = field(default_factory=list)

    @property
    def subject(self) -> str:
        """Team and month, such as ``Payments · March 2023``; either may be missing."""
        return " · ".join(part for part in (self.team, self.month) if part)

    @property
    def footer(self) -> str:
        """Where the figures come from; what is not known is left out.

        Such as ``Data as of 3 April 2023, 08:00 UTC · snapshot 0123456789ab · usagekit 1.0``.
        """
        as_of = self.as_of and f"Data as of {self.as_of.day} {self.as_of:%B %Y, %H:%M %Z}"
        snapshot = self.snapshot and f"snapshot {self.snapshot[:12]}"
        version = self.version and f"usagekit {self.version}"
        return " · ".join(part for part in (as_of, snapshot, version) if part)

"""Read the finished files of a report back: what they say must be what was asked for and what the notebook found.

Three things that could disagree are held against each other: the page, the PDF and the notebook's own marker.
"""

from __future__ import annotations

import ctypes
import re
import threading
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from html.parser import HTMLParser
from typing import Any, Final

import nbformat
import pypdfium2  # type: ignore[import-untyped]
from pypdfium2 import raw

from usagekit.analysis.wording import hours_text
from usagekit.errors import RenderError
from usagekit.export.blocks import Figure
from usagekit.export.document import read_document
from usagekit.figures.escape import shown_name
from usagekit.report.unit import Unit

MISSING_GLYPH: Final = "\u25a1"
"""What the PDF shows for characters that none of its fonts has."""

_INSIDE_SVG: Final = re.compile(r"(<svg\b[^>]*>).*?(</svg>)", re.DOTALL)
"""A drawing from its label to its end: most of a page, and nothing that is looked for."""

_ABOUT: Final = "usagekit-"

_pdfium = threading.Lock()  # it fails, or crashes, when two threads use it, even for different documents

# U+FFFD (So) stands for characters that cannot be shown; dropping both sides of it would hide a lost name.
_UNPRINTED = frozenset({"Cc", "Cf", "Cs", "Cn", "Co", "Zs", "Zl", "Zp"})


def check_pages(unit: Unit, html: str, pdf: bytes) -> None:
    """Read the finished pages back: they are about the team and the month, by their properties and to the eye.

    Page and PDF carry the exact names; beside them the title or first page must show both.

    Raises
    ------
    RenderError : a page does not.
    """
    page, paper = _page(html), _paper(pdf)
    team = (unit.team or "").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    about = {"team": team, "month": unit.month_name}
    for what, name in about.items():
        # Pages made before they carried the names are verified, too; their PDFs do.
        if (found := page.about.get(what, name)) != name:
            raise RenderError(f"the HTML is about the {what} {found!r} and not {name!r}")
    keywords = ", ".join(["usage report", *filter(None, about.values())])
    if re.fullmatch(rf"{re.escape(keywords)}(, [0-9a-f]{{64}})?", paper.keywords) is None:
        raise RenderError(f"the PDF is about {paper.keywords!r} and not {keywords!r}")
    for kind, text in (("HTML", page.title), ("PDF", f"{paper.title} {paper.texts[0]}")):
        seen = _condensed(text)
        names = () if unit.team is None else tuple(filter(str.strip, (unit.team, shown_name(unit.team))))
        for what, forms in (("team", names), ("month", (unit.month, unit.month_name))):
            if forms and not any(_condensed(form) in seen for form in forms):
                raise RenderError(f"the {kind} does not name the {what} in its title or on its first page")


def check_facts(files: Mapping[str, bytes], facts: Mapping[str, Any]) -> None:
    """Hold page and PDF against the notebook: its total hours as printed, its figures, and each of its charts.

    Compared is what the completion marker tells (``shown``, ``figure_count``); a notebook of somebody else's may
    tell neither.

    Raises
    ------
    RenderError : something is missing from a page, or is there twice.
    """
    shown = facts.get("shown")
    total = shown.get("total_hours") if isinstance(shown, Mapping) else None
    if total is None and "figure_count" not in facts:
        return
    page, paper = _page(files["report.html"].decode()), _paper(files["report.pdf"])
    if total is not None:
        _check_total(str(total), facts.get("total_hours"))
        for kind, texts in (("HTML", [page.text]), ("PDF", paper.texts)):
            if not any(_says(text, str(total)) for text in texts):
                raise RenderError(f"the {kind} does not say {total!r}, the notebook's device hours")
    if "figure_count" in facts:
        notebook = nbformat.reads(files["report.ipynb"].decode(), as_version=4)  # type: ignore[no-untyped-call]
        blocks = [b for b in read_document(notebook, name="report").blocks if isinstance(b, Figure)]
        if page.figures != len(blocks):
            raise RenderError(f"the HTML has {page.figures} figures, the notebook {len(blocks)}")
        wanted = [label for block in blocks for label in _Page(block.html).charts]
        for kind, found in (("HTML", page.charts), ("PDF", paper.charts)):
            _check_charts(kind, found, wanted)


def _check_total(shown: str, total: object) -> None:
    if isinstance(total, int | float) and not _says(shown, hours_text(total)):
        raise RenderError(f"the notebook prints {shown!r} for {hours_text(total)} device hours")


def _says(text: str, words: str) -> bool:
    """Whether a number with its unit stands in a text, whatever the spaces in it; not as the end of a longer one."""
    pattern = r"\s*".join(re.escape(part) for part in unicodedata.normalize("NFKC", words).split())
    return re.search(rf"(?<![\d.,]){pattern}(?!\w)", unicodedata.normalize("NFKC", text)) is not None


def _check_charts(kind: str, found: list[str], wanted: list[str]) -> None:
    """Each chart of the notebook is there as often as in the notebook; figures that are no charts may be, too."""
    for label, times in Counter(wanted).items():
        count = sum(_same_label(label, other) for other in found)
        if count != times:
            raise RenderError(f"the {kind} has {count} of {times} charts {label[:80]!r}")


def _same_label(label: str, printed: str) -> bool:
    """Whether two alternative texts are equal, but for characters that the PDF cannot show."""
    ours, theirs = _visible(label), _visible(printed)
    return len(ours) == len(theirs) and all(
        b in (a, MISSING_GLYPH) for a, b in zip(ours, theirs, strict=True)
    )


def _visible(text: str) -> str:
    """Text without white space, joiners and selectors."""
    return "".join(
        c for c in text if unicodedata.category(c) not in _UNPRINTED and not "\ufe00" <= c <= "\ufe0f"
    )


def _condensed(text: str) -> str:
    """Text without what a typesetter may change: form, white space, line breaks, invisible characters."""
    return "".join(
        c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) not in _UNPRINTED
    )


class _Page(HTMLParser):
    """What an HTML page says: what it is about, its title and headings, all its text, its figures and the labels of its charts."""

    _TITLE = frozenset({"title", "h1", "header", "footer"})
    _VOID = frozenset(
        {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
    )

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self._open: list[str] = []
        self._titles: list[str] = []
        self._texts: list[str] = []
        self.figures = 0
        self.charts: list[str] = []
        self.about: dict[str, str] = {}
        self.feed(_INSIDE_SVG.sub(r"\1\2", html))
        self.close()

    @property
    def title(self) -> str:
        return " ".join(self._titles)

    @property
    def text(self) -> str:
        return " ".join(self._texts)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        about = dict(attrs)
        if tag == "meta" and (name := about.get("name") or "").startswith(_ABOUT):
            self.about.setdefault(name.removeprefix(_ABOUT), about.get("content") or "")
        if about.get("role") == "img" and "figure" in (tag, *self._open):
            self.charts.append(about.get("aria-label") or "")
        # Ours are right below <main>; what a foreign output wraps deeper in is not counted.
        if tag == "div" and about.get("class") == "figure" and self._open[-1:] == ["main"]:
            self.figures += 1
        if tag not in self._VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """A tag that ends at once, as in SVG, opens nothing."""

    def handle_endtag(self, tag: str) -> None:
        if tag in self._open:
            while self._open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self._texts.append(data)
        if not self._TITLE.isdisjoint(self._open):
            self._titles.append(data)


class _Paper:
    """What a PDF says: its title and keywords, the text of its pages, and the alternative texts of its figures."""

    def __init__(self, pdf: bytes) -> None:
        with _pdfium, pypdfium2.PdfDocument(pdf) as document:
            self.title: str = document.get_metadata_value("Title")
            self.keywords: str = document.get_metadata_value("Keywords")
            self.texts = [page.get_textpage().get_text_range() for page in document]
            # In a tagged PDF; a figure never stands on two pages.
            self.charts = [text for page in document for text in _figures(page)]


def _figures(page: pypdfium2.PdfPage) -> Iterator[str]:
    tree = raw.FPDF_StructTree_GetForPage(page)
    count, child = raw.FPDF_StructTree_CountChildren, raw.FPDF_StructTree_GetChildAtIndex
    waiting = [child(tree, i) for i in range(count(tree))] if tree else []
    try:
        while waiting:
            element = waiting.pop()
            if not element:  # the mark of a piece of content, which has no children
                continue
            if _words(raw.FPDF_StructElement_GetType, element) == "Figure":
                yield _words(raw.FPDF_StructElement_GetAltText, element)
            children = range(raw.FPDF_StructElement_CountChildren(element))
            waiting += [raw.FPDF_StructElement_GetChildAtIndex(element, i) for i in children]
    finally:
        raw.FPDF_StructTree_Close(tree)


def _words(get: Callable[..., int], element: Any) -> str:
    """What one of PDFium's functions says of an element; it tells the length first, with a zero at the end."""
    room = ctypes.create_string_buffer(get(element, None, 0))
    get(element, room, len(room))
    return room.raw[:-2].decode("utf-16-le")


# Both checks read the same two files, one after the other.
_paper = lru_cache(maxsize=1)(_Paper)
_page = lru_cache(maxsize=1)(_Page)

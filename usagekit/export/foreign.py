"""HTML that other libraries put into a notebook: made harmless and taken apart. Only home of bleach."""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import copy

import bleach
from bleach.css_sanitizer import CSSSanitizer
from bs4 import BeautifulSoup, Tag
from bs4.element import Comment, NavigableString

from usagekit.export.blocks import Picture, Plain
from usagekit.export.grids import Grid, read_grid, tidy
from usagekit.export.pictures import PictureError, picture_from_uri
from usagekit.export.styles import STYLES, move_styles, safe_style

_TABLE_TAGS = {"table", "thead", "tbody", "tfoot", "tr", "th", "td", "caption"}
_BLOCK_TAGS = {
    "p",
    "div",
    "ul",
    "ol",
    "li",
    "dl",
    "dt",
    "dd",
    "pre",
    "blockquote",
    "hr",
    "details",
    "summary",
}
_INLINE_TAGS = {"a", "abbr", "b", "br", "code", "del", "em", "i", "img", "ins", "kbd", "mark", "s", "samp"}
_INLINE_TAGS |= {"small", "span", "strong", "sub", "sup", "u", "var"}
_TAGS = _TABLE_TAGS | _BLOCK_TAGS | _INLINE_TAGS
_NOT_ON_PAPER = ("svg", "iframe", "object", "embed", "video", "audio", "canvas", "form", "template", "math")
_LONG_SCRIPT = 1000
"""Characters. A value with a script in it stays readable as text; a bundled library does not."""

_LEFT_OUT = re.compile(r"\[[a-z]+ left out\]")


def sanitise(html: str) -> str:
    """Keep tables, text and inline images of foreign HTML; everything else becomes text or a remark.

    The rules of a pandas Styler move from its style sheet to its cells, so that they reach nothing else.
    """
    soup = BeautifulSoup(html, "html.parser")
    for comment in soup.find_all(string=lambda node: isinstance(node, Comment)):
        comment.extract()
    for sheet in soup.find_all("style"):
        move_styles(sheet.get_text() or str(sheet.string or ""), soup)
        sheet.decompose()
    for tag in soup.find_all(_NOT_ON_PAPER):
        tag.replace_with(f"[{tag.name} left out]")
    for script in soup.find_all("script"):
        if len(str(script)) > _LONG_SCRIPT:
            script.replace_with("[script left out]")
    for heading in soup.find_all(re.compile("^h[1-6]$")):
        heading.name = "p"  # a foreign heading would break the outline of the report
        heading["style"] = "font-weight: bold"
    for tag in soup.find_all(style=True):
        tag["style"] = safe_style(str(tag["style"]))
    for image in soup.find_all("img"):
        _settle_image(image)
    return _shown_as_numbers(
        bleach.clean(
            str(soup),
            tags=_TAGS,
            attributes=_allowed,
            protocols={"http", "https", "mailto", "data"},
            css_sanitizer=CSSSanitizer(allowed_css_properties=list(STYLES)),
        )
    )


def is_left_out(html: str) -> bool:
    """Whether nothing of an output is left in its sanitised HTML but remarks on what was left out."""
    parts = list(read_parts(html))
    return bool(parts) and all(
        isinstance(part, str) and not _LEFT_OUT.sub("", part).strip() for part in parts
    )


def read_parts(html: str) -> Iterator[str | Grid | Picture | Plain]:
    """Split sanitised HTML into text, preformatted text, tables and images, in reading order."""
    text = ""
    for piece in _walk(BeautifulSoup(html, "html.parser")):
        if isinstance(piece, str):
            text += piece
            continue
        if text.strip():
            yield tidy(text)
        text = ""
        yield piece
    if text.strip():
        yield tidy(text)


def _walk(node: Tag) -> Iterator[str | Grid | Picture | Plain]:
    for child in node.children:
        if isinstance(child, NavigableString):
            yield re.sub(r"\s+", " ", str(child))
        elif not isinstance(child, Tag):
            continue
        elif child.name == "table":
            yield read_grid(child)
        elif child.name == "img":
            yield picture_from_uri(str(child["src"]), alt=str(child["alt"]))
        elif child.name == "pre":
            yield Plain(child.get_text().strip("\n"))
        elif child.name == "br":
            yield "\n"
        elif child.name in _BLOCK_TAGS:
            yield f"\n{_bullet(child)}"
            yield from _walk(child)
            yield "\n"
        else:
            yield from _walk(child)


def _bullet(tag: Tag) -> str:
    if tag.name != "li":
        return ""
    ordered = tag.parent is not None and tag.parent.name == "ol"
    return f"{len(tag.find_previous_siblings('li')) + 1}. " if ordered else "• "


def _shown_as_numbers(html: str) -> str:
    """Mark the cells of numeric columns, for the page's style sheet; a head without words is none."""
    soup = BeautifulSoup(html, "html.parser")
    for table in soup.find_all("table"):
        grid = read_grid(copy(table))
        for row in table.find_all("tr"):
            cells = row.find_all(["td", "th"])
            for cell, numeric in zip(reversed(cells), reversed(grid.numeric), strict=False):
                if numeric:
                    cell["class"] = "number"
                if cell.name == "th" and cell.find_parent("thead") and not cell.get_text(strip=True):
                    cell.name = "td"
    return str(soup)


def _settle_image(image: Tag) -> None:
    address, alt = str(image.get("src", "")), str(image.get("alt", "")) or "Image"
    try:
        picture_from_uri(address, alt=alt)
    except PictureError as error:
        image.replace_with(f"[image not shown ({error}): {address[:200]}]")
    else:
        image.attrs = {"src": address, "alt": alt}


def _allowed(tag: str, name: str, value: str) -> bool:
    if name == "href":
        return tag == "a" and re.match(r"(https?://|mailto:)", value, re.IGNORECASE) is not None
    if name in ("src", "alt"):
        return tag == "img"
    if name in ("colspan", "rowspan", "scope"):
        return tag in ("td", "th")
    return name in ("style", "title", "dir", "lang")

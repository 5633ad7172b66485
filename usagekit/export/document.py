"""A notebook becomes a :class:`~usagekit.export.blocks.Document`: what is shown, in order, and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal
from zoneinfo import ZoneInfo

from nbformat import NotebookNode

from usagekit.export.blocks import Block, Document, Figure, Foreign, Notice, Picture, Plain, Prose
from usagekit.export.foreign import is_left_out, sanitise
from usagekit.export.pictures import MEDIA_TYPES, PictureError, read_picture
from usagekit.export.prose import headings, level_headings, plain_text, read_prose

FIGURE_MIME = "application/vnd.usagekit.figure+json"
REPORT_MIME = "application/vnd.usagekit.report+json"
TYPST_MIME = "text/vnd.typst"

_HIDE_CELL = frozenset({"remove", "hide", "remove_cell", "hide_cell"})
_HIDE_OUTPUT = frozenset({"remove_output", "hide_output", "remove_all_outputs"})
_ANSI = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|[@-Z\\-_])")
_WORDS_OF_HTML = ("text/html", "text/plain")
_MAX_TEXT = 100_000
"""Characters of one printed output; a loop that prints must not make a report of a thousand pages."""


def read_document(notebook: NotebookNode, *, name: str) -> Document:
    """Read what a notebook shows; ``name`` is its file name without suffix, the title of last resort.

    Code is never shown. Cells tagged ``remove``, ``hide``, ``remove_cell`` or ``hide_cell`` and outputs tagged
    ``remove_output`` or ``hide_output`` are left out, with ``-`` or ``_``.
    """
    facts = _read_facts(notebook)
    blocks = [block for cell in notebook.cells for block in _cell_blocks(cell)]
    found = [h for block in blocks if isinstance(block, Prose) for h in headings(block.tokens)]
    named = _text(facts.get("title") or notebook.metadata.get("title")).strip()
    first = plain_text(found[0]["children"]).strip() if found else ""
    has_title = _opens_with_title(blocks, found)
    if has_title == "heading" and named and named != first:
        has_title = None
    title = named or first or name or "Report"
    level_headings(found, top=1 if has_title == "heading" else 2)
    return Document(
        title=title,
        language=_language(facts.get("language") or notebook.metadata.get("language")),
        lab=_text(facts.get("lab")),
        team=_text(facts.get("team")),
        month=_month_name(_text(facts.get("month"))),
        as_of=_instant(_text(facts.get("as_of")), _text(facts.get("timezone"))),
        snapshot=_whole(r"[0-9a-f]{64}", facts.get("snapshot_sha256")),
        version=_whole(r"[\w.+!-]{1,40}", facts.get("usagekit_version")),
        paper="us-letter" if facts.get("paper") == "us-letter" else "a4",
        shows_title=has_title is None,
        blocks=_name_pictures(blocks, title),
    )


def _opens_with_title(
    blocks: Sequence[Block], found: Sequence[Mapping[str, Any]]
) -> Literal["heading", "header"] | None:
    """What shows the title: a header of ours, or the opening heading if no other is as high, or nothing."""
    for block in blocks:
        if isinstance(block, Figure) and block.kind == "header":
            return "header"
        if isinstance(block, Prose) and any(headings(block.tokens)):
            break
    levels = [heading["attrs"]["level"] for heading in found]
    opening = blocks[0].tokens[0] if blocks and isinstance(blocks[0], Prose) else None
    if levels and opening is found[0] and all(level > levels[0] for level in levels[1:]):
        return "heading"
    return None


def _cell_blocks(cell: NotebookNode) -> Iterator[Block]:
    tags = {str(tag).replace("-", "_") for tag in cell.metadata.get("tags", [])}
    if tags & _HIDE_CELL:
        return
    if cell.cell_type == "markdown":
        if tokens := read_prose(_text(cell.source), attachments=cell.get("attachments")):
            yield Prose(tokens)
    elif cell.cell_type == "code" and not tags & _HIDE_OUTPUT:
        for output in cell.outputs:
            if (block := _output_block(output)) is not None:
                yield block


def _output_block(output: NotebookNode) -> Block | None:
    if output.output_type == "stream":
        text = _printed(_text(output.text)) if output.name == "stdout" else ""
        return Plain(text) if text else None
    if output.output_type == "error":
        return Notice(_printed(f"{output.ename}: {output.evalue}"), "error")
    content = output.get("data", {})
    if REPORT_MIME in content:
        return None
    return _rich_block(content, output.get("metadata", {}))


def _rich_block(content: Mapping[str, Any], metadata: Mapping[str, Any]) -> Block | None:
    figure, html, typst = (content.get(mime) for mime in (FIGURE_MIME, "text/html", TYPST_MIME))
    if isinstance(figure, Mapping) and html and typst:
        return Figure(_text(html), _text(typst), _text(figure.get("alt")), _text(figure.get("kind")))
    if html:
        clean = sanitise(_text(html))
        if not is_left_out(clean):
            return Foreign(clean)
        content = {mime: value for mime, value in content.items() if mime not in _WORDS_OF_HTML}
        if not content:
            return Notice("Output not shown: it would run or load something.")
    if "text/markdown" in content:
        return Prose(read_prose(_text(content["text/markdown"])))
    if media := next((media for media in MEDIA_TYPES if media in content), None):
        about = {**metadata, **metadata.get(media, {})}
        return _picture(_text(content[media]), media, _text(about.get("alt") or about.get("caption")))
    return _plain_block(content)


def _picture(content: str, media: str, alt: str) -> Block:
    try:
        return read_picture(content, media=media, alt=alt)
    except PictureError as error:
        return Notice(f"Image not shown: {error}")


def _plain_block(content: Mapping[str, Any]) -> Block | None:
    if "text/latex" in content:
        text = _text(content["text/latex"])
    elif "application/json" in content:
        text = json.dumps(content["application/json"], ensure_ascii=False, indent=2)
    elif "text/plain" in content:
        text = _text(content["text/plain"])
    else:
        return Notice(f"Output not shown: {', '.join(sorted(content))}") if content else None
    return Plain(text) if (text := _printed(text)) else None


def _printed(text: str) -> str:
    """Terminal text as paper shows it: no colours, progress lines in their last state, at a bearable length."""
    lines = (line.rstrip("\r").rpartition("\r")[2].rstrip() for line in _ANSI.sub("", text).split("\n"))
    whole = "\n".join(lines).strip("\n")
    if len(whole) <= _MAX_TEXT:
        return whole
    return f"{whole[:_MAX_TEXT]}\n… {len(whole) - _MAX_TEXT:,} more characters are not shown"


def _name_pictures(blocks: Sequence[Block], title: str) -> list[Block]:
    """Give images that nobody described a number, so that none is without alternative text."""
    named: list[Block] = []
    number = 0
    for block in blocks:
        if isinstance(block, Figure | Picture):
            number += 1
            named.append(block if block.alt else replace(block, alt=f"Figure {number} of {title}"))
        else:
            named.append(block)
    return named


def _read_facts(notebook: NotebookNode) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            marker = output.get("data", {}).get(REPORT_MIME)
            if isinstance(marker, Mapping):
                facts.update(marker)
    return facts


def _language(value: object) -> str:
    found = re.match(r"[a-z]{2,3}(?![a-z])", _text(value).lower())
    return found[0] if found else "en"


def _whole(pattern: str, value: object) -> str:
    """The value if it is of the form that such a fact has; anything else is not one."""
    return value if isinstance(value, str) and re.fullmatch(pattern, value) else ""


def _month_name(month: str) -> str:
    try:
        return f"{datetime.strptime(month, '%Y-%m').replace(tzinfo=UTC):%B %Y}"
    except ValueError:
        return month


def _instant(text: str, timezone: str) -> datetime | None:
    """Read ``as_of``; a time without offset is UTC. Shown in the report's zone where that is known."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    aware = instant if instant.tzinfo else instant.replace(tzinfo=UTC)
    try:
        return aware.astimezone(ZoneInfo(timezone)) if timezone else aware
    except (KeyError, ValueError, OSError):  # what zoneinfo raises for names that are no zone
        return aware


def _text(value: object) -> str:
    """Text of a notebook, which may be split into lines; half characters, which no file can hold, as U+FFFD."""
    if value is None:
        return ""
    text = "".join(map(str, value)) if isinstance(value, list) else str(value)
    return re.sub("[\ud800-\udfff]", "\ufffd", text)

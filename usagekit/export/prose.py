"""Markdown: parsed once, settled, then written as HTML here and as Typst in ``typst``.

Only home of mistune.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import mistune
from mistune import BlockState, HTMLRenderer

from usagekit.export.blocks import Block, Foreign, Notice, Token
from usagekit.export.foreign import sanitise
from usagekit.export.pictures import MEDIA_TYPES, PictureError, picture_from_uri, read_picture

SCROLLS = 'tabindex="0" role="group" aria-label="Output"'
"""Attributes of what may be wider than its place: with them, whoever has no mouse can move it sideways."""

_INLINE_MATH = r"\$\$[^$]+\$\$|\$(?![\s$])(?:[^$\\\n]|\\.)*?(?<!\s)\$(?!\d)"
_BLOCK_MATH = (
    r"^ {0,3}(?:\$\$(?:(?!\n[ \t]*\n)[^$])+\$\$|"
    r"\\begin\{(?P<environment>[a-z]+\*?)\}(?:(?!\n[ \t]*\n)[\s\S])*?\\end\{(?P=environment)\})[ \t]*(?:\n|$)"
)
_SAFE_ADDRESS = re.compile(r"(https?://|mailto:|#)", re.IGNORECASE)
_MAX_LEVEL = 6


def _show_math(markdown: mistune.Markdown) -> None:
    """LaTeX is shown as its author wrote it, as code: nothing here can set it, and Markdown would eat its signs."""
    markdown.inline.register("inline_math", _INLINE_MATH, _inline_math, before="emphasis")
    markdown.block.register("block_math", _BLOCK_MATH, _block_math, before="list")


def _inline_math(inline: Any, match: re.Match[str], state: Any) -> int:
    state.append_token({"type": "codespan", "raw": " ".join(match[0].split())})
    return match.end()


def _block_math(block: Any, match: re.Match[str], state: Any) -> int:
    state.append_token({"type": "block_code", "raw": match[0].strip()})
    return match.end()


_PLUGINS: list[Any] = ["table", "strikethrough", "task_lists", "url", _show_math]
_parser = mistune.create_markdown(renderer=None, plugins=_PLUGINS)

Attachments = Mapping[str, Mapping[str, str]]
"""The images of one Markdown cell: name -> media type -> base64."""


def read_prose(markdown: str, *, attachments: Attachments | None = None) -> list[Token]:
    """Parse Markdown into tokens whose links are safe and whose images are checked or replaced by a notice.

    Raw HTML blocks are sanitised, inline HTML becomes text; a link to anything but http, https, mailto or a place
    on the page keeps its words and loses its address.
    """
    tokens = _parser(markdown)
    if not isinstance(tokens, list):
        raise TypeError("mistune was asked for tokens and gave text")
    _settle(tokens, attachments or {})
    return tokens


def headings(tokens: list[Token]) -> Iterator[Token]:
    """All headings, in reading order."""
    for token in tokens:
        if token["type"] == "heading":
            yield token
        yield from headings(token.get("children", []))


def level_headings(found: list[Token], *, top: int) -> None:
    """Renumber headings so that the first has level ``top`` and none skips a level on the way down."""
    above: list[int] = []
    for token in found:
        level = token["attrs"]["level"]
        while above and above[-1] >= level:
            above.pop()
        above.append(level)
        token["attrs"]["level"] = min(top + len(above) - 1, _MAX_LEVEL)


def plain_text(tokens: list[Token]) -> str:
    """The words alone."""
    return "".join(
        " " if t["type"] == "softbreak" else t.get("raw", "") or plain_text(t.get("children", []))
        for t in tokens
    )


def prose_html(tokens: list[Token], *, block: Callable[[Block], str]) -> str:
    """Write tokens as HTML; ``block`` writes the images, notices and sanitised HTML among them."""
    return str(_writer(block)(tokens, BlockState()))


def _settle(tokens: list[Token], attachments: Attachments) -> None:
    for token in tokens:
        kind = token["type"]
        if kind == "image":
            _become(token, _image(token, attachments))
        elif kind == "block_html":
            _become(token, Foreign(sanitise(token["raw"])))
        elif kind == "inline_html":
            _settle_inline_html(token)
        elif kind == "link" and not _SAFE_ADDRESS.match(token["attrs"]["url"]):
            token["type"], token["attrs"] = "group", {}
        _settle(token.get("children", []), attachments)


def _become(token: Token, content: Block) -> None:
    token.clear()
    token.update(type="block", block=content)


def _settle_inline_html(token: Token) -> None:
    raw = token["raw"]
    if re.fullmatch(r"<br\s*/?>", raw, re.IGNORECASE):
        token["type"] = "linebreak"
        del token["raw"]
    else:
        token["type"] = "text"
        token["raw"] = "" if raw.startswith("<!--") else raw


def _image(token: Token, attachments: Attachments) -> Block:
    address = token["attrs"]["url"]
    alt = plain_text(token.get("children", [])) or "Image without a description"
    if not address.startswith("attachment:"):
        try:
            return picture_from_uri(address, alt=alt)
        except PictureError as error:
            return Notice(f"Image not shown ({error}): {alt}, {address[:200]}")
    name = address.removeprefix("attachment:")
    for media, content in attachments.get(name, {}).items():
        if media in MEDIA_TYPES:
            try:
                return read_picture(content, media=media, alt=alt)
            except PictureError as error:
                return Notice(f"Image not shown ({error}): {alt}, {name}")
    return Notice(f"Image not shown (no such attachment): {alt}, {name}")


class _Writer(HTMLRenderer):
    def __init__(self, block: Callable[[Block], str]) -> None:
        super().__init__(escape=True)
        self._write_block = block

    def render_token(self, token: dict[str, Any], state: BlockState) -> str:
        if token["type"] == "block":
            return self._write_block(token["block"])
        if token["type"] == "heading":
            token = {
                **token,
                "attrs": {**token["attrs"], "id": plain_text(token["children"]).replace(" ", "-")},
            }
        return super().render_token(token, state)

    def group(self, text: str) -> str:
        return text

    def task_list_item(self, text: str, checked: bool = False) -> str:
        return f'<li class="task-list-item">{"☑" if checked else "☐"} {text}</li>\n'

    def table(self, text: str) -> str:
        return f'<div class="output" {SCROLLS}><table>\n{text}</table></div>\n'


def _writer(block: Callable[[Block], str]) -> _Writer:
    writer = _Writer(block)
    # Plugins add their renderers through a parser, which is not needed for anything else here.
    mistune.create_markdown(renderer=writer, plugins=_PLUGINS)
    return writer

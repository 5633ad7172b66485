"""A document becomes one HTML file that needs nothing else and runs nothing."""

from __future__ import annotations

import re
from functools import cache
from html import escape
from importlib.resources import files

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from usagekit.export.blocks import Block, Document, Figure, Foreign, Notice, Picture, Plain, Prose
from usagekit.export.pictures import data_uri
from usagekit.export.prose import SCROLLS, prose_html
from usagekit.export.sheet import page_style

_SHEET = re.compile(r"<style>(.*?)</style>\s*", re.DOTALL)
"""The style sheet with which a figure of ours begins."""


def page_html(document: Document) -> str:
    """Write the whole page; a style sheet that several figures bring stands on it once."""
    blocks = [Markup(_block_html(block)) for block in document.blocks]  # noqa: S704  each kind escapes itself
    figures = (block for block in document.blocks if isinstance(block, Figure))
    sheets = dict.fromkeys(sheet[1] for figure in figures if (sheet := _SHEET.match(figure.html)))
    style = page_style() + Markup("\n".join(sheets))  # noqa: S704  our figures' own
    return _template().render(document=document, blocks=blocks, style=style)


def _block_html(block: Block) -> str:
    match block:
        case Prose(tokens):
            return f'<div class="prose">{prose_html(tokens, block=_block_html)}</div>'
        case Figure(html):
            bare = html[sheet.end() :] if (sheet := _SHEET.match(html)) else html
            return f'<div class="figure">{bare}</div>'
        case Foreign(html):
            return f'<div class="output" {SCROLLS}>{html}</div>'
        case Picture():
            width = f' width="{block.width:.0f}"' if block.width else ""
            return f'<img src="{data_uri(block)}" alt="{escape(block.alt)}"{width}>'
        case Plain(text):
            return f'<pre tabindex="0">{escape(text)}</pre>'
        case Notice(text, kind):
            return f'<span class="{kind}" role="note">{escape(text)}</span>'


@cache
def _template() -> Template:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_source("page.html.j2"))


def _source(name: str) -> str:
    return files("usagekit.export").joinpath(name).read_text("utf-8")

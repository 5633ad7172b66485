"""A document becomes one HTML file that needs nothing else and runs nothing."""

from __future__ import annotations

from functools import cache
from html import escape
from importlib.resources import files

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from usagekit.export.blocks import Block, Document, Figure, Foreign, Notice, Picture, Plain, Prose
from usagekit.export.pictures import data_uri
from usagekit.export.prose import prose_html


def page_html(document: Document) -> str:
    """Write the whole page."""
    blocks = [Markup(_block_html(block)) for block in document.blocks]  # noqa: S704  each kind escapes itself
    return _template().render(document=document, blocks=blocks, style=page_style())


@cache
def page_style() -> Markup:
    """The style sheet of every page of ours."""
    return Markup(_source("page.css"))  # noqa: S704  our own file


def _block_html(block: Block) -> str:
    match block:
        case Prose(tokens):
            return f'<div class="prose">{prose_html(tokens, block=_block_html)}</div>'
        case Figure(html):
            return f'<div class="figure">{html}</div>'
        case Foreign(html):
            return f'<div class="output">{html}</div>'
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

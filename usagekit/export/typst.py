"""A document becomes Typst source: values enter it as string literals, through one escape, and never as code."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.resources import files

from usagekit.export.blocks import Block, Document, Figure, Foreign, Notice, Picture, Plain, Prose, Token
from usagekit.export.foreign import read_parts
from usagekit.export.grids import Cell, Grid
from usagekit.export.pictures import svg_text
from usagekit.figures import components_source
from usagekit.figures.escape import typst_string

_WORD = 60
"""Characters of the longest word that fits across a page in any script."""

_LINE = 95
"""Characters that a line of text holds in the size of tables."""

_FIXED_LINE = 96
"""Characters that a line of fixed-width text holds."""

_BAR = 24
"""Millimetres of a cell with a bar in it."""

_RUNNING = 48
"""Characters of a name that fit beside another above a page."""


def preamble(document: Document) -> str:
    """Everything before the first block: the figures' functions, the page and the facts."""
    subject = " · ".join(part for part in (_shortened(document.team), document.month) if part)
    running = (_shortened(document.lab if subject else document.lab or document.title), subject)
    keywords = ["usage report", *filter(None, (document.team, document.month, document.snapshot))]
    facts = (
        f"title: {typst_string(document.title)}, language: {typst_string(document.language)}, "
        f"lab: {typst_string(document.lab)}, keywords: ({', '.join(map(typst_string, keywords))},), "
        f"running: ({', '.join(map(typst_string, running))}), "
        f"foot: {typst_string(document.footer)}, paper: {typst_string(document.paper)}"
    )
    title = f"#paper-title({typst_string(document.title)});" if document.shows_title else ""
    return f"{components_source()}\n{page_source()}\n#show: paper.with({facts})\n{title}\n"


def _shortened(words: str) -> str:
    """A name as it runs along the pages; the title has all of it."""
    short = words if len(words) <= _RUNNING else f"{words[: _RUNNING - 1]}…"
    return _breakable(short, _RUNNING // 2)


def page_source() -> str:
    """The functions that make a page."""
    return files("usagekit.export").joinpath("page.typ").read_text("utf-8")


def block_source(block: Block) -> str:
    """The Typst source of one block."""
    match block:
        case Prose(tokens):
            return _prose(tokens)
        case Figure(typst=source, kind=kind):
            # Inside of a block a page cannot end; and a figure's last line may be a comment.
            return source if kind == "page_break" else f"#block(width: 100%)[{source}\n]"
        case Foreign(html):
            return "\n\n".join(_part(part) for part in read_parts(html))
        case Picture():
            return f"#paper-picture({typst_string(svg_text(block))}, {typst_string(block.alt)});"
        case Plain(text):
            return f"#paper-plain({typst_string(_breakable(text, _FIXED_LINE))});"
        case Notice(text, kind):
            name = "paper-note" if kind == "note" else "paper-error-box"
            return f"#{name}({typst_string(_breakable(text, _WORD))});"


def _part(part: str | Grid | Picture | Plain) -> str:
    if isinstance(part, Picture | Plain):
        return block_source(part)
    if isinstance(part, Grid):
        return _grid(part)
    return "\n\n".join(f"#par[{_words(_breakable(p, _WORD))}];" for p in part.split("\n\n"))


def _words(text: str) -> str:
    """Text with its line breaks."""
    return "#linebreak();".join(f"#{typst_string(line)};" for line in text.split("\n"))


def _grid(grid: Grid) -> str:
    if not grid.head and not grid.body:
        return ""
    width = _least_width(grid)
    size = 8.5 if width <= _LINE else 7
    # What does not fit across an upright page gets a page on its side, and long words may break.
    turned = width > _LINE * 1.2
    longest = _WORD if width <= _LINE * 1.75 else max(4, int(_LINE * 1.25 / grid.width) - 2)
    head = "".join(f"{_cell(cell, longest, head=True)}, " for row in grid.head for cell in row)
    body = "".join(f"{_cell(cell, longest)}, " for row in grid.body for cell in row)
    align = "".join("right, " if numeric else "left, " for numeric in grid.numeric)
    table = (
        f"#paper-table(align: ({align}), size: {size}pt, caption: {typst_string(_breakable(grid.caption, _WORD))}, "
        f"head: ({head}), {body});"
    )
    if grid.left_out:
        table += block_source(Notice(f"{grid.left_out:,} more rows are not printed."))
    return f"#page(flipped: true)[{table}];" if turned else table


def _cell(cell: Cell, longest: int, *, head: bool = False) -> str:
    text = _breakable(cell.text, longest)
    words = f"#paper-head({typst_string(text)});" if head else _words(text)
    look = [f'fill: rgb("{cell.ink}")'] if cell.ink else []
    look += ['weight: "bold"'] if cell.bold else []
    if look:
        words = f"#text({', '.join(look)})[{words}];"
    if cell.bar:
        words = f"#box(width: {_BAR}mm)[#h(1fr);{words}];"
    options = [f"colspan: {cell.columns}"] if cell.columns > 1 else []
    options += [f"rowspan: {cell.rows}"] if cell.rows > 1 else []
    options += [f"fill: {_bar(cell)}"] if cell.bar else [f'fill: rgb("{cell.fill}")'] if cell.fill else []
    return f"table.cell({', '.join(options)})[{words}]" if options else f"[{words}]"


def _bar(cell: Cell) -> str:
    """The bar behind the words of a cell, from edge to edge."""
    stops = ((cell.bar[0][0], 0.0), *cell.bar, (cell.bar[-1][0], 100.0))
    drawn = (f'(rgb("{colour or cell.fill or "#ffffff"}"), {place:g}%)' for colour, place in stops)
    return f"gradient.linear({', '.join(drawn)})"


def _least_width(grid: Grid) -> int:
    """Characters that the columns need side by side when no word is broken."""
    widths = [0] * grid.width
    for row in (*grid.head, *grid.body):
        if len(row) == grid.width:
            for x, cell in enumerate(row):
                least = 16 if cell.bar else 0
                widths[x] = max(widths[x], least, *(len(word) for word in cell.text.split() or [""]))
    return sum(widths) + 2 * grid.width


def _breakable(text: str, longest: int) -> str:
    """Let words longer than ``longest`` break: a zero-width space shows nothing."""
    return re.sub(rf"\S{{{longest}}}(?=\S)", lambda match: f"{match[0]}\u200b", text)


def _prose(tokens: Sequence[Token]) -> str:
    return "".join(map(_token, tokens))


def _token(token: Token) -> str:  # noqa: C901, PLR0911, PLR0912  one case for each kind of token
    raw, children = token.get("raw", ""), token.get("children", [])
    match token["type"]:
        case "text":
            return f"#{typst_string(_breakable(raw, _WORD))};"
        case "group" | "block_text":
            return _prose(children)
        case "paragraph":
            return f"\n\n{_prose(children)}\n\n"
        case "heading":
            return f"\n\n#heading(level: {token['attrs']['level']})[{_prose(children)}];\n\n"
        case "emphasis" | "strong" | "strikethrough" as kind:
            call = {"emphasis": "emph", "strong": "strong", "strikethrough": "strike"}[kind]
            return f"#{call}[{_prose(children)}];"
        case "codespan":
            return f"#raw({typst_string(raw)});"
        case "block_code":
            return block_source(Plain(raw.rstrip("\n")))
        case "link":
            return _link(token["attrs"]["url"], _prose(children))
        case "linebreak":
            return "#linebreak();"
        case "softbreak":
            return '#" ";'
        case "list":
            return _list(token)
        case "block_quote":
            return f"#quote(block: true)[{_prose(children)}];"
        case "thematic_break":
            return "#pdf.artifact(line(length: 100%, stroke: 0.6pt + paper-line));"
        case "table":
            return _table(token)
        case "block":
            return f"\n\n{block_source(token['block'])}\n\n"
        case "blank_line":
            return ""
        case unknown:
            raise ValueError(f"Markdown of kind {unknown!r} has no form on paper")


def _link(url: str, words: str) -> str:
    if url.startswith("#") or not words:
        return words
    return f"#link({typst_string(url)})[{words}];"


def _list(token: Token) -> str:
    attrs = token["attrs"]
    tight = str(token["tight"]).lower()
    items = "".join(f"[{_box(item)}{_prose(item['children'])}], " for item in token["children"])
    if attrs["ordered"]:
        return f"#enum(tight: {tight}, start: {attrs.get('start', 1)}, {items});"
    return f"#list(tight: {tight}, {items});"


def _box(item: Token) -> str:
    if item["type"] != "task_list_item":
        return ""
    return f"#{typst_string('☑ ' if item['attrs']['checked'] else '☐ ')};"


def _table(token: Token) -> str:
    head, *bodies = token["children"]
    align = "".join(f"{cell['attrs']['align'] or 'left'}, " for cell in head["children"])
    heads = "".join(f"paper-head[{_prose(cell['children'])}], " for cell in head["children"])
    cells = "".join(
        f"[{_prose(cell['children'])}], "
        for body in bodies
        for row in body["children"]
        for cell in row["children"]
    )
    return f"\n\n#paper-table(align: ({align}), head: ({heads}), {cells});\n\n"

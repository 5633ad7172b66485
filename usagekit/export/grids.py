"""HTML tables as plain grids, which every paper can print."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from bs4 import Tag

from usagekit.export.styles import Stop, read_bar

_NUMBER = re.compile(
    r"[-+−–~≈<>≤≥]?\s*[$€£¥]?\d[\d.,'\s\u2009\u202f]*(e[-+]?\d+)?\s*(%|h|min|s)?", re.IGNORECASE
)
_NO_VALUE = frozenset({"", "nan", "none", "null", "<na>", "nat", "-", "–", "—", "n/a", "...", "…"})
MAX_ROWS = 2000
"""Rows of a table that are printed, some 40 pages; the page on the screen has them all."""

_MAX_SPAN = 200


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a table; ``fill`` and ``ink`` are colours such as ``#aabbcc`` or empty, ``bar`` lies behind."""

    text: str
    heading: bool = False
    columns: int = 1
    rows: int = 1
    fill: str = ""
    ink: str = ""
    bold: bool = False
    bar: tuple[Stop, ...] = ()


@dataclass(slots=True)
class Grid:
    """A table whose every row covers every column.

    ``numeric`` tells which columns hold only numbers, ``left_out`` how many rows at the end are not in it.
    """

    caption: str
    width: int
    head: list[list[Cell]] = field(default_factory=list)
    body: list[list[Cell]] = field(default_factory=list)
    numeric: list[bool] = field(default_factory=list)
    left_out: int = 0


def read_grid(table: Tag) -> Grid:
    """Read a table: spans are cut where they overlap or leave it, and short rows are filled."""
    rows = [row for row in table.find_all("tr") if row.find_parent("table") is table]
    cells = [[c for c in row.find_all(["td", "th"]) if c.find_parent("tr") is row] for row in rows]
    in_head = [row.find_parent("thead") is not None for row in rows]
    if not any(in_head):
        for index, row_cells in enumerate(cells):
            if not row_cells or any(cell.name == "td" for cell in row_cells):
                break
            in_head[index] = True
    caption = table.find("caption")
    grid = Grid(tidy(caption.get_text()) if caption else "", _width(cells))
    head = [row for row, is_head in zip(cells, in_head, strict=True) if is_head]
    grid.head = _fit(head, grid.width)
    body = [row for row, is_head in zip(cells, in_head, strict=True) if not is_head]
    grid.body = _fit(body[:MAX_ROWS], grid.width)
    grid.left_out = len(body[MAX_ROWS:])
    grid.numeric = _numeric_columns(grid)
    return grid


def _width(rows: list[list[Tag]]) -> int:
    reaching: dict[int, int] = {}
    widest = 1
    for index, row in enumerate(rows):
        width = reaching.pop(index, 0)
        for cell in row:
            columns = _span(cell, "colspan")
            width += columns
            for below in range(index + 1, min(index + _span(cell, "rowspan"), len(rows))):
                reaching[below] = reaching.get(below, 0) + columns
        widest = max(widest, width)
    return widest


def _fit(rows: list[list[Tag]], width: int) -> list[list[Cell]]:
    taken: set[tuple[int, int]] = set()
    fitted: list[list[Cell]] = []
    for y, row in enumerate(rows):
        line: list[Cell] = []
        waiting = iter(row)
        for x in range(width):
            if (y, x) in taken:
                continue
            tag = next(waiting, None)
            if tag is None:
                line.append(Cell(""))
                continue
            columns = _span(tag, "colspan")
            free = 1
            while free < columns and x + free < width and (y, x + free) not in taken:
                free += 1
            down = min(_span(tag, "rowspan"), len(rows) - y)
            taken |= {(y + dy, x + dx) for dy in range(down) for dx in range(free)}
            line.append(_cell(tag, free, down))
        fitted.append(line)
    return fitted


def _cell(tag: Tag, columns: int, rows: int) -> Cell:
    style = str(tag.get("style", ""))
    fill = re.search(r"background-color:\s*(#[0-9a-f]{6})\b", style, re.IGNORECASE)
    ink = re.search(r"(?<![-\w])color:\s*(#[0-9a-f]{6})\b", style, re.IGNORECASE)
    for line_break in tag.find_all("br"):
        line_break.replace_with("\n")
    for image in tag.find_all("img"):
        image.replace_with(f"[{image['alt']}]")
    return Cell(
        tidy(tag.get_text()),
        tag.name == "th",
        columns,
        rows,
        fill[1] if fill else "",
        ink[1] if ink else "",
        bold=re.search(r"font-weight:\s*(bold|[6-9]00)", style) is not None,
        bar=read_bar(style),
    )


def _numeric_columns(grid: Grid) -> list[bool]:
    texts: list[list[str]] = [[] for _ in range(grid.width)]
    for row in grid.body:
        if len(row) == grid.width:  # rows below a tall cell would be off by one
            for x, cell in enumerate(row):
                if cell.text.lower() not in _NO_VALUE:
                    texts[x].append(cell.text)
    return [bool(column) and all(_NUMBER.fullmatch(text[:40]) for text in column) for column in texts]


def _span(tag: Tag, name: str) -> int:
    value = re.fullmatch(r"[1-9][0-9]{0,3}", str(tag.get(name, "")))
    return min(int(value[0]), _MAX_SPAN) if value else 1


def tidy(text: str) -> str:
    """Text without blanks at the ends of lines and without runs of empty lines."""
    lines = [line.strip(" \t\r") for line in text.replace("\xa0", " ").split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()

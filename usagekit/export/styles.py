"""Colours and bars that foreign HTML gives to its text and cells: read from CSS, written anew. Only home of tinycss2."""

from __future__ import annotations

import re
from collections.abc import Iterator

import tinycss2  # type: ignore[import-untyped]  # it has none
from bs4 import BeautifulSoup
from tinycss2.color3 import RGBA, parse_color  # type: ignore[import-untyped]

STYLES = (
    "background-color",
    "background-image",
    "color",
    "font-style",
    "font-weight",
    "text-align",
    "text-decoration",
)
"""Properties that are kept; of background images only a bar is one."""

_BAR = re.compile(r"linear-gradient\(\s*90deg\s*,([^()]*)\)", re.IGNORECASE)
_STOP = re.compile(r"\s*(#?\w+)\s+(\d{1,3}(?:\.\d+)?)%\s*")

Stop = tuple[str, float]
"""Where a colour of a bar begins or ends: ``#rrggbb``, or nothing for no colour, and per cent of the width."""


def move_styles(sheet: str, soup: BeautifulSoup) -> None:
    """Give the rules of a style sheet that are for one id to its element, as pandas writes them for each cell."""
    for rule in tinycss2.parse_stylesheet(sheet, skip_comments=True, skip_whitespace=True):
        if rule.type != "qualified-rule":
            continue
        declarations = tinycss2.serialize(rule.content).strip()
        for selector in tinycss2.serialize(rule.prelude).split(","):
            match = re.fullmatch(r"#([\w-]+)", selector.strip())
            for tag in soup.find_all(id=match[1]) if match else ():
                tag["style"] = f"{declarations}; {tag.get('style', '')}"


def safe_style(style: str) -> str:
    """Declarations that only colour and weigh text and draw bars; colours as ``#rrggbb``.

    >>> safe_style("color: red; background: linear-gradient(90deg, green 30%, transparent 30%) no-repeat; width: 1em")
    'color: #ff0000; background-image: linear-gradient(90deg, #008000 30%, transparent 30%)'
    >>> safe_style("background: url(http://example.com/x.png); position: fixed")
    ''
    """
    return "; ".join(f"{name}: {value}" for name, value in _kept(style))


def read_bar(style: str) -> tuple[Stop, ...]:
    """The stops of the bar in a style, in order, or none.

    >>> read_bar("background-image: linear-gradient(90deg, #008000 30%, transparent 30%)")
    (('#008000', 30.0), ('', 30.0))
    """
    match = _BAR.search(style)
    stops = [_STOP.fullmatch(stop) for stop in match[1].split(",")] if match else []
    found = tuple((_hex(stop[1]), float(stop[2])) for stop in stops if stop)
    places = [place for _, place in found]
    whole = len(found) == len(stops) and places == sorted(places) and places[-1:] <= [100.0]
    return found if whole else ()


def _kept(style: str) -> Iterator[tuple[str, str]]:
    for item in tinycss2.parse_blocks_contents(style, skip_comments=True, skip_whitespace=True):
        if item.type != "declaration":
            continue
        value = tinycss2.serialize(item.value).strip()
        if item.lower_name in ("background", "background-image") and (stops := read_bar(value)):
            drawn = ", ".join(f"{colour or 'transparent'} {place:g}%" for colour, place in stops)
            yield "background-image", f"linear-gradient(90deg, {drawn})"
        elif item.lower_name in ("background", "background-color", "color"):
            if colour := _hex(value):
                yield "color" if item.lower_name == "color" else "background-color", colour
        elif item.lower_name in STYLES and re.fullmatch(r"[\w -]+", value):
            yield item.lower_name, value


def _hex(value: str) -> str:
    """A colour as ``#rrggbb``, on white where it is not opaque; what is none, or cannot be seen, is nothing."""
    colour = parse_color(value)
    if not isinstance(colour, RGBA) or not colour.alpha:
        return ""
    parts = (colour.red, colour.green, colour.blue)
    return "#" + "".join(f"{round(255 * (1 - colour.alpha * (1 - part))):02x}" for part in parts)

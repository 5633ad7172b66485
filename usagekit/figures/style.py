"""How charts look: colours, fonts and the way to SVG. The home of matplotlib."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from matplotlib import font_manager
from matplotlib import style as mpl_style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Canvas

FAMILIES: Final = ("Source Sans Pro", "Noto Sans CJK JP", "DejaVu Sans")

INK: Final = "#1b2733"
MUTED: Final = "#5b6876"
LINE: Final = "#d3dae1"
SHADE: Final = "#eef2f6"
ACCENT: Final = "#0f5e8b"

RAMP: Final = ("#edf3f7", "#c3d9e7", "#8fb8d3", "#4f8fb8", "#0f5e8c", "#083a5b")
"""One hue from light to dark: the same order in grey and to colour-blind eyes."""

ON_LIGHT: Final = "#1a2632"
ON_DARK: Final = "#fefefe"

_VARIABLES = {
    INK: "var(--ink, var(--jp-content-font-color1, #1b2733))",
    MUTED: "var(--muted, var(--jp-content-font-color2, #5b6876))",
    LINE: "var(--line, #8796a566)",
    SHADE: "var(--shade, #8796a524)",
    ACCENT: "var(--accent, #2a7fb0)",
}

FULL_MM: Final = 174
"""Width of the text of an A4 page."""

HALF_MM: Final = 83
"""Width of one of two charts side by side."""

_RC: Any = {
    "font.family": list(FAMILIES),
    "font.size": 8,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": LINE,
    "axes.facecolor": "none",
    "axes.labelcolor": MUTED,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.5,
    "hatch.linewidth": 0.5,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "svg.fonttype": "none",
    "svg.hashsalt": "usagekit",
}


@contextmanager
def chart_style() -> Iterator[None]:
    """Our settings of matplotlib for a while, whatever the analyst's own are; those come back."""
    _load_fonts()
    with mpl_style.context(["default", _RC]):
        yield


def canvas(height_mm: float, width_mm: float = FULL_MM) -> Canvas:
    """An empty drawing, by default as wide as the text of an A4 page; no pyplot, so nothing stays open."""
    return Canvas(figsize=(width_mm / 25.4, height_mm / 25.4), facecolor="none")


def to_svg(drawing: Canvas) -> str:
    """The drawing as SVG with real text; the same drawing always gives the same bytes."""
    buffer = io.BytesIO()
    FigureCanvasSVG(drawing).print_svg(buffer, metadata={"Date": None})  # type: ignore[no-untyped-call]
    svg = buffer.getvalue().decode()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # Several charts share a page: names such as "axes_1" would be there twice.
    svg = re.sub(r' id="[a-zA-Z][\w.]*_\d+"', "", svg)
    return re.sub(r"\n\s*", "\n", re.sub(r"\s*<!--.*?-->", "", svg))


def to_png(drawing: Canvas, *, dots_per_inch: int) -> bytes:
    """The drawing as PNG, for mail programs, which show no SVG; the same drawing always gives the same bytes."""
    buffer = io.BytesIO()
    drawing.set_dpi(dots_per_inch)
    FigureCanvasAgg(drawing).print_png(buffer, metadata={"Software": None})  # type: ignore[no-untyped-call]
    return buffer.getvalue()


def for_screen(svg: str) -> str:
    """The same SVG for a page of any width that may be light or dark: colours become CSS variables."""
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, variable)
    svg = svg.replace("'DejaVu Sans'", "'DejaVu Sans', sans-serif")
    return _fluid(svg)


def _fluid(svg: str) -> str:
    head, rest = svg.split(">", 1)
    head = re.sub(r'\s(width|height|version)="[^"]*"', "", head)
    return f'{head} aria-hidden="true" focusable="false">{rest}'


@cache
def _load_fonts() -> None:
    for package, pattern in (
        ("font_source_sans_pro", "files/SourceSansPro-*.ttf"),
        ("noto_cjk_sans_otc", "*.ttc"),
    ):
        spec = find_spec(package)
        for folder in (spec and spec.submodule_search_locations) or ():
            for path in sorted(Path(folder).glob(pattern)):
                font_manager.fontManager.addfont(path)

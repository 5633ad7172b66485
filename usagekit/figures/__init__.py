"""Frames in, figures out: each has a dress for the screen (HTML) and one for the page (Typst).

Everything is loaded on first use, so that this package costs nothing to import.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from usagekit.figures.badges import trust_panel, trust_words
    from usagekit.figures.bars import bridge, right_size_chart, session_mix_chart
    from usagekit.figures.base import Figure
    from usagekit.figures.charts import daily_chart
    from usagekit.figures.curves import duration_curve_chart, forecast_chart
    from usagekit.figures.layout import missing, no_usage, page_break, side_by_side
    from usagekit.figures.lists import facts, notes, suggestions
    from usagekit.figures.marker import complete
    from usagekit.figures.method import definitions, reproduce
    from usagekit.figures.parts import header, lead, ranking, tiles
    from usagekit.figures.tables import Column, table
    from usagekit.figures.week import heatmap

_HOMES = {
    "Column": "tables",
    "Figure": "base",
    "bridge": "bars",
    "complete": "marker",
    "daily_chart": "charts",
    "definitions": "method",
    "duration_curve_chart": "curves",
    "facts": "lists",
    "forecast_chart": "curves",
    "header": "parts",
    "heatmap": "week",
    "lead": "parts",
    "missing": "layout",
    "no_usage": "layout",
    "notes": "lists",
    "page_break": "layout",
    "ranking": "parts",
    "reproduce": "method",
    "right_size_chart": "bars",
    "session_mix_chart": "bars",
    "side_by_side": "layout",
    "suggestions": "lists",
    "table": "tables",
    "tiles": "parts",
    "trust_panel": "badges",
    "trust_words": "badges",
}

__all__ = [
    "Column",
    "Figure",
    "bridge",
    "complete",
    "components_source",
    "daily_chart",
    "definitions",
    "duration_curve_chart",
    "facts",
    "forecast_chart",
    "header",
    "heatmap",
    "lead",
    "missing",
    "no_usage",
    "notes",
    "page_break",
    "ranking",
    "reproduce",
    "right_size_chart",
    "session_mix_chart",
    "side_by_side",
    "suggestions",
    "table",
    "tiles",
    "trust_panel",
    "trust_words",
]


def components_source() -> str:
    """Typst source of the functions that the figures call; a document includes it once, at its top."""
    from importlib.resources import files

    sources = (files(__name__).joinpath(name) for name in ("components.typ", "tables.typ"))
    return "\n".join(source.read_text("utf-8") for source in sources)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__

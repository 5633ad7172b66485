"""Frames in, figures out: each has a dress for the screen (HTML) and one for the page (Typst).

Everything is loaded on first use, so that this package costs nothing to import.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from usagekit.figures.base import Figure
    from usagekit.figures.charts import daily_chart, heatmap
    from usagekit.figures.marker import complete
    from usagekit.figures.parts import definitions, header, lead, ranking, reproduce, tiles

_HOMES = {
    "Figure": "base",
    "complete": "marker",
    "daily_chart": "charts",
    "definitions": "parts",
    "header": "parts",
    "heatmap": "charts",
    "lead": "parts",
    "ranking": "parts",
    "reproduce": "parts",
    "tiles": "parts",
}

__all__ = [
    "Figure",
    "complete",
    "components_source",
    "daily_chart",
    "definitions",
    "header",
    "heatmap",
    "lead",
    "ranking",
    "reproduce",
    "tiles",
]


def components_source() -> str:
    """Typst source of the functions that the figures call; a document includes it once, at its top."""
    from importlib.resources import files

    return files(__name__).joinpath("components.typ").read_text("utf-8")


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__

"""What is told in lines: suggestions, facts and footnotes."""

from __future__ import annotations

from collections.abc import Sequence

from usagekit.figures.base import Figure, component

TO_DO = "Worth doing"
"""What heads the suggestions, on the pages as in the mail."""

NOTHING_TO_SUGGEST = "No rule reached its threshold."


def suggestions(texts: Sequence[str]) -> Figure:
    """What could be done, most hours first, under a heading; without any, that no rule reached its threshold.

    >>> suggestions(["Give back 2 of 14 iPhone 13."]).alt
    'Worth doing: Give back 2 of 14 iPhone 13.'
    """
    content = {"title": TO_DO, "texts": list(texts), "none": NOTHING_TO_SUGGEST}
    return component("suggestions", f"{TO_DO}: {' '.join(texts) or NOTHING_TO_SUGGEST}", content)


def facts(rows: Sequence[tuple[str, str, str]], *, title: str = "") -> Figure:
    """Single numbers with their meaning, a line each: (label, value, explanation).

    >>> facts([("Long holds", "46 h", "hours above the usual longest session")]).alt
    'Long holds 46 h.'
    """
    content = {"title": title, "facts": [list(row) for row in rows]}
    words = "; ".join(f"{label} {value}" for label, value, _ in rows)
    return component("facts", f"{title}: {words}." if title else f"{words}.", content)


def notes(texts: Sequence[str]) -> Figure:
    """Footnotes of a page, small; such as what each – stands for."""
    return component("notes", f"Notes: {' '.join(texts) or 'none.'}", {"texts": list(texts)})

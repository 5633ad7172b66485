"""What is told in lines: suggestions, facts and footnotes."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from usagekit.figures.base import Figure, component
from usagekit.figures.tables import raw_table, slug

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


def facts(
    rows: Sequence[tuple[str, str, str]], *, title: str = "", numbers: pd.DataFrame | None = None
) -> Figure:
    """Single numbers with their meaning, a line each: (label, value, explanation).

    ``numbers`` are the same as a table (:mod:`usagekit.reading.numbers`), for the file beside the report.

    >>> facts([("Long holds", "46 h", "hours above the usual longest session")]).alt
    'Long holds 46 h.'
    """
    content = {"title": title, "facts": [list(row) for row in rows]}
    words = "; ".join(f"{label} {value}" for label, value, _ in rows)
    alt = f"{title}: {words}." if title else f"{words}."
    behind = None if numbers is None else raw_table(slug(title or rows[0][0]), numbers)
    return component("facts", alt, content, table=behind)


def notes(texts: Sequence[str]) -> Figure:
    """Footnotes of a page, small; such as what each – stands for."""
    return component("notes", f"Notes: {' '.join(texts) or 'none.'}", {"texts": list(texts)})

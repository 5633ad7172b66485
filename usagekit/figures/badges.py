"""Whether the numbers add up: as a badge, as words and as a panel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isinf

import pandas as pd

from usagekit.analysis.trust import BADGES
from usagekit.analysis.wording import hours_text
from usagekit.figures.base import Figure
from usagekit.figures.cells import MISSING, is_missing
from usagekit.figures.layout import group, missing
from usagekit.figures.tables import Column, raw_table, table

_TITLE = "Do the numbers add up?"
_LONG = 6


def trust_words(rows: pd.DataFrame | None) -> tuple[str, str]:
    """Badge and sentence of what :func:`usagekit.analysis.trust.judged_parts` returns.

    ``rows`` has ``badge`` and ``difference_share``. The badge is the worst of the rows; ``missing`` when nothing
    could be checked.

    >>> trust_words(pd.DataFrame({"badge": ["green", "missing"], "difference_share": [0.0004, None]}))
    ('green', 'Numbers reconcile: green · within 0.1% · 1 of 2 checks not possible')
    """
    known = [] if rows is None else [b for b in rows["badge"] if b in BADGES]
    if rows is None or not known:
        return "missing", "Numbers not checked"
    worst = max(known, key=BADGES.index)
    share = max(abs(float(s)) for s in rows["difference_share"] if not is_missing(s))
    apart = "although the total is 0" if isinf(share) else f"{_share(share)} apart"
    words = f"Numbers do not reconcile: red · {apart}"
    if worst != "red":
        words = f"Numbers reconcile: {worst} · within {_share(share)}"
    lost = len(rows) - len(known)
    return worst, f"{words} · {lost} of {len(rows)} checks not possible" if lost else words


def trust_panel(rows: pd.DataFrame | None, *, notes: Sequence[str] = ()) -> Figure:
    """Each way to add up the hours beside the total.

    Parameters
    ----------
    rows
        what :func:`usagekit.analysis.trust.judged_parts` returns: ``part``, ``total_hours``, ``sum_hours``,
        ``difference_hours`` (h), ``difference_share`` and ``badge``, with ``era`` where there are two.
    notes
        why parts are missing, restatements, refused calls.
    """
    if rows is None or not len(rows):
        return missing(_TITLE)
    shown = rows.assign(
        part=rows["part"].str.capitalize(), apart=[_apart(s) for s in rows["difference_share"]]
    )
    columns = [
        Column("Added up over", "text", "part"),
        Column("Sum", "hours", "sum_hours"),
        Column("Difference", "change", "difference_hours"),
        Column("in %", "change", "apart"),
        Column("Result", "badge", "badge"),
    ]
    totals = rows["total_hours"].drop_duplicates()
    if len(totals) > 1:
        columns[0:1] = [Column("Era", "text", "era"), columns[0], Column("Total", "hours", "total_hours")]
    _, words = trust_words(rows)
    caption = (
        f"{words}." if len(totals) > 1 else f"{words}. The total is {hours_text(float(totals.iloc[0]))}."
    )
    behind = raw_table("do-the-numbers-add-up", rows)
    if len(totals) == 1 and len(rows) > _LONG:
        half = -(-len(rows) // 2)
        parts = [table(part, columns, title="") for part in (shown[:half], shown[half:])]
        content = {"title": _TITLE, "caption": caption, "notes": list(notes)}
        return group(content, (parts[0], parts[1]), kind="trust", alt=f"{words}.", behind=behind)
    panel = table(shown, columns, title=_TITLE, caption=caption, notes=notes)
    return replace(panel, kind="trust", alt=f"{words}.", content={**panel.content, "table": behind})


def _share(share: float) -> str:
    """Percent with one decimal, rounded up: what is told as a bound must be one, and the limits are 1% and 5%."""
    tenths = -(-round(share * 1e9) // 1_000_000)
    return f"{tenths / 10:.1f}%" if tenths else "0%"


def _apart(share: float | None) -> str:
    if share is None or is_missing(share):
        return MISSING
    return "all" if isinf(share) else _share(abs(share))

"""The one picture of a mail: 13 months of device hours as bars. Its words stand beside it, as text."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure as Canvas

from usagekit.analysis.wording import hours_text
from usagekit.figures.style import chart_style, to_png
from usagekit.period import month_name, trailing_months

WIDTH, HEIGHT = 560, 96
"""Size on the page (CSS px); the picture has twice as many dots."""

# Mails are read on white and on black paper and the picture cannot know: both tones hold on either.
_BEFORE, _NOW = "#8496a6", "#2a7fb0"
_CSS_DPI = 96


def mail_chart(history: Sequence[float | None]) -> bytes:
    """Draw monthly device hours (h), oldest first, as a transparent PNG; None leaves a gap with a dotted foot."""
    with chart_style():
        drawing = Canvas(figsize=(WIDTH / _CSS_DPI, HEIGHT / _CSS_DPI), facecolor="none")
        axes = drawing.add_axes((0, 0.02, 1, 0.96))
        axes.set_axis_off()
        colours = [_BEFORE] * (len(history) - 1) + [_NOW]
        axes.bar(range(len(history)), [value or 0 for value in history], width=0.72, color=colours)
        for place, (value, colour) in enumerate(zip(history, colours, strict=True)):
            # A true zero stands on a line, a missing month on dots.
            style = (0, (1, 1.6)) if value is None else "-"
            axes.plot([place - 0.36, place + 0.36], [0, 0], color=colour, linewidth=1.4, linestyle=style)
        most = max((value for value in history if value is not None), default=0)
        axes.set(xlim=(-0.5, len(history) - 0.5), ylim=(-0.03 * (most or 1), most or 1))
        return to_png(drawing, dots_per_inch=2 * _CSS_DPI)


def chart_words(history: Sequence[float | None], month: str) -> str:
    """What the bars show, in words.

    >>> print(chart_words([100, None, 300], "2023-03").replace(chr(160), " "))
    Device hours a month, January 2023 to March 2023: 300 h now, between 100 h and 300 h; 1 month missing.
    """
    known = [value for value in history if value is not None]
    first = month_name(trailing_months(month, count=len(history))[0])
    span = f"Device hours a month, {first} to {month_name(month)}: "
    if not known:
        return f"{span}all missing."
    now = "missing" if history[-1] is None else hours_text(history[-1])
    lost = len(history) - len(known)
    gap = f"; {lost} month{'s' if lost > 1 else ''} missing" if lost else ""
    return f"{span}{now} now, between {hours_text(min(known))} and {hours_text(max(known))}{gap}."

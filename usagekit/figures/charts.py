"""Charts as SVG with real text, and the first of them: device hours per day."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from usagekit.analysis.wording import count_text, hours_text
from usagekit.figures import base, style
from usagekit.figures.base import Figure
from usagekit.figures.escape import typst_json, typst_string
from usagekit.figures.layout import missing, no_usage
from usagekit.figures.style import ACCENT, INK, MUTED, SHADE
from usagekit.figures.tables import raw_table
from usagekit.period import BusinessHours, month_name, shift_month

DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_HOLIDAY: Any = {"facecolor": "none", "edgecolor": MUTED, "hatch": "////", "linewidth": 0, "alpha": 0.6}


def daily_chart(
    daily: pd.DataFrame | None,
    *,
    month: str,
    business: BusinessHours | None = None,
    days: tuple[str, str] | None = None,
) -> Figure:
    """Bars of device hours a day, the month before as outline, weekends shaded, holidays hatched.

    Parameters
    ----------
    daily
        what :func:`usagekit.analysis.daily_hours` returns; a day that is still to come has NaN.
    month
        the month reported, ``YYYY-MM``.
    business
        whose holidays are marked.
    days
        the days of the month before that compare, and its own, where it still runs.
    """
    title = "Device hours per day"
    if daily is None:
        return missing(title)
    hours = daily["total_time_hours"].astype(float)
    if not hours.sum() > 0:
        return no_usage(month, what=title)
    before, now = days or (month_name(shift_month(month, -1)), month_name(month))
    busiest = pd.Timestamp(daily["date"].iloc[int(hours.to_numpy()[hours.notna()].argmax())])
    when = f"{busiest:%A} {busiest.day} {busiest:%B}"
    idle = int((hours == 0).sum())
    caption = f"{when} was the busiest day with {hours_text(hours.max())}"
    caption += (
        f"; {idle} {'day' if idle == 1 else 'days'} without usage." if idle else "; no day without usage."
    )
    alt = f"{title} in {now}, {hours_text(float(hours.sum()))} in all. {caption}"
    closed = daily["date"].isin(pd.to_datetime(business.holidays if business else ())).to_numpy()
    with style.chart_style():
        drawing = style.canvas(52)
        axes = drawing.add_axes((0.042, 0.147, 0.956, 0.725))
        _draw_days(axes, daily.assign(holiday=closed), labels=(now, before))
        words = (title, caption, alt)
        behind = raw_table("device-hours-per-day", daily[["date", "total_time_hours", "previous_hours"]])
        return chart("daily-hours", words, drawing=drawing, table=behind)


def chart(
    kind: str,
    words: tuple[str, str, str],
    *,
    drawing: Canvas,
    table: Mapping[str, Any],
    content: Mapping[str, Any] | None = None,
) -> Figure:
    """A finished drawing as a figure; to be called while the style of charts is set.

    ``words`` are title, caption and alternative text; ``table`` is what was drawn.
    """
    title, caption, alt = words
    svg, width = style.to_svg(drawing), round(float(drawing.get_figwidth()) * 25.4)
    head = {"title": title, "caption": caption}
    picture = f"#uk-picture(bytes({typst_string(svg)}), {width}mm, {typst_string(alt)})"
    drawn = Markup(style.for_screen(svg))  # noqa: S704 - matplotlib wrote and escaped it
    html = base.html("chart", {**head, "alt": alt, "svg": drawn, "least": round(width * 0.207, 1)})
    whole = {**head, **(content or {}), "table": table}
    return Figure(kind, alt, whole, html, f"#uk-chart({typst_json(head)})[\n{picture}\n]")


def plain(value: float) -> float | None:
    """The value as JSON knows it, None when missing."""
    return None if math.isnan(value) else round(float(value), 6)


def _draw_days(axes: Axes, daily: pd.DataFrame, *, labels: tuple[str, str]) -> None:
    days = daily["date"].dt.day.to_numpy()
    hours, before = (daily[c].fillna(0.0).to_numpy() for c in ("total_time_hours", "previous_hours"))
    top = max(hours.max(), before.max())
    axes.set_xlim(0.4, len(days) + 0.6)
    axes.set_ylim(0, top * 1.08)
    for day in days[daily["weekend"]]:
        axes.axvspan(day - 0.5, day + 0.5, color=SHADE, linewidth=0, clip_on=False)
    for day in days[daily["holiday"]]:
        axes.axvspan(day - 0.5, day + 0.5, **_HOLIDAY, clip_on=False)
    axes.grid(axis="y", clip_on=False)
    axes.bar(days, hours, width=0.62, color=ACCENT, clip_on=False, zorder=2)
    shown = before > 0
    outline: dict[str, Any] = {"width": 0.84, "fill": False, "edgecolor": MUTED, "linewidth": 0.7}
    axes.bar(days[shown], before[shown], **outline, clip_on=False, zorder=3)
    peak = int(hours.argmax())
    axes.annotate(
        hours_text(hours[peak]),
        (days[peak], max(hours[peak], before[peak])),
        xytext=(0, 2),
        textcoords="offset points",
        ha="center",
        color=INK,
    )
    axes.set_xticks(days, [f"{d.day}\n{DAYS[d.day_of_week][0]}" for d in daily["date"]])
    axes.tick_params(axis="x", pad=2, labelsize=7)
    axes.tick_params(axis="y", pad=2, labelsize=7)
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=bool(top >= 4)))
    axes.yaxis.set_major_formatter(
        lambda value, _: count_text(value) if value == int(value) else f"{value:g}"
    )
    handles = [Patch(color=ACCENT), Patch(fill=False, edgecolor=MUTED, linewidth=0.7), Patch(color=SHADE)]
    names = [f"{labels[0]} (h)", labels[1] if shown.any() else f"{labels[1]}: none", "weekend"]
    if daily["holiday"].any():
        handles.append(Patch(**_HOLIDAY))
        names.append("holiday")
    legend(axes, handles, names)


def legend(axes: Axes, handles: Sequence[Patch], names: Sequence[str], *, above: float = 1.0) -> None:
    """One line of swatches above a chart, to the right; ``above`` is its foot in heights of the chart."""
    axes.legend(
        handles,
        names,
        ncols=len(names),
        loc="lower right",
        bbox_to_anchor=(1, above),
        frameon=False,
        borderpad=0,
        handlelength=1,
        handleheight=0.8,
        columnspacing=3,
        labelcolor=MUTED,
        fontsize=7.5,
    )

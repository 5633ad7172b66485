"""The charts of a month: daily hours and the week's heatmap, as SVG with real text."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator

from usagekit.analysis import month_name, shift_month
from usagekit.analysis.wording import count_text, hours_text
from usagekit.figures import base, style
from usagekit.figures.base import Figure, component
from usagekit.figures.escape import typst_json, typst_string
from usagekit.figures.style import ACCENT, INK, LINE, MUTED, ON_DARK, ON_LIGHT, RAMP, SHADE
from usagekit.period import BusinessHours

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def daily_chart(daily: pd.DataFrame, *, month: str) -> Figure:
    """Bars of device hours a day, the month before as outline, weekends shaded.

    Parameters
    ----------
    daily
        what :func:`usagekit.analysis.daily_hours` returns.
    month
        the month reported, ``YYYY-MM``.
    """
    hours = daily["total_time_hours"].to_numpy(float)
    if not hours.sum() > 0:
        return no_usage(month, what="Device hours per day")
    now, before = month_name(month), month_name(shift_month(month, -1))
    busiest = pd.Timestamp(daily["date"].iloc[int(hours.argmax())])
    when = f"{busiest:%A} {busiest.day} {busiest:%B}"
    idle = int((hours == 0).sum())
    caption = f"{when} was the busiest day with {hours_text(hours.max())}"
    caption += (
        f"; {idle} {'day' if idle == 1 else 'days'} without usage." if idle else "; no day without usage."
    )
    alt = f"Device hours per day in {now}, {hours_text(float(hours.sum()))} in all. {caption}"
    with style.chart_style():
        drawing = style.canvas(66)
        axes = drawing.add_axes((0.042, 0.125, 0.956, 0.765))
        _draw_days(axes, daily, labels=(now, before))
        svg = style.to_svg(drawing)
    columns = ("total_time_hours", "previous_hours")
    content = {
        "date": [f"{d:%Y-%m-%d}" for d in daily["date"]],
        **{c: [_plain(v) for v in daily[c]] for c in columns},
    }
    return _chart("daily-hours", ("Device hours per day", caption, alt), content=content, svg=svg)


def heatmap(
    profile: pd.DataFrame, *, month: str, timezone: str, business: BusinessHours | None = None
) -> Figure:
    """Weekday by hour: how many devices were busy on average, printed in every cell.

    Parameters
    ----------
    profile
        what :func:`usagekit.analysis.weekday_hour_profile` returns; NaN cells do not exist in the month.
    month
        the month reported, ``YYYY-MM``.
    timezone
        the zone of the clock, for the caption.
    business
        business hours to outline.
    """
    cells = profile.to_numpy(float)
    if not np.nansum(cells) > 0:
        return no_usage(month, what="Mean number of devices busy")
    day, hour = divmod(int(np.nanargmax(cells)), 24)
    caption = f"{_DAYS[day]}s from {hour}:00 to {hour + 1}:00 were busiest, {_busy(float(np.nanmax(cells)))} devices on average"
    caption += f" (clock of {timezone}{'; business hours outlined' if business else ''})."
    alt = f"Mean number of devices busy by weekday and hour in {month_name(month)}. {caption}"
    with style.chart_style():
        drawing = style.canvas(60)
        axes = drawing.add_axes((0.042, 0.02, 0.956, 0.88))
        _draw_week(axes, cells)
        if business:
            _outline(axes, business)
        svg = style.to_svg(drawing)
    content = {"mean_devices_busy": [[_plain(v) for v in row] for row in cells]}
    return _chart("heatmap", ("Mean number of devices busy", caption, alt), content=content, svg=svg)


def no_usage(month: str, *, what: str) -> Figure:
    """A figure of a month without usage says so; an empty drawing would look like a fault."""
    text = f"No usage in {month_name(month)}."
    return component("empty", f"{what}: {text}", {"title": what, "text": text})


def _chart(kind: str, words: tuple[str, str, str], *, content: dict[str, Any], svg: str) -> Figure:
    title, caption, alt = words
    head = {"title": title, "caption": caption}
    picture = f'#image(bytes({typst_string(svg)}), format: "svg", width: 100%, alt: {typst_string(alt)})'
    drawn = Markup(style.for_screen(svg))  # noqa: S704 - matplotlib wrote and escaped it
    html = base.html("chart", {**head, "alt": alt, "svg": drawn})
    return Figure(kind, alt, {**head, **content}, html, f"#uk-chart({typst_json(head)})[\n{picture}\n]")


def _draw_days(axes: Axes, daily: pd.DataFrame, *, labels: tuple[str, str]) -> None:
    days = daily["date"].dt.day.to_numpy()
    hours, before = daily["total_time_hours"].to_numpy(), daily["previous_hours"].fillna(0.0).to_numpy()
    top = max(hours.max(), before.max())
    axes.set_xlim(0.4, len(days) + 0.6)
    axes.set_ylim(0, top * 1.08)
    for day in days[daily["weekend"]]:
        axes.axvspan(day - 0.5, day + 0.5, color=SHADE, linewidth=0, clip_on=False)
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
    axes.set_xticks(days, [f"{d.day}\n{_DAYS[d.day_of_week][0]}" for d in daily["date"]])
    axes.tick_params(axis="x", pad=2, labelsize=7)
    axes.tick_params(axis="y", pad=2, labelsize=7)
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=bool(top >= 4)))
    axes.yaxis.set_major_formatter(
        lambda value, _: count_text(value) if value == int(value) else f"{value:g}"
    )
    handles = [Patch(color=ACCENT), Patch(fill=False, edgecolor=MUTED, linewidth=0.7), Patch(color=SHADE)]
    names = [f"{labels[0]} (h)", labels[1] if shown.any() else f"{labels[1]}: none", "weekend"]
    axes.legend(
        handles,
        names,
        ncols=3,
        loc="lower right",
        bbox_to_anchor=(1, 1.0),
        frameon=False,
        borderpad=0,
        handlelength=1,
        handleheight=0.8,
        columnspacing=3,
        labelcolor=MUTED,
        fontsize=7.5,
    )


def _draw_week(axes: Axes, cells: npt.NDArray[np.float64]) -> None:
    top = float(np.nanmax(cells))
    ramp = LinearSegmentedColormap.from_list("usagekit", RAMP)
    axes.set_xlim(0, 24)
    axes.set_ylim(7, 0)
    axes.set_axis_off()
    for hour in range(24):
        axes.text(hour + 0.5, -0.14, str(hour), ha="center", va="bottom", fontsize=7, color=MUTED)
    for day in range(7):
        axes.text(-0.14, day + 0.5, _DAYS[day][:3], ha="right", va="center", fontsize=7.5, color=MUTED)
        for hour in range(24):
            value = float(cells[day, hour])
            exists = not math.isnan(value)
            look = (
                {"facecolor": ramp(value / top)}
                if exists
                else {"fill": False, "edgecolor": LINE, "hatch": "////"}
            )
            axes.add_patch(
                Rectangle((hour + 0.03, day + 0.04), 0.94, 0.92, linewidth=0, clip_on=False, **look)
            )
            if exists and value > 0:
                colour = ON_LIGHT if _luminance(ramp(value / top)) > 0.19 else ON_DARK
                axes.text(
                    hour + 0.5, day + 0.52, _busy(value), ha="center", va="center", fontsize=6.5, color=colour
                )


def _outline(axes: Axes, business: BusinessHours) -> None:
    start, end = (t.hour + t.minute / 60 for t in (business.start, business.end))
    for day in business.weekdays:
        sides = [((start, start), (day, day + 1)), ((end, end), (day, day + 1))]
        # Open days side by side share one frame.
        sides += [
            ((start, end), (edge, edge))
            for edge, next_to in ((day, day - 1), (day + 1, day + 1))
            if next_to not in business.weekdays
        ]
        for x, y in sides:
            axes.plot(x, y, color=INK, linewidth=0.9, solid_capstyle="projecting", clip_on=False)


def _luminance(colour: tuple[float, ...]) -> float:
    """Relative luminance as WCAG has it: on 0.18 black and white text are equally legible."""
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3])
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _busy(value: float) -> str:
    if value < 0.05:
        return "·"
    return f"{value:.1f}" if round(value, 1) < 10 else count_text(value)


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else round(float(value), 6)

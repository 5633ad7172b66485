"""The week's heatmap: how busy each hour of each weekday was, and when devices ran out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import Patch, Rectangle

from usagekit.analysis.wording import count_text, minutes_text
from usagekit.figures import style
from usagekit.figures.base import Figure
from usagekit.figures.charts import DAYS, chart, legend, plain
from usagekit.figures.layout import missing, no_usage
from usagekit.figures.style import INK, LINE, MUTED, ON_DARK, ON_LIGHT, RAMP
from usagekit.figures.tables import raw_table
from usagekit.period import BusinessHours, month_name


def heatmap(
    profile: pd.DataFrame | None,
    *,
    month: str,
    timezone: str,
    business: BusinessHours | None = None,
    sold_out: pd.DataFrame | None = None,
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
        business hours to frame.
    sold_out
        minutes in which every device of some model was busy, of the same shape; cells above zero are outlined.
    """
    title = "Mean number of devices busy"
    if profile is None:
        return missing(title)
    cells = profile.to_numpy(float)
    if not np.nansum(cells) > 0:
        return no_usage(month, what=title)
    day, hour = divmod(int(np.nanargmax(cells)), 24)
    most = _busy(float(np.nanmax(cells)))
    caption = f"{DAYS[day]}s {hour}:00 to {hour + 1}:00 were busiest with {most}"
    caption += f" ({timezone}{'; business hours framed' if business else ''})."
    scarce = None if sold_out is None else np.nan_to_num(sold_out.to_numpy(float))
    caption += _scarcity(scarce)
    with style.chart_style():
        drawing = style.canvas(51 if scarce is None else 58)
        axes = drawing.add_axes((0.042, 0.02, 0.956, 0.87 if scarce is None else 0.815))
        _draw_week(axes, cells, scarce)
        if business:
            _outline(axes, business)
        words = (title, caption, f"{title} by weekday and hour in {month_name(month)}. {caption}")
        content = {"mean_devices_busy": [[plain(v) for v in row] for row in cells]}
        return chart("heatmap", words, drawing=drawing, table=_table(profile, sold_out), content=content)


def _scarcity(scarce: npt.NDArray[np.float64] | None) -> str:
    """Where the devices ran out, as a sentence."""
    if scarce is None:
        return ""
    if not scarce.max() > 0:
        return " No model was sold out."
    day, hour = divmod(int(scarce.argmax()), 24)
    return (
        f" Sold out longest on {DAYS[day]}s from {hour}:00, {minutes_text(float(scarce.max()))} on average."
    )


def _table(profile: pd.DataFrame, sold_out: pd.DataFrame | None) -> dict[str, Any]:
    rows = {
        "weekday": [day for day in DAYS for _ in range(24)],
        "hour": [*range(24)] * 7,
        "mean_devices_busy": profile.to_numpy(float).ravel(),
    }
    if sold_out is not None:
        rows["sold_out_minutes"] = sold_out.to_numpy(float).ravel()
    return raw_table("devices-busy-by-weekday-and-hour", pd.DataFrame(rows))


def _draw_week(axes: Axes, cells: npt.NDArray[np.float64], scarce: npt.NDArray[np.float64] | None) -> None:
    top = float(np.nanmax(cells))
    ramp = LinearSegmentedColormap.from_list("usagekit", RAMP)
    axes.set_xlim(0, 24)
    axes.set_ylim(7, 0)
    axes.set_axis_off()
    if scarce is not None and scarce.max() > 0:
        swatch = Patch(facecolor=RAMP[1], edgecolor=ON_LIGHT, linewidth=0.9)
        legend(axes, [swatch], ["some model sold out"], above=1.07)
    for hour in range(24):
        axes.text(hour + 0.5, -0.14, str(hour), ha="center", va="bottom", fontsize=7, color=MUTED)
    for day in range(7):
        axes.text(-0.14, day + 0.5, DAYS[day][:3], ha="right", va="center", fontsize=7.5, color=MUTED)
        for hour in range(24):
            value = float(cells[day, hour])
            exists = not math.isnan(value)
            look = (
                {"facecolor": ramp(value / top)}
                if exists
                else {"fill": False, "edgecolor": LINE, "hatch": "////"}
            )
            axes.add_artist(  # as add_patch, which would look for new limits each time
                Rectangle((hour + 0.03, day + 0.04), 0.94, 0.92, linewidth=0, clip_on=False, **look)
            )
            colour = ON_LIGHT if not exists or _luminance(ramp(value / top)) > 0.19 else ON_DARK
            if scarce is not None and scarce[day, hour] > 0:
                _mark(axes, day, hour, colour)
            if exists and value > 0:
                axes.text(
                    hour + 0.5, day + 0.52, _busy(value), ha="center", va="center", fontsize=6.5, color=colour
                )


def _mark(axes: Axes, day: int, hour: int, colour: str) -> None:
    axes.add_patch(
        Rectangle((hour + 0.1, day + 0.12), 0.8, 0.76, fill=False, edgecolor=colour, linewidth=0.9)
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

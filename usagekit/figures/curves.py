"""Charts of capacity and of what comes next: the duration curve and the forecast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from usagekit.analysis.wording import count_text, hours_text
from usagekit.figures import style
from usagekit.figures.base import Figure
from usagekit.figures.charts import chart
from usagekit.figures.layout import missing
from usagekit.figures.style import ACCENT, INK, LINE, MUTED, SHADE
from usagekit.figures.tables import raw_table
from usagekit.period import month_name, shift_month

FEW_MONTHS: Final = "fewer than four months to go by"


class NextMonth(Protocol):
    """What a forecast says: device hours (h) of ``month``, between ``low`` and ``high``, and from what."""

    @property
    def month(self) -> str: ...
    @property
    def hours(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...
    @property
    def basis(self) -> str: ...


def duration_curve_chart(
    curve: pd.DataFrame | None, *, owned: int | None, levels: Mapping[float, int], half: bool = False
) -> Figure:
    """For how much of the business time at least so many devices were busy.

    Parameters
    ----------
    curve
        what :func:`usagekit.analysis.concurrency.duration_curve` returns: ``devices`` (0 to the peak), ``minutes`` and
        ``share`` (0 to 1) of the business minutes with at least so many busy.
    owned
        devices on the roster, None when not known.
    levels
        devices that were enough, by share of the business minutes, such as ``{0.95: 9, 0.99: 12}``.
    half
        drawn for half the width of a page.
    """
    title = "Devices busy at once"
    if curve is None:
        return missing(title)
    if not len(curve):
        return missing(title, "there were no business hours")
    peak = int(curve["devices"].max())
    enough = " and ".join(f"{count_text(k)} in {share:.0%}" for share, k in sorted(levels.items()))
    caption = f"Enough devices: {enough} of the business minutes; at most {count_text(peak)} were busy"
    caption += f", {count_text(owned)} are owned." if owned is not None else "."
    with style.chart_style():
        drawing = style.canvas(52, style.HALF_MM if half else style.FULL_MM)
        axes = drawing.add_axes((0.1, 0.185, 0.87, 0.69) if half else (0.05, 0.185, 0.935, 0.69))
        # Far more devices than were ever busy would squeeze the curve against the axis.
        apart = owned is not None and owned > 2 * peak
        _draw_curve(axes, curve, round(1.3 * peak) if apart else max(peak, owned or 0), levels)
        if owned is not None:
            _owned(axes, owned, apart=apart)
        behind = raw_table("devices-busy-at-once", curve)
        words = (title, caption, f"{title}. {caption}")
        return chart("duration-curve", words, drawing=drawing, table=behind)


def forecast_chart(
    forecast: NextMonth | None,
    *,
    history: Sequence[float | None],
    month: str,
    half: bool = False,
    reason: str = FEW_MONTHS,
) -> Figure:
    """Device hours of the months so far, and of the next one with its band.

    Parameters
    ----------
    forecast
        what :func:`usagekit.analysis.forecast.forecast` returns; None where ``reason`` says why.
    history
        device hours (h) of the months that end with ``month``, None where missing.
    month
        the month reported, ``YYYY-MM``.
    half
        drawn for half the width of a page.
    """
    title = "Device hours next month"
    if forecast is None:
        return missing(title, reason)
    months = [shift_month(month, back) for back in range(1 - len(history), 1)]
    band = f"{count_text(forecast.low)}–{hours_text(forecast.high)}"
    caption = (
        f"{month_name(forecast.month)}: {hours_text(forecast.hours)}, between {band} ({forecast.basis})."
    )
    with style.chart_style():
        drawing = style.canvas(38 if half else 44, style.HALF_MM if half else style.FULL_MM)
        axes = drawing.add_axes((0.02, 0.2, 0.93 if half else 0.96, 0.68))
        _draw_months(axes, [np.nan if v is None else v for v in history], forecast)
        axes.set_xticks(range(len(months) + 1), [_initial(m) for m in (*months, forecast.month)])
        coming = {"month": forecast.month, "total_time_hours": forecast.hours}
        coming |= {"low_hours": forecast.low, "high_hours": forecast.high}
        past = [{"month": m, "total_time_hours": h} for m, h in zip(months, history, strict=True)]
        behind = pd.DataFrame([*past, coming])
        words = (title, caption, f"{title}. {caption}")
        return chart("forecast", words, drawing=drawing, table=raw_table("device-hours-next-month", behind))


def _draw_curve(axes: Axes, curve: pd.DataFrame, widest: int, levels: Mapping[float, int]) -> None:
    devices, share = curve["devices"].to_numpy(float), 100 * curve["share"].to_numpy(float)
    axes.set_xlim(0, widest * 1.04 + 0.5)
    axes.set_ylim(0, 100)
    axes.grid(axis="y", clip_on=False)
    # The share of "at least k" holds from k-1 to k devices: a stair, not a slope.
    axes.fill_between(devices, share, step="pre", color=SHADE, linewidth=0)
    axes.step(devices, share, where="pre", color=ACCENT, linewidth=1.6)
    for row, (level, enough) in enumerate(sorted(levels.items())):
        height = 100 * (1 - level)
        axes.plot([enough], [height], marker="o", markersize=4, color=INK, clip_on=False, zorder=4)
        axes.annotate(
            f"{level:.0%}: {count_text(enough)}",
            (enough, height),
            xytext=(5, 16 - 11 * row),
            textcoords="offset points",
            color=INK,
            fontsize=8,
        )
    axes.set_xlabel("devices busy, at least", fontsize=7.5)
    axes.set_yticks(range(0, 101, 25), [f"{tick}%" for tick in range(0, 101, 25)], fontsize=7)
    axes.annotate(
        "of the business minutes",
        (0, 100),
        xytext=(0, 4),
        textcoords="offset points",
        color=MUTED,
        fontsize=7.5,
    )
    axes.xaxis.set_major_locator(MaxNLocator(10, integer=True))
    axes.tick_params(labelsize=7, pad=2)


def _owned(axes: Axes, owned: int, *, apart: bool) -> None:
    """Where the devices owned are, or that they are off to the right."""
    at, words = (axes.get_xlim()[1], " →") if apart else (owned, "")
    if not apart:
        axes.axvline(at, color=INK, linewidth=0.9, linestyle=(0, (4, 2)))
    look: Any = {"textcoords": "offset points", "ha": "right", "color": INK, "fontsize": 8}
    axes.annotate(f"owned {count_text(owned)}{words}", (at, 100), xytext=(-3, -8), **look)


def _draw_months(axes: Axes, hours: Sequence[float], forecast: NextMonth) -> None:
    last, coming = len(hours) - 1, len(hours)
    look: dict[str, Any] = {"width": 0.7, "clip_on": False, "zorder": 2}
    axes.bar(range(last), hours[:-1], color=LINE, **look)
    axes.bar([last], hours[-1:], color=ACCENT, **look)
    axes.bar([coming], [forecast.hours], fill=False, edgecolor=ACCENT, hatch="////", linewidth=0.9, **look)
    axes.plot([coming, coming], [forecast.low, forecast.high], color=INK, linewidth=1.4, zorder=3)
    for edge in (forecast.low, forecast.high):
        axes.plot([coming - 0.14, coming + 0.14], [edge, edge], color=INK, linewidth=1.4, zorder=3)
    axes.set_xlim(-0.6, coming + 0.6)
    axes.set_ylim(0, max(np.nanmax([*hours, forecast.high]), 1) * 1.02)
    told = (
        (last + 0.35, hours[-1], hours[-1], "right"),
        (coming - 0.35, forecast.hours, forecast.high, "left"),
    )
    for at, value, top, side in told:
        if not np.isnan(value):
            words: Any = {"textcoords": "offset points", "ha": side, "color": INK}
            axes.annotate(hours_text(value), (at, top), xytext=(0, 2), **words)
    axes.set_yticks([])
    axes.tick_params(axis="x", pad=2, labelsize=7)


def _initial(month: str) -> str:
    """First letters of a month, with the year below each January."""
    name = month_name(month)
    return f"{name[:3]}\n{name[-4:]}" if month.endswith("-01") else name[:3]

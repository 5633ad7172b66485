"""The time axis of the analyst's charts: ticks in words that people use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from usagekit.figures.plots_bins import Bins
from usagekit.figures.style import SHADE

Labels = Callable[[pd.Timestamp], str]


def time_axis(axes: Axes, bins: Bins, *, most: int = 12) -> None:
    """Ticks in words that people use, at most about ``most``, and shaded weekends where days can be told."""
    zone = bins.starts.tz if bins.size == "hour" else None
    axes.xaxis_date(zone)
    axes.set_xlim(bins.left[0], bins.right[-1])
    starts = bins.starts
    chosen, style, at = _tick_rule(bins, most)
    places = bins.left if at == "left" else bins.middle
    labels = [style(starts[i]) for i in chosen]
    axes.set_xticks(places[chosen], said_once(labels))
    if shades_weekends(bins):
        for i in np.flatnonzero(starts.day_of_week >= 5):
            axes.axvspan(bins.left[i], bins.right[i], color=SHADE, linewidth=0, zorder=0)


def shades_weekends(bins: Bins) -> bool:
    """Whether days can be told apart on the axis."""
    return bins.size in ("hour", "day") and 1 < bins.right[-1] - bins.left[0] <= 62


def said_once(labels: list[str]) -> list[str]:
    """Tick labels whose second line (month, year) is kept only where it changes."""
    below = [label.partition("\n")[2] for label in labels]
    return [
        label if i == 0 or below[i] != below[i - 1] else label.partition("\n")[0]
        for i, label in enumerate(labels)
    ]


def _tick_rule(bins: Bins, most: int) -> tuple[list[int], Labels, str]:
    starts = bins.starts
    rules: list[tuple[Any, Labels, str]] = []
    if bins.size == "hour":
        midnight = starts.normalize() == starts
        whole = starts.minute == 0
        rules += [(whole & (starts.hour % step == 0), _hour, "left") for step in (1, 3, 6)]
        rules += [(midnight, _weekday, "left"), (midnight & (starts.day_of_week == 0), _day, "left")]
        rules.append((midnight & (starts.day == 1), _month, "left"))
    elif bins.size == "day":
        rules += [(starts.day > 0, _day, "middle")] if len(bins) <= 31 else []
        rules.append((starts.day_of_week == 0, _day, "middle"))
        rules.append((starts.day == 1, _month, "left"))
    elif bins.size == "week":
        rules.append((starts.day > 0, _day, "middle"))
        rules.append((starts.day <= 7, _month, "left"))
    else:
        rules.append((starts.day > 0, _month, "middle"))
    first_of_month = rules[-1][0]
    rules += [(first_of_month & ((starts.month - 1) % step == 0), _month, "left") for step in (3, 6, 12)]
    for mask, style, at in rules:
        chosen = [int(i) for i in np.flatnonzero(mask)]
        room = 31 if style is _day and bins.size == "day" and len(bins) <= 31 else most + 1
        if 0 < len(chosen) <= room:
            return chosen, style, at
    spread = np.unique(np.linspace(0, len(bins) - 1, min(most, len(bins))).astype(int))
    return [int(i) for i in spread], _month, "middle"


def _hour(start: pd.Timestamp) -> str:
    return f"{start:%H:%M}\n{start:%a} {start.day} {start:%b}"


def _weekday(start: pd.Timestamp) -> str:
    return f"{start:%a} {start.day}\n{start:%b %Y}"


def _day(start: pd.Timestamp) -> str:
    return f"{start.day}\n{start:%b %Y}"


def _month(start: pd.Timestamp) -> str:
    return f"{start:%b}\n{start:%Y}"

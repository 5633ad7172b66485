"""Tables of colours: two dimensions, members by time, the week by hour, the calendar."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.patches import Rectangle

from usagekit.analysis.wording import count_text
from usagekit.figures.plots_bins import Bins, Floats
from usagekit.figures.plots_canvas import number_axis
from usagekit.figures.plots_draw import HATCH
from usagekit.figures.plots_time import said_once
from usagekit.figures.style import INK, LINE, MUTED, ON_DARK, ON_LIGHT, RAMP

WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_RAMP = LinearSegmentedColormap.from_list("usagekit", RAMP)
_PRINTED = 24
_DARK_FROM = 0.62
"""Share of the ramp from which light text is easier to read than dark."""


def draw_cells(axes: Axes, cells: Floats, *, label: str, printed: bool, edges: Floats | None = None) -> None:
    """A colour a value, hatched where it is missing; with the numbers in the cells, else with a scale.

    ``edges`` are those of the columns, where these are times.
    """
    sides = np.arange(cells.shape[1] + 1.0) if edges is None else edges
    top = float(np.nanmax(cells, initial=0)) or 1.0
    rows = np.arange(cells.shape[0] + 1.0)
    mesh = axes.pcolormesh(
        sides, rows, np.ma.masked_invalid(cells), cmap=_RAMP, vmin=0, vmax=top, edgecolors="white"
    )
    mesh.set_linewidth(1.2 if cells.shape[1] <= 62 else 0)
    axes.set(xlim=(sides[0], sides[-1]), ylim=(cells.shape[0], 0))
    axes.spines["bottom"].set_visible(False)
    middle = (sides[1:] + sides[:-1]) / 2
    for (row, column), value in np.ndenumerate(cells):
        if np.isnan(value):
            hatch(axes, (float(sides[column]), row), float(sides[column + 1] - sides[column]))
        elif printed and value > 0:
            colour = ON_DARK if value / top > _DARK_FROM else ON_LIGHT
            axes.text(
                float(middle[column]),
                row + 0.52,
                _short(value),
                ha="center",
                va="center",
                fontsize=7,
                color=colour,
            )
    if not printed:
        scale(axes, top=top, label=label)


def scale(axes: Axes, *, top: float, label: str) -> None:
    """The scale of the colours, slim at the right."""
    figure: Any = axes.get_figure(root=True)
    bar = figure.colorbar(
        ScalarMappable(Normalize(0, top), _RAMP), ax=axes, fraction=0.03, pad=0.015, aspect=28
    )
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, labelsize=8, labelcolor=MUTED)
    bar.set_label(label, fontsize=8, color=MUTED)
    number_axis(bar.ax.yaxis, top=top, most=4)


def hatch(axes: Axes, corner: tuple[float, float], width: float = 1.0, *, over: bool = False) -> None:
    """Hatch a cell: missing, or partial when drawn ``over`` its colour."""
    look: Any = (
        {"edgecolor": MUTED, "hatch": "//", "alpha": 0.8} if over else {"edgecolor": LINE, "hatch": HATCH}
    )
    axes.add_patch(Rectangle(corner, width, 1.0, fill=False, linewidth=0, zorder=2.5, **look))


def name_sides(axes: Axes, *, down: Sequence[str], across: Sequence[str]) -> None:
    """Names of rows at the left, of columns below: upright if they are short."""
    axes.set_yticks(np.arange(len(down)) + 0.5, list(down))
    long = max(map(len, across), default=0) * len(across) > 120
    axes.set_xticks(
        np.arange(len(across)) + 0.5,
        list(across),
        rotation=45 if long else 0,
        ha="right" if long else "center",
        rotation_mode="anchor",
    )
    axes.tick_params(axis="both", labelcolor=INK)


def draw_times(axes: Axes, bins: Bins, cells: pd.DataFrame, *, label: str) -> None:
    """Members by time; partial bins hatched over their colours."""
    edges = np.append(bins.left, bins.right[-1])
    draw_cells(axes, cells.to_numpy(float), label=label, printed=len(bins) <= _PRINTED, edges=edges)
    axes.set_yticks(np.arange(len(cells)) + 0.5, [str(name) or "whole lab" for name in cells.index])
    axes.tick_params(axis="y", labelcolor=INK)
    for i in np.flatnonzero(bins.partial & ~bins.future):
        for row in range(len(cells)):
            hatch(axes, (float(bins.left[i]), row), float(bins.right[i] - bins.left[i]), over=True)


def draw_week(axes: Axes, profile: pd.DataFrame) -> None:
    """Weekday by hour, as :func:`usagekit.figures.plots_bins.weekday_hours` gives it."""
    draw_cells(axes, profile.to_numpy(float), label="Mean devices busy", printed=True)
    name_sides(axes, down=WEEKDAYS, across=[str(hour) for hour in range(24)])


def draw_calendar(axes: Axes, bins: Bins, values: Floats, *, label: str) -> None:
    """A column a week, a row a weekday; up to ten weeks say date and value in each cell."""
    monday = (bins.starts - pd.to_timedelta(bins.starts.day_of_week, unit="D")).normalize()
    week = ((monday - monday[0]).days // 7).to_numpy()
    day = bins.starts.day_of_week.to_numpy()
    weeks = int(week[-1]) + 1
    top = float(np.nanmax(values, initial=0)) or 1.0
    roomy = weeks <= 10
    for i, value in enumerate(values):
        if np.isnan(value):
            hatch(axes, (float(week[i]), float(day[i])))
            continue
        axes.add_patch(
            Rectangle((week[i] + 0.02, day[i] + 0.03), 0.96, 0.94, facecolor=_RAMP(value / top), linewidth=0)
        )
        if bins.partial[i]:
            hatch(axes, (float(week[i]), float(day[i])), over=True)
        if roomy:
            colour = ON_DARK if value / top > _DARK_FROM else ON_LIGHT
            axes.text(
                week[i] + 0.06,
                day[i] + 0.52,
                str(bins.starts[i].day),
                va="center",
                fontsize=7,
                color=colour,
                alpha=0.75,
            )
            axes.text(
                week[i] + 0.92,
                day[i] + 0.52,
                _short(value),
                va="center",
                ha="right",
                fontsize=8,
                color=colour,
            )
    axes.set(xlim=(0, weeks), ylim=(7, 0))
    axes.spines["bottom"].set_visible(False)
    axes.set_yticks(np.arange(7) + 0.5, list(WEEKDAYS))
    firsts = [i for i in range(len(bins)) if i == 0 or bins.starts[i].day == 1]
    if len(firsts) > 1 and week[firsts[1]] - week[firsts[0]] < 2:
        firsts = firsts[1:]
    shown = firsts[:: max(1, -(-len(firsts) // 14))]
    labels = said_once([f"{bins.starts[i]:%b}\n{bins.starts[i]:%Y}" for i in shown])
    axes.set_xticks([week[i] + 0.5 for i in shown], labels)
    if not roomy:
        for i in firsts:
            _month_edge(axes, int(week[i]), int(day[i]))
        scale(axes, top=top, label=label)


def _month_edge(axes: Axes, week: int, day: int) -> None:
    """The line between two months, along the cells."""
    if day == 0:
        axes.plot([week, week], [0, 7], color=INK, linewidth=0.7)
    else:
        axes.plot([week + 1, week + 1, week, week], [0, day, day, 7], color=INK, linewidth=0.7)


def _short(value: float) -> str:
    """A value in a cell, without its unit."""
    if 0 < value < 0.05:
        return "·"
    return f"{value:.1f}" if 0 < value < 9.95 and value != int(value) else count_text(value)

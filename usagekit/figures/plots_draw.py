"""Bars, lines, stacks and rankings of the analyst's charts."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from usagekit.figures.plots_bins import Bins, Floats
from usagekit.figures.plots_canvas import number_axis
from usagekit.figures.plots_text import metric_label, metric_text
from usagekit.figures.style import ACCENT, INK, LINE, MUTED
from usagekit.vocabulary import Metric

SERIES: Final = (
    ("#0f5e8b", "-", "o"),
    ("#d17f00", "--", "s"),
    ("#00694f", "-.", "^"),
    ("#3d9bd6", (0, (1, 1)), "D"),
    ("#a8330b", (0, (5, 1)), "v"),
    ("#bf6a9a", (0, (3, 1, 1, 1)), "P"),
    ("#1b2733", "-", "X"),
    ("#8792a0", "--", "h"),
)
"""Colour, dash and marker of each member, after Okabe and Ito: dark and light in turn, so grey tells them apart too."""

MOST_OTHERS: Final = 30
"""More lines without a name are a thicket, and left out."""

HATCH: Final = "/////"
_SHOWN_VALUES = 13
_MARKED_BINS = 40


def draw_bars(axes: Axes, bins: Bins, values: Floats, *, metric: Metric) -> None:
    """A bar a bin; partial ones hatched, missing ones left out."""
    whole, part = ~bins.partial, bins.partial
    width = bins.right - bins.left
    for chosen, look in (
        (whole, {"color": ACCENT}),
        (part, {"facecolor": "white", "edgecolor": ACCENT, "hatch": HATCH, "linewidth": 0.8}),
    ):
        shown = chosen & ~np.isnan(values)
        axes.bar(bins.middle[shown], values[shown], width=0.72 * width[shown], zorder=2, **look)
    if len(bins) <= _SHOWN_VALUES:
        for x, value in zip(bins.middle, values, strict=True):
            if not np.isnan(value):
                _above(axes, x, value, metric)
    elif not np.isnan(values).all():
        peak = int(np.nanargmax(values))
        _above(axes, bins.middle[peak], values[peak], metric)
    _value_axis(axes, float(np.nanmax(values, initial=0)), metric)


def draw_lines(axes: Axes, bins: Bins, cells: pd.DataFrame, *, metric: Metric, named: list[str]) -> None:
    """A line a member with its name at the end; members that are not ``named`` stay thin and grey."""
    shade_partial(axes, bins)
    others = cells.index.difference(named)
    for name in others if len(others) <= MOST_OTHERS else ():
        axes.plot(bins.middle, cells.loc[name], color=LINE, linewidth=0.8, zorder=2)
    ends = []
    for name, (colour, dash, marker) in zip(named, SERIES, strict=False):
        if name not in cells.index:
            continue
        values = cells.loc[name].to_numpy(float)
        alone = len(named) == 1
        often = max(len(bins) // _MARKED_BINS * 5, 1)
        look: Any = {
            "color": colour,
            "linestyle": "-" if alone else dash,
            "linewidth": 1.6 if len(bins) < 200 else 1.1,
        }
        if len(bins) <= _MARKED_BINS or not alone:
            look |= {"marker": marker, "markersize": 4, "markevery": often, "markeredgewidth": 0}
        axes.plot(bins.middle, values, zorder=3, clip_on=False, **look)
        if alone:
            axes.fill_between(bins.middle, values, color=colour, alpha=0.12, linewidth=0)
        known = np.flatnonzero(~np.isnan(values))
        if len(known) and name:
            ends.append((float(values[known[-1]]), name, (colour, marker)))
    top = float(np.nanmax(cells.to_numpy(float), initial=0))
    _value_axis(axes, top, metric)
    _name_ends(axes, ends)


def draw_stack(axes: Axes, bins: Bins, cells: pd.DataFrame, *, metric: Metric) -> None:
    """Times of the members on top of each other, the first at the bottom; only what adds up may be stacked."""
    shade_partial(axes, bins)
    base = np.zeros(len(bins))
    edges = np.append(bins.left, bins.right[-1])
    ends = []
    last = int(np.flatnonzero(~bins.future)[-1])
    for (colour, _, _), (name, row) in zip(SERIES, cells.iterrows(), strict=False):
        top = base + row.fillna(0).to_numpy(float)
        axes.stairs(
            top, edges, baseline=base, fill=True, facecolor=colour, edgecolor="white", linewidth=0.4, zorder=2
        )
        ends.append(((base[last] + top[last]) / 2, str(name), (colour, "s")))
        base = top
    _value_axis(axes, float(base.max()), metric)
    _name_ends(axes, ends)


def draw_ranking(axes: Axes, values: pd.Series[float], *, metric: Metric, hatched: bool) -> None:
    """Horizontal bars, the largest on top, each with its value."""
    places = np.arange(len(values))
    numbers = values.to_numpy(float)
    look: Any = {"color": ACCENT}
    if hatched:
        look = {"facecolor": "white", "edgecolor": ACCENT, "hatch": HATCH, "linewidth": 0.8}
    axes.barh(places, np.nan_to_num(numbers), height=0.7, **look)
    top = float(np.nanmax(numbers, initial=0)) or 1.0
    for place, value in zip(places, numbers, strict=True):
        start = 0.0 if np.isnan(value) else value
        axes.annotate(
            metric_text(float(value), metric),
            (start, place),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=INK,
        )
    axes.set_yticks(places, [str(name) for name in values.index])
    axes.tick_params(axis="y", labelcolor=INK)
    axes.set_ylim(len(values) - 0.4, -0.6)
    axes.set_xlim(0, top * 1.16)
    axes.grid(axis="x", color=LINE, linewidth=0.5)
    axes.spines["bottom"].set_visible(False)
    axes.set_xlabel(metric_label(metric), loc="left", fontsize=8, color=MUTED)
    number_axis(axes.xaxis, top=top, most=4)


def shade_partial(axes: Axes, bins: Bins) -> None:
    """Hatch the time of partial bins behind lines and stacks."""
    for i in np.flatnonzero(bins.partial):
        axes.axvspan(
            bins.left[i], bins.right[i], fill=False, edgecolor=LINE, hatch=HATCH, linewidth=0, zorder=0.5
        )


def _above(axes: Axes, x: float, value: float, metric: Metric) -> None:
    axes.annotate(
        metric_text(value, metric),
        (x, value),
        xytext=(0, 3),
        textcoords="offset points",
        ha="center",
        fontsize=8,
        color=INK,
    )


def _value_axis(axes: Axes, top: float, metric: Metric) -> None:
    axes.set_ylim(0, top * 1.1 or 1)
    axes.grid(axis="y", color=LINE, linewidth=0.5)
    axes.set_ylabel(metric_label(metric), fontsize=8, color=MUTED, labelpad=6)
    number_axis(axes.yaxis, top=top)


def _name_ends(axes: Axes, ends: list[tuple[float, str, tuple[str, str]]]) -> None:
    """Names beside the right edge, each near the end of its line and none on another."""
    figure: Any = axes.get_figure(root=True)
    height = axes.get_position().height * figure.get_size_inches()[1] * 72
    line = 11.5 / height * axes.get_ylim()[1]
    order = sorted(ends, key=_height)
    places: list[float] = []
    for place, _, _ in order:
        places.append(max(place, places[-1] + line) if places else place)
    surplus = places[-1] - axes.get_ylim()[1] if places else 0
    if surplus > 0:  # the pile reaches over the top: push it down as far as needed
        ceiling = axes.get_ylim()[1]
        for i in range(len(places) - 1, -1, -1):
            places[i] = min(places[i], ceiling)
            ceiling = places[i] - line
    transform = axes.get_yaxis_transform()
    for place, (_, name, (colour, marker)) in zip(places, order, strict=True):
        axes.plot(
            [1.015],
            [place],
            marker,
            color=colour,
            markersize=5,
            markeredgewidth=0,
            transform=transform,
            clip_on=False,
        )
        axes.text(1.03, place, name, va="center", fontsize=8, color=INK, transform=transform)


def _height(end: tuple[float, str, tuple[str, str]]) -> float:
    return end[0]

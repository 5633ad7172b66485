"""The kinds of charts that a question can have, and what each says about itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from usagekit.errors import QueryError
from usagekit.figures.plots_bins import Bins, adds_up, matrix, table, weekday_hours
from usagekit.figures.plots_canvas import empty
from usagekit.figures.plots_cells import (
    WEEKDAYS,
    draw_calendar,
    draw_cells,
    draw_times,
    draw_week,
    name_sides,
)
from usagekit.figures.plots_draw import (
    MOST_OTHERS,
    draw_bars,
    draw_lines,
    draw_ranking,
    draw_stack,
)
from usagekit.figures.plots_text import (
    bin_name,
    ends_text,
    group_words,
    metric_label,
    metric_text,
    period_text,
)
from usagekit.figures.plots_time import shades_weekends, time_axis
from usagekit.query import UsageQuery
from usagekit.vocabulary import Metric

_LINES: Final = 8
"""Most members with a line and a name of their own."""

_RANKED: Final = 20
"""Most bars of a ranking."""

_MATRIX: Final = (20, 24)
"""Most rows and columns of a table of colours."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A question, its answer, and the bins between them."""

    frame: pd.DataFrame
    query: UsageQuery
    metrics: tuple[Metric, ...]
    bins: Bins

    @property
    def is_matrix(self) -> bool:
        """Two dimensions that one table can show: one bin, or values that add up. A user's teams are no dimension."""
        return self.query.by.startswith("team/") and (len(self.bins) == 1 or all(map(adds_up, self.metrics)))

    def table(self, metric: Metric) -> pd.DataFrame:
        return table(self.frame, self.query, metric, self.bins)


@dataclass(frozen=True, slots=True)
class Chart:
    """A kind of chart: its name in words, how a panel is drawn (says what it shows), its height in inches."""

    kind: str
    draw: Callable[[Axes, Metric], str]
    height: float
    caption: str = ""
    title: str = ""
    across: bool = False


def ranking(answer: Answer) -> Chart:
    """One bin: a bar a member, the largest first."""
    first = answer.table(answer.metrics[0])[0]
    kept = first.index[:_RANKED]
    rest = first.iloc[_RANKED:]
    caption = f"And {len(rest)} more." if len(rest) else ""
    if len(rest) and adds_up(answer.metrics[0]):
        caption = f"And {len(rest)} more with {metric_text(float(rest.sum()), answer.metrics[0])} together."

    def draw(axes: Axes, metric: Metric) -> str:
        values = answer.table(metric)[0].reindex(kept)
        values.index = pd.Index([name or "whole lab" for name in kept])
        draw_ranking(axes, values, metric=metric, hatched=bool(answer.bins.partial[0]))
        return ends_text(zip(map(str, values.index), values, strict=True), metric)

    return Chart("Ranked bars", draw, 0.9 + 0.235 * len(kept), caption, across=True)


def over_time(answer: Answer) -> Chart:
    """Several bins: bars or a line, a line a member, or a stack of many members where values add up."""
    bins = answer.bins
    members = list(answer.table(answer.metrics[0]).index)
    many = len(members) > _LINES
    named = members[: _LINES - 1] if many else members
    stacked = many and any(map(adds_up, answer.metrics))
    others = f"{len(members) - len(named)} others"
    caption = "Shaded: weekends." if shades_weekends(bins) else ""
    if many and not all(map(adds_up, answer.metrics)):
        drawn = len(members) - len(named) <= MOST_OTHERS
        caption += f" {'Thin and grey' if drawn else 'Not shown'}{' in lines' if stacked else ''}: {others}."

    def draw(axes: Axes, metric: Metric) -> str:
        cells = answer.table(metric)
        time_axis(axes, bins)
        if not answer.query.group_columns:
            values = cells.iloc[0].to_numpy(float)
            if bins.size != "hour":
                draw_bars(axes, bins, values, metric=metric)
            else:
                draw_lines(axes, bins, cells, metric=metric, named=named)
            return ends_text(((bin_name(bins, i), v) for i, v in enumerate(values)), metric)
        if many and adds_up(metric):
            rest = cells.drop(named).sum(min_count=1).rename(others)
            cells = pd.concat([cells.loc[named], rest.to_frame().T])
            draw_stack(axes, bins, cells, metric=metric)
        else:
            draw_lines(axes, bins, cells, metric=metric, named=named)
        return ends_text(_peaks(cells, bins), metric)

    plain = "Bars" if bins.size != "hour" else "Line"
    kind = plain if not answer.query.group_columns else "Stack" if stacked else "Lines"
    return Chart(kind, draw, 3.2 if not many else 3.8, caption.strip())


def matrix_chart(answer: Answer) -> Chart:
    """Two dimensions, one down and one across."""
    first = matrix(answer.frame, answer.query, answer.metrics[0])
    kept = first.iloc[: _MATRIX[0], : _MATRIX[1]]
    cut = [
        f"{full - shown} more {what}s"
        for full, shown, what in zip(first.shape, kept.shape, group_words(answer.query), strict=True)
        if full > shown
    ]

    def draw(axes: Axes, metric: Metric) -> str:
        cells = matrix(answer.frame, answer.query, metric).reindex(index=kept.index, columns=kept.columns)
        draw_cells(axes, cells.to_numpy(float), label=metric_label(metric), printed=True)
        name_sides(axes, down=list(cells.index), across=list(cells.columns))
        values = cells.to_numpy(float)
        pairs = [
            (f"{cells.index[i]}, {cells.columns[j]}", float(values[i, j])) for i, j in np.argwhere(values > 0)
        ]
        return ends_text(pairs, metric)

    caption = f"{metric_label(answer.metrics[0])} in each cell." if len(answer.metrics) == 1 else ""
    caption += f" Not shown: {' and '.join(cut)}." if cut else ""
    return Chart("Matrix", draw, 1.6 + 0.25 * len(kept), f"{caption} {_gaps(answer)}".strip())


def by_time(answer: Answer) -> Chart:
    """Members by time, a row each."""
    members = list(answer.table(answer.metrics[0]).index)
    kept = members[: _MATRIX[0]]

    def draw(axes: Axes, metric: Metric) -> str:
        cells = answer.table(metric).loc[kept]
        draw_times(axes, answer.bins, cells, label=metric_label(metric))
        time_axis(axes, answer.bins)
        return ends_text(_peaks(cells, answer.bins), metric)

    more = len(members) - len(kept)
    caption = f"Not shown: {more} more." if more else ""
    return Chart("Heatmap", draw, 1.3 + 0.25 * len(kept), f"{caption} {_gaps(answer)}".strip())


def week(answer: Answer) -> Chart:
    """Hours without groups: the mean number of devices busy by weekday and hour."""
    if not all(map(adds_up, answer.metrics)):
        raise QueryError(
            "a heatmap of the week takes total_time: counts and means cannot be averaged over weeks",
            parameter="metric",
        )

    def draw(axes: Axes, metric: Metric) -> str:
        profile = weekday_hours(answer.table(metric).iloc[0].to_numpy(float), answer.bins)
        draw_week(axes, profile)
        busy = profile.to_numpy(float)
        day, hour = divmod(int(np.nanargmax(busy)), 24)
        return f"busiest {WEEKDAYS[day]} {hour}:00 with {np.nanmax(busy):.1f} devices"

    title = "Mean devices busy by weekday and hour"
    return Chart("Heatmap", draw, 2.6, "Device hours / hours of the clock; · is below 0.05.", title)


def calendar(answer: Answer) -> Chart:
    """Days without groups: a calendar."""

    def draw(axes: Axes, metric: Metric) -> str:
        values = answer.table(metric).iloc[0].to_numpy(float)
        draw_calendar(axes, answer.bins, values, label=metric_label(metric))
        return ends_text(((bin_name(answer.bins, i), v) for i, v in enumerate(values)), metric)

    caption = f"{metric_label(answer.metrics[0])} of each day." if len(answer.metrics) == 1 else ""
    return Chart("Calendar", draw, 2.6, caption)


def no_usage(answer: Answer) -> Chart:
    """An answer without rows, or of the future, is a sentence: an empty drawing would look like a fault."""
    words = f"No usage in {period_text(answer.query)}"

    def draw(axes: Axes, metric: Metric) -> str:
        empty(axes, words)
        return words

    return Chart("No chart", draw, 2.4)


def _gaps(answer: Answer) -> str:
    """What light hatching means, where there can be any."""
    means = any(metric.name == "avg_session_length" for metric in answer.metrics)
    return "Light hatching: no session started." if means else ""


def _peaks(cells: pd.DataFrame, bins: Bins) -> Iterator[tuple[str, float]]:
    """The largest value of each member, named with its bin."""
    for name, row in cells.iterrows():
        if row.notna().any():
            peak = int(np.nanargmax(row.to_numpy(float)))
            yield f"{name}, {bin_name(bins, peak)}", float(row.iloc[peak])

"""The analyst's pictures: the right chart for the shape of a question, as plain matplotlib axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime

import pandas as pd
from matplotlib.axes import Axes

from usagekit.errors import QueryError
from usagekit.figures import plots_charts as charts
from usagekit.figures.plots_bins import Bins, make_bins
from usagekit.figures.plots_canvas import alt_text, dress, panels, sheet
from usagekit.figures.plots_charts import Answer, Chart
from usagekit.figures.plots_text import partial_text, title_text
from usagekit.query import UsageQuery
from usagekit.values import one_of
from usagekit.vocabulary import METRICS

__all__ = ["alt_text", "heatmap", "plot"]


def plot(
    frame: pd.DataFrame,
    query: UsageQuery,
    *,
    metrics: Sequence[str],
    timezone: str,
    as_of: datetime,
    today: date,
    ax: Axes | None = None,
) -> Axes:
    """Draw the answer to a question as the chart that suits its shape.

    Bins without groups become bars (hours a line), members of one bin ranked bars, members over time lines or a
    stack, pairs a matrix. Several metrics get a panel each. Partial bins are hatched.

    Parameters
    ----------
    frame
        the tidy frame of an answer.
    query
        its (first) question: range, bins, zone, groups and filters.
    metrics
        names of the metrics to draw, a panel each.
    timezone
        the IANA zone of ``today``, and of the clock in captions.
    as_of, today
        when the numbers were true and the current date: bins that were not over then are marked.
    ax
        where to draw one metric; by default a new figure, which a notebook shows.

    Returns
    -------
    The axes, for several metrics the first; :func:`alt_text` says in words what they show.

    Raises
    ------
    QueryError : a metric is unknown, or ``ax`` is given for several.
    SchemaError : the frame is not the answer to the query.
    """
    answer = _read(
        frame, query, metrics=metrics, bins=make_bins(query, timezone=timezone, as_of=as_of, today=today)
    )
    choose = (
        charts.matrix_chart
        if answer.is_matrix
        else charts.ranking
        if len(answer.bins) == 1
        else charts.over_time
    )
    return _draw(answer, choose, ax=ax, partial=partial_text(answer.bins, timezone=timezone, as_of=as_of))


def heatmap(
    frame: pd.DataFrame,
    query: UsageQuery,
    *,
    metrics: Sequence[str],
    timezone: str,
    as_of: datetime,
    today: date,
    ax: Axes | None = None,
) -> Axes:
    """Draw the answer to a question as a table of colours.

    Hours without groups become the week by hour (mean devices busy), days a calendar, pairs a matrix, all else
    members by time. Parameters, result and errors are those of :func:`plot`.

    Raises
    ------
    QueryError : also for hours of another metric than total_time, which cannot be averaged over weeks.
    """
    answer = _read(
        frame, query, metrics=metrics, bins=make_bins(query, timezone=timezone, as_of=as_of, today=today)
    )
    calendars = {"hour": charts.week, "day": charts.calendar} if not query.group_columns else {}
    choose = charts.matrix_chart if answer.is_matrix else calendars.get(query.bin_size, charts.by_time)
    return _draw(answer, choose, ax=ax, partial=partial_text(answer.bins, timezone=timezone, as_of=as_of))


def _read(frame: pd.DataFrame, query: UsageQuery, *, metrics: Sequence[str], bins: Bins) -> Answer:
    if not metrics:
        raise QueryError("name at least one metric", parameter="metric")
    for name in metrics:
        one_of("metric", name, METRICS)
    return Answer(frame, query, tuple(METRICS[name] for name in dict.fromkeys(metrics)), bins)


def _draw(answer: Answer, choose: Callable[[Answer], Chart], *, ax: Axes | None, partial: str) -> Axes:
    query, metrics = answer.query, answer.metrics
    if ax is not None and len(metrics) > 1:
        raise QueryError("ax holds one metric: ask for one, or leave ax out", parameter="metric")
    nothing = answer.frame.empty or bool(answer.bins.future.all())
    chart = charts.no_usage(answer) if nothing else choose(answer)
    metrics = metrics[:1] if nothing else metrics
    height = chart.height if chart.across else chart.height * (1 + 0.6 * (len(metrics) - 1))
    title = title_text(query, [m.name for m in answer.metrics], bins=len(answer.bins), what=chart.title)
    with sheet(height, ax=ax) as place:
        found = panels(place, len(metrics), across=chart.across)
        shown = [chart.draw(axes, metric) for axes, metric in zip(found, metrics, strict=True)]
        caption = "" if nothing else " ".join(filter(None, [chart.caption, partial]))
        said = "; ".join(f"{metric.label}: {words}" for metric, words in zip(metrics, shown, strict=True))
        alt = f"{chart.kind}. {title}, in {query.timezone}. {said}. {caption}".strip()
        dress(found, title=title, corner=query.timezone, caption=caption, alt=alt)
    return found[0]

"""Asking for the bins before those of an answer, to put them beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from usagekit.answer import Usage
from usagekit.errors import QueryError
from usagekit.period import Period
from usagekit.query import UsageQuery
from usagekit.question import join_metrics
from usagekit.values import one_of
from usagekit.vocabulary import METRICS

if TYPE_CHECKING:
    import pandas as pd

    from usagekit.lab import Lab

_WEIGHTS = ("total_time", "session_count")


def compare(answer: Usage, bases: Sequence[str]) -> Usage:
    """See :meth:`usagekit.answer.Usage.compare`."""
    from usagekit.analysis.compare import COLUMN_ENDS, NOT_COMPARABLE, base_period, comparable, compared

    for base in bases:
        one_of("comparison", base, COLUMN_ENDS)
    query, notes = answer.queries[0], list(answer.notes)
    columns = [METRICS[q.metric].column for q in answer.queries]
    if any(column + end in answer.df for base in bases for column in columns for end in COLUMN_ENDS[base]):
        raise QueryError("this answer is compared already: name all bases at once", parameter="comparison")
    period = Period(query.start, query.end)
    if query.start <= answer.lab.today < query.end:
        period = Period(query.start, answer.lab.today)
        notes.append(f"The period is not over: its part up to {period.end} is compared.")
    frames: dict[str, pd.DataFrame] = {}
    for base in dict.fromkeys(bases):
        before = base_period(period, bin_size=query.bin_size, base=base)
        if comparable(period, before):
            frames[base] = _ask(
                answer.lab, [replace(q, start=before.start, end=before.end) for q in answer.queries], notes
            )
        else:
            frames[base] = answer.df.head(0)
        if not _wholly_comparable(period, before) and NOT_COMPARABLE not in notes:
            notes.append(NOT_COMPARABLE)
    frame = compared(answer.df, frames, keys=query.group_columns, columns=columns, bin_size=query.bin_size)
    return replace(answer, df=frame, notes=tuple(notes))


def _ask(lab: Lab, queries: Sequence[UsageQuery], notes: list[str]) -> pd.DataFrame:
    """The base, with the hours and sessions that say how much it carries, where they can be had."""
    frames, _ = lab.ask(queries)
    asked = list(queries)
    for metric in _WEIGHTS:
        if metric not in (q.metric for q in asked):
            extra = replace(queries[0], metric=metric)
            try:
                frames += lab.ask([extra])[0]
            except QueryError:  # a snapshot that does not hold it; the base itself it did
                notes.append(f"Small bases are told without {metric}: the snapshot does not hold it.")
            else:
                asked.append(extra)
    return join_metrics(frames, asked)


def _wholly_comparable(period: Period, before: Period) -> bool:
    from usagekit.vocabulary import CURRENT_ERA_START

    return before.start >= CURRENT_ERA_START or period.end < CURRENT_ERA_START

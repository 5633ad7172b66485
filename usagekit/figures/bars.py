"""Tables whose rows are bars: what changed, what is needed, how long sessions are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, Final

import pandas as pd

from usagekit.analysis.wording import NBSP, count_text, hours_text, minutes_text, percent_text, signed
from usagekit.figures.base import Figure
from usagekit.figures.cells import is_missing
from usagekit.figures.escape import shown_name
from usagekit.figures.layout import NOT_FETCHED, missing, no_usage
from usagekit.figures.tables import Column, raw_table, records, table
from usagekit.period import month_name, shift_month

MAX_MODELS: Final = 12
"""Models that the right-size chart names unless told."""

Mark = list[float | str]
"""From, to (0 to 1 of the width) and look: ``now``, ``past``, ``less``, ``outline``; ``tick`` has no width."""


def bridge(
    split: Mapping[str, float],
    *,
    before: float | None,
    after: float | None,
    month: str,
    days: tuple[str, str] | None = None,
) -> Figure:
    r"""From the hours of the month before to those of the month, factor by factor.

    Parameters
    ----------
    split
        what :func:`usagekit.analysis.change_split` returns, hours by factor; empty shows the plain difference.
    before, after
        device hours (h) of both months, None when missing.
    month
        the month reported, ``YYYY-MM``.
    days
        the days that compare, before and now, where the month still runs.

    >>> split = {"users": 30.0, "sessions per user": 50.5, "time per session": 12.0}
    >>> shown = bridge(split, before=310.0, after=402.5, month="2026-10")
    >>> shown.alt.replace("\u00a0", " ")
    'From 310 h in September 2026 to 402 h in October 2026: users +30.0 h, sessions per user +50.5 h, time per session +12.0 h.'
    """
    title = "What moved the hours"
    then, now = days or (month_name(shift_month(month, -1)), month_name(month))
    if after is None or before is None:
        return missing(title, f"no comparable hours of {now if after is None else then}")
    if not before and not after:
        return no_usage(month, what=title)
    steps = dict(split) or {"difference": after - before}
    names = [then, *(name.capitalize() for name in steps)]
    ends = [before]
    for effect in steps.values():
        ends.append(ends[-1] + effect)
    spans = [(0.0, before, "past"), *_spans(ends), (0.0, after, "now")]
    low, high = min(0.0, *ends), max(before, after, *ends)
    marks = [[[_place(min(a, b), low, high), _place(max(a, b), low, high), look]] for a, b, look in spans]
    moved = [_signed_hours(effect) for effect in steps.values()]
    frame = pd.DataFrame(
        {
            "step": names,
            "marks": marks[:-1],
            "shown": [hours_text(before), *moved],
            "hours": [before, *steps.values()],
        }
    )
    columns = [
        Column("", "text", "step"),
        Column("Device hours", "change", "shown"),
        Column("from zero", "marks", "marks"),
    ]
    total = {"step": now, "shown": hours_text(after), "marks": marks[-1]}
    caption = f"{_signed_hours(after - before)} in all."
    words = ", ".join(f"{name} {text}" for name, text in zip(steps, moved, strict=True))
    alt = f"From {hours_text(before)} in {then} to {hours_text(after)} in {now}: {words}."
    behind = pd.DataFrame({"step": [*names, now], "hours": [*frame["hours"], after]})
    return _told(table(frame, columns, title=title, caption=caption, total=total), "bridge", alt, behind)


def right_size_chart(
    models: pd.DataFrame | None, *, limit: int = MAX_MODELS, reason: str = NOT_FETCHED
) -> Figure:
    """Owned, used and needed devices by model, and how long all of a model were busy.

    Parameters
    ----------
    models
        what :func:`usagekit.analysis.capacity.right_size` returns, most hours first: ``device_model``, ``owned``,
        ``used``, ``total_time_hours``, ``peak``, ``needed_99``, ``sold_out_minutes``, ``handoffs``, ``spare``; devices
        whose model is not known are a row without one. What :func:`usagekit.analysis.candidates.candidates` adds is
        shown, too.
    limit
        models that are named, the largest ones; the others are added up where that is true.
    reason
        why there are no ``models``.
    """
    title = "Devices owned and needed, by model"
    if models is None:
        return missing(title, reason)
    judged = "retire" in models
    known, unknown = models[models["device_model"].notna()], models[models["device_model"].isna()]
    shown, rest = known.head(limit), known.iloc[limit:]
    rows = [{**row, "muted": False} for row in records(shown)]
    for others, name in ((rest, f"{count_text(len(rest))} more"), (unknown, "model not known")):
        if len(others):
            adding = [*_ADDING, *(("retire", "add") if judged else ())]
            sums = others[adding].sum(min_count=1)
            rows.append({"device_model": name, **{str(k): v for k, v in sums.items()}, "muted": True})
    widest = max((float(r["owned"]) for r in rows if not r["muted"]), default=0.0)
    for row in rows:
        row["marks"] = [] if row["muted"] or not widest else _owned_marks(row, widest)
        row["candidates"] = _candidates(row) if judged else None
    columns = [
        Column("Model", "text", "device_model"),
        Column(_LEGEND, "marks", "marks"),
        Column("Owned", "count", "owned"),
        Column("Used", "count", "used"),
        Column("Hours", "hours", "total_time_hours"),
        Column("Peak", "count", "peak"),
        Column("Needed", "count", "needed_99"),
        Column("Spare", "count", "spare"),
        Column("Sold out", "minutes", "sold_out_minutes"),
        Column("Hand-offs", "count", "handoffs"),
        *([Column("Candidates", "note", "candidates")] if judged else []),
    ]
    keys = [c.key for c in columns]
    caption = _spare_words(known)
    frame = pd.DataFrame(rows, columns=[*keys, "muted"])
    figure = table(frame, columns, title=title, caption=caption, notes=[_NEEDED, *_candidate_notes(models)])
    return _told(figure, "right-size", f"{title}. {caption}", models)


_LEGEND: Final = "  ".join(
    f"{mark}{NBSP}{word}" for mark, word in zip("□▨■┃", ("owned", "used", "needed", "peak"), strict=True)
)
_NEEDED: Final = (
    "Needed: enough in 99% of the business minutes. Sold out: business minutes in which every device of the model was "
    "busy. Hand-offs: another user within 120 s of the one before. –: not told of a single device, nor of several models."
)
_ADDING: Final = ("owned", "used", "total_time_hours", "spare", "handoffs")


def _candidates(row: Mapping[str, Any]) -> str | None:
    counts = ((word, row.get(word)) for word in ("retire", "add"))
    return ", ".join(f"{word} {count_text(n)}" for word, n in counts if not is_missing(n) and n) or None


def _candidate_notes(models: pd.DataFrame) -> list[str]:
    """By which rule devices are candidates, or that none is."""
    if "retire" not in models:
        return []
    known, count = models["retire"].notna().all(), int(models[["retire", "add"]].sum().sum())
    rules = ["retire devices idle for 3 months or longer, without a note"] if known else []
    rules.append("add to a model that was sold out in 2% of business time or more, with 10 hand-offs or more")
    told = [f"{'Candidates' if count else 'No candidates'}: {'; '.join(rules)}."]
    return told if known else [*told, "Which devices could be retired is not known."]


def session_mix_chart(mix: pd.DataFrame | None, *, month: str, reason: str = NOT_FETCHED) -> Figure:
    """Sessions by length: how many, their share, and the hours in them.

    Parameters
    ----------
    mix
        what :func:`usagekit.analysis.sessions.session_mix` returns: ``bucket``, ``sessions``, ``share``,
        ``total_time_hours`` (h).
    month
        the month reported, ``YYYY-MM``.
    reason
        why there is no ``mix``.
    """
    title = "Sessions by length"
    if mix is None:
        return missing(title, reason)
    if not len(mix) or not mix["sessions"].sum():
        return no_usage(month, what=title)
    most = max(records(mix), key=lambda row: float(row["share"]))
    caption = f"{percent_text(most['share'])} of the sessions took {most['bucket']}."
    columns = [
        Column("Length", "text", "bucket"),
        Column("Share of sessions", "percent_bar", "share"),
        Column("Sessions", "count", "sessions"),
        Column("Device hours", "hours", "total_time_hours"),
    ]
    alt = f"{title} in {month_name(month)}: {caption}"
    return replace(table(mix, columns, title=title, caption=caption), kind="session-mix", alt=alt)


def _told(figure: Figure, kind: str, alt: str, behind: pd.DataFrame) -> Figure:
    """The same table as a figure of its own kind, with the numbers that its bars were drawn from."""
    name = str(figure.content["table"]["name"])
    return replace(figure, kind=kind, alt=alt, content={**figure.content, "table": raw_table(name, behind)})


def _spans(ends: Sequence[float]) -> list[tuple[float, float, str]]:
    return [(a, b, "now" if b >= a else "less") for a, b in pairwise(ends)]


def _place(value: float, low: float, high: float) -> float:
    return round((value - low) / (high - low), 4)


def _signed_hours(hours: float) -> str:
    return signed(hours_text(abs(hours)), hours)


def _owned_marks(row: Mapping[str, Any], widest: float) -> list[Mark]:
    looks = (("used", "past"), ("needed_99", "now"), ("owned", "outline"))
    marks: list[Mark] = [
        [0.0, round(float(row[key]) / widest, 4), look]
        for key, look in looks
        if not is_missing(row[key]) and row[key]
    ]
    if not is_missing(row["peak"]) and row["peak"]:
        peak = round(float(row["peak"]) / widest, 4)
        marks.append([peak, peak, "tick"])
    return marks


def _spare_words(known: pd.DataFrame) -> str:
    """The finding of the chart: where most devices are spare, and which model was sold out longest."""
    models = records(known.fillna({"spare": 0, "sold_out_minutes": 0}))
    spare = max(models, key=lambda m: float(m["spare"]), default=None)
    sold = max(models, key=lambda m: float(m["sold_out_minutes"]), default=None)
    words = "No model has a spare device."
    if spare and spare["spare"] > 0:
        count, of = count_text(spare["needed_99"]), count_text(spare["owned"])
        words = f"{_name(spare)}: {count} of {of} would have done in 99% of the business minutes."
    if sold and sold["sold_out_minutes"] > 0:
        words += f" {_name(sold)} was sold out for {minutes_text(sold['sold_out_minutes'])}."
    return words


def _name(model: Mapping[str, Any]) -> str:
    return shown_name(str(model["device_model"]))

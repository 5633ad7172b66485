"""The words of the analyst's charts: names that can be drawn, titles, captions, alternative text."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from matplotlib.font_manager import findfont
from matplotlib.ft2font import FT2Font

from usagekit.analysis.wording import count_text, value_text
from usagekit.figures import style
from usagekit.figures.escape import shown_name
from usagekit.period import Period, month_name, month_of
from usagekit.query import UsageQuery
from usagekit.vocabulary import METRICS, Metric

if TYPE_CHECKING:
    from usagekit.figures.plots_bins import Bins

_WORDS: Final = {"devicemodel": "model"}
_LONGEST = 34


def drawable(name: str, *, longest: int | None = _LONGEST) -> str:
    r"""A name as our fonts can draw it: characters without a glyph are spelled out, long names lose their middle.

    >>> drawable("🚀 $x$"), drawable("a\u202eb")
    ('⟨rocket⟩ $x$', 'a�b')
    """
    known = _glyphs()
    text = "".join(c if ord(c) in known else _spelled(c) for c in shown_name(name))
    if longest is None or len(text) <= longest:
        return text
    half = (longest - 1) // 2
    return f"{text[: longest - 1 - half]}…{text[-half:]}"


def metric_label(metric: Metric) -> str:
    """Name and unit, for an axis."""
    return f"{metric.label} ({unit})" if (unit := metric_unit(metric)) else metric.label


def metric_unit(metric: Metric) -> str:
    """The unit of a frame's column, as :func:`usagekit.analysis.wording.value_text` takes it."""
    return "" if metric.is_count else "h" if metric.column.endswith("hours") else "min"


def metric_text(value: float, metric: Metric) -> str:
    """A value with its unit; a missing one says so."""
    return "n/a" if value != value else value_text(value, metric_unit(metric))  # noqa: PLR0124 - NaN


def period_text(query: UsageQuery) -> str:
    """The range of a query as people write it: March 2023, May 2022 to March 2023, 2023-03-05 to 2023-03-20."""
    period = Period(query.start, query.end)
    if period.month:
        return month_name(period.month)
    if period.start == month_of(period.start).start and period.end == month_of(period.end).end:
        return f"{month_name(f'{period.start:%Y-%m}')} to {month_name(f'{period.end:%Y-%m}')}"
    return str(period)


def group_words(query: UsageQuery) -> list[str]:
    """What rows are grouped by: team, model. By user and team is a list of users with their teams."""
    parts = ["user"] if query.by == "user/team" else query.by.split("/") if query.by else []
    return [_WORDS.get(part, part) for part in parts]


def title_text(query: UsageQuery, metrics: Sequence[str], *, bins: int, what: str = "") -> str:
    """What a chart shows and for which period: "Device hours by team and day, March 2023 (Payments)"."""
    shown = what or (METRICS[metrics[0]].label if len(metrics) == 1 else "Usage")
    groups = group_words(query) + ([query.bin_size] if bins > 1 and not what else [])
    by = f" by {', '.join(groups[:-1])}{' and ' if groups[:-1] else ''}{groups[-1]}" if groups else ""
    only = [_some([drawable(v) for v in values], key) for key, values in query.filters]
    if query.automated is not None:
        only.append("automated sessions" if query.automated else "manual sessions")
    filtered = f" ({'; '.join(only)})" if only else ""
    return f"{shown}{by}, {period_text(query)}{filtered}"


def partial_text(bins: Bins, *, timezone: str, as_of: datetime) -> str:
    """Which bins hold less than their name says, and why; empty when none does."""
    if not bins.partial.any():
        return ""
    said = []
    if cut := [i for i in range(len(bins)) if bins.cut[i] and bins.partial[i]]:
        said.append(f"{_bin_names(bins, cut)} reach{'' if len(cut) > 1 else 'es'} beyond the period")
    if still := [i for i in range(len(bins)) if bins.open[i] and not bins.future[i] and i not in cut]:
        clock = as_of.astimezone(ZoneInfo(timezone))
        said.append(
            f"{_bin_names(bins, still)} {'were' if len(still) > 1 else 'was'} not over at {clock:%Y-%m-%d %H:%M}"
        )
    if bins.future.any():
        said.append(f"{count_text(int(bins.future.sum()))} of {len(bins)} {bins.size}s had not begun")
    return f"Hatched: {'; '.join(said)}."


def bin_name(bins: Bins, position: int) -> str:
    """A bin in words: Wed 1 March 2023, week of 27 February 2023, March 2023, Wed 1 March 2023 14:00."""
    start = bins.starts[position]
    day = f"{start.day} {start:%B %Y}"
    names = {"month": f"{start:%B %Y}", "week": f"week of {day}", "day": f"{start:%a} {day}"}
    return names.get(bins.size, f"{start:%a} {day} {start:%H:%M}")


def ends_text(named: Iterable[tuple[str, float]], metric: Metric) -> str:
    """The largest and the smallest of some values, for alternative text."""
    known = [(name, value) for name, value in named if value == value]  # noqa: PLR0124 - NaN
    if not known:
        return "no values"
    high, low = max(known, key=_value), min(known, key=_value)
    most = f"largest {metric_text(high[1], metric)} ({high[0]})"
    return most if len(known) == 1 else f"{most}, smallest {metric_text(low[1], metric)} ({low[0]})"


def _value(named: tuple[str, float]) -> float:
    return named[1]


def _bin_names(bins: Bins, positions: list[int]) -> str:
    names = [bin_name(bins, i) for i in positions]
    return " and ".join(names) if len(names) < 3 else f"{names[0]} to {names[-1]}"


def _some(values: list[str], key: str) -> str:
    kind = {"team_name": "teams", "user_email": "users", "device_address": "devices", "hostname": "hosts"}[
        key
    ]
    named = ", ".join(values)
    return named if len(named) <= _LONGEST * 2 else f"{len(values)} {kind}"


def _spelled(character: str) -> str:
    if unicodedata.category(character) in ("Cf", "Mn", "Me") or 0xFE00 <= ord(character) <= 0xFE0F:
        return "" if 0xFE00 <= ord(character) <= 0xFE0F else "\ufffd"
    return f"⟨{unicodedata.name(character, f'U+{ord(character):04X}').lower()}⟩"


@cache
def _glyphs() -> frozenset[int]:
    """The characters that our fonts have, without those that only turn the direction of their neighbours."""
    with style.chart_style():
        fonts = [FT2Font(findfont(family)) for family in style.FAMILIES]
    turning = {*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C}
    return frozenset(code for font in fonts for code in font.get_charmap()) - turning

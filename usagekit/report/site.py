"""The site of all reports: a page of every month and team, and one a month, in HTML files that need nothing else."""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

from jinja2 import Template
from markupsafe import Markup, escape

from usagekit.analysis.wording import count_text, hours_text
from usagekit.engine.files import publish_bytes
from usagekit.figures.base import environment
from usagekit.figures.escape import shown_name
from usagekit.period import month_name, parse_month
from usagekit.report.history import STATES, Line, Report, State, known_months, read_history
from usagekit.report.month_page import instant, month_page, site_style, trend_words

MARKS: Mapping[State, str] = {"rendered": "●", "stale": "◇", "failed": "▲", "removed": "○", "missing": "–"}
"""What stands for a state in a cell; the page explains them, and says them to those who listen."""

_MEANINGS: Mapping[State, str] = {
    "rendered": "rendered",
    "stale": "stale: numbers newer than report",
    "failed": "failed",
    "removed": "files removed to save space",
    "missing": "missing",
}
_MOST_ERROR = 200
"""Characters of an error in a cell; the page of its month has all of it."""

_PAPER_MONTHS = 12
"""Months that paper has room for."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """One report in a cell."""

    mark: str
    state: State
    hours: Markup
    link: str
    error: str
    also: str


@dataclass(frozen=True, slots=True)
class _Cell:
    """A team's month; ``bar`` is its hours in per cent of the largest team's month."""

    month: str
    states: str
    entries: Sequence[_Entry]
    bar: int | None


@dataclass(frozen=True, slots=True)
class _Row:
    line: Line
    formerly: str
    trend: str
    last: str
    trend_words: str
    cells: Sequence[_Cell]


def write_site(
    reports: Path, *, snapshots: Path | None = None, renamed: Mapping[str, str] | None = None
) -> Path:
    """Write ``<reports>/index.html`` and the page of every month; returns the path of the first.

    Call it while no batch is at work, or again afterwards: it shows what is published at this moment. A page that
    would say the same as before stays untouched.

    Parameters
    ----------
    reports : directory of all months.
    snapshots : directory of the months' snapshots; without it no report is shown as stale.
    renamed : old names of teams and their newest, under which all their reports stand.

    Raises
    ------
    StoreError : the ledger is damaged or of a newer usagekit.
    """
    lines, months = _read(reports, snapshots, renamed)
    return _write(reports, lines, months, only=months)


def write_index(
    reports: Path, month: str, *, snapshots: Path | None = None, renamed: Mapping[str, str] | None = None
) -> Path:
    """Write ``<reports>/<month>/index.html`` and what leads to it, as :func:`write_site` does; returns its path.

    Raises
    ------
    QueryError : ``month`` is not ``YYYY-MM``.
    StoreError : the ledger is damaged or of a newer usagekit.
    """
    parse_month(month)
    lines, months = _read(reports, snapshots, renamed)
    around = sorted({*months, month}, reverse=True)
    place = around.index(month)
    _write(reports, lines, months, only=around[max(place - 1, 0) : place + 2])
    return reports.absolute() / month / "index.html"


def _read(
    reports: Path, snapshots: Path | None, renamed: Mapping[str, str] | None
) -> tuple[list[Line], list[str]]:
    return read_history(reports, snapshots=snapshots, renamed=renamed), known_months(reports)


def _write(reports: Path, lines: Sequence[Line], months: Sequence[str], *, only: Sequence[str]) -> Path:
    path = reports.absolute() / "index.html"
    for month in only:
        _publish(path.parent / month / "index.html", month_page(month, lines, months))
    _publish(path, overview(lines, months))
    return path


def _publish(path: Path, text: str) -> None:
    content = text.encode()
    if not path.is_file() or path.read_bytes() != content:
        publish_bytes(path, content)


def overview(lines: Sequence[Line], months: Sequence[str]) -> str:
    """The page of all teams and months, newest first, as HTML."""
    template, script, digest = _template()
    states = {state for line in lines for month in months for state in (_states(line.months.get(month, ())))}
    return template.render(
        style=site_style(),
        digest=digest,
        script=script,
        facts=list(_facts(lines, months)),
        months=[(month, f"{parse_month(month).start:%b}", month[:4], month_name(month)) for month in months],
        rows=list(_rows(lines, months)),
        legend=[(state, MARKS[state], _MEANINGS[state]) for state in STATES if state in states],
        paper_months=_PAPER_MONTHS,
    )


def _rows(lines: Sequence[Line], months: Sequence[str]) -> Iterator[_Row]:
    largest = {
        is_lab: max(
            (line.hours(m) or 0 for line in lines if (line.team is None) is is_lab for m in months), default=0
        )
        for is_lab in (True, False)
    }
    trended = _trended(lines, months)
    for line in lines:
        hours = [line.hours(month) for month in months]
        most = largest[line.team is None]
        cells = [
            _Cell(
                month,
                " ".join(_states(line.months.get(month, ()))),
                [_entry(report, line) for report in line.months.get(month, ())],
                round(100 * amount / most) if amount is not None and most > 0 else None,
            )
            for month, amount in zip(months, hours, strict=True)
        ]
        formerly = ", ".join(map(shown_name, line.formerly))
        past = list(trended)
        known = line.known_hours(past)
        yield _Row(line, formerly, *_trend(past, known), trend_words(past, known), cells)


def _entry(report: Report, line: Line) -> _Entry:
    page = f"{report.month}/{quote(report.name)}/report.html" if "report.html" in report.files else ""
    error = report.error if len(report.error) <= _MOST_ERROR else f"{report.error[:_MOST_ERROR]}…"
    # Escaped here: its spaces would send each of thousands of numbers through the slow way of making it printable.
    hours = escape("" if report.hours is None else hours_text(report.hours))
    also = "" if report.team == line.team else report.team_name
    return _Entry(MARKS[report.state], report.state, hours, page, error, also)


def _states(reports: Sequence[Report]) -> list[State]:
    return sorted({report.state for report in reports}) or ["missing"]


def _trended(lines: Sequence[Line], months: Sequence[str]) -> list[str]:
    """The months of the trends, newest first: those with reports, and before them what the reports themselves tell."""
    told = {
        month for line in lines for of_month in line.months.values() for r in of_month for month, _ in r.past
    }
    return sorted({*months, *told}, reverse=True)


def _trend(months: Sequence[str], hours: Sequence[float | None]) -> tuple[str, str]:
    """A row's hours as an SVG path in a box of 100 x 20, oldest left, broken where nothing is known; and its end."""
    numbers = [12 * int(month[:4]) + int(month[5:]) for month in months]
    most = max((value for value in hours if value is not None), default=0) or 1
    span = (numbers[0] - numbers[-1]) or 1
    path, pen, end = "", "M", ""
    previous = None
    for number, value in reversed(list(zip(numbers, hours, strict=True))):
        if value is None:
            pen = "M"
            continue
        if previous is not None and number - previous > 1:
            pen = "M"
        x, y = round(2 + 96 * (number - numbers[-1]) / span, 1), round(18 - 16 * value / most, 1)
        end = f"M{x:g} {y:g}h0"
        # A month alone between two gaps is a dot.
        path += f"{pen}{x:g} {y:g}{'h0' if pen == 'M' else ''}"
        pen, previous = "L", number
    return path, end


def _facts(lines: Sequence[Line], months: Sequence[str]) -> Iterator[tuple[str, str]]:
    found = [report for line in lines for of_month in line.months.values() for report in of_month]
    newest = [report for report in found if months and report.month == months[0]]
    labs = sorted({str(report.facts["lab"]) for report in found if report.facts and report.facts.get("lab")})
    yield "Lab", ", ".join(labs) or "–"
    yield "Teams", count_text(len({line.team for line in lines if line.team is not None}))
    if months:
        yield "Months", f"{count_text(len(months))}, {month_name(months[-1])} to {month_name(months[0])}"
        counts = Counter(report.state for report in newest)
        yield (
            month_name(months[0]),
            ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state]),
        )
    made = max(
        (report for report in found if report.finished_utc), key=lambda r: r.finished_utc, default=None
    )
    if made:
        yield "Last report made", instant(made.finished_utc, (made.facts or {}).get("timezone"))


@cache
def _template() -> tuple[Template, Markup, str]:
    """The page, its script, and the one hash by which the page's own policy lets it run."""
    source = files("usagekit.report").joinpath("site.html.j2").read_text("utf-8")
    head, script, foot = re.split(r"(?s)<script>(.*)</script>", source)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = environment().from_string(f"{head}<script>{{{{ script }}}}</script>{foot}")
    return page, Markup(script), digest  # noqa: S704 - our own file

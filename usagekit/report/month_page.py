"""The page of a month: every report, its state, its files, and the way to the months beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from urllib.parse import quote
from zoneinfo import ZoneInfo

from jinja2 import Template
from markupsafe import Markup, escape

from usagekit.analysis.wording import count_text, hours_text, signed
from usagekit.export.sheet import page_style
from usagekit.figures.base import environment
from usagekit.period import month_name, shift_month
from usagekit.report.history import Line, Report
from usagekit.report.publish import FAILED_NOTEBOOK
from usagekit.report.unit import LAB_DIRECTORY

_SMALL_HOURS = 5.0
"""Below this many hours in the month before, a change is told in hours: a percentage would shout."""

_STATE_WORDS = {"rendered": "ok", "stale": "stale: numbers newer than report", "removed": "files removed"}


@dataclass(frozen=True, slots=True)
class Row:
    """One report of the month; a failed one may still have ``links`` to an older good report.

    ``beside`` are the same team's reports of the months before and after: arrow, month, path.
    """

    report: Report
    name: str
    now_called: str
    state: str
    hours: Markup
    change: str
    links: Mapping[str, str]
    beside: Sequence[tuple[str, str, str]]
    made: str

    @property
    def is_lab(self) -> bool:
        return self.report.name == LAB_DIRECTORY


def month_page(month: str, lines: Sequence[Line], months: Sequence[str]) -> str:
    """The page of a month as HTML; ``lines`` and ``months`` (newest first) are those of the whole site."""
    rows = [_row(report, line, months) for line in lines for report in line.months.get(month, ())]
    rows.sort(key=lambda row: (row.report.state != "failed", row.report.team is not None))
    earlier = next((m for m in months if m < month), None)
    later = next((m for m in reversed(months) if m > month), None)
    return _template().render(
        title=f"Usage reports, {month_name(month)}",
        style=site_style(),
        facts=list(_facts([row.report for row in rows])),
        rows=rows,
        failed=sum(row.report.state == "failed" for row in rows),
        before=month_name(shift_month(month, -1)),
        earlier=(earlier, month_name(earlier)) if earlier else None,
        later=(later, month_name(later)) if later else None,
    )


@cache
def site_style() -> Markup:
    """The style sheet of the pages of the site: that of every page of ours, and what only these need."""
    return page_style() + Markup(files("usagekit.report").joinpath("site.css").read_text("utf-8"))  # noqa: S704 - our own file


def instant(text: object, timezone: object) -> str:
    """An ISO instant in the reports' zone, or the text itself when it is none.

    >>> instant("2023-04-02T05:00:00+00:00", "Europe/Berlin")
    '2023-04-02 07:00 CEST'
    """
    try:
        at = datetime.fromisoformat(str(text))
        zone = ZoneInfo(str(timezone)) if timezone else UTC
    except (ValueError, KeyError, OSError):  # what zoneinfo raises for names that are no zone
        return str(text)
    return f"{at.astimezone(zone):%Y-%m-%d %H:%M %Z}"


def trend_words(months: Sequence[str], hours: Sequence[float | None]) -> str:
    """A trend for those who cannot see it: where it begins and ends, and its largest month."""
    known = [(month, value) for month, value in zip(months, hours, strict=True) if value is not None]
    if not known:
        return "no hours known"
    (last, now), (first, then) = known[0], known[-1]
    top, most = max(known, key=lambda pair: pair[1])
    words = f"{month_name(first)} {hours_text(then)}"
    if len(known) > 1:
        words += (
            f" to {month_name(last)} {hours_text(now)}, most in {month_name(top)} with {hours_text(most)}"
        )
    return words


def _row(report: Report, line: Line, months: Sequence[str]) -> Row:
    before = line.before(report)
    links = {
        label: f"{quote(report.name)}/{file}"
        for label, file in (
            ("HTML", "report.html"),
            ("PDF", "report.pdf"),
            ("failed notebook", FAILED_NOTEBOOK if report.state == "failed" else ""),
        )
        if file in report.files
    }
    return Row(
        report,
        report.team_name,
        line.name if report.team != line.team else "",
        _STATE_WORDS.get(report.state, report.state),
        escape("–" if report.hours is None else hours_text(report.hours)),
        _own_change(report) or _change(report.hours, before.hours if before else None),
        links,
        list(_beside(report, line, months)),
        instant(report.finished_utc, (report.facts or {}).get("timezone")) if report.finished_utc else "",
    )


def _beside(report: Report, line: Line, months: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    place = months.index(report.month)
    for arrow, others in (("‹", months[place + 1 :]), ("›", months[:place][::-1])):
        for month in others:
            there = [other for other in line.months.get(month, ()) if "report.html" in other.files]
            if there:
                best = next((other for other in there if other.team == report.team), there[0])
                yield arrow, month, f"../{month}/{quote(best.name)}/report.html"
                break


def _facts(reports: Sequence[Report]) -> Iterator[tuple[str, str]]:
    """What holds for the whole month, as the reports themselves say it."""
    all_facts = [report.facts for report in reports if report.facts]
    zones = sorted({str(facts["timezone"]) for facts in all_facts if facts.get("timezone")})
    labs = sorted({str(facts["lab"]) for facts in all_facts if facts.get("lab")})
    as_of = sorted({str(facts["as_of"]) for facts in all_facts if facts.get("as_of")})
    yield "Lab", ", ".join(labs) or "–"
    yield "Time zone", ", ".join(zones) or "–"
    shown = dict.fromkeys(instant(text, zones[0] if zones else None) for text in (as_of[:1] + as_of[-1:]))
    yield "Data as of", " to ".join(shown) or "–"
    yield "Reports", f"{len(reports)} ({sum(report.state == 'failed' for report in reports)} failed)"
    teams = [report for report in reports if report.team is not None]
    of_lab = [r.hours for r in reports if r.team is None and r.hours is not None]
    of_teams = [report.hours for report in teams if report.hours is not None]
    if of_lab:
        yield "Device hours of the lab", hours_text(of_lab[0])
    elif of_teams and len({report.template for report in teams}) == 1:  # each team stands here once
        yield f"Device hours of {len(of_teams)} teams", hours_text(sum(of_teams))


def _own_change(report: Report) -> str:
    """The change of its hours as the report itself says it; empty where it does not."""
    mail = (report.facts or {}).get("mail")
    figures = mail.get("kpis") if isinstance(mail, dict) else None
    first = figures[0] if isinstance(figures, list) and figures else None
    change = first.get("change") if isinstance(first, dict) else None
    # Its reason for having none is longer than a cell.
    return change if isinstance(change, str) and not change.startswith("n/a") else ""


def _change(hours: float | None, before: float | None) -> str:
    if hours is None or before is None:
        return "–"
    if before == 0:
        return "new" if hours else "unchanged"
    amount = hours - before
    percent = round(100 * abs(amount) / before)
    relative = f"{count_text(percent)}%" if percent else "<1%"
    size = hours_text(abs(amount)) if before < _SMALL_HOURS else relative
    return signed(size, amount) if amount else "unchanged"


@cache
def _template() -> Template:
    return environment().from_string(files("usagekit.report").joinpath("month.html.j2").read_text("utf-8"))

"""How a month stands: what is rendered, stale, failed or missing, for people and for programs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from usagekit.figures.escape import printable, shown_name
from usagekit.report.history import STATES, Report, read_month
from usagekit.report.publish import MANIFEST

_PAUSE: Final = timedelta(minutes=1)
"""Reports that follow each other within this time count as made in one run."""


@dataclass(frozen=True, slots=True)
class MonthStatus:
    """A month's reports by directory name, and those nobody has made: ``missing`` teams, None for the whole lab.

    ``last_run_utc`` is when the last report was made or failed, ``run_seconds`` (s) how long the reports up to then
    took together, back to the first pause of more than a minute; both None where nothing is known.
    """

    month: str
    reports: tuple[Report, ...]
    missing: tuple[str | None, ...]
    last_run_utc: datetime | None
    run_seconds: float | None

    @property
    def counts(self) -> dict[str, int]:
        """How many there are in each state, all states listed."""
        found = Counter[str](report.state for report in self.reports)
        counts: dict[str, int] = {state: found[state] for state in STATES}
        return counts | {"missing": len(self.missing)}

    def lines(self) -> list[str]:
        """For people: the counts, then each report that wants something."""
        counts = (
            ", ".join(f"{count} {state}" for state, count in self.counts.items() if count) or "no reports"
        )
        when = ""
        if self.last_run_utc:
            took = "" if self.run_seconds is None else f" in {self.run_seconds:.0f} s"
            when = f"; last run {self.last_run_utc:%Y-%m-%d %H:%M} UTC{took}"
        troubles = [
            f"  {report.state:8} {_team(report.team)}: {printable(report.error) or 'numbers newer than report'}"
            for report in sorted(self.reports, key=lambda report: report.state)
            if report.state in ("failed", "stale")
        ]
        return [f"{self.month}: {counts}{when}", *troubles, *(f"  missing  {_team(t)}" for t in self.missing)]

    def as_json(self) -> dict[str, Any]:
        """For programs; a team of None is the whole lab."""
        wanted = ("name", "template", "team", "state", "error", "hours", "finished_utc")
        return {
            "month": self.month,
            "counts": self.counts,
            "reports": [{name: getattr(report, name) for name in wanted} for report in self.reports],
            "missing": list(self.missing),
            "last_run_utc": self.last_run_utc.isoformat() if self.last_run_utc else None,
            "run_seconds": self.run_seconds,
        }


def month_status(
    reports: Path, month: str, *, snapshots: Path, teams: Sequence[str] | None = None
) -> MonthStatus:
    """Look at a month; changes nothing.

    Parameters
    ----------
    reports : directory of all months.
    month : ``YYYY-MM``.
    snapshots : directory of the months' snapshots, which tell the stale reports.
    teams : those that should have a report beside the lab; by default the teams of the month's snapshot, and
        where there is none, nothing else is missed than what was planned.

    Raises
    ------
    QueryError : ``month`` is not ``YYYY-MM``.
    StoreError : the ledger is damaged or of a newer usagekit.
    """
    found = read_month(reports, month, snapshots=snapshots)
    named = _teams_of(snapshots / month) if teams is None else teams
    expected: list[str | None] = [] if named is None else [None, *named]
    made = {report.team for report in found if report.state != "missing" and not report.template}
    planned = [report.team for report in found if report.state == "missing"]
    missing = [team for team in dict.fromkeys([*expected, *planned]) if team not in made]
    last, seconds = _last_run(found)
    return MonthStatus(month, tuple(found), tuple(missing), last, seconds)


def _teams_of(snapshot: Path) -> list[str] | None:
    try:
        teams = json.loads((snapshot / MANIFEST).read_bytes())["teams"]
    except (OSError, ValueError, KeyError, TypeError):
        return None  # fetching is not over, or has never begun
    return [team for team in teams if isinstance(team, str)] if isinstance(teams, list) else None


def _last_run(reports: Sequence[Report]) -> tuple[datetime | None, float | None]:
    """When the last run of the month ended, and how long it took (s)."""
    spans = sorted(
        (span for report in reports if (span := _span(report))), key=lambda span: span[1], reverse=True
    )
    if not spans:
        return None, None
    begin, end = spans[0]
    for started, finished in spans:
        if finished < begin - _PAUSE:
            break
        begin = min(begin, started)
    return end, (end - begin).total_seconds()


def _span(report: Report) -> tuple[datetime, datetime] | None:
    """From when to when the last attempt lasted; of a failed one, only its end is known."""
    texts = (
        (report.tried_utc, report.tried_utc)
        if report.state == "failed" and report.tried_utc
        else (report.started_utc, report.finished_utc)
    )
    try:
        start, end = map(datetime.fromisoformat, texts)
    except ValueError:
        return None
    return (start, end) if start.tzinfo and end.tzinfo else None


def _team(team: str | None) -> str:
    return "the lab" if team is None else shown_name(team)

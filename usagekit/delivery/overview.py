"""What is due, done, failed and in doubt: the months as ledger, reports and outbox know them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from usagekit.delivery.health import read_health, schedule_of
from usagekit.delivery.outbox import nobody_listed, status_rows
from usagekit.delivery.outbox_table import Row
from usagekit.delivery.queueing import told
from usagekit.delivery.run import LOCK_FILE, months_to_do, never_mailed, unmailed_note
from usagekit.delivery.run_table import Run, prepare, runs
from usagekit.engine.files import locked
from usagekit.errors import StoreError, StoreLocked
from usagekit.report.history import known_months
from usagekit.report.ledger import open_ledger
from usagekit.report.status import MonthStatus, month_status
from usagekit.settings import Settings
from usagekit.snapshot import SnapshotSource

DOUBTFUL: Final = ("refused", "sending", "unknown")
"""States of a mail that somebody should know of; one that is being sent may have been cut off."""


@dataclass(frozen=True, slots=True)
class MonthView:
    """One month: ``state`` is that of its last run, ``due``, or ``made`` by hand; then its reports and its mails."""

    month: str
    state: str
    reports: MonthStatus
    mails: tuple[Row, ...]

    @property
    def problems(self) -> list[str]:
        """The mails that were refused or are in doubt, a line each."""
        return [str(told(row)) for row in self.mails if row.state in DOUBTFUL]

    @property
    def mail_counts(self) -> dict[str, int]:
        """How many mails there are in each state."""
        return dict(Counter(row.state for row in self.mails))

    def lines(self) -> Iterator[str]:
        """For people: the state, then each report and mail that wants something."""
        first, *rest = self.reports.lines()
        mails = ", ".join(f"{count} {state}" for state, count in self.mail_counts.items()) or "none"
        yield f"{self.state:8} {first}; mails: {mails}"
        yield from rest
        for problem in self.problems:
            yield f"  {problem}"

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        reports = self.reports.as_json()
        return {**reports, "state": self.state, "mails": self.mail_counts, "problems": self.problems}


@dataclass(frozen=True, slots=True)
class Overview:
    """All months, newest first, what the next run takes up, who is at work (in words), and the record of the last run.

    ``never_mailed`` months were made while mail was off; nobody is listed for the teams in ``unaddressed``.
    """

    months: tuple[MonthView, ...]
    due: tuple[str, ...]
    next_due: str
    next_due_at: datetime
    at_work: str
    last_run: Mapping[str, Any]
    never_mailed: tuple[str, ...] = ()
    unaddressed: tuple[str, ...] = ()

    @property
    def notes(self) -> list[str]:
        """What to know of the mails as a whole, a line each."""
        unsent = [unmailed_note(self.never_mailed)] if self.never_mailed else []
        return unsent + ([nobody_listed(self.unaddressed)] if self.unaddressed else [])

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "months": [view.as_json() for view in self.months],
            "due": list(self.due),
            "next_due": self.next_due,
            "next_due_utc": self.next_due_at.isoformat(),
            "at_work": self.at_work,
            "last_run": dict(self.last_run),
            "never_mailed": list(self.never_mailed),
            "unaddressed": list(self.unaddressed),
        }


def overview(settings: Settings, *, now: datetime, month: str | None = None) -> Overview:
    """Look at everything, or at one month; changes nothing but to make the ledger where there is none.

    Raises
    ------
    QueryError : ``month`` is not ``YYYY-MM``.
    StoreError : the ledger is damaged or cannot be used.
    """
    with open_ledger(settings.reports) as ledger:
        prepare(ledger)
        known = runs(ledger)
    due, mails = months_to_do(settings, now=now), status_rows(settings)
    found = {*known, *due, *known_months(settings.reports), *(row.month for row in mails)}
    months = tuple(
        MonthView(
            name,
            _state(known.get(name), is_due=name in due),
            month_status(settings.reports, name, snapshots=settings.snapshots, teams=_teams(settings, name)),
            tuple(row for row in mails if row.month == name),
        )
        for name in ([month] if month else sorted(found, reverse=True))
    )
    schedule = schedule_of(settings)
    following = schedule.next_due(now)
    at = schedule.due_at(following)
    unsent = [name for name in never_mailed(settings) if name not in due] if settings.mail.enabled else []
    return Overview(
        months,
        tuple(due),
        following,
        at,
        _at_work(settings),
        read_health(settings.reports),
        tuple(unsent),
        _unaddressed(settings, months[0]) if months and settings.mail.enabled else (),
    )


def unsent_months(settings: Settings) -> set[str]:
    """Months whose reports are still needed for mails."""
    return {row.month for row in status_rows(settings) if row.state in ("queued", "deferred", *DOUBTFUL)}


def _teams(settings: Settings, month: str) -> list[str] | None:
    try:
        teams = SnapshotSource(settings.snapshots / month).teams
    except StoreError:
        return None
    return [team for team in teams if team not in settings.exclude_teams]


def _unaddressed(settings: Settings, view: MonthView) -> tuple[str, ...]:
    """Teams with a report that goes to nobody."""
    made = {
        report.team for report in view.reports.reports if report.state == "rendered" and not report.template
    }
    known = {None, *settings.recipients, *settings.exclude_teams}
    return tuple(sorted(team for team in made - known if team is not None))


def _state(run: Run | None, *, is_due: bool) -> str:
    if run is None:
        return "due" if is_due else "made"
    return "due" if is_due and run.state == "done" else run.state


def _at_work(settings: Settings) -> str:
    path = settings.reports.absolute() / LOCK_FILE
    if not path.exists():
        return ""
    try:
        with locked(path, what="the run of this lab's reports", shared=True):
            return ""
    except StoreLocked as error:
        return str(error)

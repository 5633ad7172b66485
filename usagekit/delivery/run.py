"""Unattended runs: fetch, render and send a month, or every month that is due; one run at a time, each step resumable."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from usagekit.analysis.months import month_bounds
from usagekit.delivery.health import schedule_of, write_health
from usagekit.delivery.lab_letter import Trouble
from usagekit.delivery.outbox import status_rows, tell_owners
from usagekit.delivery.outbox_table import OWNERS
from usagekit.delivery.run_table import Ending, begin, end, prepare, runs
from usagekit.delivery.sending import Clock, utc_now
from usagekit.delivery.stages import (
    MonthResult,
    clear_doubts,
    failure_of,
    fetch_stage,
    needs_fetch,
    open_months,
    render_stage,
    send_stage,
)
from usagekit.delivery.told import Tell, tell_text
from usagekit.engine.files import locked
from usagekit.errors import QueryError, UsageKitError
from usagekit.lab import Lab
from usagekit.report.crash import step
from usagekit.report.ledger import Ledger, open_ledger
from usagekit.report.month import Asked
from usagekit.settings import Settings

LOCK_FILE: Final = "run.lock"

_PATIENCE: Final = timedelta(days=1)
"""How long an API may be down or busy before the owners hear of it: the next runs may mend it."""


@dataclass(frozen=True, slots=True)
class Runner:
    """Makes and sends the reports of months.

    ``lab`` opens what numbers are fetched from, when they are needed; ``asked`` says how reports are made, ``tell``
    is told of each step, and ``clock`` is the present.
    """

    settings: Settings
    lab: Callable[[], Lab]
    asked: Asked = field(default_factory=Asked)
    tell: Tell = tell_text
    clock: Clock = utc_now

    def month(self, month: str, *, refresh: bool = False) -> list[MonthResult]:
        """Run one month, whether it is due or not; ``refresh`` fetches it again.

        Raises
        ------
        QueryError : ``month`` is not ``YYYY-MM``, or has not ended: only whole months are sent.
        StoreLocked : another run is at work, or a batch or send of somebody.
        UsageKitError : as for rendering: a template or the ledger cannot be used, or SIGTERM came.
        """
        _, over = month_bounds(month, self.settings.timezone)
        if self.clock() < over:
            raise QueryError(
                f"{month} has not ended: usagekit fetch and render make a report of its days so far",
                parameter="month",
            )
        with self._alone():
            return self._all([month], refresh=refresh, scheduled=False)

    def due(self) -> list[MonthResult]:
        """Run the months that are due and not done, oldest first; none is an empty list.

        When a server cannot be used the months after wait too.

        Raises
        ------
        StoreLocked, UsageKitError : as for :meth:`month`.
        """
        with self._alone():
            return self._all(months_to_do(self.settings, now=self.clock()), refresh=False, scheduled=True)

    def _all(self, months: Sequence[str], *, refresh: bool, scheduled: bool) -> list[MonthResult]:
        started, results = self.clock(), list[MonthResult]()
        if months:
            write_health(self.settings, None, started=started, now=started)
        try:
            if months and (problem := clear_doubts(self.settings, clock=self.clock)):
                self.tell("archive", "", problem=problem)
            for month in months:
                results.append(self._one(month, refresh=refresh, scheduled=scheduled))
                if results[-1].refused_by:
                    break
        except Exception as error:
            write_health(self.settings, results, started=started, now=self.clock(), error=str(error))
            raise
        write_health(self.settings, results, started=started, now=self.clock())
        if results and self.settings.mail.enabled and (unsent := never_mailed(self.settings)):
            self.tell("unmailed", "", notes=[unmailed_note(unsent)])
        return results

    def _one(self, month: str, *, refresh: bool, scheduled: bool) -> MonthResult:
        self.tell("started", month)
        with self._ledger() as ledger:
            begin(ledger, month, scheduled=scheduled, now=self.clock())
        try:
            result = self._stages(month, refresh=refresh)
        except Exception as error:
            self._ended(failure_of(month, error))
            raise
        self._ended(result)
        return result

    def _stages(self, month: str, *, refresh: bool) -> MonthResult:
        settings = self.settings
        if refresh or needs_fetch(settings.snapshots / month, settings, month, now=self.clock()):
            if refused := fetch_stage(settings, month, self.lab(), refresh=refresh):
                return refused
            self.tell("fetched", month)
        step("run:fetched")
        summary = render_stage(settings, month, self.asked)
        self.tell(
            "rendered",
            month,
            made=len(summary.rendered),
            unchanged=len(summary.skipped),
            failed=len(summary.failed),
        )
        step("run:rendered")
        result = send_stage(settings, month, summary, clock=self.clock)
        step("run:sent")
        return result

    def _ended(self, result: MonthResult) -> None:
        ending = Ending(
            state=result.state,
            cause="\n".join(result.causes),
            refused_by=result.refused_by,
            mail_off=not self.settings.mail.enabled,
        )
        with self._ledger() as ledger:
            end(ledger, result.month, ending, now=self.clock())
            since = runs(ledger)[result.month].since_utc
        lists = {"causes": list(result.causes), "notes": list(result.notes)}
        self.tell(result.state, result.month, counts=dict(result.counts), **lists)
        lasts = since and self.clock() - datetime.fromisoformat(since) >= _PATIENCE
        if result.trouble and self.settings.mail.enabled and (result.is_lasting or lasts):
            self._tell_owners(result.month, result.trouble)

    def _tell_owners(self, month: str, trouble: Trouble) -> None:
        """Mail the owners what keeps a month from being made; a mail server that is down hides nothing of it."""
        try:
            tell_owners(self.settings, month, [trouble], clock=self.clock)
        except (UsageKitError, OSError) as error:
            self.tell("owners", month, problem=f"they could not be told by mail: {error}")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        reports = self.settings.reports.absolute()
        # A moment's patience: whoever has just taken the lock has yet to write its name into it.
        with locked(reports / LOCK_FILE, what="the run of this lab's reports", patience=0.2):
            yield

    @contextmanager
    def _ledger(self) -> Iterator[Ledger]:
        with open_ledger(self.settings.reports) as ledger:
            prepare(ledger)
            yield ledger


def months_to_do(settings: Settings, *, now: datetime) -> list[str]:
    """The months that a scheduled run takes up at an instant, oldest first.

    Those are the ones due since ``first_month``, or since the first that was ever scheduled, or else the last one; and
    any that a run has left unfinished or whose mails wait. A month that failed rests in between. When mail is on, the
    newest month that was made while it was off is one of them, unless a later one has been mailed or it lies before
    ``first_month``; the others wait for a person (:func:`never_mailed`).
    """
    with open_ledger(settings.reports) as ledger:
        prepare(ledger)
        known = runs(ledger)
    waiting = open_months(settings)
    resting = {month for month, run in known.items() if run.rests(now)}
    done = {month for month, run in known.items() if run.state == "done"} - waiting
    since = settings.first_month or min((m for m, run in known.items() if run.scheduled), default=None)
    due = schedule_of(settings).months_due(now, since=since, done=done)
    unfinished = {month for month, run in known.items() if run.state != "done"}
    unsent = never_mailed(settings) if settings.mail.enabled else []
    last = schedule_of(settings).last_due(now)
    earliest = max(_last_mailed(settings), settings.first_month or "")
    newest = {m for m in unsent[-1:] if m >= earliest and (known[m].scheduled or m == last)}
    return sorted((unfinished | waiting | set(due) | newest) - (set(unsent) - newest) - resting)


def never_mailed(settings: Settings) -> list[str]:
    """The months that were made while mail was off, in part at least, and not mailed since, oldest first."""
    with open_ledger(settings.reports) as ledger:
        prepare(ledger)
        known = runs(ledger)
    mailed = {
        row.month for row in status_rows(settings) if row.template != OWNERS and row.state != "withdrawn"
    }
    made = {month for month, run in known.items() if run.state in ("done", "failed") and run.mail_off}
    return sorted(made - mailed)


def unmailed_note(months: Sequence[str]) -> str:
    """What to do about months that were made while mail was off."""
    return f"never mailed, as mail was off: {', '.join(months)}; usagekit send --month M mails one"


def _last_mailed(settings: Settings) -> str:
    return max((row.month for row in status_rows(settings) if row.template != OWNERS), default="")


def exit_code(results: Sequence[MonthResult]) -> int:
    """3 if a server could not be used, 1 if somebody must look at something, else 0."""
    if any(result.refused_by for result in results):
        return 3
    return int(any(result.needs_somebody for result in results))

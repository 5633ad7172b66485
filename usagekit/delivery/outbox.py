"""A month's mails: never twice, never silently lost, every doubtful one listed.

Exactly once does not exist over SMTP: between the final dot and the server's answer nobody can know. What can be had
is that ``sending`` is on the disk before the first byte of a message and ``sent`` after the server's 250, so that a
mail whose fate is unknown is known to be so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from usagekit.delivery import run_table
from usagekit.delivery.lab_letter import Trouble
from usagekit.delivery.letter import short
from usagekit.delivery.mailbox import archived
from usagekit.delivery.outbox_table import Row, doubt_unfinished, mark, prepare, rows
from usagekit.delivery.plan import Plan, PostSettings, plan_mails, require_month
from usagekit.delivery.postman import Postman
from usagekit.delivery.queueing import queue_mailings, queue_troubles, told, troubles_of
from usagekit.delivery.sending import Clock, send_due, utc_now
from usagekit.engine.files import locked
from usagekit.errors import MailError
from usagekit.figures.escape import shown_name
from usagekit.report.batch import LOCK_FILE
from usagekit.report.ledger import LEDGER_FILE, Ledger, open_ledger


@dataclass(frozen=True, slots=True)
class SendSummary:
    """What became of a month's mails.

    ``rows`` are all of the month as they stand now, ``doubtful`` the unknown ones of any month, ``held`` the reports
    that did not pass the gate, ``unaddressed`` the teams that nobody is listed for.
    """

    month: str
    rows: tuple[Row, ...]
    doubtful: tuple[Row, ...]
    held: tuple[Trouble, ...]
    unaddressed: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing waits for a person."""
        return not (self.held or self.doubtful or any(row.state == "refused" for row in self.rows))

    def __str__(self) -> str:
        counts = Counter(row.state for row in self.rows)
        lines = [f"{self.month}: {', '.join(f'{n} {state}' for state, n in counts.items()) or 'no mails'}"]
        lines += [f"held: {trouble}" for trouble in self.held]
        lines += [str(told(row)) for row in self.rows if row.state in ("refused", "deferred")]
        lines += [str(told(row)) for row in self.doubtful]
        if self.unaddressed:
            lines.append(nobody_listed(self.unaddressed))
        return "\n".join(lines)


def queue_month(settings: PostSettings, month: str, *, clock: Clock = utc_now) -> tuple[Row, ...]:
    """Put the mails of a month into the outbox without sending any; those that are there keep their state.

    Returns
    -------
    All mails of the month.

    Raises
    ------
    QueryError : ``month`` is not ``YYYY-MM``, or there is nothing of it.
    StoreError : the ledger cannot be used; StoreLocked while a batch or another send is at work.
    """
    require_month(settings, month)
    with _outbox(settings, clock) as ledger:
        queue_mailings(ledger, settings, _plan(ledger, settings, month, clock), clock())
        return tuple(rows(ledger, month=month))


def send_month(settings: PostSettings, month: str, *, clock: Clock = utc_now) -> SendSummary:
    """Queue the mails of a month and send those that are due, then tell the owners what did not go out.

    Safe to run again at any time: a mail that was sent, refused for good or is in doubt stays as it is.

    Raises
    ------
    MailError : mail is not enabled, or the server cannot be used: what was not sent waits for the next run.
    QueryError : ``month`` is not ``YYYY-MM``, or there is nothing of it.
    StoreError : the ledger cannot be used; StoreLocked while a batch or another send is at work.
    """
    if not settings.mail.enabled:
        raise MailError("mail is off: look at the preview, then set enabled = true below [mail]")
    require_month(settings, month)
    with _outbox(settings, clock) as ledger, Postman(settings.mail) as postman:
        plan = _plan(ledger, settings, month, clock)
        letters = queue_mailings(ledger, settings, plan, clock())
        send_due(ledger, settings, postman, letters=letters, clock=clock)
        letters = queue_troubles(
            ledger,
            settings,
            troubles_of(ledger, plan),
            month=month,
            now=clock(),
            unaddressed=plan.unaddressed,
        )
        send_due(ledger, settings, postman, letters=letters, clock=clock)
        now = tuple(rows(ledger, month=month))
        if not plan.held and not any(row.state in ("queued", "deferred") for row in now):
            run_table.mailed(ledger, month)
        return SendSummary(month, now, tuple(rows(ledger, state="unknown")), plan.held, plan.unaddressed)


def tell_owners(
    settings: PostSettings, month: str, troubles: Sequence[Trouble], *, clock: Clock = utc_now
) -> None:
    """Mail the owners what keeps a month from being made: once, and again when it is something else.

    Raises
    ------
    MailError, StoreError : as for :func:`send_month`; the mail waits in the outbox if it could be put there.
    """
    with _outbox(settings, clock) as ledger, Postman(settings.mail) as postman:
        letters = queue_troubles(ledger, settings, troubles, month=month, now=clock())
        send_due(ledger, settings, postman, letters=letters, clock=clock)


def nobody_listed(teams: Sequence[str]) -> str:
    """The teams whose reports go to nobody, in a line."""
    return short(f"nobody is listed in [recipients] for {', '.join(map(shown_name, teams))}")


def resolve(
    settings: PostSettings,
    message_id: str | None = None,
    *,
    decision: Literal["sent", "resend"] | None = None,
    clock: Clock = utc_now,
) -> tuple[Row, ...]:
    """Clear doubts: look mails up in the archive, or take a person's word for one of them.

    Parameters
    ----------
    message_id
        the mail to decide on; without it every doubtful one is looked up.
    decision
        ``sent`` or ``resend`` by hand (``resend`` also for a refused mail: send once more); None asks the archive.
        A mail that the archive does not have stays in doubt: it may still be on its way.

    Returns
    -------
    The mails asked about, as they stand now.

    Raises
    ------
    MailError : no such mail is in doubt, a decision names no mail, or the archive is not set or cannot be asked.
    StoreError : the ledger cannot be used; StoreLocked while a batch or another send is at work.
    """
    with _outbox(settings, clock) as ledger:
        open_states = ("unknown", "refused") if decision == "resend" else ("unknown",)
        asked = [r for r in rows(ledger) if r.state in open_states and message_id in (None, r.message_id)]
        if message_id and not asked:
            raise MailError(f"no mail {message_id} is in doubt: usagekit send --status lists them")
        if decision:
            if not message_id:
                raise MailError("a decision by hand is for one mail: give its Message-ID")
            state = {"sent": "sent", "resend": "queued"}[decision]
            mark(ledger, message_id, state, now=clock(), reason=f"{decision}: decided by hand")
        elif asked and settings.mail.archive is None:
            raise MailError("no archive is set below [mail.archive]: decide by hand, sent or resend")
        elif asked and settings.mail.archive:
            for found in archived(settings.mail.archive, [row.message_id for row in asked]):
                mark(ledger, found, "sent", now=clock(), reason="found in the archive")
        ids = {row.message_id for row in asked}
        return tuple(row for row in rows(ledger) if row.message_id in ids)


def status_rows(settings: PostSettings, *, month: str | None = None) -> list[Row]:
    """The outbox as it stands, of one month or of all."""
    if not (settings.reports / LEDGER_FILE).exists():
        return []
    with open_ledger(settings.reports) as ledger:
        prepare(ledger)
        return rows(ledger, month=month)


@contextmanager
def _outbox(settings: PostSettings, clock: Clock) -> Iterator[Ledger]:
    """The ledger, under the lock of the reports: what is ``sending`` now was cut off."""
    reports = settings.reports.absolute()
    with locked(reports / LOCK_FILE, what=f"the reports directory {reports}"), open_ledger(reports) as ledger:
        prepare(ledger)
        run_table.prepare(ledger)
        doubt_unfinished(ledger, clock())
        yield ledger


def _plan(ledger: Ledger, settings: PostSettings, month: str, clock: Clock) -> Plan:
    return plan_mails(settings, month, entries=ledger.entries(month), now=clock())

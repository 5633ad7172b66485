"""Sending what is due in the outbox, one mail after the other."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from usagekit.delivery.letter import Letter
from usagekit.delivery.message import Envelope, build
from usagekit.delivery.outbox_table import Row, mark, rows, stamp
from usagekit.delivery.plan import PostSettings
from usagekit.delivery.postman import Postman, Result
from usagekit.delivery.queueing import Letters, envelope_for
from usagekit.delivery.team_letter import fitted
from usagekit.errors import MailError
from usagekit.report.crash import step
from usagekit.report.ledger import Ledger

_GIVE_UP: Final = timedelta(days=5)  # RFC 5321 4.5.4.1

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The present."""
    return datetime.now(UTC)


def send_due(
    ledger: Ledger, settings: PostSettings, postman: Postman, *, letters: Letters, clock: Clock
) -> None:
    """Send those of ``letters`` that are queued, and deferred ones whose time has come.

    Raises
    ------
    MailError : the server cannot be used at all; ``recipients`` did not get their mails and stay in the outbox.
    """
    due = [row for row in rows(ledger) if row.message_id in letters and _is_due(row, clock())]
    for place, row in enumerate(due):
        try:
            result = _send(ledger, settings, postman, row=row, letter=letters[row.message_id], clock=clock)
        except MailError as error:
            waiting = [row.recipient for row in due[place:]]
            raise MailError(f"{error} ({len(waiting)} mails wait)", recipients=waiting) from None
        step("mail:answered")
        _record(ledger, settings, row, result, now=clock())


def _send(
    ledger: Ledger,
    settings: PostSettings,
    postman: Postman,
    *,
    row: Row,
    letter: Callable[[], Letter],
    clock: Clock,
) -> Result:
    limit = postman.limit()
    try:
        content = _within(
            letter(), envelope_for(ledger, settings, row), limit=limit, place=settings.mail.reports_url or ""
        )
    except MailError as error:
        return Result("refused", str(error))
    if len(content) > limit:
        return Result("refused", f"{len(content):,} bytes even without its files; the server takes {limit:,}")

    def before_data() -> None:
        mark(ledger, row.message_id, "sending", now=clock())

    return postman.send(row.recipient, content, before_data=before_data)


def _within(letter: Letter, envelope: Envelope, *, limit: int, place: str) -> bytes:
    """The message, without the files that make it too large."""
    content = build(letter, envelope)
    smaller = fitted(letter, limit - _ROOM, size=len(content), place=place) if len(content) > limit else None
    return build(smaller, envelope) if smaller else content


_ROOM = 4000
"""Bytes for the words that say what was left out."""


def _record(ledger: Ledger, settings: PostSettings, row: Row, result: Result, *, now: datetime) -> None:
    state, reason = result
    not_before = ""
    if state == "deferred":
        # Of the refusals alone: a mail may have waited longer for the server, or for a person's word.
        if row.deferred_utc and now - datetime.fromisoformat(row.deferred_utc) > _GIVE_UP:
            state, reason = "refused", f"given up after {_GIVE_UP.days} days: {reason}"
        else:
            not_before = stamp(now + timedelta(minutes=settings.mail.retry_after_minutes))
    mark(ledger, row.message_id, state, now=now, reason=reason, not_before=not_before)


def _is_due(row: Row, now: datetime) -> bool:
    return row.state == "queued" or (row.state == "deferred" and row.not_before_utc <= stamp(now))

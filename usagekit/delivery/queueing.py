"""From a plan to rows of the outbox, and from a row back to its letter and its envelope."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cache, partial

from usagekit.delivery.facts import content_hash
from usagekit.delivery.lab_letter import Trouble, owners_letter
from usagekit.delivery.letter import Letter
from usagekit.delivery.message import Envelope, message_id
from usagekit.delivery.outbox_table import (
    OWNERS,
    Row,
    end_series,
    known_id,
    queue,
    replaced_id,
    revision_for,
    rows,
    stamp,
    template_known,
    withdraw_others,
)
from usagekit.delivery.plan import Mailing, Plan, PostSettings, letter_for
from usagekit.report.ledger import Ledger

Letters = Mapping[str, Callable[[], Letter]]
"""How to write the letter of a mail, by Message-ID."""


def queue_mailings(ledger: Ledger, settings: PostSettings, plan: Plan, now: datetime) -> Letters:
    """Put the mails of a plan into the outbox, withdraw what they replace, and say how to write them."""
    letters: dict[str, Callable[[], Letter]] = {}
    kept: list[Row] = []
    for mailing in plan.mailings:
        wanted = mailing_rows(ledger, settings, mailing, now)
        for row in wanted:
            queue(ledger, row)
        kept += wanted
        if wanted:
            letters |= dict.fromkeys(
                (row.message_id for row in wanted), writer(settings, plan, mailing, wanted[0])
            )
    withdraw_others(ledger, kept, month=plan.month, is_listed=partial(_is_listed, settings), now=now)
    return letters


def queue_troubles(
    ledger: Ledger,
    settings: PostSettings,
    troubles: Sequence[Trouble],
    *,
    month: str,
    now: datetime,
    unaddressed: Sequence[str] = (),
) -> Letters:
    """Tell the owners, once for each list of troubles; none is the all-clear, after which the same ones are told again.

    ``unaddressed`` teams stand in the letter, but are no reason for one.
    """
    if not troubles:
        end_series(ledger, month=month, now=now)
        return {}
    content = hashlib.sha256(
        "\0".join(t.lasting for t in troubles).encode(errors="surrogatepass")
    ).hexdigest()
    revision = revision_for(ledger, OWNERS, None, month=month, content=content)
    about = Row(
        message_id="", template=OWNERS, team=None, month=month, revision=revision, recipient="",
        content_sha256=content, queued_utc=stamp(now), changed_utc=stamp(now),
    )  # fmt: skip
    wanted = [_addressed(ledger, about, to, settings.mail.domain) for to in settings.mail.owners]
    for row in wanted:
        queue(ledger, row)
    withdraw_others(ledger, wanted, month=month, is_listed=partial(_is_listed, settings), now=now)
    write = cache(
        partial(owners_letter, troubles, lab=settings.lab_name, month=month, unaddressed=unaddressed)
    )
    return dict.fromkeys((row.message_id for row in wanted), write)


def mailing_rows(ledger: Ledger, settings: PostSettings, mailing: Mailing, now: datetime) -> list[Row]:
    """The mails of one report as they should be in the outbox; nothing changes."""
    facts = mailing.facts
    template = template_known(ledger, facts.team, month=facts.month) or mailing.template
    content = content_hash(mailing.manifest, template=template)
    revision = revision_for(ledger, template, facts.team, month=facts.month, content=content)
    about = Row(
        message_id="", template=template, team=facts.team, month=facts.month, revision=revision, recipient="",
        content_sha256=content, queued_utc=stamp(now), changed_utc=stamp(now),
    )  # fmt: skip
    return [_addressed(ledger, about, to, settings.mail.domain) for to in mailing.recipients]


def writer(settings: PostSettings, plan: Plan, mailing: Mailing, row: Row) -> Callable[[], Letter]:
    """How to write the letter of a mailing; its files are read when it is first needed, and once."""
    return cache(
        partial(letter_for, mailing, plan, revision=row.revision, contact=settings.mail.contact or "")
    )


def troubles_of(ledger: Ledger, plan: Plan) -> list[Trouble]:
    """What the owners must know: reports held, mails refused, and mails in doubt, those of other months too."""
    found = [row for row in rows(ledger, month=plan.month, state="refused") if row.template != OWNERS]
    found += [row for row in rows(ledger, state="unknown") if row.template != OWNERS]
    return [*plan.held, *map(told, found)]


def told(row: Row) -> Trouble:
    """A mail that needs attention, in one line."""
    team = "the owners' mail" if row.template == OWNERS else row.team or "the whole lab"
    what = _TOLD.get(row.state, row.state)
    why = f": {row.reason}" if row.reason else ""
    ids = "" if row.state == "deferred" else f" {row.message_id}"
    return Trouble(f"{team}, {row.month}", f"mail to {row.recipient} {what}{why}{ids}")


_TOLD = {
    "unknown": "in doubt, held",
    "sending": "sending, or in doubt if the process that sent it has ended (the next run knows)",
}


def envelope_for(ledger: Ledger, settings: PostSettings, row: Row) -> Envelope:
    """The envelope of a mail in the outbox; equal rows give equal ones."""
    mail = settings.mail
    return Envelope(
        sender=mail.sender,
        sender_name=mail.from_name,
        recipient=row.recipient,
        message_id=row.message_id,
        date=datetime.fromisoformat(row.queued_utc).replace(microsecond=0),
        list_id=mail.list_id or f"usage-reports.{mail.domain}",
        reply_to=mail.contact,
        replaces=replaced_id(ledger, row) if row.revision > 1 and row.template != OWNERS else None,
    )


def _addressed(ledger: Ledger, row: Row, recipient: str, domain: str) -> Row:
    about = replace(row, recipient=recipient)
    key = (row.template, row.team, row.month, row.revision, recipient)
    return replace(about, message_id=known_id(ledger, about) or message_id(key, domain=domain))


def _is_listed(settings: PostSettings, row: Row) -> bool:
    """Whether the settings still want a mail to go to its recipient; compared as when they are read."""
    mail = settings.mail
    if row.template == OWNERS:
        listed = mail.owners
    else:
        listed = mail.lab_managers if row.team is None else settings.recipients.get(row.team, ())
    return row.recipient.lower() in {address.lower() for address in listed}

"""From a letter and an envelope to the bytes of a message: the same bytes every time."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage
from typing import Final

from usagekit.delivery.letter import MAX_HTML_BYTES, Letter
from usagekit.errors import MailError

_POLICY: Final = policy.SMTP.clone(cte_type="7bit")


@dataclass(frozen=True, slots=True)
class Envelope:
    """Who writes to whom: addresses from the settings only, and what makes this mail itself.

    ``replaces`` is the Message-ID of the revision before, so that mail programs show the two together.
    """

    sender: str
    sender_name: str
    recipient: str
    message_id: str
    date: datetime
    list_id: str
    reply_to: str | None = None
    replaces: str | None = None


def message_id(key: tuple[str | int | None, ...], *, domain: str) -> str:
    """A Message-ID (RFC 5322 3.6.4) made from what a mail is about: equal keys give equal ids.

    >>> message_id(("team_month", "NA", "2026-10", 1, "ana@example.com"), domain="example.com")
    '<4452fb403af55c5595867a0551481f1d46c98e5d@example.com>'
    """
    # ASCII-escaped JSON: unambiguous, and it takes names that are not valid Unicode.
    return f"<{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:40]}@{domain}>"


def build(letter: Letter, envelope: Envelope) -> bytes:
    """The whole message: text and HTML as alternatives, the chart inside, the attachments after.

    Raises
    ------
    MailError : the HTML part would be cut by mail programs, or a header holds a line break.
    """
    chart_id = f"<chart.{envelope.message_id[1:]}"
    html = letter.html(f"cid:{chart_id[1:-1]}")
    if (size := len(html.encode())) > MAX_HTML_BYTES:
        raise MailError(
            f"the HTML part has {size:,} bytes, more than {MAX_HTML_BYTES:,}: mail programs cut it"
        )
    message = EmailMessage(policy=_POLICY)
    try:
        _set_headers(message, letter.subject, envelope)
    except ValueError as error:
        raise MailError(
            f"a header of the mail is malformed: {error}", recipients=[envelope.recipient]
        ) from None
    message.set_content(letter.text(), cte="quoted-printable")
    message.add_alternative(html, subtype="html", cte="quoted-printable")
    if letter.chart and (page := message.get_body(("html",))):
        page.add_related(
            letter.chart.png, "image", "png", cid=chart_id, disposition="inline", filename="chart.png"
        )
    for file in letter.attachments:
        kind, _, subtype = file.mime.partition("/")
        message.add_attachment(file.content, kind, subtype, filename=file.name)
    parts = [part for part in message.walk() if part.is_multipart()]
    for number, part in enumerate(parts):
        seed = f"{number} {envelope.message_id}".encode()
        part.set_boundary(f"=_{hashlib.sha256(seed).hexdigest()[:32]}")
    return message.as_bytes()


def _set_headers(message: EmailMessage, subject: str, envelope: Envelope) -> None:
    message["Subject"] = subject
    message["From"] = Address(envelope.sender_name, addr_spec=envelope.sender)
    message["To"] = Address(addr_spec=envelope.recipient)
    if envelope.reply_to:
        message["Reply-To"] = Address(addr_spec=envelope.reply_to)
    message["Date"] = envelope.date
    message["Message-ID"] = envelope.message_id
    if envelope.replaces:
        message["In-Reply-To"] = message["References"] = envelope.replaces
    # RFC 3834 and RFC 2919; the third keeps Exchange's out-of-office replies away.
    message["Auto-Submitted"] = "auto-generated"
    message["List-Id"] = f"<{envelope.list_id}>"
    message["X-Auto-Response-Suppress"] = "All"

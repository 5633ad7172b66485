"""What would be sent, as files to look at; nothing is sent and the outbox stays as it is."""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from usagekit.delivery.lab_letter import Trouble
from usagekit.delivery.letter import Letter
from usagekit.delivery.message import build
from usagekit.delivery.outbox_table import prepare
from usagekit.delivery.plan import PostSettings, plan_mails, require_month
from usagekit.delivery.queueing import envelope_for, mailing_rows, writer
from usagekit.delivery.sending import Clock, utc_now
from usagekit.engine.files import publish_bytes, publish_text
from usagekit.errors import MailError
from usagekit.report.ledger import open_ledger

PREVIEWS: Final = "mail"
"""Below the reports, beside the months: inside a month a team of this name would have its report there."""

PLACEHOLDER: Final = "nobody-is-listed@lab.invalid"
"""A name that cannot exist (RFC 2606)."""


@dataclass(frozen=True, slots=True)
class Preview:
    """The files written, the reports that would be held back, and the teams that nobody is listed for.

    ``placeholder`` is the address that stands in while nobody is listed for any report, else empty.
    """

    paths: tuple[Path, ...]
    held: tuple[Trouble, ...]
    unaddressed: tuple[str, ...]
    placeholder: str = ""


def preview(settings: PostSettings, month: str, *, clock: Clock = utc_now) -> Preview:
    """Write each mail of a month to ``<reports>/mail/<month>``: as ``.eml`` to its first recipient, and as a page.

    While nobody is listed for any report, all are written to an address that cannot exist, so that one sees mails
    before naming people. Older previews of the month go. The folder is for its owner only: it holds addresses.

    Raises
    ------
    QueryError : ``month`` is not ``YYYY-MM``, or there is nothing of it.
    MailError : a report changed meanwhile, or the folder is a symbolic link.
    StoreError : the ledger cannot be used.
    """
    require_month(settings, month)
    with open_ledger(settings.reports) as ledger:
        prepare(ledger)
        now: datetime = clock()
        plan = plan_mails(settings, month, entries=ledger.entries(month), now=now)
        folder = settings.reports / PREVIEWS / month
        if folder.is_symlink() or folder.parent.is_symlink():
            raise MailError(f"{folder} leads elsewhere by a symbolic link: remove it")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        for old in (*folder.glob("*.eml"), *folder.glob("*.html")):
            old.unlink(missing_ok=True)
        paths = []
        nobody = bool(plan.mailings) and not (settings.recipients or settings.mail.lab_managers)
        for planned in plan.mailings:
            mailing = replace(planned, recipients=(PLACEHOLDER,)) if nobody else planned
            if wanted := mailing_rows(ledger, settings, mailing, now):
                letter = writer(settings, plan, mailing, wanted[0])()
                stem = folder / mailing.directory.name
                publish_bytes(
                    Path(f"{stem}.eml"),
                    build(letter, envelope_for(ledger, settings, wanted[0])),
                    private=True,
                )
                publish_text(Path(f"{stem}.html"), page(letter), private=True)
                paths += [Path(f"{stem}.eml"), Path(f"{stem}.html")]
    return Preview(tuple(paths), plan.held, plan.unaddressed, PLACEHOLDER if nobody else "")


def page(letter: Letter) -> str:
    """The HTML part as a page of its own, with the chart inside."""
    chart = base64.b64encode(letter.chart.png).decode() if letter.chart else ""
    return letter.html(f"data:image/png;base64,{chart}")

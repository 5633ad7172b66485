"""The outbox in the ledger: one row a mail and recipient, and the steps from one state to the next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Final

from usagekit.report.ledger import Ledger, migrate

STATES: Final = ("queued", "sending", "sent", "refused", "deferred", "unknown", "withdrawn")
"""queued -> sending -> sent; refused (for good), deferred (for now) and unknown (in doubt) are told and held.

``withdrawn`` was never accepted by a server: a newer revision took its place, or the recipient left the settings.
"""

OWNERS: Final = "owners"
"""In place of a template's name for the owners' own mail."""

STATEMENTS: Final = (
    f"""CREATE TABLE mails (
        message_id TEXT PRIMARY KEY,
        template TEXT NOT NULL, team TEXT, month TEXT NOT NULL, revision INTEGER NOT NULL,
        recipient TEXT NOT NULL, content_sha256 TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN {STATES}),
        reason TEXT NOT NULL DEFAULT '', tries INTEGER NOT NULL DEFAULT 0,
        queued_utc TEXT NOT NULL, changed_utc TEXT NOT NULL, not_before_utc TEXT NOT NULL DEFAULT ''
    ) STRICT""",
    "CREATE INDEX mails_by_month ON mails (month, template, team)",
    "ALTER TABLE mails ADD COLUMN deferred_utc TEXT NOT NULL DEFAULT ''",
    "UPDATE mails SET deferred_utc = changed_utc WHERE state = 'deferred'",
)

_OPEN: Final = ("queued", "deferred", "refused")
"""States of a mail that no server has taken, and none may have."""

_FURTHEST: Final = ("sent", "sending", "unknown", "refused", "deferred", "queued", "withdrawn")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One mail to one recipient; ``team`` is None for the whole lab, instants are ISO texts in UTC.

    ``deferred_utc`` is when the temporary refusals began that have lasted since, or empty.
    """

    message_id: str
    template: str
    team: str | None
    month: str
    revision: int
    recipient: str
    content_sha256: str
    state: str = "queued"
    reason: str = ""
    tries: int = 0
    queued_utc: str
    changed_utc: str
    not_before_utc: str = ""
    deferred_utc: str = ""


_NAMES = [field.name for field in fields(Row)]
_COLUMNS = ", ".join(_NAMES)


def stamp(instant: datetime) -> str:
    """An instant as the table holds it: UTC, sortable as text."""
    return instant.astimezone(UTC).isoformat(timespec="microseconds")


def prepare(ledger: Ledger) -> None:
    """Make the table where there is none, and bring an older one up to date."""
    migrate(ledger.connection, "mails", STATEMENTS)


def rows(ledger: Ledger, *, month: str | None = None, state: str | None = None) -> list[Row]:
    """The mails of a month, or of all; in one state, or in any; oldest first."""
    found = ledger.connection.execute(
        f"SELECT {_COLUMNS} FROM mails WHERE (?1 IS NULL OR month = ?1) AND (?2 IS NULL OR state = ?2) "  # noqa: S608
        "ORDER BY queued_utc, month, template, team, recipient, revision",
        (month, state),
    )
    return [Row(**dict(row)) for row in found]


def revision_for(ledger: Ledger, template: str, team: str | None, *, month: str, content: str) -> int:
    """The revision that a report's content has, or would get: 1 more when another one may have reached somebody."""
    about = ledger.connection.execute(
        "SELECT revision, content_sha256, state FROM mails WHERE template = ? AND team IS ? AND month = ? "
        "ORDER BY revision DESC",
        (template, team, month),
    ).fetchall()
    if not about:
        return 1
    latest = [(sha256, state) for revision, sha256, state in about if revision == about[0][0]]
    reached = {sha256 for sha256, state in latest if state in ("sent", "sending", "unknown")}
    return int(about[0][0]) + bool(reached - {content})


def template_known(ledger: Ledger, team: str | None, *, month: str) -> str | None:
    """The template under which a report is in the outbox, whatever the template has been called since."""
    found = ledger.connection.execute(
        "SELECT template FROM mails WHERE month = ? AND team IS ? AND template != ? "
        "ORDER BY state IN ('sent', 'sending', 'unknown') DESC, queued_utc DESC LIMIT 1",
        (month, team, OWNERS),
    ).fetchone()
    return found[0] if found else None


def known_id(ledger: Ledger, wanted: Row) -> str | None:
    """The Message-ID that a mail has in the outbox: of the same report and revision, to the same mailbox.

    It stays whatever becomes of the sender's domain, and of the letters' case in an address.
    """
    found = ledger.connection.execute(
        "SELECT message_id, state FROM mails WHERE month = ? AND template = ? AND team IS ? AND revision = ? "
        "AND lower(recipient) = lower(?)",
        (wanted.month, wanted.template, wanted.team, wanted.revision, wanted.recipient),
    ).fetchall()
    return min(found, key=lambda row: _FURTHEST.index(row["state"]))["message_id"] if found else None


def replaced_id(ledger: Ledger, row: Row) -> str | None:
    """The Message-ID of the revision before that the same mailbox has got, or may have."""
    found = ledger.connection.execute(
        "SELECT message_id FROM mails WHERE month = ? AND template = ? AND team IS ? AND revision < ? "
        "AND lower(recipient) = lower(?) AND state IN ('sent', 'unknown') ORDER BY revision DESC, state LIMIT 1",
        (row.month, row.template, row.team, row.revision, row.recipient),
    ).fetchone()
    return found[0] if found else None


def queue(ledger: Ledger, wanted: Row) -> None:
    """Add a mail; one that is known keeps its state, but for an open one, which takes the new content."""
    with ledger.change("mail-queued"):
        ledger.connection.execute(
            f"INSERT INTO mails ({_COLUMNS}) VALUES ({', '.join('?' * len(_NAMES))}) "  # noqa: S608
            "ON CONFLICT (message_id) DO UPDATE SET content_sha256 = excluded.content_sha256, "
            "recipient = excluded.recipient, state = iif(state = 'withdrawn', 'queued', state), "
            "reason = iif(state = 'withdrawn', '', reason), deferred_utc = iif(state = 'withdrawn', '', deferred_utc) "
            "WHERE state IN ('queued', 'deferred', 'withdrawn')",
            [getattr(wanted, name) for name in _NAMES],
        )


def withdraw_others(
    ledger: Ledger, kept: Sequence[Row], *, month: str, is_listed: Callable[[Row], bool], now: datetime
) -> None:
    """Withdraw what no server has taken of a month's mails and nobody wants any more.

    That is what goes to somebody who is not ``is_listed``, and what another one in ``kept`` has taken the place of.
    """
    ids = {row.message_id for row in kept}
    revisions = {(row.template == OWNERS, row.team): row.revision for row in kept}
    with ledger.change("mail-withdrawn"):
        for row in rows(ledger, month=month):
            if row.state not in _OPEN or row.message_id in ids:
                continue
            revision = revisions.get((row.template == OWNERS, row.team))
            if not is_listed(row):
                _withdraw(ledger, row, "no longer a recipient in the settings", now)
            elif revision is not None and (row.revision < revision or row.state != "refused"):
                _withdraw(ledger, row, f"revision {revision} took its place", now)


def end_series(ledger: Ledger, *, month: str, now: datetime) -> None:
    """All is well with a month: what has not reached the owners is withdrawn, and what comes back is told again."""
    owners = [row for row in rows(ledger, month=month) if row.template == OWNERS and row.content_sha256]
    if not owners:
        return
    with ledger.change("mail-series-ended"):
        for row in owners:
            if row.state in _OPEN:
                _withdraw(ledger, row, "all is well again", now)
        # The same troubles are a new content from now on.
        ledger.connection.execute(
            "UPDATE mails SET content_sha256 = '' WHERE template = ? AND month = ?", (OWNERS, month)
        )


def mark(
    ledger: Ledger, message_id: str, state: str, *, now: datetime, reason: str = "", not_before: str = ""
) -> None:
    """Record a step, on the disk before this returns; ``sending`` counts as a try."""
    with ledger.change(f"mail-{state}"):
        _update(ledger, message_id, state, reason, now)
        ledger.connection.execute(
            "UPDATE mails SET not_before_utc = ?, tries = tries + ?, deferred_utc = CASE state WHEN 'sending' THEN "
            "deferred_utc WHEN 'deferred' THEN iif(deferred_utc = '', changed_utc, deferred_utc) ELSE '' END "
            "WHERE message_id = ?",
            (not_before, state == "sending", message_id),
        )


def doubt_unfinished(ledger: Ledger, now: datetime) -> None:
    """What was being sent when a process ended may or may not have arrived: nobody sends it again by itself."""
    for row in rows(ledger, state="sending"):
        mark(ledger, row.message_id, "unknown", now=now, reason="the process ended while this was being sent")


def _withdraw(ledger: Ledger, row: Row, reason: str, now: datetime) -> None:
    history = f"; it was refused: {row.reason}" if row.state == "refused" else ""
    _update(ledger, row.message_id, "withdrawn", reason + history, now)


def _update(ledger: Ledger, message_id: str, state: str, reason: str, now: datetime) -> None:
    ledger.connection.execute(
        "UPDATE mails SET state = ?, reason = ?, changed_utc = ? WHERE message_id = ?",
        (state, reason, stamp(now), message_id),
    )

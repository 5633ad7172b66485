"""The runs in the ledger: how far each month has come, so that the next run knows what is left."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Final

from usagekit.delivery.outbox_table import stamp
from usagekit.report.ledger import Ledger, migrate

STATES: Final = ("running", "done", "failed", "waiting")
"""``done`` leaves nothing to do by itself; ``waiting`` goes on at the next run; ``failed`` is tried again, less and less often."""

STATEMENTS: Final = (
    f"""CREATE TABLE runs (
        month TEXT PRIMARY KEY, scheduled INTEGER NOT NULL,
        state TEXT NOT NULL CHECK (state IN {STATES}),
        cause TEXT NOT NULL DEFAULT '', tries INTEGER NOT NULL DEFAULT 0,
        started_utc TEXT NOT NULL, finished_utc TEXT NOT NULL DEFAULT '', not_before_utc TEXT NOT NULL DEFAULT ''
    ) STRICT""",
    "ALTER TABLE runs ADD COLUMN refused_by TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE runs ADD COLUMN since_utc TEXT NOT NULL DEFAULT ''",
    # Of runs before this column nobody knows whether mail was on; the outbox tells what has been mailed.
    "ALTER TABLE runs ADD COLUMN mail_off INTEGER NOT NULL DEFAULT 1",
    "UPDATE runs SET mail_off = 0 WHERE state != 'done'",
)

_LONGEST_WAIT: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What the last run of a month came to; ``scheduled`` if the schedule has ever asked for it, not a person alone.

    ``cause`` holds a line for each thing that is not as it should be; instants are ISO texts in UTC. ``refused_by`` is
    the server that could not be used, ``since_utc`` the first of the runs in a row that met this; ``mail_off`` if the
    run ended while mail was off.
    """

    month: str
    scheduled: bool
    state: str
    cause: str
    tries: int
    started_utc: str
    finished_utc: str
    not_before_utc: str
    refused_by: str
    since_utc: str
    mail_off: bool

    def rests(self, now: datetime) -> bool:
        """Whether a failed month is left alone for now; a clock that was set back does not make that longer."""
        if self.state != "failed" or not self.not_before_utc:
            return False
        return now < datetime.fromisoformat(self.not_before_utc) <= now + _LONGEST_WAIT


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a run of a month ended; the fields are those of :class:`Run`."""

    state: str
    cause: str = ""
    refused_by: str = ""
    mail_off: bool = False


_COLUMNS: Final = ", ".join(field.name for field in fields(Run))


_FLAGS: Final = ("scheduled", "mail_off")


def prepare(ledger: Ledger) -> None:
    """Make the table where there is none, and bring an older one up to date."""
    migrate(ledger.connection, "runs", STATEMENTS)


def runs(ledger: Ledger) -> dict[str, Run]:
    """All months that were ever run, oldest first."""
    found = ledger.connection.execute(f"SELECT {_COLUMNS} FROM runs ORDER BY month")  # noqa: S608 - our own names
    return {
        row["month"]: Run(**{**row, **{name: bool(row[name]) for name in _FLAGS}}) for row in map(dict, found)
    }


def begin(ledger: Ledger, month: str, *, scheduled: bool, now: datetime) -> None:
    """Set a month down as ``running``."""
    with ledger.change("run-begun"):
        ledger.connection.execute(
            "INSERT INTO runs (month, scheduled, state, started_utc) VALUES (?, ?, 'running', ?) "
            "ON CONFLICT (month) DO UPDATE SET state = 'running', scheduled = max(scheduled, excluded.scheduled), "
            "started_utc = excluded.started_utc, finished_utc = ''",
            (month, scheduled, stamp(now)),
        )


def end(ledger: Ledger, month: str, ending: Ending, *, now: datetime) -> None:
    """Set down what a run of a month came to; the more often it failed the longer it rests, at most a day."""
    with ledger.change(f"run-{ending.state}"):
        (tries,) = ledger.connection.execute("SELECT tries FROM runs WHERE month = ?", (month,)).fetchone()
        tries = tries + 1 if ending.state == "failed" else 0
        rest = stamp(now + min(timedelta(hours=tries), _LONGEST_WAIT)) if tries else ""
        ledger.connection.execute(
            "UPDATE runs SET state = ?1, cause = ?2, tries = ?3, finished_utc = ?4, not_before_utc = ?5, refused_by = ?6, "
            "since_utc = CASE ?6 WHEN '' THEN '' WHEN refused_by THEN since_utc ELSE ?4 END, mail_off = ?7 "
            "WHERE month = ?8",
            (
                ending.state,
                ending.cause,
                tries,
                stamp(now),
                rest,
                ending.refused_by,
                ending.mail_off,
                month,
            ),
        )


def mailed(ledger: Ledger, month: str) -> None:
    """All mails of a month went out by hand: if its run waited for nothing else the month is done."""
    with ledger.change("run-mailed"):
        ledger.connection.execute(
            "UPDATE runs SET state = 'done', cause = '', refused_by = '', since_utc = '' WHERE month = ? "
            "AND state = 'waiting' AND (refused_by = 'mail server' OR cause = '')",
            (month,),
        )

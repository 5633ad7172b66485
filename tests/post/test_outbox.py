"""The outbox: never twice, never silently lost, every doubtful mail listed, whatever ends the process."""

from __future__ import annotations

import email
import email.policy
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.post.reports import MONTH, NOW, Settings, publish
from tests.post.smtp import Mailboxes, serving_smtp
from usagekit.delivery import queue_month, resolve, send_month, status_rows
from usagekit.delivery.outbox_table import Row
from usagekit.engine.files import locked
from usagekit.errors import MailError, StoreLocked
from usagekit.mail_settings import MailSettings
from usagekit.report.batch import LOCK_FILE, plan_month
from usagekit.report.ledger import open_ledger
from usagekit.report.unit import Failure

TEAMS = {"NA": ("ana@example.com", "bo@example.com"), "R&D / Café": ("cy@example.com",)}


def settings_for(reports: Path, port: int, **mail: Any) -> Settings:
    about = {
        "enabled": True, "host": "127.0.0.1", "port": port, "security": "none", "from_address": "usage@example.com",
        "owners": ("owner@example.com",), "timeout_seconds": 30,
    }  # fmt: skip
    return Settings(reports, MailSettings(**(about | mail)), TEAMS)


@contextmanager
def lab(reports: Path, boxes: Mailboxes | None = None, **mail: Any) -> Iterator[tuple[Settings, Mailboxes]]:
    """Two published reports and a server."""
    for team in TEAMS:
        publish(reports, team)
    with serving_smtp(boxes) as served:
        yield settings_for(reports, served.port, **mail), served


def send(settings: Settings, now: datetime = NOW) -> tuple[Row, ...]:
    return send_month(settings, MONTH, clock=lambda: now).rows


def states(rows: tuple[Row, ...] | list[Row]) -> dict[str, str]:
    return {row.recipient: row.state for row in rows}


@pytest.mark.promise(8)
def test_each_gets_only_their_own(tmp_path: Path) -> None:
    """One mail a recipient, envelope as in the settings, and a second run sends nothing."""
    with lab(tmp_path) as (settings, boxes):
        assert set(states(send(settings)).values()) == {"sent"}
        assert Counter(to for to, _ in boxes.taken) == Counter(a for team in TEAMS.values() for a in team)
        for to, content in boxes.taken:
            message = email.message_from_bytes(content, policy=email.policy.default)
            assert message["To"] == to
            assert ("NA -" in message["Subject"]) == (to in TEAMS["NA"])
        send(settings, NOW + timedelta(days=2))
        assert len(boxes.taken) == 3


def test_nothing_goes_out_unless_enabled(tmp_path: Path) -> None:
    """While mail is off, queueing works and sending is refused before any connection."""
    with lab(tmp_path, enabled=False) as (settings, boxes):
        assert set(states(queue_month(settings, MONTH, clock=lambda: NOW)).values()) == {"queued"}
        with pytest.raises(MailError, match="mail is off"):
            send(settings)
        assert boxes.taken == []


def test_lab_managers_get_the_digest_and_owners_what_was_held(tmp_path: Path) -> None:
    """The lab's mail lists the teams; a held report reaches nobody but is told to the owners, once."""
    with lab(tmp_path, lab_managers=("boss@example.com",)) as (settings, boxes):
        publish(tmp_path, None, hours=4020.0)
        publish(tmp_path, "NA", mail={"trust": {"badge": "red", "text": "off by 9%"}})
        summary = send_month(settings, MONTH, clock=lambda: NOW)
        assert not summary.ok
        assert boxes.to("ana@example.com") == 0
        assert boxes.to("boss@example.com") == boxes.to("owner@example.com") == 1
        told = {to: content.decode() for to, content in boxes.taken}
        text = email.message_from_string(told["boss@example.com"], policy=email.policy.default)
        body = text.get_body(("plain",)).get_content()  # type: ignore[attr-defined]
        assert "R&D / Café" in body
        assert "1 report held back: NA." in body
        assert "off by 9%" in told["owner@example.com"]
        send(settings, NOW + timedelta(hours=1))
        assert boxes.to("owner@example.com") == 1


def test_a_failed_report_is_not_sent(tmp_path: Path) -> None:
    """An older good report beside a failure in the ledger stays where it is; the owners hear cell and error."""
    with lab(tmp_path) as (settings, boxes):
        template = Path(__file__).parents[2] / "notebooks" / "team_month.ipynb"
        (unit,) = plan_month(MONTH, ["NA"], snapshot=tmp_path, reports=tmp_path, template=template)
        with open_ledger(tmp_path) as ledger:
            ledger.plan([(unit, "key")])
            ledger.fail(Failure(unit, 3, "ValueError", "no rows"))
        summary = send_month(settings, MONTH, clock=lambda: NOW)
        assert [(t.about, "ValueError: no rows" in t.what) for t in summary.held] == [("NA", True)]
        assert boxes.to("ana@example.com") == 0
        assert boxes.to("cy@example.com") == 1


def test_new_numbers_are_a_revision(tmp_path: Path) -> None:
    """Other numbers after a send make revision 2, also on the way back; the same numbers make none."""
    with lab(tmp_path) as (settings, boxes):
        send(settings)
        for hours, revision in ((402.5, 1), (500.0, 2), (402.5, 3)):
            publish(tmp_path, "R&D / Café", hours=hours)
            send(settings)
            mine = [row for row in status_rows(settings) if row.recipient == "cy@example.com"]
            assert max(row.revision for row in mine) == revision == boxes.to("cy@example.com")
        last = email.message_from_bytes(boxes.taken[-1][1], policy=email.policy.default)
        assert "replaces revision 2" in last["Subject"]
        assert last["References"] == mine[-2].message_id
        assert boxes.to("ana@example.com") == 1


def test_removed_recipients_get_nothing_more(tmp_path: Path) -> None:
    """A mail that waits for an address no longer in the settings is withdrawn, and comes back with it."""
    with lab(tmp_path) as (settings, boxes):
        queue_month(settings, MONTH, clock=lambda: NOW)
        less = replace(settings, recipients=TEAMS | {"NA": ("ana@example.com",)})
        assert states(send(less))["bo@example.com"] == "withdrawn"
        assert boxes.to("bo@example.com") == 0
        assert states(send(settings))["bo@example.com"] == "sent"


def test_two_sends_at_once(tmp_path: Path) -> None:
    """While another run holds the reports, a send stops at once and sends nothing."""
    with (
        lab(tmp_path) as (settings, boxes),
        locked(tmp_path / LOCK_FILE, what="x"),
        pytest.raises(StoreLocked),
    ):
        send(settings)
    assert boxes.taken == []


KILLED = """
import sys
from pathlib import Path
from tests.post.test_outbox import send, settings_for
send(settings_for(Path(sys.argv[1]), int(sys.argv[2])))
"""


def killed_at(step: str, reports: Path, port: int) -> int:
    """Send in a process of its own group that ends at a step as a power cut would end it."""
    environment = os.environ | {"USAGEKIT_CRASH_AT": step, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", KILLED, str(reports), str(port)]
    return subprocess.run(command, env=environment, start_new_session=True, check=False).returncode


@pytest.mark.slow
@pytest.mark.fault(44, 55)
@pytest.mark.parametrize(
    ("step", "arrived", "doubtful"),
    [
        ("ledger:mail-queued@2", 0, 0),
        ("ledger:mail-queued-committed@3", 0, 0),
        ("ledger:mail-sending@2", 1, 0),
        ("ledger:mail-sending-committed@2", 1, 1),
        ("mail:data-sent@2", 1, 1),
        ("mail:dot-sent@2", 2, 1),
        ("mail:answered@2", 2, 1),
        ("ledger:mail-sent@2", 2, 1),
        ("ledger:mail-sent-committed@2", 2, 0),
    ],
)
def test_kill_at_any_step(tmp_path: Path, step: str, arrived: int, doubtful: int) -> None:
    """kill -9 at each durable step: nothing twice, at most one mail in doubt, that one held and told to the owners."""
    with lab(tmp_path) as (settings, boxes):
        assert killed_at(step, tmp_path, boxes.port) == -9
        after_kill = len(boxes.taken)
        assert after_kill in {arrived, arrived - (step == "mail:dot-sent@2")}
        summary = send_month(settings, MONTH, clock=lambda: NOW)
        assert len(summary.doubtful) == doubtful
        assert boxes.to("owner@example.com") == doubtful
        team_rows = [row for row in summary.rows if row.template != "owners"]
        for row in team_rows:
            times = boxes.to(row.recipient)
            assert times == 1 if row.state == "sent" else (row.state == "unknown" and times <= 1)
        assert len(team_rows) == 3


def test_a_person_decides(tmp_path: Path) -> None:
    """A doubtful mail is only sent again, or called sent, on a person's word, and for one mail at a time."""
    with lab(tmp_path) as (settings, boxes):
        assert killed_at("mail:data-sent@1", tmp_path, boxes.port) == -9
        (doubtful,) = send_month(settings, MONTH, clock=lambda: NOW).doubtful
        with pytest.raises(MailError, match="one mail"):
            resolve(settings, decision="resend")
        with pytest.raises(MailError, match="is in doubt"):
            resolve(settings, "<other@example.com>", decision="sent")
        with pytest.raises(MailError, match="no archive"):
            resolve(settings)
        (row,) = resolve(settings, doubtful.message_id, decision="resend", clock=lambda: NOW)
        assert row.state == "queued"
        assert send_month(settings, MONTH, clock=lambda: NOW).ok
        assert boxes.to(doubtful.recipient) == 1


@pytest.mark.promise(13)
def test_the_ledger_is_private(tmp_path: Path) -> None:
    """Where addresses are kept, only the owner may look, whatever the umask."""
    before = os.umask(0)
    try:
        with lab(tmp_path) as (settings, _):
            queue_month(settings, MONTH, clock=lambda: NOW)
    finally:
        os.umask(before)
    kept = list(tmp_path.glob("ledger*"))
    assert kept
    assert all(path.stat().st_mode & 0o077 == 0 for path in kept)

"""What a run leaves for people to see: previews while mail is off, mails to the owners, the record for a monitor."""

from __future__ import annotations

import email
import email.policy
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.post.reports import MONTH as PUBLISHED
from tests.post.reports import NOW, publish
from tests.post.smtp import Mailboxes, serving_smtp
from tests.post.test_outbox import settings_for
from tests.post.test_run import DUE, MONTH, due, here, ran, served  # noqa: F401 - a fixture
from tests.post.world import RECIPIENTS, TEAMS, write_settings
from usagekit.delivery import outbox_table, queue_month, send_month, status_rows
from usagekit.delivery.health import read_health, write_health
from usagekit.delivery.overview import MonthView, overview
from usagekit.delivery.queueing import told
from usagekit.delivery.run import months_to_do, never_mailed
from usagekit.delivery.stages import MonthResult, clear_doubts
from usagekit.errors import RenderError
from usagekit.mail_settings import IMAP_PASSWORD
from usagekit.report.ledger import open_ledger
from usagekit.settings import Settings, load_settings

HOUR = timedelta(hours=1)


def switch(folder: Path, *, on: bool) -> Settings:
    """Turn mail on or off in the settings."""
    file = folder / "usagekit.toml"
    file.write_text(
        file.read_text("utf-8").replace(f"enabled = {str(not on).lower()}", f"enabled = {str(on).lower()}")
    )
    return load_settings(file)


def test_a_first_month_is_mailed_once_mail_is_on(here: Path, capfd: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    """Run, look at the previews, set enabled = true, run again: all of the month goes out, once, and none of older ones."""
    with served(here) as (lab, boxes):
        switch(here, on=False)
        for month in ("2026-01", "2026-02"):
            ran(here, month, "done", mail_off=True)
        (result,) = due(lab, DUE)
        assert (result.state, result.counts["previews"], boxes.taken) == ("done", 4, [])
        folder = here / "reports" / "mail" / MONTH
        assert len(list(folder.glob("*.eml"))) == 4
        said = capfd.readouterr().err
        assert f"mail is off, nothing was sent: look at {folder}" in said
        assert due(lab, DUE + HOUR) == []

        settings = switch(here, on=True)
        seen = overview(settings, now=DUE + HOUR)
        assert (seen.due, seen.never_mailed, seen.months[0].state) == (
            (MONTH,),
            ("2026-01", "2026-02"),
            "due",
        )
        (result,) = due(lab, DUE + 2 * HOUR)
        assert (result.state, result.counts["sent"]) == ("done", 4)
        everybody = Counter([to for (to,) in RECIPIENTS.values()] + ["boss@example.com"])
        assert Counter(to for to, _ in boxes.taken) == everybody
        assert (
            "never mailed, as mail was off: 2026-01, 2026-02; usagekit send --month M"
            in capfd.readouterr().err
        )
        assert due(lab, DUE + 3 * HOUR) == []
        assert overview(settings, now=DUE + 3 * HOUR).notes[0].startswith("never mailed")


def test_which_months_are_mailed_once_mail_is_on(tmp_path: Path) -> None:
    """The newest one made while mail was off, and none that a person ran long ago or that is older than a mailed one."""
    write_settings(tmp_path, 9)
    on, off = switch(tmp_path, on=True), switch(tmp_path, on=False)
    for month in ("2025-12", "2026-01", "2026-02"):
        ran(tmp_path, month, "done", mail_off=True)
    ran(tmp_path, "2025-11", "failed", mail_off=True)  # its good reports must not go out a quarter later
    before = DUE - HOUR  # of the month after
    assert months_to_do(off, now=before + 2 * HOUR) == ["2025-11", MONTH]
    assert months_to_do(on, now=before) == ["2026-02"]
    assert months_to_do(on, now=DUE) == ["2026-02", MONTH]
    since = on.model_copy(
        update={"first_month": MONTH}
    )  # as after a lost ledger: older ones may have been mailed
    assert months_to_do(since, now=DUE) == [MONTH]
    ran(tmp_path, MONTH, "done", mail_off=False)
    publish(tmp_path / "reports", TEAMS[0]).parent.rename(tmp_path / "reports" / MONTH)
    with open_ledger(tmp_path / "reports") as ledger:
        outbox_table.prepare(ledger)
        outbox_table.queue(ledger, mail_of(MONTH))
        outbox_table.mark(ledger, "<1@example.com>", "sent", now=DUE)
    assert months_to_do(on, now=DUE) == []
    assert never_mailed(on) == ["2025-11", "2025-12", "2026-01", "2026-02"]

    other = tmp_path / "other"
    other.mkdir()
    write_settings(other, 9)
    by_hand = switch(other, on=True)
    ran(other, "2024-07", "done", scheduled=False, mail_off=True)
    assert months_to_do(by_hand, now=DUE) == [MONTH]
    ran(other, MONTH, "done", scheduled=False, mail_off=True)
    assert months_to_do(by_hand, now=DUE) == [MONTH]
    ran(other, MONTH, "done", mail_off=False)
    assert months_to_do(by_hand, now=DUE) == []


def mail_of(month: str, state: str = "queued", reason: str = "") -> outbox_table.Row:
    """A mail in the outbox."""
    return outbox_table.Row(
        message_id="<1@example.com>", template="team_month", team="NA", month=month, revision=1,
        recipient="ana@example.com", content_sha256="x", state=state, reason=reason,
        queued_utc=outbox_table.stamp(DUE), changed_utc=outbox_table.stamp(DUE),
    )  # fmt: skip


def test_a_month_sent_by_hand_waits_for_nothing_more(tmp_path: Path) -> None:
    """After a send that leaves nothing open the month is done, whether the mail server was down or mail was off."""
    publish(tmp_path / "reports", TEAMS[0])
    with serving_smtp(Mailboxes(rcpt=lambda to: "451 later" if wait else "")) as boxes:
        write_settings(tmp_path, boxes.port)
        settings = load_settings(tmp_path / "usagekit.toml")
        settings = settings.model_copy(
            update={
                "recipients": {TEAMS[0]: ("ana@example.com",)},
                "mail": settings.mail.model_copy(update={"lab_managers": ()}),
            }
        )
        wait = True
        for number, (ending, left) in enumerate([
            ({"state": "waiting", "cause": "cannot connect", "refused_by": "mail server"}, []),
            ({"state": "waiting", "cause": "cannot connect", "refused_by": "API"}, [PUBLISHED]),
            ({"state": "waiting", "cause": "SIGTERM came"}, [PUBLISHED]),
            ({"state": "waiting"}, []),
            ({"state": "done", "mail_off": True}, []),
        ]):  # fmt: skip
            ran(tmp_path, PUBLISHED, **ending)  # type: ignore[arg-type]
            if number == 0:
                send_month(settings, PUBLISHED, clock=lambda: NOW)
                assert months_to_do(settings, now=NOW) == [PUBLISHED]
                wait = False
            send_month(settings, PUBLISHED, clock=lambda: NOW + HOUR)
            assert months_to_do(settings, now=NOW) == left
        assert boxes.to("ana@example.com") == 1


@pytest.mark.fault(1, 7)
def test_owners_hear_what_keeps_a_month_from_being_made(here: Path) -> None:  # noqa: F811
    """A refused token at once, a server that is down after a day, a run that fails at once; each once, and again when it is back."""
    with served(here, first_month='"2026-03"') as (lab, boxes):
        heard = letters_to("owner@example.com", boxes)
        lab.mood.now = "forbids"
        for hours in (0, 1):
            assert due(lab, DUE + hours * HOUR)[0].refused_by == "API"
            assert len(heard()) == 1
        assert "the numbers cannot be fetched" in heard()[0]
        assert "401" in heard()[0]
        lab.mood.now = "refuses"
        for hours, letters in ((2, 1), (25, 2), (26, 2)):
            assert due(lab, DUE + hours * HOUR)[0].refused_by == "API"
            assert len(heard()) == letters
        assert "503" in heard()[-1]

        lab.mood.now = ""
        template = here / "notebooks" / "team_month.ipynb"
        right = template.read_bytes()
        template.write_bytes(right.replace(b"were used", b"were  used"))
        for hours in (30, 40):
            with pytest.raises(RenderError):
                due(lab, DUE + hours * HOUR)
            assert len(heard()) == 3
        assert "the run failed" in heard()[-1]
        template.write_bytes(right)
        (result,) = due(lab, DUE + 50 * HOUR)
        assert (result.state, len(heard())) == ("done", 3)
        lab.mood.now = "forbids"
        for days in (3, 4):
            lab.runner(lambda days=days: DUE + timedelta(days=days)).month(MONTH, refresh=True)  # type: ignore[misc]
            assert len(heard()) == 4
        assert set(Counter(to for to, _ in boxes.taken if to != "owner@example.com").values()) == {1}


def letters_to(owner: str, boxes: Mailboxes) -> Callable[[], list[str]]:
    def heard() -> list[str]:
        mails = [
            email.message_from_bytes(c, policy=email.policy.default) for to, c in boxes.taken if to == owner
        ]
        return [mail.get_body(("plain",)).get_content() for mail in mails]  # type: ignore[attr-defined]

    return heard


@pytest.mark.parametrize("mail_server", ["down", "off"])
def test_a_mail_server_that_is_down_hides_no_failure(
    here: Path,  # noqa: F811
    capfd: pytest.CaptureFixture[str],
    mail_server: str,
) -> None:
    """What kept the month from being made is the error, with or without owners who can be told."""
    with served(here) as (lab, boxes):
        write_settings(here, 9)
        if mail_server == "off":
            switch(here, on=False)
        lab.mood.now = "forbids"
        (result,) = due(lab, DUE)
        assert result.refused_by == "API"
        assert ("could not be told by mail" in capfd.readouterr().err) == (mail_server == "down")
        assert len(status_rows(load_settings(here / "usagekit.toml"))) == (mail_server == "down")
        assert boxes.taken == []


@pytest.mark.promise(13)
def test_a_monitor_reads_no_addresses(tmp_path: Path) -> None:
    """The record says which mails are refused by their Message-IDs; whose they are stands in the ledger and the mails."""
    write_settings(tmp_path, 9)
    settings = load_settings(tmp_path / "usagekit.toml")
    row = mail_of(
        MONTH,
        "refused",
        "550 5.1.1 <ana@example.com>: ana@example.com unknown; see http://x/?a=ana@example.com",
    )
    row_id = f"<{'0a' * 20}@example.com>"
    causes = (str(told(replace(row, message_id=row_id))), "ValueError: 'bo@example.com'")
    write_health(settings, [MonthResult(MONTH, "done", causes)], started=DUE, now=DUE)
    text = (settings.reports / "health.json").read_text()
    assert row_id in text
    assert "550 5.1.1" in text
    assert not [name for name in ("ana@", "bo@") if name in text]
    write_health(settings, [], started=DUE, now=DUE, error="refused: cy@example.com")
    assert read_health(settings.reports)["causes"] == ["refused: (address)"]


def test_a_mail_that_is_being_sent_is_named() -> None:
    """It may have been cut off: its Message-ID and what becomes of it are told, and no line ends with a colon."""
    (problem,) = MonthView(MONTH, "done", None, (mail_of(MONTH, "sending"),)).problems  # type: ignore[arg-type]
    assert "in doubt if the process that sent it has ended" in problem
    assert problem.endswith("<1@example.com>")
    for state in outbox_table.STATES:
        assert not str(told(mail_of(MONTH, state))).rstrip().endswith(":")


@pytest.mark.parametrize("missing", ["password", "server"])
def test_an_archive_that_cannot_be_asked_stops_no_month(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    """Without its password, or its server, a mail in doubt stays in doubt and is told; the months go on."""
    monkeypatch.delenv(IMAP_PASSWORD, raising=False)
    if missing == "server":
        monkeypatch.setenv(IMAP_PASSWORD, "x")
    publish(tmp_path, "NA")
    with serving_smtp() as boxes:
        archive = {"host": "127.0.0.1", "port": 1, "username": "u"}
        settings: Any = settings_for(tmp_path, boxes.port, archive=archive)
        doubtful = queue_month(settings, PUBLISHED, clock=lambda: NOW)[0].message_id
        with open_ledger(tmp_path) as ledger:
            outbox_table.mark(ledger, doubtful, "unknown", now=NOW)
        problem = clear_doubts(settings, clock=lambda: NOW)
        assert "doubtful mails stay in doubt" in problem
        assert {"password": IMAP_PASSWORD, "server": "cannot be reached"}[missing] in problem
        assert [row.message_id for row in send_month(settings, PUBLISHED, clock=lambda: NOW).doubtful] == [
            doubtful
        ]
        assert boxes.to("bo@example.com") == 1

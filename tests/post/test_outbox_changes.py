"""The outbox when settings, names and troubles change: nothing twice, nothing open for ever, each trouble told while it lasts."""

from __future__ import annotations

import email
import json
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.post.reports import MONTH, NOW, publish
from tests.post.smtp import Mailboxes
from tests.post.test_outbox import TEAMS, lab, send, states
from usagekit.delivery import outbox_table, preview, queue_month, run_table, send_month, status_rows
from usagekit.delivery.facts import content_hash
from usagekit.delivery.lab_letter import Trouble, owners_letter
from usagekit.delivery.outbox_table import stamp
from usagekit.errors import QueryError
from usagekit.report.batch import plan_month
from usagekit.report.ledger import migrate, open_ledger
from usagekit.report.unit import Failure


def boss(reports: Path, **changes: Any) -> Path:
    """Publish the lab's report."""
    return publish(reports, None, hours=4020.0, **changes)


def test_a_mail_stays_itself_when_names_change(tmp_path: Path) -> None:
    """Another sender's domain, other letters' case or another name of the template: nothing is mailed again."""
    with lab(tmp_path, lab_managers=("boss@example.com",)) as (settings, boxes):
        boss(tmp_path)
        ids = {row.message_id for row in send(settings)}
        mail = settings.mail.model_copy(
            update={"from_address": "usage@example.org", "lab_managers": ("Boss@example.com",)}
        )
        moved = replace(settings, mail=mail, recipients=TEAMS | {"NA": ("Ana@example.com", "BO@example.com")})
        for team in (None, *TEAMS):
            hours = 4020.0 if team is None else 402.5
            directory = publish(tmp_path, team, hours=hours, facts={"template": "renamed"})
            manifest = json.loads((directory / "manifest.json").read_bytes())
            (directory / "manifest.json").write_text(json.dumps(manifest | {"template": "renamed"}))
        assert {row.message_id for row in send(moved, NOW + timedelta(days=1))} == ids
        assert len(boxes.taken) == len(ids) == 4
        publish(tmp_path, "NA", hours=500.0, facts={"template": "renamed"})
        new = [row for row in send(moved, NOW + timedelta(days=2)) if row.message_id not in ids]
        assert {(row.recipient, row.revision) for row in new} == {
            ("Ana@example.com", 2),
            ("BO@example.com", 2),
        }
        last = email.message_from_bytes(boxes.taken[-1][1])
        assert str(last["Message-ID"]).endswith("@example.org>")
        assert last["References"] in ids


def test_an_older_ledger_is_brought_up_to_date(tmp_path: Path) -> None:
    """Tables of an earlier usagekit keep every mail and run: what was sent stays sent, what was put off gets its days."""
    first_mails, first_runs = outbox_table.STATEMENTS[:2], run_table.STATEMENTS[:1]
    with lab(tmp_path) as (settings, boxes):
        content = content_hash(json.loads((publish(tmp_path, "NA") / "manifest.json").read_bytes()))
        with open_ledger(tmp_path) as ledger:
            migrate(ledger.connection, "mails", first_mails)
            migrate(ledger.connection, "runs", first_runs)
            for to, state in (("ana@example.com", "sent"), ("bo@example.com", "deferred")):
                ledger.connection.execute(
                    "INSERT INTO mails VALUES (?, 'team_month', 'NA', ?, 1, ?, ?, ?, '', 1, ?, ?, '')",
                    (f"<{to[:2]}@old.example>", MONTH, to, content, state, "2026-01-01T00:00:00+00:00",
                     stamp(NOW - timedelta(days=1))),
                )  # fmt: skip
            ledger.connection.execute(
                "INSERT INTO runs VALUES (?, 1, 'waiting', '', 0, ?, '', '')", (MONTH, stamp(NOW))
            )
        boxes.rcpt = lambda to: "451 later" if to.startswith("bo") else ""
        assert states(send(settings)) == {
            "ana@example.com": "sent", "bo@example.com": "deferred", "cy@example.com": "sent",
        }  # fmt: skip
        boxes.rcpt = lambda _: ""
        send(settings, NOW + timedelta(hours=1))
        assert Counter(to for to, _ in boxes.taken) == {"bo@example.com": 1, "cy@example.com": 1}
        with open_ledger(tmp_path) as ledger:
            assert run_table.runs(ledger)[MONTH].state == "done"


def test_what_no_longer_has_a_recipient_is_withdrawn(tmp_path: Path) -> None:
    """A team that left the settings with a mail that waits, and a refused address that was corrected, trouble nobody."""
    answers = {
        "cy@example.com": "451 later",
        "ana@example.com": "550 no such user",
        "bo@example.com": "550 gone",
    }
    with lab(tmp_path, Mailboxes(rcpt=lambda to: answers.get(to, ""))) as (settings, boxes):
        assert not send_month(settings, MONTH, clock=lambda: NOW).ok
        mended = replace(settings, recipients={"NA": ("anna@example.com",)})
        summary = send_month(mended, MONTH, clock=lambda: NOW + timedelta(hours=1))
        assert summary.ok
        assert summary.unaddressed == ("R&D / Café",)
        assert "R&D / Café" in str(summary)
        assert states(summary.rows) == {
            "anna@example.com": "sent", "ana@example.com": "withdrawn", "bo@example.com": "withdrawn",
            "cy@example.com": "withdrawn", "owner@example.com": "sent",
        }  # fmt: skip
        (ana,) = (row for row in summary.rows if row.recipient == "ana@example.com")
        assert ana.reason == "no longer a recipient in the settings; it was refused: 550 no such user"
        answers.clear()
        back = replace(mended, recipients={"R&D / Café": ("cy@example.com",), "NA": ("anna@example.com",)})
        assert states(send(back, NOW + timedelta(hours=2)))["cy@example.com"] == "sent"
        assert boxes.to("ana@example.com") == 0


def test_owners_hear_again_after_the_all_clear(tmp_path: Path) -> None:
    """The same trouble is told once while it lasts, whatever the day; after it was over it is told again."""
    amiss: dict[str, Any] = {"facts": {"as_of": "2026-08-01T05:00:00+00:00"}}
    red: dict[str, Any] = {"mail": {"trust": {"badge": "red", "text": "off by 9%"}}}
    with lab(tmp_path) as (settings, boxes):
        for day, (changes, letters) in enumerate([
            (red, 1), (red, 1), ({}, 1), (red, 2), (amiss, 3), (amiss, 3), (amiss, 3), (red, 4), ({}, 4), ({}, 4), (red, 5),
        ]):  # fmt: skip
            publish(tmp_path, "NA", **changes)
            send(settings, NOW + timedelta(days=day))
            assert boxes.to("owner@example.com") == letters, (day, changes)


def test_owners_hear_of_reports_that_nobody_is_listed_for(tmp_path: Path) -> None:
    """A red or failed report without a recipient, the lab's too, is told; one that is well stands in their letter."""
    with lab(tmp_path) as (settings, boxes):
        boss(tmp_path, mail={"trust": {"badge": "red", "text": "off by 9%"}})
        publish(tmp_path, "Quiet")
        publish(tmp_path, "Left out", mail={"trust": {"badge": "red", "text": "off by 8%"}})
        template = Path(__file__).parents[2] / "notebooks" / "team_month.ipynb"
        (unit,) = plan_month(MONTH, ["Unlisted"], snapshot=tmp_path, reports=tmp_path, template=template)
        with open_ledger(tmp_path) as ledger:
            ledger.plan([(unit, "key")])
            ledger.fail(Failure(unit, 3, "ValueError", "no rows"))
        summary = send_month(replace(settings, exclude_teams=("Left out",)), MONTH, clock=lambda: NOW)
        assert not summary.ok
        assert [trouble.about for trouble in summary.held] == ["The whole lab", "Unlisted"]
        (letter,) = (content.decode() for to, content in boxes.taken if to == "owner@example.com")
        assert "off by 9%" in letter
        assert "ValueError: no rows" in letter
        assert "Nobody is listed below [recipients] for Quiet." in letter


def test_a_name_that_no_team_has(tmp_path: Path) -> None:
    """A slip in [recipients] is told as one, to the owners alone; before anything is rendered the word is to render."""
    with lab(tmp_path, lab_managers=("boss@example.com",)) as (settings, boxes):
        boss(tmp_path)
        slip = replace(settings, recipients=TEAMS | {"R&D / Cafe": ("di@example.com",)})
        summary = send_month(slip, MONTH, clock=lambda: NOW)
        (held,) = summary.held
        assert "[recipients]" in held.what
        assert "did you mean 'R&D / Café'?" in held.what
        told = {to: content.decode() for to, content in boxes.taken}
        assert "[recipients]" in told["owner@example.com"]
        assert "held back" not in told["boss@example.com"]
    empty = replace(slip, reports=tmp_path / "empty", snapshots=tmp_path)
    (tmp_path / MONTH).mkdir(exist_ok=True)
    assert {"no report was published: render it"} == {
        t.what for t in preview(empty, MONTH, clock=lambda: NOW).held
    }


def test_a_month_of_which_there_is_nothing(tmp_path: Path) -> None:
    """A slip in --month is an error before anything: nobody is mailed, and no such month is known afterwards."""
    with lab(tmp_path) as (settings, boxes):
        for attempt in (send_month, queue_month, preview):
            with pytest.raises(
                QueryError, match=r"2026-01 has neither numbers nor reports.*did you mean '2026-10'"
            ):
                attempt(settings, "2026-01")  # type: ignore[operator]
        assert status_rows(settings) == []
        assert boxes.taken == []


def test_a_long_list_goes_with_the_owners_mail() -> None:
    """Forty rows stand in the mail, its end says how many more, and a file has them all."""
    troubles = [Trouble(f"Team {n}", "was held") for n in range(45)]
    letter = owners_letter(troubles, lab="Lab", month=MONTH)
    assert "5 more: all 45 are in to-look-at_2026-10.txt." in letter.text()
    assert letter.attachments[0].content.decode().splitlines() == [str(trouble) for trouble in troubles]
    assert not owners_letter(troubles[:40], lab="Lab", month=MONTH).attachments

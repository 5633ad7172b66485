"""Refusal mixes: each team's recipients are refused, put off or taken at random, and all of it must be accounted for."""

from __future__ import annotations

import email
import email.policy
import random
import re
from collections import Counter
from datetime import timedelta
from pathlib import Path

from tests.post.reports import MONTH, NOW, Settings, publish
from tests.post.smtp import Mailboxes, serving_smtp
from usagekit.delivery import send_month, status_rows
from usagekit.delivery.overview import DOUBTFUL
from usagekit.delivery.queueing import told
from usagekit.mail_settings import MailSettings

REPLIES = ("", "", "450 greylisted", "452 full", "550 no such user", "551 moved", "554 no")


def refusal_mixes(reports: Path, count: int, rng: random.Random) -> dict[str, int]:
    """Send a month to ``count`` teams, three times half an hour apart; counts, from the server's boxes and what was told of them.

    What is put off at RCPT or after the message is taken at the third try.
    """
    recipients = {
        f"team-{n}": tuple(f"r{n}-{i}@example.com" for i in range(rng.randrange(1, 6))) for n in range(count)
    }
    fate = {to: (rng.choice(REPLIES), rng.random() < 0.5) for listed in recipients.values() for to in listed}
    for team in recipients:
        publish(reports, team, mail={"history": []})  # its chart is half of the time
    tries: Counter[str] = Counter()

    def answer(to: str, *, at_rcpt: bool) -> str:
        reply, wants_rcpt = fate.get(to, ("", True))
        if at_rcpt:
            tries[to] += 1
        done = reply.startswith("4") and tries[to] >= 3
        return reply if at_rcpt == wants_rcpt and not done else ""

    boxes = Mailboxes(rcpt=lambda to: answer(to, at_rcpt=True), data=lambda to: answer(to, at_rcpt=False))
    with serving_smtp(boxes):
        mail = MailSettings(
            enabled=True, host="127.0.0.1", port=boxes.port, security="none", from_address="usage@example.com",
            owners=("owner@example.com",),
        )  # fmt: skip
        settings = Settings(reports, mail, recipients)
        expected = {"": "sent", "4": "deferred", "5": "refused"}
        for turn in range(4):
            now = NOW + turn * timedelta(minutes=31)
            rows = [
                r
                for r in send_month(settings, MONTH, clock=lambda now=now: now).rows
                if r.template != "owners"
            ]  # type: ignore[misc]
            assert len(rows) == len(fate)
            for row in rows:
                reply = fate[row.recipient][0]
                state = "sent" if reply.startswith("4") and turn >= 2 else expected[reply[:1]]
                assert row.state == state, row
                assert row.reason.startswith(reply) or state == "sent", row
                assert boxes.to(row.recipient) == (state == "sent"), row
                assert tries[row.recipient] == (min(turn + 1, 3) if reply.startswith("4") else 1), row
        letters = " ".join(_text(content) for to, content in boxes.taken if to == "owner@example.com")
        status = " ".join(
            str(told(row)) for row in status_rows(settings, month=MONTH) if row.state in DOUBTFUL
        )
    refused = [to for to, (reply, _) in fate.items() if reply.startswith("5")]
    return {
        "mixes": count,
        "recipients": len(fate),
        "refused": len(refused),
        "twice": sum(boxes.to(to) > 1 for to in fate),
        "forgotten": sum(boxes.to(to) == 0 for to in fate.keys() - refused),
        "unreported": sum(not (_names(to, letters) and _names(to, status)) for to in refused),
    }


def _text(content: bytes) -> str:
    """What a mail says, with its files."""
    message = email.message_from_bytes(content, policy=email.policy.default)
    body = message.get_body(("plain",))  # type: ignore[attr-defined]
    files = [part.get_content() for part in message.iter_attachments()]  # type: ignore[attr-defined]
    return " ".join([body.get_content(), *files])


def _names(address: str, text: str) -> bool:
    # As a word of its own: r1-1@… is not named by r11-1@….
    return re.search(rf"(?<![\w-]){re.escape(address)}", text) is not None

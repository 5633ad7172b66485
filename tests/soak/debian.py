"""Faults 52 to 59 against Debian's postfix and dovecot: ``python -m tests.soak.debian [--kills N] [--cuts N]``.

One month's mails over STARTTLS and a login: some refused, some put off, one bounced, senders killed at random, the
connection cut at random bytes. Whatever happened, every mailbox is read over IMAP at the end and held against the
outbox: nothing lost, nothing doubled, what was in doubt settled by the archive.
"""

from __future__ import annotations

import argparse
import email
import email.policy
import imaplib
import json
import os
import random
import signal
import ssl
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.post.debian import ARCHIVE, SENDER, MailHost, debian_mail, is_installed
from tests.post.reports import MONTH, publish
from tests.post.smtp import PASSWORD, cutting, port_of
from tests.soak.lines import report
from usagekit.delivery import resolve, send_month, status_rows
from usagekit.delivery.postman import Postman, Result
from usagekit.errors import MailError
from usagekit.mail_settings import IMAP_PASSWORD, SMTP_PASSWORD, MailSettings
from usagekit.settings import Settings, load_settings

GONE, REFUSED, GREY, OWNER = (f"{name}@example.com" for name in ("gone", "refused", "grey", "owner"))
LIMIT = 400_000
TEAMS = 25


def soak_debian(kills: int, cuts: int, rng: random.Random) -> dict[str, Any]:
    """Run everything once; the counts, after each was held against what the servers have."""
    people = [f"p{n}@example.com" for n in range(3 * TEAMS)]
    cut_to = [f"cut{n}@example.com" for n in range(cuts)]
    os.environ |= {SMTP_PASSWORD: PASSWORD, IMAP_PASSWORD: PASSWORD}
    with TemporaryDirectory() as place:
        folder = Path(place)
        folder.chmod(0o755)  # dovecot's processes drop their rights
        boxes = [*people, *cut_to, REFUSED, GREY, OWNER, "screened@example.com"]
        with debian_mail(folder / "mail", people=boxes, gone=[GONE], limit=LIMIT) as host:
            stopped = _stopped(host)
            screened = _screened(host)
            counts = _month(folder, host, people, kills, rng)
            counts |= _cut(host, cut_to, rng)
    return {"postfix and dovecot": "Debian's", "stopped": stopped, "screened": screened, **counts}


def mail_at(host: MailHost, **changes: Any) -> MailSettings:
    about = {
        "enabled": True, "host": "127.0.0.1", "port": host.smtp, "ca_file": host.ca_file, "username": SENDER,
        "from_address": SENDER, "owners": (OWNER,), "timeout_seconds": 10,
    }  # fmt: skip
    return MailSettings(**(about | changes))


def post(mail: MailSettings, to: str) -> Result | MailError:
    try:
        with Postman(mail) as postman:
            return postman.send(to, _message(to), before_data=lambda: None)
    except MailError as error:
        return error


def _message(to: str) -> bytes:
    return f"Subject: x\r\nMessage-ID: <{to}>\r\nTo: {to}\r\n\r\n.{'x' * 70}\r\n.\r\nend\r\n".encode()


def _stopped(host: MailHost) -> int:
    """54: nobody known, nobody's certificate and a wrong password stop everything before the first message."""
    results = [post(mail_at(host, username=None), OWNER), post(mail_at(host, ca_file=None), OWNER)]
    os.environ[SMTP_PASSWORD] = f"no-{PASSWORD}"
    results.append(post(mail_at(host), OWNER))
    os.environ[SMTP_PASSWORD] = PASSWORD
    told = [str(result) for result in results]
    assert "554" in told[0] or "Client host rejected" in told[0], told
    assert "proves no identity" in told[1], told
    assert "refuses the login" in told[2], told
    assert not any(PASSWORD in each for each in told)
    return len(told)


def _screened(host: MailHost) -> int:
    """53: postscreen puts a stranger off once and takes the next try."""
    mail = mail_at(host, port=host.screened, username=None, timeout_seconds=60)
    first, second = (post(mail, "screened@example.com") for _ in range(2))
    assert isinstance(first, Result), first
    assert first.state == "deferred", first
    assert first.reason.startswith("450 4.3.2"), first
    assert isinstance(second, Result), second
    assert second.state == "sent", second
    return 1


def _month(folder: Path, host: MailHost, people: list[str], kills: int, rng: random.Random) -> dict[str, Any]:
    """52, 53, 55, 57, 59: a month of mails by the command line, killed again and again."""
    recipients = {f"team-{n}": people[3 * n : 3 * n + 3] for n in range(TEAMS)}
    recipients["team-0"] = [*recipients["team-0"], REFUSED, GREY, GONE]
    for number, team in enumerate(recipients):
        big = {
            "report.pdf": b"%PDF" + rng.randbytes(20_000),
            "hours.csv": b"h" * (1000 if number else 400_000),
        }
        publish(
            folder / "reports", team, files=big, facts={"as_of": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"}
        )
    (folder / "usagekit.toml").write_text(_settings(host, recipients))
    settings = load_settings(folder / "usagekit.toml", reports=folder / "reports")
    host.refuse({REFUSED: "550 5.1.1 no such user", GREY: "451 4.7.1 come back"})
    log, killed = folder / "send.log", 0
    steps = [f"{step}@{n}" for step in ("mail:data-sent", "mail:dot-sent", "mail:answered") for n in (2, 5)]
    for number in range(kills):
        step = steps[number] if number < len(steps) else ""
        killed += _killed_send(folder, log, step, after=rng.uniform(0.3, 3))
        resolve(settings)
    _killed_send(folder, log, "", after=600)
    doubtful = [row for row in resolve(settings) if row.state == "unknown"]
    # What the archive does not have never arrived; a person would say so, and then it goes out.
    for row in doubtful:
        resolve(settings, row.message_id, decision="resend")
    host.refuse({})
    rows = _later(settings, 31)
    states = {row.recipient: row.state for row in rows if row.team}
    reasons = {row.recipient: row.reason for row in rows}
    assert states == dict.fromkeys([*people, GREY, GONE], "sent") | {REFUSED: "refused"}, Counter(
        states.values()
    )
    assert reasons[REFUSED].startswith("550 5.1.1"), reasons[REFUSED]
    bounced = _wait_for_bounce(host)
    (gone,) = (row for row in rows if row.message_id == bounced)
    assert gone.recipient == GONE
    own = {row.recipient: row.message_id for row in rows if row.team}
    found = {to: [message["Message-ID"] for message in mailbox(host, to)] for to in [*people, GREY]}
    assert found == {to: [own[to]] for to in found}
    assert mailbox(host, REFUSED) == []
    (first, *_) = mailbox(host, people[0])
    names = [part.get_filename() for part in first.iter_attachments()]
    assert [str(name).rpartition(".")[2] for name in names] == ["pdf"], names  # 57: the table was too large
    told = " ".join(str(m.get_body(("plain",)).get_content()) for m in mailbox(host, OWNER))  # type: ignore[union-attr]
    assert REFUSED in told
    return {
        "killed": killed, "mails": len(states), "lost": 0, "doubled": 0, "settled by hand": len(doubtful), "bounced": 1,
    }  # fmt: skip


def _later(settings: Settings, minutes: int) -> list[Any]:
    """Send what is due after that time, twice, so that nothing more could be sent."""
    for more in (minutes, 2 * minutes):
        now = datetime.now(UTC) + timedelta(minutes=more)
        send_month(settings, MONTH, clock=lambda now=now: now)  # type: ignore[misc]
    return list(status_rows(settings))


def _killed_send(folder: Path, log: Path, step: str, *, after: float) -> bool:
    """``usagekit send``, killed at a step or after some seconds; whether it was."""
    crash = {"USAGEKIT_CRASH_AT": step} if step else {}
    command = [sys.executable, "-m", "usagekit.cli", "send", "--month", MONTH]
    with log.open("ab") as told, subprocess.Popen(
        command, cwd=folder, env=os.environ | crash, stdout=told, stderr=told, start_new_session=True,
    ) as sender:  # fmt: skip
        try:
            sender.wait(600 if step else after)
        except subprocess.TimeoutExpired:
            sender.kill()
        code = sender.wait()
    assert code in (0, 1, -signal.SIGKILL), log.read_text()
    return code == -signal.SIGKILL


def _settings(host: MailHost, recipients: dict[str, list[str]]) -> str:
    archive = {"host": "127.0.0.1", "port": host.imap, "username": ARCHIVE, "ca_file": str(host.ca_file)}
    mail = {
        "enabled": True, "host": "127.0.0.1", "port": host.smtp, "ca_file": str(host.ca_file), "username": SENDER,
        "from_address": SENDER, "owners": [OWNER], "timeout_seconds": 20,
    }  # fmt: skip
    return "\n".join(
        f"[{name}]\n" + "\n".join(f"{key} = {json.dumps(value)}" for key, value in table.items())
        for name, table in (("mail", mail), ("mail.archive", archive), ("recipients", recipients))
    )


def _cut(host: MailHost, cut_to: list[str], rng: random.Random) -> dict[str, int]:
    """55: the encrypted dialogue cut at random bytes; what the archive has is what the result said."""
    found: dict[str, str] = {}
    with cutting(host.smtp) as proxy:
        whole = post(mail_at(host, port=port_of(proxy)), cut_to[0])
        assert isinstance(whole, Result), whole
        assert whole.state == "sent", whole
        found[cut_to[0]] = "sent"
        lengths = {"cut_sent_after": proxy.sent, "cut_after": proxy.received}
    for to in cut_to[1:]:
        side = rng.choice(sorted(lengths))
        with cutting(host.smtp) as proxy:
            # Before the end lies little else than the handshake; most of what matters is in the last bytes.
            least = rng.choice((1, lengths[side] * 3 // 4))
            setattr(proxy, side, rng.randint(least, lengths[side]))
            result = post(mail_at(host, port=port_of(proxy)), to)
        found[to] = result.state if isinstance(result, Result) else "stopped"
    time.sleep(2)  # what postfix took on its last breath is on its way
    for to, state in found.items():
        arrived = len(mailbox(host, to))
        assert arrived <= 1, to
        assert state == "unknown" or arrived == (state == "sent"), (to, state, arrived)
    return {"cut": len(found), **{f"cut {k}": n for k, n in sorted(Counter(found.values()).items())}}


@contextmanager
def _imap(host: MailHost, user: str) -> Iterator[imaplib.IMAP4_SSL]:
    context = ssl.create_default_context(cafile=str(host.ca_file))
    with imaplib.IMAP4_SSL("127.0.0.1", host.imap, ssl_context=context) as imap:
        imap.login(user, PASSWORD)
        yield imap


def mailbox(host: MailHost, user: str) -> list[EmailMessage]:
    """Every mail of a mailbox."""
    with _imap(host, user) as imap:
        _, (count,) = imap.select("INBOX", readonly=True)
        found = [
            imap.fetch(str(n), "(BODY.PEEK[])")[1][0][1]  # type: ignore[index]
            for n in range(1, int(count or 0) + 1)
        ]
    return [email.message_from_bytes(each, policy=email.policy.default) for each in found]  # type: ignore[arg-type,misc]


def _wait_for_bounce(host: MailHost) -> str:
    """The Message-ID of the mail that postfix gave back to the sender."""
    until = time.monotonic() + 60
    while not (bounces := mailbox(host, SENDER)):
        assert time.monotonic() < until, host.log()
        time.sleep(0.5)
    (bounce,) = bounces
    # Of a large mail postfix gives back the headers only.
    (part,) = (p for p in bounce.walk() if p.get_content_type() in ("message/rfc822", "text/rfc822-headers"))
    inner = part.get_payload(0) if part.is_multipart() else email.message_from_string(str(part.get_payload()))
    return str(inner["Message-ID"])  # type: ignore[call-overload,index]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--cuts", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--write", action="store_true", help="add the line to docs/soak-debian.jsonl")
    asked = parser.parse_args()
    if not is_installed():
        print("skipped: needs root and Debian's postfix, dovecot-imapd and dovecot-lmtpd", file=sys.stderr)
        return
    rng = random.Random(asked.seed)
    file = "soak-debian.jsonl" if asked.write else None
    report("mail by postfix", lambda: soak_debian(asked.kills, asked.cuts, rng), file)


if __name__ == "__main__":
    main()

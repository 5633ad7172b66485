"""The whole way, as a lab goes it: events in a file, an API, reports, mails, and the numbers read back from a mailbox."""

from __future__ import annotations

import csv
import email
import email.policy
import imaplib
import json
import os
import random
import re
import shutil
import signal
import ssl
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from email.message import EmailMessage
from io import BytesIO
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import trustme
from pypdf import PdfReader

from tests.dice import first_seed
from tests.post.imap import serving_imap
from tests.post.smtp import Mailboxes, serving_smtp
from tests.post.world import RECIPIENTS, TEAMS, TOKEN, ZONE, hourly_sessions, write_settings
from tests.serving import serving
from usagekit.period import shift_month
from usagekit.report.template import load_template, trust

COMMAND = [str(Path(sys.executable).parent / "usagekit")]
PASSWORD = "of-the-archive"
EVERYBODY = {**{to: team for team, (to,) in RECIPIENTS.items()}, "boss@example.com": None}
KILLS = ("run:fetched", "mail:dot-sent", "mail:answered@3", "", "")


@dataclass
class CopiedMailboxes(Mailboxes):
    """A server that files a copy of every mail in an archive."""

    archive: list[bytes] = field(default_factory=list)

    async def handle_DATA(self, *args: Any) -> str:
        before = len(self.taken)
        reply = await super().handle_DATA(*args)
        self.archive += [content for _, content in self.taken[before:]]
        return reply


def test_events_become_mails_with_the_same_numbers_through_any_kill(tmp_path: Path) -> None:
    """Import, serve, run with kills at named steps and at random: each mail arrives once, its PDF says what the events say."""
    month = shift_month(f"{datetime.now(UTC):%Y-%m}", -1)
    first = date.fromisoformat(f"{shift_month(month, -2)}-01")
    hours = write_tables(tmp_path, month, first)
    use_templates(tmp_path / "notebooks")
    authority, boxes, dice = trustme.CA(), CopiedMailboxes(), random.Random(first_seed())
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    usagekit(tmp_path, "import", "sessions.csv", "devices.csv", "hosts.csv", "--store", "store")
    with (
        serving_smtp(boxes),
        serving_imap(boxes.archive, tls=server, password=PASSWORD) as imap,
        serving(tmp_path / "store", environment=environment(tmp_path), token=TOKEN) as url,
    ):
        write_settings(tmp_path, boxes.port, base_url=f'"{url}"')
        with (tmp_path / "usagekit.toml").open("a") as file:
            file.write(
                f'[mail.archive]\nhost = "127.0.0.1"\nport = {imap}\nusername = "a"\nfolder = "Archive"\nca_file = "ca.pem"\n'
            )
        for kill in KILLS:
            killed(tmp_path, month, at=kill, after=dice.uniform(1, 25))
            if kill == "mail:dot-sent":
                told = json.loads(usagekit(tmp_path, "status", "--month", month, "--json"))["months"][0]
                assert any("sending" in problem for problem in told["problems"])
        usagekit(tmp_path, "run", "--month", month)
        assert Counter(to for to, _ in boxes.taken) == Counter(dict.fromkeys(EVERYBODY, 1))
        health = json.loads((tmp_path / "reports" / "health.json").read_bytes())
        assert (health["ok"], health["in_doubt"], health["months"][month]["sent"]) == (True, [], 4)
        read = read_back(imap, tmp_path / "ca.pem")
    assert {message["To"] for message in read} == set(EVERYBODY)
    for message in read:
        team = EVERYBODY[message["To"]]
        shown = f"{hours[team]:.1f} h" if hours[team] < 99.95 else f"{hours[team]:.0f} h"
        assert shown in plain(message["Subject"])
        assert shown in plain(message.get_body(("plain",)).get_content())  # type: ignore[union-attr]
        (pdf,) = [part for part in message.iter_attachments() if part.get_content_type() == "application/pdf"]
        pages = PdfReader(BytesIO(pdf.get_payload(decode=True))).pages  # type: ignore[arg-type]
        assert shown in plain(" ".join(page.extract_text() for page in pages))


def write_tables(folder: Path, month: str, first: date) -> dict[str | None, float]:
    """Write the lab as CSV files to import; gives the hours of each team, and of all, that lie in the month."""
    zone, midnight = ZoneInfo(ZONE), datetime.min.time()
    start, end = (
        datetime.combine(date.fromisoformat(f"{m}-01"), midnight, zone).timestamp()
        for m in (month, shift_month(month, 1))
    )
    lab = hourly_sessions(first, 3, random.Random(11))
    for name in ("sessions", "devices", "hosts"):
        rows = getattr(lab, name)
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            lines = csv.DictWriter(file, rows[0].keys())
            lines.writeheader()
            lines.writerows(rows)
    seconds: Counter[str | None] = Counter()
    for row in lab.sessions:
        within = min(row["end_time"].timestamp(), end) - max(row["start_time"].timestamp(), start)
        for key in (row["team"], None):
            seconds[key] += max(0, int(within))
    return {key: seconds[key] / 3600 for key in (*TEAMS, None)}


def use_templates(folder: Path) -> None:
    """The lab's own copies of the real notebooks, checked."""
    folder.mkdir()
    for name in ("team_month.ipynb", "lab_month.ipynb"):
        shutil.copy(Path(__file__).parents[2] / "notebooks" / name, folder)
        trust(load_template(folder / name))


def environment(folder: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("USAGEKIT", "HEADSPIN"))}
    secrets = {"HEADSPIN_API_TOKEN": TOKEN, "USAGEKIT_IMAP_PASSWORD": PASSWORD}
    return kept | secrets | {"USAGEKIT_CACHE": str(folder / "cache")}


def usagekit(folder: Path, *args: str) -> str:
    """Run a command to its good end; gives what it printed."""
    done = subprocess.run(
        [*COMMAND, *args], cwd=folder, env=environment(folder), capture_output=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def killed(folder: Path, month: str, *, at: str, after: float) -> None:
    """Start the run and kill it with its workers: at a step, or after some seconds if it is still at work then."""
    crash = {"USAGEKIT_CRASH_AT": at} if at else {}
    log = folder / "run.log"
    with log.open("wb") as told, subprocess.Popen(
        [*COMMAND, "run", "--month", month], cwd=folder, env=environment(folder) | crash, start_new_session=True,
        stdout=told, stderr=told,
    ) as process:  # fmt: skip
        if not at:
            time.sleep(after)
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        assert process.wait(600) == -signal.SIGKILL or (not at and process.returncode == 0), log.read_text()


def read_back(port: int, authority: Path) -> list[EmailMessage]:
    """Every mail in the archive, fetched over IMAP."""
    context = ssl.create_default_context(cafile=str(authority))
    with imaplib.IMAP4_SSL("127.0.0.1", port, ssl_context=context) as imap:
        imap.login("a", PASSWORD)
        _, (count,) = imap.select('"Archive"', readonly=True)
        found = []
        for number in range(1, int(count or 0) + 1):
            _, answer = imap.uid("FETCH", str(number), "(BODY.PEEK[])")
            found.append(email.message_from_bytes(answer[0][1], policy=email.policy.default))
    return found  # type: ignore[return-value] # the default policy makes EmailMessages


def plain(text: Any) -> str:
    """Text with spaces of one kind."""
    return re.sub(r"\s+", " ", str(text))


pytestmark = pytest.mark.fault(44)

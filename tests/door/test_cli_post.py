"""Mails, runs, schedules and first settings as a user types them: real processes, exit codes and words."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.door.test_cli import Shown
from tests.post.reports import MONTH, publish
from tests.post.smtp import Mailboxes, serving_smtp
from usagekit.delivery.outbox_table import mark
from usagekit.delivery.run import LOCK_FILE
from usagekit.engine.files import locked
from usagekit.report.ledger import open_ledger
from usagekit.settings import load_settings

COMMAND = [str(Path(sys.executable).parent / "usagekit")]
TEAM = "R&D / Café"


def run(folder: Path, *args: str, code: int = 0, **environment: str) -> Shown:
    """Run usagekit in a folder with a clean environment and check its exit code."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("USAGEKIT", "HEADSPIN"))}
    done = subprocess.run(
        [*COMMAND, *args], check=False, cwd=folder, env=kept | environment, capture_output=True, timeout=240,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    shown = Shown(done.stdout.decode(), done.stderr.decode())
    assert done.returncode == code, f"exit {done.returncode}\n{shown.stdout}\n{shown.stderr}"
    assert "Traceback" not in shown.stderr
    return shown


def configure(folder: Path, port: int, *, enabled: bool = True) -> None:
    (folder / "usagekit.toml").write_text(
        f'timezone = "Europe/Berlin"\n[mail]\nenabled = {str(enabled).lower()}\nhost = "127.0.0.1"\nport = {port}\n'
        'security = "none"\ntimeout_seconds = 5\nmax_age_days = 3650\nfrom_address = "usage@example.com"\n'
        f'owners = ["owner@example.com"]\n[recipients]\n"{TEAM}" = ["cy@example.com"]\n',
        "utf-8",
    )


def test_send_writes_a_preview_until_mail_is_on(tmp_path: Path) -> None:
    """While mail is off, and with --dry-run, what would go out is a file; then it goes out, once."""
    publish(tmp_path / "reports", TEAM)
    with serving_smtp(Mailboxes()) as boxes:
        configure(tmp_path, boxes.port, enabled=False)
        shown = run(tmp_path, "send", "--month", MONTH)
        assert "nothing was sent" in shown.stderr
        paths = [tmp_path / line for line in shown.stdout.splitlines()]
        assert {path.suffix for path in paths if path.exists()} == {".eml", ".html"}
        configure(tmp_path, boxes.port)
        assert run(tmp_path, "send", "--month", MONTH, "--dry-run").stdout == shown.stdout
        assert boxes.taken == []
        for _ in range(2):
            assert "1 sent" in run(tmp_path, "send", "--month", MONTH).stdout
        assert [to for to, _ in boxes.taken] == ["cy@example.com"]
        listed = run(tmp_path, "send", "--status", "--month", MONTH).stdout
        assert all(part in listed for part in (MONTH, "sent", TEAM, "cy@example.com"))


def test_send_says_what_did_not_go_out(tmp_path: Path) -> None:
    """A refused mail is exit 1 with the server's words, a server that is not there exit 3, and nothing is lost."""
    publish(tmp_path / "reports", TEAM)
    configure(tmp_path, 9)
    assert "1 mails wait" in run(tmp_path, "send", "--month", MONTH, code=3).stderr
    with serving_smtp(
        Mailboxes(data=lambda to: "550 no such user" if to == "cy@example.com" else "")
    ) as boxes:
        configure(tmp_path, boxes.port)
        assert "550 no such user" in run(tmp_path, "send", "--month", MONTH, code=1).stdout
        assert boxes.to("owner@example.com") == 1


def test_doubts_are_resolved_by_name(tmp_path: Path) -> None:
    """A mail in doubt is listed by status with its Message-ID; --resolve takes a person's word for it, nothing less."""
    publish(tmp_path / "reports", TEAM)
    with serving_smtp(Mailboxes()) as boxes:
        configure(tmp_path, boxes.port)
        run(tmp_path, "send", "--month", MONTH)
        settings = load_settings(tmp_path / "usagekit.toml")
        with open_ledger(tmp_path / "reports") as ledger:
            (row,) = ledger.connection.execute("SELECT message_id FROM mails").fetchall()
            mark(ledger, row[0], "unknown", now=datetime.now(UTC), reason="no answer")
        assert settings.mail.archive is None
        about = json.loads(run(tmp_path, "status", "--json").stdout)["months"]
        assert any(row[0] in problem for month in about for problem in month["problems"])
        assert "no archive is set" in run(tmp_path, "send", "--resolve", code=2).stderr
        bare = row[0].strip("<>")
        assert "sent" in run(tmp_path, "send", bare, "--resolve", "--as", "sent").stdout
        assert run(tmp_path, "send", "--resolve").stdout == "nothing is in doubt\n"
        with open_ledger(tmp_path / "reports") as ledger:
            mark(ledger, row[0], "unknown", now=datetime.now(UTC), reason="no answer")
        archive = {"USAGEKIT_MAIL__ARCHIVE__HOST": "127.0.0.1", "USAGEKIT_MAIL__ARCHIVE__PORT": "9"}
        archive |= {"USAGEKIT_MAIL__ARCHIVE__USERNAME": "a", "USAGEKIT_IMAP_PASSWORD": "p"}
        assert "cannot be reached" in run(tmp_path, "send", "--resolve", code=3, **archive).stderr
        assert "Message-ID" in run(tmp_path, "send", "--resolve", "--as", "resend", code=2).stderr
        assert "is in doubt" in run(tmp_path, "send", "<x@y>", "--resolve", "--as", "sent", code=2).stderr
        assert "queued" in run(tmp_path, "send", row[0], "--resolve", "--as", "resend").stdout
        run(tmp_path, "send", "--month", MONTH)
        assert boxes.to("cy@example.com") == 2


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("send",), "--month YYYY-MM, --status or --resolve"),
        (("send", "--month", "2026-1"), "not a month"),
        (("send", "<x@y>"), "go with --resolve"),
        (("run",), "--month YYYY-MM"),
        (("run", "--due", "--month", "2026-01"), "or --due"),
        (("run", "--due", "--refresh"), "or --due"),
        (("run", "--month", "2026-13"), "not a month"),
        (("run", "--month", "2150-01"), "has not ended"),
        (("schedule", "--cron", "--to", "."), "--to goes with --systemd"),
        (("schedule", "--systemd", "--to", "nowhere"), "nowhere/usagekit.service: No such file or directory"),
        (("init", "nowhere/usagekit.toml"), "No such file or directory"),
        (
            ("init", "new.toml", "--base-url", "http://example.com"),
            "base_url would send the token unencrypted",
        ),
        (("fetch", "--month", "2023-03", "--store", "nowhere"), "nowhere"),
        (("verify", "--store", "usagekit.toml"), "usagekit.toml"),
        (("import", ".", "--store", "store"), "."),
        (("sample", "--store", "usagekit.toml"), "usagekit.toml"),
        (("template", "new", "usagekit.toml/my.ipynb"), "usagekit.toml"),
        (("demo", "--reports", "usagekit.toml"), "usagekit.toml"),
    ],
)
def test_wrong_usage_is_told(tmp_path: Path, args: tuple[str, ...], words: str) -> None:
    """Options that do not fit, months that are none and paths that lead nowhere are exit 2, in one line."""
    configure(tmp_path, 9)
    assert words in run(tmp_path, *args, code=2).stderr


def test_run_tells_a_monitor(tmp_path: Path) -> None:
    """A refused API is exit 3, JSON lines say so, health.json and status too; a second run beside it is exit 4."""
    configure(tmp_path, 9)
    environment: dict[str, Any] = {"HEADSPIN_API_TOKEN": "x", "USAGEKIT_BASE_URL": "http://127.0.0.1:9"}
    shown = run(tmp_path, "run", "--due", "--log", "json", code=3, **environment)
    events = [json.loads(line) for line in shown.stderr.splitlines()]
    events = [event for event in events if event["event"] != "log"]  # of libraries, such as each new try
    assert [event["event"] for event in events] == ["started", "waiting"]
    assert "cannot connect" in events[-1]["causes"][0]
    assert all(datetime.fromisoformat(event["time"]).tzinfo for event in events)
    month = events[0]["month"]
    health = json.loads((tmp_path / "reports" / "health.json").read_bytes())
    assert (health["ok"], health["months"][month]["state"]) == (False, "waiting")
    about = json.loads(run(tmp_path, "status", "--month", month, "--json").stdout)
    assert (about["due"], about["months"][0]["state"], about["at_work"]) == ([month], "waiting", "")
    assert about["last_run"] == health
    with locked(tmp_path / "reports" / LOCK_FILE, what="the run"):
        assert f"pid {os.getpid()} since" in run(tmp_path, "run", "--due", code=4, **environment).stderr
        assert f"pid {os.getpid()} since" in run(tmp_path, "status").stdout


def test_run_takes_numbers_from_a_store(tmp_path: Path) -> None:
    """With --store no API is asked; what cannot be used is exit 2 and is written down as the month's cause."""
    configure(tmp_path, 9)
    assert "no event store" in run(tmp_path, "run", "--month", "2026-01", "--store", "nowhere", code=2).stderr
    shown = run(tmp_path, "status", "--month", "2026-01").stdout
    assert "failed   2026-01" in shown


def test_schedule_prints_what_starts_the_runs(tmp_path: Path) -> None:
    """Each form names this folder and program; --to writes the units; without an option the next instants are told."""
    configure(tmp_path, 9)
    assert str(tmp_path) in run(tmp_path, "schedule", "--cron").stdout
    both = run(tmp_path, "schedule", "--systemd").stdout
    assert "# /etc/systemd/system/usagekit.service\n[Unit]" in both
    written = run(tmp_path, "schedule", "--systemd", "--to", ".").stdout.split()
    assert all((tmp_path / name).read_text() in both for name in written)
    assert yaml.safe_load(run(tmp_path, "schedule", "--github").stdout)["jobs"]
    last, following = run(tmp_path, "schedule").stdout.splitlines()
    assert last[:7] < following[:7]
    assert re.search(r"^....-.. was due ....-..-02 06:00 CES?T \(", last)
    assert " will be due " in following


def test_init_writes_a_file_that_works(tmp_path: Path) -> None:
    """The new file loads, says what is missing and is never written over; schedule and status work with it at once."""
    shown = run(
        tmp_path, "init", "--lab-name", "チーム <b>", "--timezone", "Asia/Kolkata", "--owner", "o@example.com"
    )
    assert "HEADSPIN_API_TOKEN" in shown.stdout
    assert "usagekit doctor; usagekit run" in shown.stdout
    assert load_settings(tmp_path / "usagekit.toml").lab_name == "チーム <b>"
    assert "stays as it is" in run(tmp_path, "init", code=2).stderr
    wrong = run(tmp_path, "init", "other.toml", "--timezone", "Mars/Base", code=2).stderr
    assert wrong.startswith("usagekit: timezone='Mars/Base' is not an IANA time zone")
    assert not (tmp_path / "other.toml").exists()
    assert "IST" in run(tmp_path, "schedule").stdout
    assert "due" in run(tmp_path, "status").stdout


def test_init_asks_again_until_an_answer_is_good(tmp_path: Path) -> None:
    """On a terminal each answer is held against its setting at once; a wrong one costs no other; the login is asked too."""
    answers = [
        "My lab", "Mars/Base", "Europe/Berlin", "http://example.com", "https://api.example.com", "smtp.example.com/x",
        "smtp.example.com", "usage", "nobody", "usage@example.com", "a@example.com, b@example.com",
    ]  # fmt: skip
    primary, terminal = pty.openpty()
    with os.fdopen(primary, "r+b", buffering=0) as keyboard:
        keyboard.write("".join(f"{answer}\n" for answer in answers).encode())
        done = subprocess.run(
            [*COMMAND, "init"], stdin=terminal, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )  # fmt: skip
        os.close(terminal)
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout + done.stderr
    assert all(
        word in said for word in ("Mars/Base", "unencrypted to example.com", "no host name", "no address")
    )
    read = load_settings(tmp_path / "usagekit.toml")
    assert (read.lab_name, read.timezone, read.base_url) == (
        "My lab",
        "Europe/Berlin",
        "https://api.example.com",
    )
    assert (read.mail.host, read.mail.username, read.mail.sender) == (
        "smtp.example.com",
        "usage",
        "usage@example.com",
    )
    assert read.mail.owners == ("a@example.com", "b@example.com")


def test_doctor_looks_at_the_post_too(tmp_path: Path) -> None:
    """A mail server that is not there is a fault with exit 3, beside what the API is like; without a host none is asked."""
    environment = {"HEADSPIN_API_TOKEN": "x", "USAGEKIT_BASE_URL": "http://127.0.0.1:9"}
    shown = run(tmp_path, "doctor", code=3, **environment).stdout
    assert "127.0.0.1:9: cannot connect" in shown
    assert "mail server" not in shown
    configure(tmp_path, 9, enabled=False)
    assert "FAIL  mail server: " in run(tmp_path, "doctor", code=3, **environment).stdout


def test_prune_says_first_what_would_go(tmp_path: Path) -> None:
    """Without --yes nothing is removed; with it the files of months beyond the newest go."""
    configure(tmp_path, 9)
    for month in ("2026-07", "2026-08", "2026-09"):
        old = publish(tmp_path / "reports", TEAM)
        old.parent.rename(tmp_path / "reports" / month)
    pdf = tmp_path / "reports" / "2026-07" / old.name / "report.pdf"
    assert str(pdf.parent.name) in run(tmp_path, "prune", "--keep-months", "1").stdout
    assert pdf.exists()
    run(tmp_path, "prune", "--keep-months", "1", "--yes")
    assert not pdf.exists()
    assert (tmp_path / "reports" / "2026-09" / old.name / "report.pdf").exists()

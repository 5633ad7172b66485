"""What the mails say, whom they may go to, and when they may not go at all."""

from __future__ import annotations

import email
import email.policy
import io
import re
from dataclasses import replace
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.post.reports import MAIL, MONTH, NARROW, NOW, PDF, Settings, kpi, publish
from usagekit.delivery import gate, preview
from usagekit.delivery.facts import content_hash, read_facts
from usagekit.delivery.lab_letter import Trouble, digest_letter, owners_letter
from usagekit.delivery.letter import MAX_HTML_BYTES, MAX_WORDS, Letter
from usagekit.delivery.message import Envelope, build, message_id
from usagekit.delivery.preview import PLACEHOLDER
from usagekit.delivery.team_letter import team_letter
from usagekit.errors import QueryError
from usagekit.hosts import is_loopback
from usagekit.mail_address import mail_address
from usagekit.mail_settings import IMAP_PASSWORD, SMTP_PASSWORD, Archive, MailSettings
from usagekit.report.publish import read_manifest

NAMES = [
    "NA",
    "R&D / Café",
    "チーム",
    "<script>alert(1)</script>",
    '#read("x")',
    "📱",
    "\u202eevil",
    "a\r\nBcc: x@y.z",
    "\u2028",
    "x" * 10_000,
]
AGE = timedelta(days=35)


def letter_of(reports: Path, team: str | None = "Payments", *, revision: int = 1, **changes: Any) -> Letter:
    directory = publish(reports, team, **changes)
    manifest = read_manifest(directory)
    assert manifest is not None
    files = {name: (directory / name).read_bytes() for name in manifest["files"]}
    return team_letter(read_facts(manifest), files, revision=revision, contact="lab@example.com")


def envelope(**changes: Any) -> Envelope:
    about: dict[str, Any] = {
        "sender": "usage@example.com",
        "sender_name": "Usage reports",
        "recipient": "ana@example.com",
        "message_id": message_id(
            ("team_month", "Payments", MONTH, 1, "ana@example.com"), domain="example.com"
        ),
        "date": NOW,
        "list_id": "usage-reports.example.com",
    }
    return Envelope(**(about | changes))


def parsed(content: bytes) -> EmailMessage:
    message = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def test_message_has_what_a_mail_needs(tmp_path: Path) -> None:
    """Subject, headers, text and HTML as alternatives, chart by CID with a fixed width, PDF and CSV under speaking names."""
    content = build(letter_of(tmp_path), envelope())
    message = parsed(content)
    assert message["Subject"] == "[Device lab] Payments - October 2026: 402 h (+30%), 37 users"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["List-Id"] == "<usage-reports.example.com>"
    assert re.fullmatch(r"<[0-9a-f]{40}@example\.com>", message["Message-ID"])
    assert message["Date"].datetime == NOW
    assert [part.get_content_type() for part in message.walk()] == [
        "multipart/mixed", "multipart/alternative", "text/plain", "multipart/related", "text/html", "image/png",
        "application/pdf", "text/csv",
    ]  # fmt: skip
    html = message.get_body(("html",)).get_content()  # type: ignore[union-attr]
    image = next(part for part in message.walk() if part.get_content_type() == "image/png")
    assert f'src="cid:{image["Content-ID"][1:-1]}" width="560"' in html
    assert 'alt="Device hours a month, October 2025 to October 2026: 402' in html
    names = {part.get_filename(): part.get_content() for part in message.iter_attachments()}
    assert names["usage_payments_2026-10_Europe-Berlin.pdf"] == PDF
    assert "usage_payments_2026-10_Europe-Berlin_hours.csv" in names
    assert content.isascii()
    assert max(map(len, content.split(b"\r\n"))) <= 998


def test_same_report_gives_the_same_bytes(tmp_path: Path) -> None:
    """A message is a function of report and envelope, boundaries and chart included."""
    assert build(letter_of(tmp_path), envelope()) == build(letter_of(tmp_path), envelope())


def test_the_text_part_carries_the_numbers(tmp_path: Path) -> None:
    """Every cell of the table, the finding and the actions stand in the plain part, in at most 120 words."""
    letter = letter_of(tmp_path)
    text = letter.text()
    told = text.replace("\u00a0", " ")
    for row in MAIL["kpis"]:
        assert all(cell.replace("\u00a0", " ") in told for cell in row.values())
    assert MAIL["finding"] in told
    assert len(letter.actions) == 3
    assert len(text.split()) <= MAX_WORDS == 120


def test_actions_give_way_to_the_word_limit(tmp_path: Path) -> None:
    """Rules of actions are left to the PDF, then what is too long; the order stays, and no mail has more than three."""
    rule = "(rule: from 3 months on)."
    long = "word " * 60
    for actions, kept in (
        (["Short.", long, long], ("Short.",)),
        ([long, "Move it (a) (rule: of b).", "Check it."], ("Move it (a) (rule: of b).", "Check it.")),
        ([f"{'one ' * 20}{rule}", f"{'two ' * 15}{rule}"], ("one " * 19 + "one.", "two " * 14 + "two.")),
        (["One.", "Two.", "Three.", "Four."], ("One.", "Two.", "Three.")),
    ):  # fmt: skip
        letter = letter_of(tmp_path, mail={"actions": actions})
        assert tuple(a.replace(" .", ".") for a in letter.actions) == kept
        assert len(letter.text().split()) <= MAX_WORDS


def test_the_digest_keeps_the_limit_beside_its_teams(tmp_path: Path) -> None:
    """The managers' mail has 120 words too, but for the table of teams; actions give way to what was held back."""
    lab = read_facts(read_manifest(publish(tmp_path, None)) or {})
    teams = [read_facts(read_manifest(publish(tmp_path, f"Team {n}")) or {}) for n in range(3)]
    held = [f"Held {n}" for n in range(9)]
    for names, actions in (((), 3), (held, 1)):
        letter = digest_letter(lab, teams, held=names, files={}, revision=1)
        assert len(letter.tables) == 2
        assert len(replace(letter, tables=letter.tables[:1]).text().split()) <= MAX_WORDS
        assert len(letter.actions) == actions


def test_a_year_that_does_not_compare_is_said(tmp_path: Path) -> None:
    """Without a figure of a year ago the mail says n/a, and in one line why; neither a dash nor a zero stands there."""
    rows = [row | {"year": "–"} for row in MAIL["kpis"]]
    letter = letter_of(tmp_path, mail={"kpis": rows})
    assert {row[4] for row in letter.tables[0].rows} == {"n/a"}
    assert "n/a: no comparable data." in letter.text()
    assert "n/a: no comparable data." in letter.html("cid:x")
    with_year = letter_of(tmp_path, mail={"kpis": MAIL["kpis"][:4]})
    assert "comparable" not in with_year.text()


def test_a_substitute_keeps_its_mark(tmp_path: Path) -> None:
    """A number that stands in for a refused one is marked in the table, explained below it, and not in the subject."""
    rows = list(MAIL["kpis"])
    rows[1] = kpi("Active users", "≥35", "≥34", "+3%", "–")
    rows[2] = kpi("Sessions", f"≈1{NARROW}204", "≈980", "+23%", "–")
    letter = letter_of(tmp_path, mail={"kpis": rows})
    for text in (letter.text(), letter.html("cid:x")):
        assert "≈ approx., ≥ at least: the report says why." in text
        assert "≥35" in text
    assert "402 h (+30%)" in letter.subject
    assert "user" not in letter.subject
    assert len(letter.text().split()) <= MAX_WORDS
    assert "the report says why" not in letter_of(tmp_path).text()


@pytest.mark.promise(4)
def test_html_is_small_and_asks_nobody(tmp_path: Path) -> None:
    """The HTML part is under 100 KB, styled in its elements, and names no remote address."""
    html = letter_of(tmp_path).html("cid:x")
    assert len(html.encode()) < MAX_HTML_BYTES / 4
    assert "http" not in html
    assert "<h1 style=" in html
    assert "prefers-color-scheme: dark" in html


@pytest.mark.promise(8)
@pytest.mark.promise(3)
@pytest.mark.fault(58)
@pytest.mark.parametrize("team", NAMES)
def test_any_name_is_a_name(tmp_path: Path, team: str) -> None:
    """No name breaks a header, becomes markup, grows the mail beyond bounds or disappears."""
    letter = letter_of(tmp_path, team)
    message = parsed(build(letter, envelope()))
    assert message["Bcc"] is None
    assert set(message.keys()) == {
        "Subject", "From", "To", "Date", "Message-ID", "Auto-Submitted", "List-Id", "X-Auto-Response-Suppress",
        "MIME-Version", "Content-Type",
    }  # fmt: skip
    html = letter.html("cid:x")
    assert "<script" not in html
    assert len(letter.subject) < 260
    shown = "(no name)" if team == "\u2028" else team.replace("\r\n", "  ")
    assert shown in letter.text()
    assert (shown[:199].replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")) in html


@pytest.mark.promise(8)
@pytest.mark.fault(58)
@given(st.text(max_size=300), st.text(max_size=300))
def test_subjects_are_one_line(team: str, lab: str) -> None:
    """Whatever team and lab are called, the subject is one header line that is read back whole."""
    trouble = Trouble(team, lab)
    letter = replace(owners_letter([trouble], lab=lab, month=MONTH))
    message = parsed(build(letter, envelope()))
    assert message["Subject"].split() == letter.subject.split()
    assert message["To"].addresses[0].addr_spec == "ana@example.com"


def test_revision_two_replaces(tmp_path: Path) -> None:
    """A second revision says so in subject and body."""
    letter = letter_of(tmp_path, revision=2)
    assert "October 2026 (replaces revision 1): 402 h" in letter.subject
    assert "Revision 2: replaces the mail with revision 1." in letter.text()


def test_true_zero_gets_the_short_note(tmp_path: Path) -> None:
    """A month without usage is a note without table and files, that says that the data was fetched."""
    letter = letter_of(tmp_path, hours=0, mail={"usage": "zero"})
    assert letter.finding == "No usage recorded (data fetched correctly)."
    assert letter.subject == "[Device lab] Payments - October 2026: no usage"
    assert not letter.attachments
    assert not letter.tables


def test_amber_is_told(tmp_path: Path) -> None:
    """An amber badge puts its reason into the mail; a green one is silent."""
    amber = letter_of(tmp_path, mail={"trust": {"badge": "amber", "text": "Users are 2% under the total."}})
    assert amber.caveats == ("Users are 2% under the total.",)
    assert letter_of(tmp_path).caveats == ()


@pytest.mark.parametrize(
    ("changes", "action", "reason"),
    [
        ({}, "send", ""),
        ({"hours": 0, "mail": {"usage": "zero"}}, "note", ""),
        ({"mail": {"trust": {"badge": "red", "text": "off by 9%"}}}, "hold", "do not reconcile: off by 9%"),
        ({"mail": {"trust": {"badge": "blue", "text": ""}}}, "hold", "malformed"),
        ({"mail": {"partial": True}}, "hold", "partial"),
        ({"facts": {"as_of": "2026-10-31T22:59:00+00:00"}}, "hold", "partial"),
        ({"facts": {"as_of": "2026-10-31T23:00:00+00:00"}}, "send", ""),  # midnight in Berlin
        ({"facts": {"as_of": "2027-01-01T00:00:00+00:00"}}, "hold", "future"),
        ({"mail": {"usage": "missing"}}, "hold", "missing"),
        ({"hours": None}, "hold", "missing"),
        ({"hours": 0}, "hold", "contradicts"),
        ({"mail": {"usage": "zero"}}, "hold", "contradicts"),
        ({"mail": {"kpis": []}}, "hold", "no key figures"),
        ({"facts": {"mail": None}}, "hold", "no figures for a mail"),
        ({"facts": {"timezone": "Mars/Base"}}, "hold", "malformed"),
    ],
)
def test_gate(tmp_path: Path, changes: dict[str, Any], action: str, reason: str) -> None:
    """Only whole, fresh, reconciled numbers pass; everything else is held with its reason."""
    manifest = read_manifest(publish(tmp_path, "Payments", **changes))
    verdict = gate(manifest, now=NOW, max_age=AGE)
    assert verdict.action == action
    assert reason in verdict.reason


def test_gate_holds_the_failed_damaged_and_stale(tmp_path: Path) -> None:
    """A failure, a missing manifest, a damaged file and old numbers each hold the mail."""
    manifest = read_manifest(publish(tmp_path, "Payments"))
    assert "cell" in gate(manifest, "ValueError in cell 3", now=NOW, max_age=AGE).reason
    assert "no report" in gate(None, now=NOW, max_age=AGE).reason
    assert "report.pdf" in gate(manifest, damaged=["report.pdf"], now=NOW, max_age=AGE).reason
    assert "stale" in gate(manifest, now=NOW + timedelta(days=40), max_age=AGE).reason


def test_the_same_numbers_are_the_same_content(tmp_path: Path) -> None:
    """Fetching again changes the age of a report but not its content; another number or table does."""
    first = content_hash(read_manifest(publish(tmp_path, "NA")) or {})
    again = publish(
        tmp_path, "NA", facts={"as_of": "2026-11-03T05:00:00+00:00"}, files={"report.pdf": b"%PDF new"}
    )
    assert content_hash(read_manifest(again) or {}) == first
    assert content_hash(read_manifest(publish(tmp_path, "NA", hours=403)) or {}) != first
    assert content_hash(read_manifest(publish(tmp_path, "NA", files={"hours.csv": b"x"})) or {}) != first


@pytest.mark.promise(13)
def test_preview_writes_what_would_be_sent(tmp_path: Path) -> None:
    """One .eml and one page a report, in a private folder; held ones are told and leave no old preview."""
    settings = Settings(tmp_path, recipients={"NA": ("ana@example.com",), "Paymets": ("bo@example.com",)})
    publish(tmp_path, "NA")
    publish(tmp_path, "Payments")
    shown = preview(settings, MONTH, clock=lambda: NOW)
    eml, page = shown.paths
    assert parsed(eml.read_bytes())["To"] == "ana@example.com"
    assert 'src="data:image/png;base64,' in page.read_text()
    assert eml.parent.stat().st_mode & 0o777 == 0o700
    assert shown.unaddressed == ("Payments",)
    assert "[recipients]" in shown.held[0].what
    assert "did you mean 'Payments'" in shown.held[0].what
    publish(tmp_path, "NA", mail={"partial": True})
    assert preview(settings, MONTH, clock=lambda: NOW).paths == ()
    assert not eml.exists()


def test_a_preview_before_anybody_is_listed(tmp_path: Path) -> None:
    """While nobody is listed every report's mail is shown, to an address that cannot exist, and says so."""
    for team in (None, "NA"):
        publish(tmp_path, team)
    shown = preview(Settings(tmp_path), MONTH, clock=lambda: NOW)
    mails = [parsed(path.read_bytes()) for path in shown.paths if path.suffix == ".eml"]
    assert [mail["To"] for mail in mails] == [PLACEHOLDER] * 2
    assert shown.placeholder == PLACEHOLDER == "nobody-is-listed@lab.invalid"
    with pytest.raises(QueryError, match="neither numbers nor reports"):
        preview(Settings(tmp_path / "empty"), MONTH, clock=lambda: NOW)


@pytest.mark.promise(8)
@pytest.mark.fault(58)
@pytest.mark.parametrize(
    "bad",
    [
        "", "no-at-sign", "@example.com", "ana@", "ana@example", "a b@example.com", "ana@example.com\n", "ana@example.com\r\nBcc: x@y.zz",
        "ana@exam\u2028ple.com", "ana@@example.com", "Ana <ana@example.com>", "ana@example.com, bo@example.com", ".ana@example.com",
        "ana..b@example.com", "ana@-x.com", "ana@127.0.0.1", "ana@[127.0.0.1]", '"a b"@example.com', "büro@example.com", "a" * 65 + "@example.com",
        "ana@" + "x" * 64 + ".com", "ana@example.com.", "ana@ex_ample.com", "ana@\u202eexample.com", "ana@example.com\x00", "ana(c)@example.com",
    ],
)  # fmt: skip
def test_malformed_addresses_are_refused_when_settings_are_read(bad: str) -> None:
    """Each defect of an address is an error of the settings, before anything is sent."""
    with pytest.raises(ValidationError):
        MailSettings(owners=(bad,))


@pytest.mark.promise(8)
@pytest.mark.fault(58)
@given(st.text(max_size=80))
def test_what_passes_is_a_bare_address(text: str) -> None:
    """An accepted address is printable ASCII with one @ and comes back unchanged from a real header parser."""
    try:
        address = mail_address(text)
    except ValueError:
        return
    assert address.isascii()
    assert address.isprintable()
    assert mail_address(address) == address
    message = parsed(f"To: {address}\r\n\r\n".encode())
    assert [a.addr_spec for a in message["To"].addresses] == [address]
    assert not message["To"].defects


@pytest.mark.promise(13)
def test_settings_refuse_what_is_unsafe(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No clear text off loopback, no mailbox twice, no sending without sender and owners, no secret in the open."""
    for bad in (
        {"host": "smtp.example.com", "security": "none"},
        {"owners": ("ana@example.com", "ANA@example.com")},
        {"enabled": True},
        {"host": "smtp.example.com/x"},
        {"from_name": "a\nb"},
        {"reports_url": "javascript:alert(1)"},
    ):
        with pytest.raises(ValidationError):
            MailSettings(**bad)
    assert MailSettings(owners=("Ana@Bücher.example",)).owners == ("Ana@xn--bcher-kva.example",)
    assert is_loopback("127.0.0.2")
    assert not is_loopback("localhost.example.com")
    monkeypatch.setenv(SMTP_PASSWORD, "secret-1")
    monkeypatch.setenv(IMAP_PASSWORD, "secret-2")
    mail = MailSettings(username="u", archive=Archive(username="u"))
    assert mail.password().get_secret_value() == "secret-1"
    assert "secret" not in f"{mail!r} {mail.password()!r} {mail.archive.password() if mail.archive else ''}"
    monkeypatch.delenv(SMTP_PASSWORD)
    (tmp_path / "password").write_text("secret-3\n")
    (tmp_path / "password").chmod(0o644)
    with pytest.raises(Exception, match="can be read by others"):
        MailSettings(username="u", password_file=tmp_path / "password").password()
    (tmp_path / "password").chmod(0o600)
    assert (
        MailSettings(username="u", password_file=tmp_path / "password").password().get_secret_value()
        == "secret-3"
    )


def test_the_chart_is_a_small_sharp_png(tmp_path: Path) -> None:
    """The picture has twice the dots of its place on the page and few bytes."""
    from PIL import Image

    chart = letter_of(tmp_path).chart
    assert chart is not None
    assert Image.open(io.BytesIO(chart.png)).size == (1120, 192)
    assert len(chart.png) < 10_000


def test_a_missing_figure_stays_a_dash(tmp_path: Path) -> None:
    """A figure that the report could not ask is a dash in the mail, never a zero."""
    row: dict[str, Any] = kpi("Active users", "", "35", "", "31") | {"value": None}
    letter = letter_of(tmp_path, mail={"kpis": [MAIL["kpis"][0], row]})
    assert letter.tables[0].rows[1] == ("Active users", "–", "35", "–", "31")
    assert letter.subject.endswith("402 h (+30%)")

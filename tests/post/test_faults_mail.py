"""Faults 52 to 59, against a real SMTP server: refusals, broken connections, silence, size, bounces."""

from __future__ import annotations

import email
import email.policy
import random
import ssl
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from email.mime.message import MIMEMessage
from email.mime.multipart import MIMEMultipart
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.post.imap import serving_imap
from tests.post.mixes import refusal_mixes
from tests.post.reports import MONTH, NOW, publish
from tests.post.smtp import PASSWORD, Mailboxes, answering, cutting, port_of, serving_smtp
from tests.post.test_outbox import killed_at, lab, send, settings_for, states
from usagekit.delivery import queue_month, resolve, send_month, status_rows
from usagekit.delivery.mailbox import archived
from usagekit.delivery.post_check import examine_post
from usagekit.delivery.postman import Postman, Result
from usagekit.errors import MailError, SettingsError
from usagekit.mail_settings import IMAP_PASSWORD, SMTP_PASSWORD, Archive, MailSettings

CONTENT = b"Subject: x\r\nMessage-ID: <1@example.com>\r\n\r\n.a dot\r\nthe end\r\n"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_tls(authority: trustme.CA, name: str = "127.0.0.1") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def mail_at(port: int, **changes: Any) -> MailSettings:
    about = {
        "host": "127.0.0.1",
        "port": port,
        "security": "none",
        "from_address": "u@example.com",
        "timeout_seconds": 30,
    }
    return MailSettings(**(about | changes))


def archive_at(port: int, ca_file: Path, *, folder: str = "Archive") -> dict[str, Any]:
    """The settings of an archive on this machine."""
    return {"host": "127.0.0.1", "port": port, "username": "u", "folder": folder, "ca_file": ca_file}


def post(port: int, *, to: str = "ana@example.com", **changes: Any) -> tuple[Result | MailError, bool]:
    """Send one small message; what became of it, and whether its transmission began."""
    began = []
    try:
        with Postman(mail_at(port, **changes)) as postman:
            result = postman.send(to, CONTENT, before_data=lambda: began.append(1))
            return result, bool(began)
    except MailError as error:
        return error, bool(began)


@pytest.mark.fault(52, 53)
def test_refused_for_good_or_for_now(tmp_path: Path) -> None:
    """One 550, one 451, one taken: each has its state and words; the 451 is tried again after its time, not before."""
    greylist = {"bo@example.com": "451 come back", "ana@example.com": "550 no such user"}
    boxes = Mailboxes(rcpt=lambda to: greylist.get(to, ""))
    with lab(tmp_path, boxes) as (settings, _):
        rows = send(settings)
        assert states(rows) == {
            "ana@example.com": "refused", "bo@example.com": "deferred", "cy@example.com": "sent", "owner@example.com": "sent",
        }  # fmt: skip
        assert {row.reason for row in rows if row.state != "sent"} == {"550 no such user", "451 come back"}
        del greylist["bo@example.com"], greylist["ana@example.com"]
        assert states(send(settings, NOW + timedelta(minutes=29)))["bo@example.com"] == "deferred"
        later = states(send(settings, NOW + timedelta(minutes=30)))
        assert (later["bo@example.com"], later["ana@example.com"]) == ("sent", "refused")
        assert boxes.to("cy@example.com") == boxes.to("bo@example.com") == 1


@pytest.mark.fault(53)
def test_greylisted_for_ever_is_given_up(tmp_path: Path) -> None:
    """After five days of temporary refusals a mail counts as refused, with the last answer."""
    with lab(tmp_path, Mailboxes(rcpt=lambda to: "" if to.startswith("owner") else "451 later")) as (
        settings,
        _,
    ):
        send(settings)
        rows = send(settings, NOW + timedelta(days=5, minutes=1))
        assert {row.reason for row in rows if row.state == "refused"} == {"given up after 5 days: 451 later"}


@pytest.mark.fault(53)
def test_five_days_begin_with_the_first_refusal(tmp_path: Path) -> None:
    """What waited for a server that was down, or comes back by a person's word, is not given up at its first 451."""
    answers = {"bo@example.com": "451 later"}
    with lab(tmp_path, Mailboxes(rcpt=lambda to: answers.get(to, ""))) as (settings, boxes):
        queue_month(settings, MONTH, clock=lambda: NOW)
        late = NOW + timedelta(days=6)
        assert states(send(settings, late))["bo@example.com"] == "deferred"
        assert states(send(settings, late + timedelta(days=4)))["bo@example.com"] == "deferred"
        assert states(send(settings, late + timedelta(days=5, minutes=1)))["bo@example.com"] == "refused"
        (row,) = (row for row in status_rows(settings) if row.recipient == "bo@example.com")
        resolve(settings, row.message_id, decision="resend")
        later = late + timedelta(days=9)
        assert states(send(settings, later))["bo@example.com"] == "deferred"
        less = replace(settings, recipients=settings.recipients | {"NA": ("ana@example.com",)})
        assert states(send(less, later + timedelta(days=1)))["bo@example.com"] == "withdrawn"
        assert states(send(settings, later + timedelta(days=8)))["bo@example.com"] == "deferred"
        answers.clear()
        assert states(send(settings, later + timedelta(days=9)))["bo@example.com"] == "sent"
        assert boxes.to("bo@example.com") == 1


@pytest.mark.slow
@pytest.mark.fault(52, 53)
def test_refusal_mixes(tmp_path: Path) -> None:
    """60 mixes of refusals: all reported, nobody is sent to twice, nobody is forgotten."""
    counts = refusal_mixes(tmp_path, 60, random.Random(7))
    assert counts["refused"] > 30
    assert (counts["twice"], counts["unreported"], counts["forgotten"]) == (0, 0, 0)


@pytest.mark.promise(1)
@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
@pytest.mark.fault(54)
def test_a_refused_login_stops_everything_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a wrong password one login is tried, nothing is sent, all mails wait, and the password is nowhere told."""
    for team in ("NA", "R&D / Café"):
        publish(tmp_path, team)
    monkeypatch.setenv(SMTP_PASSWORD, f"wrong-{PASSWORD}")
    with serving_smtp(login=True) as boxes:
        settings = settings_for(tmp_path, boxes.port, username="usage")
        with pytest.raises(MailError, match="refuses the login") as caught:
            send(settings)
        assert len(caught.value.recipients) == 3
        assert PASSWORD not in "".join(traceback.format_exception(caught.value))
        assert boxes.logins <= 3  # one for each mechanism that the server offers
        assert set(states(status_rows(settings)).values()) == {"queued"}
        monkeypatch.setenv(SMTP_PASSWORD, PASSWORD)
        assert set(states(send(settings)).values()) == {"sent"}
        monkeypatch.delenv(SMTP_PASSWORD)
    with pytest.raises(SettingsError, match=SMTP_PASSWORD):
        mail_at(1, username="usage").password()


@pytest.mark.fault(54)
def test_no_starttls_no_mail() -> None:
    """A server without STARTTLS, or one from which it was stripped, gets neither login nor message."""
    with serving_smtp() as boxes:
        result, began = post(boxes.port, security="starttls")
        assert "nothing is sent in clear" in str(result)
        assert not began
        assert boxes.taken == []


@pytest.mark.fault(54)
@pytest.mark.parametrize("name", ["other.example.com", "127.0.0.1"])
def test_a_certificate_must_prove_the_name(authority: trustme.CA, tmp_path: Path, name: str) -> None:
    """Another name, or an unknown authority, ends it before login and message; the right ones carry the mail."""
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    with serving_smtp(tls=server_tls(authority, name)) as boxes:
        unknown, _ = post(boxes.port, security="starttls")
        assert "proves no identity" in str(unknown)
        known, _ = post(boxes.port, security="starttls", ca_file=file)
        assert ("proves no identity" in str(known)) if name != "127.0.0.1" else isinstance(known, Result)
        assert len(boxes.taken) == (name == "127.0.0.1")


@contextmanager
def counted(cut: dict[str, int], boxes: Mailboxes) -> Iterator[tuple[int, Any]]:
    with cutting(boxes.port) as proxy:
        for name, value in cut.items():
            setattr(proxy, name, value)
        yield port_of(proxy), proxy


@pytest.mark.slow
@pytest.mark.fault(55)
@pytest.mark.parametrize("side", ["cut_after", "cut_sent_after"])
def test_cut_at_every_byte(side: str) -> None:
    """Whatever byte of the dialogue is the last: sent means taken, deferred means not taken, and doubt says so.

    Doubt is only possible from the final dot on; before it nothing is ever in doubt.
    """
    with serving_smtp() as boxes:
        with counted({}, boxes) as (port, proxy):
            assert post(port, to="0000@example.com")[0] == Result("sent", "250 taken")
            length = proxy.received if side == "cut_after" else proxy.sent
            boxes.taken.clear()
        found = []
        for cut in range(1, length + 1):
            own = f"{cut:04}@example.com"  # a server may take one in doubt after we have gone
            with counted({side: cut}, boxes) as (port, _):
                result, began = post(port, to=own)
            state = result.state if isinstance(result, Result) else "stopped"
            assert began or state in ("stopped", "deferred")
            if state in ("stopped", "deferred"):
                assert own not in [to for to, _ in boxes.taken]
            elif state == "sent":
                assert [to for to, _ in boxes.taken].count(own) == 1
            found.append(state)
    # In order: no connection, not accepted, perhaps accepted, accepted.
    assert list(dict.fromkeys(found)) == ["stopped", "deferred", "unknown", "sent"]


@pytest.mark.promise(1)
def test_the_doctor_tries_the_door_and_sends_nothing(
    tmp_path: Path, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Encryption, login, size and archive are tried as a run would; each fault is told in its own words, nothing is sent."""
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    monkeypatch.setenv(SMTP_PASSWORD, PASSWORD)
    monkeypatch.setenv(IMAP_PASSWORD, PASSWORD)
    tls = server_tls(authority)
    with (
        serving_smtp(tls=tls, login=True, limit=1_000_000) as boxes,
        serving_imap([], tls=tls, password=PASSWORD) as port,
    ):
        archive = Archive(**archive_at(port, file))
        mail = mail_at(boxes.port, security="starttls", username="usage", ca_file=file, archive=archive)
        found = list(examine_post(mail))
        assert [(f.topic, f.level) for f in found] == [("mail server", "fine"), ("archive", "fine")]
        assert "takes the login of usage, over verified TLS; mails may have 1,000,000 bytes" in found[0].says
        assert "opens the folder 'Archive'" in found[1].says
        for change, told in (
            ({"ca_file": None}, "proves no identity"),
            ({"port": 1}, "cannot be used"),
            ({"archive": archive.model_copy(update={"folder": "Nope"})}, "no folder 'Nope'"),
        ):
            faults = [f for f in examine_post(mail.model_copy(update=change)) if f.level == "fault"]
            assert [told in f.says for f in faults] == [True]
        monkeypatch.setenv(SMTP_PASSWORD, f"wrong-{PASSWORD}")
        refused, _ = examine_post(mail)
        assert "refuses the login" in refused.says
        assert PASSWORD not in str(refused)
        monkeypatch.delenv(SMTP_PASSWORD)
        assert f"set {SMTP_PASSWORD}" in next(examine_post(mail)).says
        assert boxes.taken == []
    assert list(examine_post(MailSettings())) == []


@pytest.mark.fault(55)
def test_what_arrives_is_what_was_written() -> None:
    """Lines that begin with a dot come through as they are."""
    with serving_smtp() as boxes:
        post(boxes.port)
        assert boxes.taken == [("ana@example.com", CONTENT)]


@pytest.mark.fault(55)
@pytest.mark.parametrize(
    ("command", "reply", "state", "whole"),
    [
        (".", b"200 OK", "sent", 1),
        (".", b"251 elsewhere", "sent", 1),
        (".", b"250-first\r\n250 second", "sent", 1),
        (".", b"354 go on", "unknown", 1),
        (".", b"150 wait", "unknown", 1),
        (".", b"HTTP/1.1 400 Bad Request", "unknown", 1),
        (".", b"451 later", "deferred", 1),
        (".", b"554 spam", "refused", 1),
        ("DATA", b"250 OK", "deferred", 0),
        ("DATA", b"200 OK", "deferred", 0),
        ("DATA", b"334 login", "deferred", 0),
        ("DATA", b"554 no recipients", "refused", 0),
        ("RCPT", b"252 cannot tell", "sent", 1),
        ("RCPT", b"354 go on", "deferred", 0),
        ("MAIL", b"200 OK", "sent", 1),
    ],
)
def test_answers_out_of_the_ordinary(command: str, reply: bytes, state: str, whole: int) -> None:
    """After the message any 2yz is a promise, neither yes nor no is doubt; without a message nothing counts as sent."""
    with answering({command: reply}) as (port, taken):
        result, _ = post(port)
        assert isinstance(result, Result)
        assert (result.state, len(taken)) == (state, whole), result
        if command == "DATA":
            assert reply.decode() in result.reason


@pytest.mark.fault(55)
def test_a_server_that_always_breaks_is_left_alone(tmp_path: Path) -> None:
    """After three broken connections in a row the rest waits; what broke is deferred, nothing is lost."""
    # Within MAIL or RCPT: a cut inside the message may also be seen as doubt, if the proxy hangs up late.
    with lab(tmp_path) as (settings, boxes), counted({"cut_sent_after": 60}, boxes) as (port, proxy):
        more = {"NA": tuple(f"r{n}@example.com" for n in range(6))}
        with pytest.raises(MailError, match="3 connections in a row") as caught:
            send_month(
                type(settings)(tmp_path, settings.mail.model_copy(update={"port": port}), more),
                MONTH,
                clock=lambda: NOW,
            )
        assert len(caught.value.recipients) == 3
        assert proxy.connections == 3
        assert sorted(states(status_rows(settings)).values()) == ["deferred"] * 3 + ["queued"] * 3


@pytest.mark.fault(56)
def test_silence_after_the_dot_is_doubt(tmp_path: Path) -> None:
    """A server that takes the message and says nothing leaves it in doubt: held, told, and never sent again by itself."""
    assert MailSettings().timeout_seconds >= 600
    with lab(tmp_path, timeout_seconds=3) as (settings, boxes):
        boxes.silent_after_data.add("ana@example.com")
        one = type(settings)(tmp_path, settings.mail, {"NA": ("ana@example.com",)})
        send(one)
        boxes.silent_after_data.clear()
        summary = send_month(one, MONTH, clock=lambda: NOW + timedelta(days=1))
        (doubtful,) = (row for row in summary.doubtful if row.recipient == "ana@example.com")
        assert boxes.to("ana@example.com") == 1
        assert doubtful.message_id in str(summary)
        assert "may have arrived or not" in doubtful.reason


@pytest.mark.fault(57)
def test_too_large_is_seen_before_sending(tmp_path: Path) -> None:
    """What the server does not take is left out by name, tables first; too large even so is refused, with both sizes."""
    big = {"report.pdf": b"%PDF" + b"x" * 150_000, "hours.csv": b"h" * 60_000}
    for limit, files in ((250_000, 1), (90_000, 0)):
        reports = tmp_path / str(limit)
        with serving_smtp(limit=limit) as boxes:
            publish(reports, "NA", files=big)
            publish(reports, "R&D / Café")
            settings = settings_for(reports, boxes.port, reports_url="https://reports.example.com")
            assert set(states(send(settings)).values()) == {"sent"}
            content = next(content for to, content in boxes.taken if to == "ana@example.com")
            message = email.message_from_bytes(content, policy=email.policy.default)
            assert len(list(message.iter_attachments())) == files  # type: ignore[attr-defined]
            text = message.get_body(("plain",)).get_content()  # type: ignore[attr-defined]
            assert "usage_na_2026-10_Europe-Berlin_hours.csv (0.1\u00a0MB)" in text
            assert "https://reports.example.com" in text
    with serving_smtp(limit=5_000) as boxes:
        settings = settings_for(tmp_path / "250000", boxes.port)
        publish(tmp_path / "250000", "NA", files=big, hours=500.0)
        refused = [row for row in send(settings) if row.state == "refused"]
        assert all("the server takes 5,000" in row.reason for row in refused)
        assert {row.recipient for row in refused} >= {"ana@example.com", "bo@example.com"}
        assert boxes.to("ana@example.com") == 0


@pytest.mark.fault(57)
def test_a_server_that_finds_it_too_large_afterwards(tmp_path: Path) -> None:
    """A 552 after the message is final and named."""
    boxes = Mailboxes(data=lambda to: "552 too much" if to.startswith("ana") else "")
    with lab(tmp_path, boxes) as (settings, _):
        (row,) = (row for row in send(settings) if row.state == "refused")
        assert (row.recipient, row.reason) == ("ana@example.com", "552 too much")


@pytest.mark.promise(8)
@pytest.mark.fault(58)
def test_the_envelope_is_the_settings(tmp_path: Path) -> None:
    """Names that try to add recipients add none: the server sees the settings' addresses only."""
    evil = "x\r\nBcc: evil@example.org\r\nTo: evil@example.org"
    publish(tmp_path, evil, mail={"finding": "\r\n.\r\nRCPT TO:<evil@example.org>"})
    with serving_smtp() as boxes:
        settings = settings_for(tmp_path, boxes.port)
        send(type(settings)(tmp_path, settings.mail, {evil: ("ana@example.com",)}))
        (taken,) = boxes.taken
        assert taken[0] == "ana@example.com"
        message = email.message_from_bytes(taken[1], policy=email.policy.default)
        assert message["To"] == "ana@example.com"
        assert message["Bcc"] is None


@pytest.mark.fault(59)
def test_a_bounce_is_matched_by_its_message_id(tmp_path: Path) -> None:
    """A server that accepts and bounces later: the mail stays sent, and the bounce's Message-ID names team, month and address."""
    with lab(tmp_path) as (settings, boxes):
        send(settings)
        bounce = MIMEMultipart("report", report_type="delivery-status")
        returned = email.message_from_bytes(dict(boxes.taken)["cy@example.com"])
        bounce.attach(MIMEMessage(returned))
        arrived = email.message_from_bytes(bounce.as_bytes())
        (inner,) = arrived.get_payload()
        named = inner.get_payload(0)["Message-ID"]  # type: ignore[union-attr]
        (row,) = (row for row in status_rows(settings) if row.message_id == named)
        assert (row.team, row.month, row.recipient, row.state) == (
            "R&D / Café",
            MONTH,
            "cy@example.com",
            "sent",
        )


@pytest.mark.promise(1)
@pytest.mark.slow
@pytest.mark.fault(55)
def test_doubts_are_looked_up_in_the_archive(
    tmp_path: Path, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By Message-ID over verified TLS: what the archive has was sent, what it has not stays in doubt; no secret is told."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv(IMAP_PASSWORD, PASSWORD)
    messages: list[bytes] = []
    with (
        lab(tmp_path) as (_, boxes),
        serving_imap(messages, tls=server_tls(authority), password=PASSWORD) as port,
    ):
        assert killed_at("mail:answered@1", tmp_path, boxes.port) == -9
        archive = archive_at(port, tmp_path / "ca.pem")
        with_archive = settings_for(tmp_path, boxes.port, archive=archive)
        assert [row.state for row in resolve(with_archive)] == ["unknown"]
        messages += [content for _, content in boxes.taken]
        assert [row.state for row in resolve(with_archive)] == ["sent"]
        assert resolve(with_archive) == ()
        assert killed_at("mail:answered@1", tmp_path, boxes.port) == -9
        for change, told in (
            ({"ca_file": None}, "proves no identity"),
            ({"folder": "Nope"}, "no folder 'Nope'"),
            ({"port": 1}, "cannot be reached"),
        ):
            with pytest.raises(MailError, match=told):
                resolve(settings_for(tmp_path, boxes.port, archive=archive | change))
        monkeypatch.setenv(IMAP_PASSWORD, f"no-{PASSWORD}")
        with pytest.raises(MailError, match="refuses") as caught:
            resolve(with_archive)
        assert PASSWORD not in str(caught.value)


@pytest.mark.promise(1)
@pytest.mark.fault(55)
def test_an_archive_of_any_script(
    tmp_path: Path, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder has its name in IMAP's own UTF-7 (RFC 3501 5.1.3); a login beyond ASCII is an error that tells no secret."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv(IMAP_PASSWORD, PASSWORD)
    wire = b"~peter/mail/&U,BTFw-/&ZeVnLIqe- &- &2D3c8Q-"
    tls = server_tls(authority)
    with serving_imap([b"Message-ID: <1@x>\r\n"], tls=tls, password=PASSWORD, named=wire) as port:
        archive = Archive(**archive_at(port, tmp_path / "ca.pem", folder="~peter/mail/台北/日本語 & 📱"))
        assert archived(archive, ["<1@x>", "<2@x>"]) == {"<1@x>"}
        with pytest.raises(MailError, match="beyond ASCII"):
            archived(archive.model_copy(update={"username": "büro"}), ["<1@x>"])
        monkeypatch.setenv(IMAP_PASSWORD, f"ü{PASSWORD}")
        with pytest.raises(MailError, match="beyond ASCII") as caught:
            archived(archive, ["<1@x>"])
        assert PASSWORD not in "".join(traceback.format_exception(caught.value))
        assert caught.value.__context__ is None  # imaplib's error holds the whole line

"""A first usagekit.toml, in which every setting is explained, and what is still missing then."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from usagekit.errors import SettingsError
from usagekit.hosts import is_loopback
from usagekit.mail_address import mail_address
from usagekit.mail_settings import SMTP_PASSWORD, mail_host, plain_text
from usagekit.origin import checked_url
from usagekit.settings import TOKEN_VARIABLE, Settings, load_settings
from usagekit.values import check_timezone
from usagekit.vocabulary import DEFAULT_BASE_URL


@dataclass(frozen=True, slots=True)
class Answers:
    """What a new lab is asked; whatever is empty stays a comment in the file."""

    lab_name: str = "Device lab"
    timezone: str = "UTC"
    base_url: str = DEFAULT_BASE_URL
    mail_host: str = ""
    username: str = ""
    from_address: str = ""
    owners: Sequence[str] = ()


def problem_of(question: str, text: str) -> str:
    """What is wrong with one answer, in words for the one who gave it; empty for a good one.

    ``question`` is a field of :class:`Answers`. Nothing, and a name of the lab, is never wrong.
    """
    check = _CHECKS.get(question)
    try:
        for part in [text] if question != "owners" else text.replace(",", " ").split():
            if check and part:
                check(part)
    except (ValueError, SettingsError) as error:  # QueryError is a ValueError
        return str(error)
    return ""


_CHECKS: Final[Mapping[str, Callable[[str], object]]] = {
    "timezone": check_timezone,
    "base_url": checked_url,
    "mail_host": mail_host,
    "username": plain_text,
    "from_address": mail_address,
    "owners": mail_address,
}


def write_first_settings(path: Path, answers: Answers) -> Settings:
    """Write a new settings file, without any secret, once it is known to be a good one; gives what it says.

    It is for its owner alone, since it says who gets what.

    Raises
    ------
    SettingsError : the file exists already or cannot be written, or an answer is wrong; nothing was written.
    """
    text = first_settings(answers)
    with TemporaryDirectory(prefix="usagekit-") as folder:
        draft = Path(folder) / path.name
        draft.write_text(text, "utf-8")
        settings = load_settings(draft)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise SettingsError(f"{path} exists already and stays as it is") from None
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from None
    return settings


def first_settings(answers: Answers) -> str:
    """The text of the file: every setting with a line that explains it, the ones not needed as comments."""
    return _TEXT.format(
        lab_name=_toml(answers.lab_name),
        timezone=_toml(answers.timezone),
        base_url=_toml(answers.base_url),
        host=_line("host", answers.mail_host, "smtp.example.com"),
        from_address=_line("from_address", answers.from_address, "usage@example.com"),
        owners=_line("owners", list(answers.owners), ["you@example.com"]),
        username=_line("username", answers.username, "usage"),
    )


def still_missing(settings: Settings) -> list[str]:
    """What a first run still needs, a line each."""
    found = []
    try:
        settings.secret_token()
    except SettingsError:
        found.append(
            f"the API token: export {TOKEN_VARIABLE}=…, or token_file (mode 0600) for unattended runs"
        )
    mail = settings.mail
    lacking = [name for name in ("host", "from_address", "owners") if name not in mail.model_fields_set]
    if lacking:
        found.append(f"mail: {', '.join(lacking)} below [mail]")
    elif not mail.username and not is_loopback(mail.host):
        found.append(f"perhaps a login: username and password_file below [mail], if {mail.host} wants one")
    if mail.username:
        try:
            mail.password()
        except SettingsError:
            found.append(
                f"the password of the mail server: export {SMTP_PASSWORD}=…, or password_file below [mail]"
            )
    if not settings.recipients:
        found.append("recipients: a line for each team below [recipients]; without one only pages are made")
    if not mail.enabled:
        found.append(
            "consent to send: look at the preview of usagekit send, then enabled = true below [mail]"
        )
    return found


def _toml(value: str | list[str]) -> str:
    # JSON's strings and lists are TOML's but for one character that TOML wants escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _line(name: str, value: str | list[str], example: str | list[str]) -> str:
    return f"{name} = {_toml(value)}" if value else f"# {name} = {_toml(example)}"


_TEXT = """\
# Settings of usagekit. What begins with # is a default or an example.
# Every setting may also come from the environment, which wins: USAGEKIT_LAB_NAME, USAGEKIT_MAIL__HOST, …
# No secret belongs here: the token is HEADSPIN_API_TOKEN, the passwords USAGEKIT_SMTP_PASSWORD and USAGEKIT_IMAP_PASSWORD.

lab_name = {lab_name}
# IANA zone of all dates, bins and schedules:
timezone = {timezone}
# The API; the token is sent nowhere else:
base_url = {base_url}
# How the API reads the end of a range, "included" or "excluded"; usagekit doctor finds out:
# end_date = "included"
# A file of mode 0600 that holds the token, for runs that have no environment of yours:
# token_file = "/etc/usagekit/token"
# Teams that get no report:
# exclude_teams = ["Default"]
# Folders of what is fetched and of what is made:
# snapshots = "snapshots"
# reports = "reports"
# Remarks on devices, a YAML file of lines  device_id@hostname: remark
# device_notes = "devices.yaml"
# What the lab costs a month, and how teams share it: by their part of all available hours ("used") or of all used ("all-in"):
# price = 120000
# currency = "EUR"
# showback = "used"
# Show people by email in the lab's own report:
# names = false
# Paper of the PDFs, "a4" or "us-letter":
# paper = "a4"
# The first month that scheduled runs make; without it they begin with the last one:
# first_month = "2026-01"

# When the lab counts as open:
# [business_hours]
# start = "08:00"
# end = "18:00"
# days = ["Mon", "Tue", "Wed", "Thu", "Fri"]
# holidays = [2026-12-25, 2026-12-26]

# When the reports of a month are due, in the next one, by the lab's clock:
# [schedule]
# day = 2
# at = "06:00"

[mail]
# Nothing is sent before this is true; until then usagekit send writes a preview:
enabled = false
# The mail server:
{host}
# port = 587
# "starttls", "tls" (port 465), or "none" on this machine only:
# security = "starttls"
# The login, if the server wants one; the password in a file of mode 0600, or in USAGEKIT_SMTP_PASSWORD:
{username}
# password_file = "/etc/usagekit/smtp-password"
# ca_file = "ca.pem"
# Who sends, and who answers questions:
{from_address}
# from_name = "Usage reports"
# contact = "lab@example.com"
# list_id = "usage-reports.example.com"
# Who hears what went wrong:
{owners}
# Who gets the report of the whole lab:
# lab_managers = ["boss@example.com"]
# Where readers find the pages; named when a file is too large for a mail:
# reports_url = "https://reports.example.com/"
# Bytes of a mail; minutes between tries after a refusal for now; seconds that the server may take; days that numbers stay good:
# max_bytes = 10000000
# retry_after_minutes = 30
# timeout_seconds = 600
# max_age_days = 35

# A mailbox that gets a copy of every mail (add it to the recipients' side of the server): doubtful ones are looked up there.
# [mail.archive]
# host = "imap.example.com"
# port = 993
# security = "tls"
# username = "archive"
# password_file = "/etc/usagekit/imap-password"
# ca_file = "ca.pem"
# folder = "INBOX"

# Who gets which team's report; the name as the API spells it (usagekit send --dry-run lists the teams without one):
[recipients]
# "Payments" = ["lead@example.com"]

# Teams that have a new name, so that pages keep their history:
[renamed]
# "Old name" = "New name"
"""

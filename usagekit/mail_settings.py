"""Settings of the mails: the server, the sender, and who gets what; checked when they are read."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from usagekit.errors import SettingsError
from usagekit.hosts import is_loopback
from usagekit.mail_address import Address, Addresses, Domain
from usagekit.secret_file import read_secret

SMTP_PASSWORD: Final = "USAGEKIT_SMTP_PASSWORD"  # noqa: S105 - the name of the variable, not its value
IMAP_PASSWORD: Final = "USAGEKIT_IMAP_PASSWORD"  # noqa: S105 - the name of the variable, not its value

Security = Literal["starttls", "tls", "none"]

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.:-]{0,251}[A-Za-z0-9])?|::1")


def mail_host(text: str) -> str:
    """A host name or address as it is; ValueError where it is none."""
    if not _HOST.fullmatch(text):
        raise ValueError(f"{text!r} is no host name: write smtp.example.com, without a scheme or a path")
    return text


def plain_text(text: str) -> str:
    """A line of text as it is; ValueError where it is none."""
    if not text.strip() or not text.isprintable() or len(text) > 200:
        raise ValueError("must be one line of 1 to 200 printable characters")
    return text


Host = Annotated[str, AfterValidator(mail_host)]
PlainText = Annotated[str, AfterValidator(plain_text)]


class _Server(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    host: Host = "localhost"
    port: int = Field(default=587, ge=1, le=65535)
    security: Security = "starttls"
    username: PlainText | None = None
    password_file: Path | None = None
    ca_file: Path | None = None

    @model_validator(mode="after")
    def _encrypted(self) -> Self:
        if self.security == "none" and not is_loopback(self.host):
            raise ValueError(f'security = "none" is for this machine only: {self.host} needs starttls or tls')
        return self

    def _password(self, variable: str) -> SecretStr:
        text = os.environ.get(variable, "").strip()
        if not text and self.password_file:
            text = read_secret(self.password_file, setting="password_file")
        if not text:
            raise SettingsError(f"no password for {self.username} at {self.host}: set {variable}")
        return SecretStr(text)


class Archive(_Server):
    """An IMAP folder that gets a copy of every mail sent; doubtful ones are looked up there."""

    port: int = Field(default=993, ge=1, le=65535)
    security: Security = "tls"
    username: PlainText
    folder: PlainText = "INBOX"

    def password(self) -> SecretStr:
        """The password, from the environment or ``password_file``; SettingsError where there is none."""
        return self._password(IMAP_PASSWORD)


class MailSettings(_Server):
    """The ``[mail]`` table of usagekit.toml.

    Nothing is sent before ``enabled = true``. ``security`` is ``starttls``, ``tls`` or, on this machine only,
    ``none``. ``lab_managers`` get the digest of the lab, ``owners`` what went wrong. ``max_bytes`` bounds a
    message, ``retry_after_minutes`` is the least wait after a temporary refusal, ``timeout_seconds`` the
    patience with the server (RFC 5321 4.5.3.2.6 asks for 10 minutes after the final dot), ``max_age_days``
    how old the numbers of a mail may be, ``reports_url`` where readers find the reports.
    """

    enabled: bool = False
    from_address: Address | None = None
    from_name: PlainText = "Usage reports"
    contact: Address | None = None
    list_id: Domain | None = None
    lab_managers: Addresses = ()
    owners: Addresses = ()
    archive: Archive | None = None
    reports_url: str | None = None
    max_bytes: int = Field(default=10_000_000, ge=50_000)
    retry_after_minutes: int = Field(default=30, ge=1)
    timeout_seconds: float = Field(default=600, gt=0)
    max_age_days: int = Field(default=35, ge=1)

    @field_validator("reports_url")
    @classmethod
    def _web(cls, url: str | None) -> str | None:
        if url is not None and not re.fullmatch(r"https?://[!-~]{1,500}", url):
            raise ValueError("must be an address that begins with https:// or http://")
        return url

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.enabled and not (self.from_address and self.owners):
            raise ValueError("enabled = true needs from_address and owners")
        return self

    @property
    def sender(self) -> str:
        """The address that mails come from; previews without one use a name that cannot exist (RFC 2606)."""
        return self.from_address or "usage-reports@lab.invalid"

    @property
    def domain(self) -> str:
        """The domain of the sender."""
        return self.sender.rpartition("@")[2]

    def password(self) -> SecretStr:
        """The password, from the environment or ``password_file``; SettingsError where there is none."""
        return self._password(SMTP_PASSWORD)


def _named(recipients: Mapping[str, tuple[str, ...]]) -> Mapping[str, tuple[str, ...]]:
    for team, addresses in recipients.items():
        if not addresses:
            raise ValueError(f"team {team!r} has no address: remove the line or add one")
    return recipients


Recipients = Annotated[dict[str, Addresses], AfterValidator(_named)]
"""The ``[recipients]`` table of usagekit.toml: the exact name of a team, and who gets its report."""

"""Settings: read once at start from ``usagekit.toml`` and the environment, then frozen.

Secrets come only from the environment or from a file of mode 0600, never from usagekit.toml.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import date, time
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from pydantic_settings import SettingsError as SettingsSourceError

from usagekit.errors import QueryError, SettingsError
from usagekit.mail_settings import IMAP_PASSWORD, SMTP_PASSWORD, MailSettings, Recipients
from usagekit.origin import checked_url
from usagekit.period import BusinessHours, parse_month
from usagekit.secret_file import read_secret
from usagekit.values import check_timezone
from usagekit.vocabulary import DEFAULT_BASE_URL

FILE_NAME = "usagekit.toml"
TOKEN_VARIABLE = "HEADSPIN_API_TOKEN"  # noqa: S105 - the name of the variable, not its value

_file: ContextVar[Path | None] = ContextVar("settings file", default=None)
"""Which file is being read: pydantic asks for its sources by a class method."""

_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


class _Hours(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    start: time = time(8)
    end: time = time(18)
    days: tuple[str, ...] = _WEEKDAYS[:5]
    holidays: tuple[date, ...] = ()

    @field_validator("days")
    @classmethod
    def _known(cls, days: tuple[str, ...]) -> tuple[str, ...]:
        if not days or not set(days) <= set(_WEEKDAYS):
            raise ValueError(f"must be some of {', '.join(_WEEKDAYS)}")
        return days

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.end <= self.start:
            raise ValueError("end must be after start")
        return self


class _Schedule(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    day: Annotated[int, Field(ge=1, le=28)] = 2
    at: time = time(6)

    @field_validator("at")
    @classmethod
    def _local(cls, at: time) -> time:
        if at.tzinfo:
            raise ValueError("is a time in the lab's own zone: write it without one")
        return at


def _month(text: str) -> str:
    parse_month(text)
    return text


def _newest(renamed: Mapping[str, str]) -> Mapping[str, str]:
    for old, new in renamed.items():
        if new in renamed:
            raise ValueError(f"{old!r} became {new!r}, which is an old name too: write the newest for both")
    return renamed


class Settings(BaseSettings):
    """All settings of a lab, with their defaults.

    ``lab_name`` and ``timezone`` (IANA) head every report; ``business_hours`` are local; ``exclude_teams``
    get no report; ``base_url`` is the only origin that the token is sent to; ``end_date`` says how the API
    reads the end of a range (``usagekit doctor`` finds out). ``device_notes`` is a YAML file of remarks on devices;
    ``price`` (in ``currency``, a month) is what the teams share, by their hours of all available ones ("used")
    or of all used ones ("all-in"); ``names`` shows people by email in the lab's report. ``mail`` and
    ``recipients`` say whom the reports are sent to (:mod:`usagekit.mail_settings`). ``schedule`` is when the reports of
    a month are due in the next one, ``first_month`` where catching up begins; ``renamed`` maps old names of teams to
    their newest.
    """

    model_config = SettingsConfigDict(
        env_prefix="USAGEKIT_", env_nested_delimiter="__", extra="forbid", frozen=True
    )

    lab_name: str = "Device lab"
    timezone: str = "UTC"
    base_url: str = DEFAULT_BASE_URL
    end_date: Literal["included", "excluded"] = "included"
    business_hours: _Hours = _Hours()
    exclude_teams: tuple[str, ...] = ()
    snapshots: Path = Path("snapshots")
    reports: Path = Path("reports")
    device_notes: Path | None = None
    price: Annotated[float | None, Field(gt=0, allow_inf_nan=False)] = None
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "EUR"
    showback: Literal["used", "all-in"] = "used"
    names: bool = False
    paper: Literal["a4", "us-letter"] = "a4"
    mail: MailSettings = MailSettings()
    recipients: Recipients = Field(default_factory=dict)
    schedule: _Schedule = _Schedule()
    first_month: Annotated[str, AfterValidator(_month)] | None = None
    renamed: Annotated[dict[str, str], AfterValidator(_newest)] = Field(default_factory=dict)
    token_file: Path | None = None
    token: Annotated[SecretStr | None, Field(validation_alias=TOKEN_VARIABLE, repr=False)] = None

    @field_validator("timezone")
    @classmethod
    def _zone(cls, name: str) -> str:
        try:
            return check_timezone(name).key
        except QueryError as error:
            raise ValueError(str(error).removeprefix("timezone=")) from error

    @field_validator("base_url")
    @classmethod
    def _safe(cls, url: str) -> str:
        if url == DEFAULT_BASE_URL:  # reading one loads httpx, which most commands do without
            return url
        try:
            return checked_url(url)
        except SettingsError as error:
            raise ValueError(str(error).removeprefix("base_url ")) from error

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Values given in code win, then the environment, then the file."""
        return (
            init_settings,
            env_settings,
            TomlConfigSettingsSource(settings_cls, toml_file=_file.get() or _settings_file()),
        )

    @property
    def hours(self) -> BusinessHours:
        """The business hours as the reports use them."""
        hours = self.business_hours
        return BusinessHours(
            hours.start, hours.end, tuple(sorted(_WEEKDAYS.index(d) for d in hours.days)), hours.holidays
        )

    def secret_token(self) -> str:
        """The API token.

        Raises
        ------
        SettingsError : there is none, or its file can be read by others.
        """
        if self.token and self.token.get_secret_value().strip():
            return self.token.get_secret_value().strip()
        if self.token_file:
            return read_secret(self.token_file, setting="token_file")
        raise SettingsError(f"no API token: set {TOKEN_VARIABLE}, or token_file in {FILE_NAME}")


def load_settings(file: Path | None = None, **overrides: Any) -> Settings:
    """Read the settings of the current folder, or of a ``file``.

    Raises
    ------
    SettingsError : usagekit.toml cannot be read or a setting is wrong; names the setting.
    """
    file = file or _settings_file()
    token = _file.set(file)
    try:
        if file.exists():
            _refuse_secrets(file, tomllib.loads(file.read_text("utf-8")))
        return Settings(**overrides)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: {error}") from None
    except SettingsSourceError as error:
        raise SettingsError(f"the environment: {error}: write it as JSON, or in {FILE_NAME}") from None
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg'].removeprefix('Value error, ')}"
            for fault in error.errors(include_input=False)
        )
        raise SettingsError(f"{file.name} or the environment: {faults}") from None
    finally:
        _file.reset(token)


def _refuse_secrets(file: Path, content: Mapping[str, Any]) -> None:
    if {"token", TOKEN_VARIABLE} & content.keys():
        raise SettingsError(f"{file}: a token does not belong into this file: set {TOKEN_VARIABLE}")
    mail = content.get("mail")
    archive = mail.get("archive") if isinstance(mail, dict) else None
    for table, variable in ((mail, SMTP_PASSWORD), (archive, IMAP_PASSWORD)):
        if isinstance(table, dict) and "password" in table:
            raise SettingsError(
                f"{file}: a password does not belong into this file: set {variable} or password_file"
            )


def _settings_file() -> Path:
    return Path(os.environ.get("USAGEKIT_CONFIG", FILE_NAME))

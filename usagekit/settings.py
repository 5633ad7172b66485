"""Settings: read once at start from ``usagekit.toml`` and the environment, then frozen.

Secrets come only from the environment or from a file of mode 0600, never from usagekit.toml.
"""

from __future__ import annotations

import os
import stat
import tomllib
from datetime import date, time
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
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

from usagekit.errors import QueryError, SettingsError
from usagekit.period import BusinessHours
from usagekit.values import check_timezone
from usagekit.vocabulary import DEFAULT_BASE_URL

FILE_NAME = "usagekit.toml"
TOKEN_VARIABLE = "HEADSPIN_API_TOKEN"  # noqa: S105 - the name of the variable, not its value

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


class Settings(BaseSettings):
    """All settings of a lab, with their defaults.

    ``lab_name`` and ``timezone`` (IANA) head every report; ``business_hours`` are local; ``exclude_teams``
    get no report; ``base_url`` is the only origin that the token is sent to; ``end_date`` says how the API
    reads the end of a range (``usagekit doctor`` finds out).
    """

    model_config = SettingsConfigDict(env_prefix="USAGEKIT_", extra="forbid", frozen=True)

    lab_name: str = "Device lab"
    timezone: str = "UTC"
    base_url: str = DEFAULT_BASE_URL
    end_date: Literal["included", "excluded"] = "included"
    business_hours: _Hours = _Hours()
    exclude_teams: tuple[str, ...] = ()
    snapshots: Path = Path("snapshots")
    reports: Path = Path("reports")
    token_file: Path | None = None
    token: Annotated[SecretStr | None, Field(validation_alias=TOKEN_VARIABLE, repr=False)] = None

    @field_validator("timezone")
    @classmethod
    def _zone(cls, name: str) -> str:
        try:
            return check_timezone(name).key
        except QueryError as error:
            raise ValueError(str(error)) from error

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
            TomlConfigSettingsSource(settings_cls, toml_file=_settings_file()),
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
            return _read_secret(self.token_file)
        raise SettingsError(f"no API token: set {TOKEN_VARIABLE}, or token_file in {FILE_NAME}")


def load_settings(**overrides: Any) -> Settings:
    """Read the settings of the current folder.

    Raises
    ------
    SettingsError : usagekit.toml cannot be read or a setting is wrong; names the setting.
    """
    file = _settings_file()
    try:
        if file.exists() and {"token", TOKEN_VARIABLE} & tomllib.loads(file.read_text("utf-8")).keys():
            raise SettingsError(f"{file}: a token does not belong into this file: set {TOKEN_VARIABLE}")
        return Settings(**overrides)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: {error}") from None
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"
            for fault in error.errors(include_input=False)
        )
        raise SettingsError(f"{file.name} or the environment: {faults}") from None


def _settings_file() -> Path:
    return Path(os.environ.get("USAGEKIT_CONFIG", FILE_NAME))


def _read_secret(path: Path) -> str:
    try:
        mode = path.stat().st_mode
        text = path.read_text("utf-8").strip()
    except OSError as error:
        raise SettingsError(f"token_file {path}: {error.strerror}") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise SettingsError(f"token_file {path} can be read by others: chmod 600 {path}")
    if not text:
        raise SettingsError(f"token_file {path} is empty")
    return text

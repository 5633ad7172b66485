"""The words of the Usage API: metrics, bins, routes, filters and columns.

Facts are from the API's document; what it leaves open is decided in docs/semantics.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from types import MappingProxyType
from typing import Final, Literal

BinSize = Literal["hour", "day", "week", "month"]
BIN_SIZES: Final[tuple[BinSize, ...]] = ("hour", "day", "week", "month")

FORMATS: Final = ("json", "csv")
"""Values of the ``format`` parameter."""

DEFAULT_BASE_URL: Final = "https://api-dev.headspin.io"

CURRENT_ERA_START: Final = date(2022, 9, 1)
"""First day on which a session carries both its user and its team (UTC). Before: one of the two."""

MAX_EVENT_DAYS: Final = 120
"""Largest ``end_date - start_date`` that /v0/usage/events accepts, in days."""

MAX_BINS: Final = 100_000
"""Most time bins that one query may have: 11 years of hours. More is refused before any work."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric of the API and the column that it becomes in a frame.

    ``column`` carries the unit: ``total_time_hours`` (h), ``avg_session_minutes`` (min); counts have none.
    """

    name: str
    column: str
    label: str
    is_count: bool = False

    def unit(self, bin_size: str) -> str:
        """The unit on the wire: total time is in minutes for hour bins and in hours for all others."""
        if self.is_count:
            return "N/A"
        if self.name == "total_time":
            return "minute" if bin_size == "hour" else "hour"
        return "minute"


METRICS: Final = MappingProxyType(
    {
        m.name: m
        for m in (
            Metric("total_time", "total_time_hours", "Device hours"),
            Metric("avg_session_length", "avg_session_minutes", "Mean session"),
            Metric("session_count", "session_count", "Sessions", is_count=True),
            Metric("device_count", "device_count", "Devices used", is_count=True),
            Metric("user_count", "user_count", "Active users", is_count=True),
            Metric("team_count", "team_count", "Active teams", is_count=True),
        )
    }
)


@dataclass(frozen=True, slots=True)
class Route:
    """One aggregation route: its path below /v1/usage and the columns that identify a row.

    ``options`` are the switches that the route uses; it accepts and ignores the others.
    """

    by: str
    columns: tuple[str, ...]
    options: frozenset[str] = frozenset()

    @property
    def path(self) -> str:
        return f"/v1/usage/{self.by}" if self.by else "/v1/usage"


_PHONE_OS = frozenset({"combine_phone_os"})
_DEVICE_ID = frozenset({"group_by_device_id"})
_NOTES = frozenset({"include_user_notes"})

ROUTES: Final = MappingProxyType(
    {
        r.by: r
        for r in (
            Route("", ()),
            Route("device", ("device_address",), _DEVICE_ID),
            Route("user", ("user", "email"), _NOTES),
            Route("team", ("team",)),
            Route("host", ("hostname",)),
            Route("country", ("country",)),
            Route("team/device", ("team", "device_address"), _DEVICE_ID),
            Route("user/team", ("user", "email", "teams"), _NOTES),
            Route("devicemodel", ("device_model",), _PHONE_OS),
            Route("team/devicemodel", ("team", "device_model"), _PHONE_OS),
        )
    }
)
"""The ten aggregation routes by their tail: ``ROUTES["team/device"].path`` is /v1/usage/team/device."""

EVENTS_PATH: Final = "/v0/usage/events"

FILTER_KEYS: Final = ("device_address", "hostname", "team_name", "user_email")
"""Keys that may follow ``filter_on.``."""

OPTIONS: Final = ("display_all", "combine_phone_os", "group_by_device_id", "include_user_notes")
"""Boolean parameters with the default false."""

EVENT_KEYS: Final = (
    "device_id",
    "hostname",
    "start_time",
    "end_time",
    "duration",
    "date",
)
"""JSON keys that every event has; before them come ``user`` and ``email``, or ``team`` for automation."""

EVENT_CSV_HEADER: Final = (
    "User/Team",
    "Email",
    "Device Id",
    "Hostname",
    "Start time",
    "End time",
    "Duration",
    "Date",
)

DEVICE_OS: Final = ("Android", "iOS", "other")
FORM_FACTORS: Final = ("phone", "tablet", "tv", "other")


def device_address(device_id: str, hostname: str) -> str:
    """Join a device id and a host name as the API does.

    >>> device_address("abcd123", "lab-1.example.com")
    'abcd123@lab-1.example.com'
    """
    return f"{device_id}@{hostname}"


def split_device_address(address: str) -> tuple[str, str]:
    """Split an address into (device id, host name) at its LAST ``@``: ids may hold one.

    >>> split_device_address("a@b@lab-1.example.com")
    ('a@b', 'lab-1.example.com')
    """
    device_id, _, hostname = address.rpartition("@")
    return device_id, hostname

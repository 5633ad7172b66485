"""The tables of an event store (docs/semantics.md, "The event store") as Polars schemas."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import polars as pl

TIMESTAMP: Final = pl.Datetime("us", "UTC")

EVENTS_SCHEMA: Final = pl.Schema(
    {
        "session_id": pl.String(),
        "start_time": TIMESTAMP,
        "end_time": TIMESTAMP,
        "device_id": pl.String(),
        "hostname": pl.String(),
        "user": pl.String(),
        "email": pl.String(),
        "team": pl.String(),
        "automated": pl.Boolean(),
    }
)

DIMENSION_SCHEMAS: Final = MappingProxyType(
    {
        "devices": pl.Schema(
            dict.fromkeys(("device_id", "hostname", "model", "os", "form_factor"), pl.String)
        ),
        "hosts": pl.Schema(dict.fromkeys(("hostname", "country"), pl.String)),
        "users": pl.Schema(dict.fromkeys(("email", "user", "notes"), pl.String)),
        "memberships": pl.Schema(dict.fromkeys(("email", "team"), pl.String)),
        "teams": pl.Schema({"team": pl.String}),
    }
)

DIMENSION_KEYS: Final = MappingProxyType(
    {
        "devices": ("device_id", "hostname"),
        "hosts": ("hostname",),
        "users": ("email",),
        "memberships": ("email", "team"),
        "teams": ("team",),
    }
)
"""Columns that identify a row of a dimension table."""


@dataclass(frozen=True, slots=True)
class Tables:
    """A whole lab in memory: the events and the dimension tables, each with its store schema."""

    events: pl.DataFrame
    devices: pl.DataFrame
    hosts: pl.DataFrame
    users: pl.DataFrame
    memberships: pl.DataFrame
    teams: pl.DataFrame

    def dimension(self, name: str) -> pl.DataFrame:
        """One of the dimension tables by its name in :data:`DIMENSION_SCHEMAS`."""
        table: pl.DataFrame = getattr(self, name)
        return table

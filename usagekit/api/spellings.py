"""Columns of an answer, found under any known spelling.

The API's document leaves the keys of several columns open, so every name that comes from outside
passes through the one table here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from usagekit.errors import SchemaError

SPELLINGS: Final = MappingProxyType(
    {
        "datetime": ("date_time", "timestamp"),
        "device_address": ("device", "address"),
        "device_id": ("device",),
        "hostname": ("host", "host_name"),
        "user": ("user_name", "username"),
        "email": ("user_email", "email_address"),
        "notes": ("user_notes",),
        "team": ("team_name",),
        "teams": ("team", "team_names"),
        "country": ("country_name",),
        "device_model": ("model", "devicemodel"),
        "unit": ("units",),
        "avg_session_length": ("average_session_length",),
        "start_time": ("start",),
        "end_time": ("end",),
    }
)
"""Other spellings of a column, first choice first; case, spaces and hyphens never matter."""


def find_columns(names: Iterable[str], wanted: Iterable[str]) -> Mapping[str, str]:
    """Which of ``names`` stands for each wanted column; a wanted column without one is left out.

    >>> dict(find_columns(["Device Address", "host"], ["device_address", "hostname", "team"]))
    {'device_address': 'Device Address', 'hostname': 'host'}
    """
    by_spelling: dict[str, str] = {}
    for name in names:
        by_spelling.setdefault(_plain(name), name)
    found: dict[str, str] = {}
    for column in wanted:
        for spelling in (column, *SPELLINGS.get(column, ())):
            source = by_spelling.get(spelling)
            if source is not None and source not in found.values():
                found[column] = source
                break
    return found


def require(found: Mapping[str, str], wanted: Iterable[str], *, where: str) -> None:
    """Raise SchemaError that names the wanted columns which were not found."""
    missing = [column for column in wanted if column not in found]
    if missing:
        raise SchemaError(f"{where} has no column {', '.join(missing)}", missing=missing)


def _plain(name: str) -> str:
    return re.sub(r"[\s\-]+", "_", name.strip()).casefold()

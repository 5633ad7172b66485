"""usagekit: monthly usage reports for a device lab, from its Usage API.

Names are loaded when they are first used, so importing the package costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from usagekit.errors import (
        ApiError,
        QueryError,
        RenderError,
        SchemaError,
        SettingsError,
        StoreError,
        UsageKitError,
    )
    from usagekit.figures.marker import complete
    from usagekit.lab import Lab
    from usagekit.openers import connect, demo, open_snapshot, open_store
    from usagekit.query import EventsQuery, UsageQuery
    from usagekit.reading import read_month

    __version__: str

_HOMES = {
    "ApiError": "usagekit.errors",
    "EventsQuery": "usagekit.query",
    "Lab": "usagekit.lab",
    "QueryError": "usagekit.errors",
    "RenderError": "usagekit.errors",
    "SchemaError": "usagekit.errors",
    "SettingsError": "usagekit.errors",
    "StoreError": "usagekit.errors",
    "UsageKitError": "usagekit.errors",
    "UsageQuery": "usagekit.query",
    "complete": "usagekit.figures.marker",
    "connect": "usagekit.openers",
    "demo": "usagekit.openers",
    "open_snapshot": "usagekit.openers",
    "open_store": "usagekit.openers",
    "read_month": "usagekit.reading",
}

__all__ = [
    "ApiError",
    "EventsQuery",
    "Lab",
    "QueryError",
    "RenderError",
    "SchemaError",
    "SettingsError",
    "StoreError",
    "UsageKitError",
    "UsageQuery",
    "complete",
    "connect",
    "demo",
    "open_snapshot",
    "open_store",
    "read_month",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("usagekit")
    if name not in _HOMES:
        raise AttributeError(f"module 'usagekit' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]

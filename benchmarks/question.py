"""The question that every contender answers, and what the rivals need to find their way in a store."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

ZONE = "America/Los_Angeles"
METRICS = (
    "total_time",
    "avg_session_length",
    "session_count",
    "device_count",
    "user_count",
    "team_count",
)
COLUMNS = ("datetime", "team", *METRICS)


def day_edges(first: date, last: date) -> tuple[Any, list[str]]:
    """Local midnights in UTC microseconds, one more than days, and the days' labels."""
    import numpy as np

    days = [first + timedelta(days=n) for n in range((last - first).days + 2)]
    midnights = [datetime.combine(day, time(), ZoneInfo(ZONE)).timestamp() for day in days]
    return np.array(midnights, np.int64) * 1_000_000, [day.isoformat() for day in days[:-1]]


def months(first: date, last: date) -> list[tuple[str, str, str]]:
    """The month folders that can matter: no session of this lab lasts longer than a day."""
    day = timedelta(days=1)
    return [("month", ">=", f"{first - day:%Y-%m}"), ("month", "<=", f"{last + day + day:%Y-%m}")]


def files(store: Path, first: date, last: date) -> list[Path]:
    low, high = (bound for _, _, bound in months(first, last))
    folders = sorted((store / "events").glob("month=*"))
    return [f / "events.parquet" for f in folders if low <= f.name.removeprefix("month=") <= high]

"""What the last run came to, in one small file for a monitor: ``<reports>/health.json``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from usagekit.delivery.outbox import status_rows
from usagekit.delivery.schedule import Schedule
from usagekit.delivery.stages import MonthResult
from usagekit.engine.files import publish_text
from usagekit.settings import Settings

HEALTH_FILE: Final = "health.json"


def read_health(reports: Path) -> dict[str, Any]:
    """The record of the last run; empty where there was none, or it cannot be read."""
    try:
        found = json.loads((reports / HEALTH_FILE).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write_health(
    settings: Settings,
    results: Sequence[MonthResult] | None,
    *,
    started: datetime,
    now: datetime,
    error: str = "",
) -> dict[str, Any]:
    """Replace the record in one step; ``results`` is None while a run is at work.

    ``ok`` says whether nothing needs a person; it is null until the run has ended. A run that had nothing to do
    leaves the months of the one before and only says that the schedule is alive. Anybody may read it: it holds no
    addresses.
    """
    before = read_health(settings.reports)
    record: dict[str, Any] = {
        "ok": None,
        "started_utc": _second(started),
        "finished_utc": None,
        "months": {},
        "causes": [],
    }
    if results is not None:
        idle = not results and not error and before.get("ok") is not None
        told = [error] if error else [f"{r.month}: {cause}" for r in results for cause in r.causes]
        causes = [without_addresses(cause) for cause in told]
        months = {r.month: {"state": r.state, **r.counts} for r in results}
        record |= {"ok": not causes, "finished_utc": _second(now), "months": months, "causes": causes}
        if idle:
            record |= {name: before[name] for name in record.keys() & before.keys()}
    record["in_doubt"] = [row.message_id for row in status_rows(settings) if row.state == "unknown"]
    record["ok"] = record["ok"] and not record["in_doubt"]
    record |= _next(schedule_of(settings), now)
    text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
    publish_text(settings.reports / HEALTH_FILE, text)
    return record


def without_addresses(text: str) -> str:
    """A text in which nobody's address can be read; our own Message-IDs stay, which name nobody.

    >>> without_addresses("mail to ana@example.com refused: 550 <ana@example.com> is unknown")
    'mail to (address) refused: 550 <(address)> is unknown'
    """
    return _ADDRESS.sub(lambda found: found[0] if _OUR_ID.match(found[0]) else "(address)", text)


# A word is looked at from its beginning alone: a megabyte without an @ is read once.
_ADDRESS = re.compile(r"""(?<![^\s<>()\[\]:;,"@])[^\s<>()\[\]:;,"@]+@[^\s<>()\[\]:;,"]+""")
_OUR_ID = re.compile(r"[0-9a-f]{40}@")


def schedule_of(settings: Settings) -> Schedule:
    """When the settings want a month's reports."""
    return Schedule(settings.timezone, settings.schedule.day, settings.schedule.at)


def _next(schedule: Schedule, now: datetime) -> Mapping[str, str]:
    month = schedule.next_due(now)
    return {
        "checked_utc": _second(now),
        "next_due_month": month,
        "next_due_utc": _second(schedule.due_at(month)),
    }


def _second(instant: datetime) -> str:
    return instant.isoformat(timespec="seconds")

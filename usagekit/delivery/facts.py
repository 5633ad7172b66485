"""What a published report says about itself for a mail, read back from its manifest and checked."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from usagekit.analysis.trust import BADGES
from usagekit.errors import MailError

USAGE: Final = ("value", "zero", "missing")
DASH: Final = "–"


@dataclass(frozen=True, slots=True)
class KpiRow:
    """One key figure as the report prints it: now, the month before, the change, the same month a year ago."""

    label: str
    value: str
    previous: str
    change: str
    year: str


@dataclass(frozen=True, slots=True)
class Facts:
    """The part of a report that its mail repeats; ``team`` is None for the whole lab, ``total_hours`` in h."""

    team: str | None
    month: str
    lab: str
    timezone: str
    as_of: datetime
    total_hours: float | None
    finding: str
    kpis: tuple[KpiRow, ...]
    actions: tuple[str, ...]
    badge: str
    trust: str
    usage: str
    partial: bool
    history: tuple[float | None, ...]


def read_facts(manifest: Mapping[str, Any]) -> Facts:
    """The facts of a published report.

    Raises
    ------
    MailError : they are missing or malformed; says which.
    """
    facts = manifest["facts"]
    if not isinstance(facts.get("mail"), dict):
        raise MailError("the report carries no figures for a mail: render it with a template that does")
    try:
        return _facts(facts, facts["mail"], manifest.get("parameters", {}).get("team"))
    except (KeyError, TypeError, ValueError) as error:
        raise MailError(f"the report's facts are malformed ({type(error).__name__}: {error})") from None


def content_hash(manifest: Mapping[str, Any], *, template: str | None = None) -> str:
    """Hex SHA-256 of what a report says: its facts without their age, and its tables.

    The same numbers fetched or rendered again are the same report; nobody is mailed them twice. ``template`` is the
    name under which it was mailed, so that a template may get another name.
    """
    facts = {k: v for k, v in manifest["facts"].items() if k not in ("as_of", "figure_count")}
    if template is not None and facts.get("template") == manifest.get("template"):
        facts["template"] = template
    tables = {
        name: about["sha256"] for name, about in manifest["files"].items() if name.lower().endswith(".csv")
    }
    return hashlib.sha256(json.dumps([facts, tables], sort_keys=True).encode()).hexdigest()


def _facts(facts: Mapping[str, Any], mail: Mapping[str, Any], team: str | None) -> Facts:
    as_of = datetime.fromisoformat(str(facts["as_of"]))
    badge, usage = mail["trust"]["badge"], mail["usage"]
    if badge not in BADGES or usage not in USAGE:
        raise ValueError(f"trust badge {badge!r} or usage {usage!r} is unknown")
    if not isinstance(mail["partial"], bool):
        raise TypeError("partial is neither true nor false")
    return Facts(
        team=None if team is None else str(team),
        month=str(facts["month"]),
        lab=str(facts["lab"]),
        timezone=str(facts["timezone"]),
        as_of=as_of if as_of.tzinfo else as_of.replace(tzinfo=UTC),
        total_hours=_number(facts["total_hours"]),
        finding=str(mail["finding"]),
        kpis=tuple(_kpi(row) for row in mail["kpis"]),
        actions=tuple(map(str, mail["actions"])),
        badge=badge,
        trust=str(mail["trust"]["text"]),
        usage=usage,
        partial=mail["partial"],
        history=tuple(map(_number, mail.get("history", ()))),
    )


def _kpi(row: Mapping[str, Any]) -> KpiRow:
    cells = (row.get(name) for name in ("value", "previous", "change", "year"))
    return KpiRow(str(row["label"]), *(DASH if cell in (None, "") else str(cell) for cell in cells))


def _number(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise ValueError(f"{value!r} is no number of hours")
    return float(value)

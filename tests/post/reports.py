"""Published reports as a batch leaves them, small enough to make hundreds of."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from usagekit.mail_settings import MailSettings
from usagekit.report.unit import report_directory

MONTH = "2026-10"
NOW = datetime(2026, 11, 3, 8, tzinfo=UTC)
NARROW, NBSP = "\u202f", "\u00a0"
PDF = b"%PDF-1.7\n" + b"usage " * 500


@dataclass(frozen=True)
class Settings:
    """The settings that mails need, in the shape that usagekit's own have."""

    reports: Path
    mail: MailSettings = MailSettings()  # noqa: RUF009 - frozen
    recipients: dict[str, tuple[str, ...]] = field(default_factory=dict)
    lab_name: str = "Device lab"
    snapshots: Path = Path("no-snapshots")
    exclude_teams: tuple[str, ...] = ()


def kpi(label: str, *cells: str) -> dict[str, str]:
    return dict(zip(("label", "value", "previous", "change", "year"), (label, *cells), strict=True))


MAIL: dict[str, Any] = {
    "finding": "Hours +30% vs September, mostly more sessions per user; 2 of 9 devices idle.",
    "kpis": [
        kpi("Device hours", f"402{NBSP}h", f"310{NBSP}h", "+30%", f"288{NBSP}h"),
        kpi("Active users", "37", "35", "+6%", "31"),
        kpi("Sessions", f"1{NARROW}204", f"1{NARROW}019", "+18%", "980"),
        kpi("Mean session", f"20{NBSP}min", f"18{NBSP}min", "+11%", f"18{NBSP}min"),
        kpi("Automation share", "34%", "30%", f"+4{NBSP}pp", "n/a"),
    ],
    "actions": [
        f"Return 2 devices: no use since July (0{NBSP}h, threshold 2 months).",
        f"Move nightly runs out of business hours: 46{NBSP}h.",
        "Check pixel-8-03: 31% false starts, fleet 9%.",
    ],
    "trust": {"badge": "green", "text": "All totals agree within 1%."},
    "usage": "value",
    "partial": False,
    "history": [288, 301, 350.5, 120, 260, 300, None, 333, 310, 280, 0, 310, 402.5],
}

LAB_MAIL = MAIL | {"finding": "Steady: 4 020 h, within the usual range (3 700-4 300 h)."}


def publish(
    reports: Path,
    team: str | None,
    *,
    hours: float | None = 402.5,
    mail: dict[str, Any] | None = None,
    facts: dict[str, Any] | None = None,
    files: dict[str, bytes] | None = None,
) -> Path:
    """Put a report in place; ``mail`` and ``facts`` change what it says of itself."""
    directory = report_directory(reports, MONTH, team=team)
    directory.mkdir(parents=True, exist_ok=True)
    contents = {"report.pdf": PDF, "hours.csv": b"day,hours\n2026-10-01,13.5\n"} | (files or {})
    for name, content in contents.items():
        (directory / name).write_bytes(content)
    template = "lab_month" if team is None else "team_month"
    manifest = {
        "template": template,
        "parameters": {"month": MONTH, "snapshot": "2026-10"} | ({} if team is None else {"team": team}),
        "facts": {
            "template": template,
            "team": team or "",
            "month": MONTH,
            "title": f"{team} – October 2026",
            "lab": "Device lab",
            "timezone": "Europe/Berlin",
            "as_of": "2026-11-02T05:00:00+00:00",
            "total_hours": hours,
            "figure_count": 9,
            "mail": (LAB_MAIL if team is None else MAIL) | (mail or {}),
        }
        | (facts or {}),
        "files": {
            name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in contents.items()
        },
    }
    (directory / "manifest.json").write_text(json.dumps(manifest))
    return directory

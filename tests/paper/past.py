"""Reports of the past as their readers find them: manifests and files on the disk, failures in the ledger."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.paper.templates import unit_of, write_snapshot
from usagekit.report.ledger import open_ledger
from usagekit.report.unit import Failure, Unit, report_directory

MONTH = "2023-03"
FILES = {f"report.{kind}": f"a {kind}".encode() for kind in ("html", "pdf", "ipynb")}


def publish_report(
    reports: Path,
    team: str | None,
    *,
    month: str = MONTH,
    hours: object = 10.0,
    template: str = "team_month",
    **more: Any,
) -> Path:
    """A published report: its files, and the manifest that lists them; ``more`` stands in the manifest too."""
    directory = report_directory(reports, month, team=team, template=template)
    directory.mkdir(parents=True)
    facts = {"lab": "Lab <1>", "timezone": "Europe/Berlin", "as_of": "2023-04-01T06:00:00+00:00"}
    manifest = {
        "template": template if team is not None else "lab_month",
        "parameters": {} if team is None else {"team": team},
        "started_utc": "2023-04-02T04:59:50+00:00",
        "finished_utc": "2023-04-02T05:00:00+00:00",
        "facts": facts | {"total_hours": hours},
        "files": {
            name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in FILES.items()
        },
    }
    for name, content in FILES.items():
        (directory / name).write_bytes(content)
    (directory / "manifest.json").write_text(json.dumps(manifest | more))
    return directory


def unit_for(reports: Path, team: str) -> Unit:
    """The standard report of a team in March 2023, to be planned or failed in the ledger."""
    unit = unit_of(reports.parent / "made", "good", team)
    template = replace(unit.template, name="team_month")
    return replace(unit, template=template, directory=report_directory(reports, MONTH, team=team))


def record_failure(reports: Path, team: str, *, cell_index: int | None = 4) -> None:
    """A failure in the ledger of the reports, beside those already there, and its notebook."""
    unit = unit_for(reports, team)
    unit.directory.mkdir(parents=True, exist_ok=True)
    notebook = unit.directory / "report.failed.ipynb"
    notebook.write_text("{}")
    with open_ledger(reports) as ledger:
        ledger.plan([(unit, "key")])
        ledger.fail(Failure(unit, cell_index, "KeyError", "<img src=x onerror=alert(1)>", notebook))


def keep_snapshot(snapshots: Path, month: str, *, teams: object = ()) -> str:
    """A snapshot as it is seen from outside; gives the hash that tells it from others."""
    content = json.dumps({"teams": teams})
    write_snapshot(snapshots / month, content)
    return hashlib.sha256(content.encode()).hexdigest()

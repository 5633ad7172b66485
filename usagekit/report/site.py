"""The page of a month: every report, its state and its files, in one HTML file that needs nothing else."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from jinja2 import Template

from usagekit.analysis import month_name, shift_month
from usagekit.analysis.wording import count_text, hours_text, signed
from usagekit.engine.files import publish_text
from usagekit.export.page import page_style
from usagekit.figures.base import environment
from usagekit.figures.escape import shown_name
from usagekit.report.batch import read_failures
from usagekit.report.publish import FAILED_NOTEBOOK, MANIFEST, read_manifest
from usagekit.report.unit import LAB_DIRECTORY

_SMALL_HOURS = 5.0
"""Below this many hours in the month before, a change is told in hours: a percentage would shout."""


@dataclass(frozen=True, slots=True)
class Row:
    """One report of the month; a failed one may still have ``links`` to an older good report."""

    name: str
    template: str
    error: str
    hours: float | None
    change: str
    links: Mapping[str, str]
    made: str
    is_lab: bool

    @property
    def hours_text(self) -> str:
        return "–" if self.hours is None else hours_text(self.hours)


def write_index(reports: Path, month: str) -> Path:
    """Write ``<reports>/<month>/index.html`` from the manifests and the open failures; returns its path.

    Call it while no batch is at work, or again afterwards: it shows what is published at this moment.

    Raises
    ------
    QueryError : ``month`` is not ``YYYY-MM``.
    RenderError : the record of failures is damaged.
    """
    directory = reports.absolute() / month
    manifests = _manifests(directory)
    failures = _unreadable(directory, manifests) | read_failures(directory)
    before = _manifests(reports.absolute() / shift_month(month, -1))
    rows = [
        _row(name, manifests.get(name), failures.get(name), before.get(name)) for name in manifests | failures
    ]
    rows.sort(key=lambda row: (not row.error, not row.is_lab, row.name.casefold(), row.name, row.template))
    page = _template().render(
        title=f"Usage reports, {month_name(month)}",
        style=page_style(),
        facts=list(_facts(manifests, rows)),
        rows=rows,
        failed=sum(bool(row.error) for row in rows),
        several_templates=len({row.template for row in rows if not row.is_lab}) > 1,
        before=month_name(shift_month(month, -1)),
    )
    publish_text(directory / "index.html", page)
    return directory / "index.html"


def _manifests(directory: Path) -> dict[str, dict[str, Any]]:
    found = {path.name: read_manifest(path) for path in sorted(directory.glob("[!.]*/"))}
    return {name: manifest for name, manifest in found.items() if manifest is not None}


def _unreadable(directory: Path, manifests: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Directories of reports without a manifest, as failures: what cannot be read must not vanish."""
    lost = {path.name for path in directory.glob("[!.]*/")} - manifests.keys()
    error = f"{MANIFEST} is missing or damaged: render this report again"
    common = {
        "template": "",
        "cell_index": None,
        "error_name": "Unreadable",
        "error": error,
        "notebook": None,
    }
    return {name: common | {"team": name} for name in sorted(lost)}


def _row(
    name: str,
    manifest: Mapping[str, Any] | None,
    failure: Mapping[str, Any] | None,
    before: Mapping[str, Any] | None,
) -> Row:
    facts = manifest["facts"] if manifest else {}
    team = failure["team"] if failure else manifest["parameters"].get("team") if manifest else None
    links = {}
    if manifest:
        links = {label: f"{quote(name)}/report.{label.lower()}" for label in ("HTML", "PDF")}
    if failure and failure["notebook"]:
        links["failed notebook"] = f"{quote(name)}/{FAILED_NOTEBOOK}"
    hours = _hours(manifest)
    return Row(
        name="The whole lab" if team is None else shown_name(str(team)),
        template=str((failure or manifest or {}).get("template", "")),
        error=_error(failure) if failure else "",
        hours=hours,
        change=_change(hours, _hours(before)),
        links=links,
        made=_instant(manifest["finished_utc"], facts.get("timezone")) if manifest else "",
        is_lab=name == LAB_DIRECTORY or team is None,
    )


def _error(failure: Mapping[str, Any]) -> str:
    where = "" if failure["cell_index"] is None else f"cell {failure['cell_index'] + 1}: "
    return f"{where}{failure['error_name']}: {failure['error']}"


def _facts(manifests: Mapping[str, Mapping[str, Any]], rows: list[Row]) -> Iterator[tuple[str, str]]:
    """What holds for the whole month; where reports disagree, say so by listing both."""
    all_facts = [manifest["facts"] for manifest in manifests.values()]
    zones = sorted({str(facts["timezone"]) for facts in all_facts if facts.get("timezone")})
    labs = sorted({str(facts["lab"]) for facts in all_facts if facts.get("lab")})
    as_of = sorted({str(facts["as_of"]) for facts in all_facts if facts.get("as_of")})
    yield "Lab", ", ".join(labs) or "–"
    yield "Time zone", ", ".join(zones) or "–"
    shown = dict.fromkeys(_instant(text, zones[0] if zones else None) for text in (as_of[:1] + as_of[-1:]))
    yield "Data as of", " to ".join(shown) or "–"
    lab_hours = [row.hours for row in rows if row.is_lab and row.hours is not None]
    teams = [row for row in rows if not row.is_lab]
    known = [row.hours for row in teams if row.hours is not None]
    yield "Reports", f"{len(rows)} ({sum(bool(row.error) for row in rows)} failed)"
    if lab_hours:
        yield "Device hours of the lab", hours_text(lab_hours[0])
    elif known and len({row.template for row in teams}) == 1:  # each team stands here once
        yield f"Device hours of {len(known)} teams", hours_text(sum(known))


def _hours(manifest: Mapping[str, Any] | None) -> float | None:
    hours = manifest["facts"].get("total_hours") if manifest else None
    known = isinstance(hours, int | float) and not isinstance(hours, bool) and math.isfinite(hours)
    return float(hours) if known and hours is not None else None


def _change(hours: float | None, before: float | None) -> str:
    if hours is None or before is None:
        return "–"
    if before == 0:
        return "new" if hours else "unchanged"
    amount = hours - before
    percent = round(100 * abs(amount) / before)
    relative = f"{count_text(percent)}%" if percent else "<1%"
    size = hours_text(abs(amount)) if before < _SMALL_HOURS else relative
    return signed(size, amount) if amount else "unchanged"


def _instant(text: object, timezone: object) -> str:
    """An ISO instant in the reports' zone, or the text itself when it is none."""
    try:
        instant = datetime.fromisoformat(str(text))
        zone = ZoneInfo(str(timezone)) if timezone else UTC
    except (ValueError, KeyError, OSError):  # what zoneinfo raises for names that are no zone
        return str(text)
    return f"{instant.astimezone(zone):%Y-%m-%d %H:%M %Z}"


@cache
def _template() -> Template:
    return environment().from_string(files("usagekit.report").joinpath("site.html.j2").read_text("utf-8"))

"""A month of reports: plan them, make them in worker processes, and remember which failed.

One team's failure, or the death of the process that makes its report, never stops the others.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from usagekit.engine.files import locked, publish_bytes
from usagekit.errors import RenderError
from usagekit.period import parse_month
from usagekit.report.limits import Limits
from usagekit.report.publish import sweep, up_to_date
from usagekit.report.template import Scalar, Template, load_template, validate
from usagekit.report.unit import Failure, Outcome, Rendered, Skipped, Unit, report_directory, team_slug
from usagekit.report.workers import Lost, work

__all__ = [
    "Failure",
    "Limits",
    "Outcome",
    "Rendered",
    "Skipped",
    "Summary",
    "Unit",
    "plan_month",
    "read_failures",
    "render_month",
    "summarise",
    "team_slug",
]

RUN_FILE: Final = "run.json"
"""Beside the reports of a month: when they were last worked on, and the failures still open."""

LOCK_FILE: Final = ".lock"


@dataclass(frozen=True, slots=True)
class Summary:
    """What became of a batch."""

    rendered: tuple[Rendered, ...]
    skipped: tuple[Skipped, ...]
    failed: tuple[Failure, ...]

    def __str__(self) -> str:
        counts = f"{len(self.rendered)} rendered, {len(self.skipped)} unchanged, {len(self.failed)} failed"
        return "\n".join([counts, *map(str, self.failed)])


def summarise(outcomes: Iterable[Outcome]) -> Summary:
    """Sort the outcomes of :func:`render_month` by kind, each kind by team."""
    found = sorted(outcomes, key=lambda outcome: outcome.unit.team or "")
    return Summary(
        tuple(o for o in found if isinstance(o, Rendered)),
        tuple(o for o in found if isinstance(o, Skipped)),
        tuple(o for o in found if isinstance(o, Failure)),
    )


def plan_month(
    month: str,
    teams: Iterable[str | None],
    *,
    snapshot: Path,
    reports: Path,
    template: str | Path | Template = "team_month",
    options: Mapping[str, Scalar] | None = None,
) -> list[Unit]:
    """One unit a team, checked: nothing has run yet when a name or a parameter is wrong.

    Parameters
    ----------
    month : ``YYYY-MM``.
    teams : exact names; None stands for the whole lab.
    snapshot : directory or file that the notebooks read.
    reports : directory of all months.
    template : its name, its path, or itself.
    options : parameters of the template beyond team, month and snapshot.

    Raises
    ------
    QueryError : the month is not of that form.
    RenderError : there is no such template, it does not take these parameters, the snapshot is missing, or a
        team is named twice.
    """
    parse_month(month)
    read = template if isinstance(template, Template) else load_template(template)
    if not snapshot.exists():
        raise RenderError(f"no snapshot at {snapshot}: fetch {month} first", template=read.name, month=month)
    units = [
        Unit(
            read,
            team,
            month,
            snapshot,
            report_directory(reports, month, team=team, template=read.name),
            dict(options or {}),
        )
        for team in teams
    ]
    for unit in units:
        validate(read, unit.parameters)
    _check_distinct(units)
    return units


def render_month(
    units: Sequence[Unit], *, jobs: int | None = None, force: bool = False, limits: Limits | None = None
) -> Generator[Outcome, None, None]:
    """Make reports of one month in ``jobs`` processes (one a processor by default); outcomes come as they are known.

    A report whose template, parameters, snapshot and version are those of the published one is skipped
    unless ``force``. The lock on the reports directory is held until the iterator ends or is closed.

    Raises
    ------
    RenderError : a unit does not fit its template or its month's directory, or two share a directory.
    StoreLocked : another batch is at work (on the first step of the iterator).
    """
    if not units:
        none: tuple[Outcome, ...] = ()
        return (outcome for outcome in none)
    month_directory = units[0].directory.parent
    for unit in units:
        validate(unit.template, unit.parameters)
        if unit.directory.parent != month_directory or unit.month != month_directory.name:
            raise RenderError(
                f"{unit.directory} is not in {month_directory.with_name(unit.month)}, where the batch works",
                month=unit.month,
            )
    _check_distinct(units)
    count = jobs or os.cpu_count() or 1
    return _render_all(units, month_directory, jobs=count, force=force, limits=limits or Limits())


def read_failures(month_directory: Path) -> dict[str, dict[str, Any]]:
    """The failures of a month that no later run has mended, by the name of the report's directory."""
    try:
        failures = json.loads((month_directory / RUN_FILE).read_bytes())["failures"]
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError) as error:
        raise RenderError(f"{month_directory / RUN_FILE} is damaged: remove it and render again") from error
    return dict(failures)


def _render_all(
    units: Sequence[Unit], month_directory: Path, *, jobs: int, force: bool, limits: Limits
) -> Generator[Outcome, None, None]:
    what = f"the reports directory {month_directory.parent}"
    with locked(month_directory.parent / LOCK_FILE, what=what):
        failures = read_failures(month_directory)
        try:
            # Closed before the sweep: a caller may stop in the middle, with workers still at their reports.
            with closing(_outcomes(units, jobs=jobs, force=force, limits=limits)) as outcomes:
                for outcome in outcomes:
                    name = outcome.unit.directory.name
                    failures.pop(name, None)
                    if isinstance(outcome, Failure):
                        failures[name] = _as_json(outcome)
                    # After each report: a batch that is killed must not lose what it has learned.
                    _write_run(month_directory, failures)
                    yield outcome
        finally:
            sweep(month_directory)


def _outcomes(
    units: Sequence[Unit], *, jobs: int, force: bool, limits: Limits
) -> Generator[Outcome, None, None]:
    due = []
    for unit in units:
        manifest = None if force else up_to_date(unit)
        if manifest is None:
            due.append(unit)
        else:
            yield Skipped(unit, manifest)
    function = partial(_render_in_worker, limits)
    with closing(work(function, due, jobs=min(jobs, len(due)), seconds=limits.worker_seconds)) as results:
        for unit, result in results:
            yield Failure(unit, None, "WorkerLost", result.reason) if isinstance(result, Lost) else result


def _render_in_worker(limits: Limits, unit: Unit) -> Rendered | Failure:
    from usagekit.report.render import render_unit  # heavy: only workers load papermill, and only once

    return render_unit(unit, limits=limits)


def _check_distinct(units: Iterable[Unit]) -> None:
    seen: dict[Path, Unit] = {}
    for unit in units:
        if other := seen.get(unit.directory):
            raise RenderError(
                f"{unit.team!r} and {other.team!r} would both be written to {unit.directory}",
                template=unit.template.name,
                team=unit.team or "",
                month=unit.month,
            )
        seen[unit.directory] = unit


def _as_json(failure: Failure) -> dict[str, Any]:
    return {
        "template": failure.unit.template.name,
        "team": failure.unit.team,
        "month": failure.unit.month,
        "cell_index": failure.cell_index,
        "error_name": failure.error_name,
        "error": failure.error,
        "notebook": failure.notebook_path.name if failure.notebook_path else None,
        "at_utc": failure.at.isoformat(timespec="seconds"),
    }


def _write_run(month_directory: Path, failures: Mapping[str, Any]) -> None:
    content = {"updated_utc": datetime.now(UTC).isoformat(timespec="seconds"), "failures": failures}
    publish_bytes(month_directory / RUN_FILE, json.dumps(content, ensure_ascii=False, indent=1).encode())

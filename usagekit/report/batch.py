"""A month of reports: plan them, make them, and keep in the ledger what has become of each.

One team's failure, or the death of the process that makes its report, never stops the others.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from usagekit.engine.files import locked
from usagekit.errors import RenderError, UsageKitError
from usagekit.period import parse_month
from usagekit.report.crash import step
from usagekit.report.ledger import open_ledger, read_entries
from usagekit.report.limits import Limits
from usagekit.report.making import Making
from usagekit.report.publish import LOCK_FILE, sweep
from usagekit.report.stopping import Stopped, stop_on_terminate
from usagekit.report.template import Scalar, Template, load_template, validate
from usagekit.report.unit import Failure, Outcome, Rendered, Skipped, Unit, report_directory, team_slug

__all__ = [
    "LOCK_FILE",
    "Failure",
    "Limits",
    "Outcome",
    "Rendered",
    "Skipped",
    "Stopped",
    "Summary",
    "Unit",
    "only_failed",
    "plan_month",
    "read_failures",
    "render_month",
    "summarise",
    "team_slug",
]


@dataclass(frozen=True, slots=True)
class Summary:
    """What became of a batch."""

    rendered: tuple[Rendered, ...]
    skipped: tuple[Skipped, ...]
    failed: tuple[Failure, ...]

    @property
    def counts(self) -> dict[str, int]:
        """How many reports became what."""
        return {"rendered": len(self.rendered), "unchanged": len(self.skipped), "failed": len(self.failed)}

    def __str__(self) -> str:
        counts = ", ".join(f"{count} {what}" for what, count in self.counts.items())
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
    _check_place(reports.absolute() / month)
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
    units: Sequence[Unit],
    *,
    jobs: int | None = None,
    force: bool = False,
    limits: Limits | None = None,
    executor: Executor | None = None,
    cold: bool = False,
    begun: Callable[[Unit], None] | None = None,
    at_end: Callable[[], object] | None = None,
) -> Generator[Outcome, None, None]:
    """Make reports of one month in ``jobs`` processes (one a processor by default); outcomes come as they are known.

    A report whose template, parameters, snapshot and version are those of the published one is skipped
    unless ``force``. The lock on the reports directory is held until the iterator ends or is closed. An
    ``executor`` makes the reports elsewhere, ``jobs`` at a time if given; what hangs there only its owner can kill.
    ``cold`` gives every report a kernel from scratch; ``begun`` is told of each report that is started. ``at_end``
    is called under the lock however the batch ends; where it ends with an error, that one is told and no other.

    In the main thread SIGTERM ends the batch within ten seconds, with nothing left running on this machine.

    Raises
    ------
    RenderError : a unit does not fit its template or its month's directory, or two share a directory.
    StoreLocked : another batch is at work (on the first step of the iterator).
    StoreError : the ledger is damaged or cannot be written.
    Stopped : SIGTERM came before all reports were made.
    """
    if not units:
        none: tuple[Outcome, ...] = ()
        return (outcome for outcome in none)
    month_directory = units[0].directory.parent
    _check_place(month_directory)
    for unit in units:
        validate(unit.template, unit.parameters)
        if unit.directory.parent != month_directory or unit.month != month_directory.name:
            raise RenderError(
                f"{unit.directory} is not in {month_directory.with_name(unit.month)}, where the batch works",
                month=unit.month,
            )
    _check_distinct(units)
    count = jobs or (len(units) if executor else os.cpu_count() or 1)
    making = Making(count, limits or Limits(), executor=executor, force=force, cold=cold, begun=begun)
    return _render_all(units, month_directory, making, at_end)


def only_failed(units: Iterable[Unit]) -> list[Unit]:
    """Those units whose last attempt failed."""
    months: dict[Path, dict[str, Any]] = {}
    found = []
    for unit in units:
        directory = unit.directory.parent
        if directory not in months:
            months[directory] = read_failures(directory)
        if unit.directory.name in months[directory]:
            found.append(unit)
    return found


def read_failures(month_directory: Path) -> dict[str, dict[str, Any]]:
    """The failures of a month that no later run has mended, by the name of the report's directory.

    Raises
    ------
    StoreError : the ledger is damaged or of a newer usagekit.
    """
    directory = month_directory.absolute()
    wanted = ("template", "team", "month", "cell_index", "error_name", "error", "notebook", "at_utc")
    return {
        name: {column: getattr(entry, column) for column in wanted}
        for name, entry in read_entries(directory.parent, directory.name).items()
        if entry.is_open_failure
    }


def _render_all(
    units: Sequence[Unit], month_directory: Path, making: Making, at_end: Callable[[], object] | None
) -> Generator[Outcome, None, None]:
    reports = month_directory.parent
    # A moment's patience: for whoever has it only for a moment.
    with locked(reports / LOCK_FILE, what=f"the reports directory {reports}", patience=0.2):
        step("batch:locked")
        try:
            yield from _render_locked(units, month_directory, making)
        except BaseException:
            if at_end:
                with suppress(UsageKitError, OSError):  # the first error says more
                    at_end()
            raise
        if at_end:
            at_end()
    step("batch:unlocked")


def _render_locked(
    units: Sequence[Unit], month_directory: Path, making: Making
) -> Generator[Outcome, None, None]:
    done = 0
    with open_ledger(month_directory.parent) as ledger, stop_on_terminate() as stop:
        sweep(month_directory)
        step("batch:swept")
        try:
            # Closed before the sweep: a caller may stop in the middle, with workers still at their reports.
            with closing(making.outcomes(units, ledger=ledger, stop=stop)) as outcomes:
                for outcome in outcomes:
                    done += 1
                    yield outcome
        finally:
            sweep(month_directory)
        step("batch:made")
        if done < len(units):
            raise Stopped(
                f"stopped by SIGTERM with {done} of {len(units)} reports done: the same command goes on from there",
                month=units[0].month,
            )


def _check_place(month_directory: Path) -> None:
    if month_directory.is_symlink():
        raise RenderError(
            f"{month_directory} is a symbolic link: reports are only written to real directories",
            month=month_directory.name,
        )


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

"""A month's reports: which there are to make, how far they are, and where the result is."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console

from usagekit.engine.files import locked
from usagekit.errors import RenderError, StoreError, did_you_mean
from usagekit.report.batch import (
    LOCK_FILE,
    Outcome,
    Summary,
    Unit,
    only_failed,
    plan_month,
    render_month,
    summarise,
)
from usagekit.report.lines import write_line
from usagekit.report.progress import LogStyle, watching
from usagekit.report.site import write_index
from usagekit.report.template import Scalar, load_template, require_trusted
from usagekit.settings import Settings
from usagekit.snapshot import SnapshotSource

TEAM_TEMPLATE: Final = "team_month"
LAB_TEMPLATE: Final = "lab_month"

_console = Console(stderr=True, highlight=False)


@dataclass(frozen=True, slots=True)
class Asked:
    """What of a month is to be made, and how: all of its reports in workers of this machine by default.

    ``teams`` are exact names, ``template`` a name or path. ``only_failed`` leaves out what did not fail the last
    time. ``log`` says how progress is told (:func:`usagekit.report.progress.watching`).
    """

    teams: Sequence[str] | None = None
    template: str | None = None
    jobs: int | None = None
    force: bool = False
    only_failed: bool = False
    cold: bool = False
    executor: Executor | None = None
    log: LogStyle = "auto"


def render_reports(
    snapshot: Path, reports: Path, *, settings: Settings, asked: Asked | None = None
) -> Summary:
    """Make the reports of a snapshot's month, the lab's and every team's, and the index pages.

    Progress goes to standard error, the path of the index to standard output; as JSON it is a part of the summary, so
    that both may go to one file.

    Raises
    ------
    StoreError : there is no snapshot, or the index cannot be written.
    RenderError : a team is unknown, or the template does not fit.
    StoreLocked : another batch is at work.
    Stopped : SIGTERM came before all reports were made.
    """
    wanted = asked or Asked()
    source = SnapshotSource(snapshot)
    units = plan_reports(source, reports, settings=settings, asked=wanted)
    if wanted.only_failed:
        units = only_failed(units)
    began = time.monotonic()

    def write_pages() -> None:
        try:
            write_index(reports, str(source.period), snapshots=snapshot.parent, renamed=settings.renamed)
        except OSError as error:
            raise StoreError(f"the index of the reports in {reports} cannot be written: {error}") from error

    if units:
        outcomes = _make(units, wanted, write_pages)
    else:
        outcomes = []
        with locked(reports / LOCK_FILE, what=f"the reports directory {reports}", patience=0.2):
            write_pages()
    summary, seconds = summarise(outcomes), time.monotonic() - began
    if wanted.log == "json":
        about = {"seconds": round(seconds, 3), "index": str(reports / "index.html")}
        write_line("summary", month=str(source.period), **summary.counts, **about)
    else:
        _console.print(f"{summary} in {seconds:.1f} s", markup=False)
        sys.stdout.write(f"{reports / 'index.html'}\n")
    return summary


def plan_reports(source: SnapshotSource, reports: Path, *, settings: Settings, asked: Asked) -> list[Unit]:
    """The lab's report and one for each team but those left out; of one template alone if it is named."""
    month = str(source.period)
    for team in asked.teams or ():
        if team not in source.teams:
            raise RenderError(
                f"no team {team!r} in {month}{did_you_mean(team, source.teams)}", team=team, month=month
            )
    teams = (
        [t for t in source.teams if t not in settings.exclude_teams] if asked.teams is None else asked.teams
    )
    names = [asked.template] if asked.template else [LAB_TEMPLATE, TEAM_TEMPLATE]
    units: list[Unit] = []
    for name in names:
        template = load_template(name)
        require_trusted(template)
        about: Sequence[str | None] = teams if "team" in template.parameters else [None]
        if about == [None] and asked.teams is not None and not asked.template:
            continue  # who names teams does not mean the lab
        options = {k: v for k, v in _options(settings).items() if k in template.parameters}
        units += plan_month(
            month, about, snapshot=source.directory, reports=reports, template=template, options=options
        )
    return units


def _options(settings: Settings) -> Mapping[str, Scalar]:
    """What the settings say about the looks and contents of reports; each template takes what it knows."""
    return {
        "paper": settings.paper,
        "price": settings.price,
        "currency": settings.currency,
        "showback": settings.showback,
        "names": settings.names,
    }


def _make(units: Sequence[Unit], asked: Asked, at_end: Callable[[], None]) -> list[Outcome]:
    """Run the batch and tell how far it is."""
    outcomes: list[Outcome] = []
    with watching(len(units), log=asked.log) as watcher:
        batch = render_month(
            units,
            jobs=asked.jobs,
            force=asked.force or asked.only_failed,
            executor=asked.executor,
            cold=asked.cold,
            begun=watcher.begun,
            at_end=at_end,
        )
        with closing(batch):
            for outcome in batch:
                outcomes.append(outcome)
                watcher.done(outcome)
    return outcomes

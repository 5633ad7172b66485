"""A month's reports from the command line: which teams, how far, and where the result is."""

from __future__ import annotations

import secrets
import sys
import tempfile
import time
from collections.abc import Collection, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from usagekit.errors import RenderError, did_you_mean
from usagekit.report.batch import (
    Failure,
    Outcome,
    Rendered,
    Summary,
    Unit,
    plan_month,
    render_month,
    summarise,
)
from usagekit.report.site import write_index
from usagekit.sample_lab import MONTH, write_sample
from usagekit.snapshot import SnapshotSource

_console = Console(stderr=True, highlight=False)


def render_reports(
    snapshot: Path,
    reports: Path,
    *,
    teams: Sequence[str] | None = None,
    leave_out: Collection[str] = (),
    template: str = "team_month",
    jobs: int | None = None,
    force: bool = False,
) -> Summary:
    """Make the reports of a snapshot's month, of all its teams but ``leave_out``, and the index page.

    Progress goes to standard error: a bar where somebody looks, a line a report where nobody does.

    Raises
    ------
    StoreError : there is no snapshot.
    RenderError : a team is unknown, or the template does not fit.
    StoreLocked : another batch is at work.
    """
    source = SnapshotSource(snapshot)
    month = source.period.month or ""
    wanted = [t for t in source.teams if t not in leave_out] if teams is None else list(teams)
    for team in wanted:
        if team not in source.teams:
            raise RenderError(
                f"no team {team!r} in {month}{did_you_mean(team, source.teams)}", team=team, month=month
            )
    units = plan_month(month, wanted, snapshot=snapshot, reports=reports, template=template)
    began = time.monotonic()
    outcomes = _show(units, jobs, force)
    index = write_index(reports, month)
    summary = summarise(outcomes)
    _console.print(f"{summary} in {time.monotonic() - began:.1f} s", markup=False)
    sys.stdout.write(f"{index}\n")
    return summary


def render_demo(reports: Path, *, jobs: int | None = None) -> Summary:
    """Go the whole way on the sample lab, over real HTTP: store, API, snapshot, reports."""
    from usagekit.api.client import Client
    from usagekit.api.server import create_app, serving
    from usagekit.fetch import fetch_snapshot
    from usagekit.lab import Lab
    from usagekit.sources import ApiSource

    token = secrets.token_urlsafe(16)
    snapshot = reports / MONTH / ".snapshot"
    with tempfile.TemporaryDirectory(prefix="usagekit-") as folder:
        _console.print("making the sample lab")
        write_sample(Path(folder))
        with serving(create_app(folder, token=token)) as url, Client(base_url=url, token=token) as client:
            lab = Lab(ApiSource(client), name="Sample device lab", timezone="Europe/Berlin")
            fetch_snapshot(lab, MONTH, snapshot)
            _console.print(f"fetched {MONTH} from {url}: {len(SnapshotSource(snapshot).parts)} requests")
    return render_reports(snapshot, reports, jobs=jobs)


def _show(units: Sequence[Unit], jobs: int | None, force: bool) -> list[Outcome]:
    """Run the batch and tell how far it is."""
    outcomes: list[Outcome] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    looked_at = _console.is_terminal
    with Progress(*columns, console=_console, disable=not looked_at, transient=True) as progress:
        task = progress.add_task("Rendering", total=len(units))
        for outcome in render_month(units, jobs=jobs, force=force):
            outcomes.append(outcome)
            progress.advance(task)
            if isinstance(outcome, Failure):
                progress.console.print(f"failed: {outcome}", markup=False)
            elif isinstance(outcome, Rendered) and not looked_at:
                progress.console.print(f"{outcome.unit} ({outcome.seconds:.1f} s)", markup=False)
    return outcomes

"""Commands about reports: fetch a month, render it, check and look after what was made."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from usagekit.cli.door import JobsOption, MonthOption, SourceOption, app, open_lab
from usagekit.errors import SettingsError


class Log(StrEnum):
    """How progress is told."""

    auto = "auto"
    text = "text"
    json = "json"


@app.command()
def fetch(month: MonthOption, store: SourceOption = None) -> None:
    """Fetch all that a month's reports need, once for all teams."""
    from rich.progress import Progress

    from usagekit.device_notes import read_notes
    from usagekit.fetch import fetch_snapshot
    from usagekit.period import parse_month
    from usagekit.settings import load_settings
    from usagekit.snapshot import SnapshotSource

    settings = load_settings()
    directory = settings.snapshots / str(parse_month(month))
    with Progress(disable=not sys.stderr.isatty(), transient=True) as progress:
        task = progress.add_task(f"Fetching {month}")
        fetch_snapshot(
            open_lab(store),
            month,
            directory,
            notes=read_notes(settings.device_notes) if settings.device_notes else None,
            on_part=lambda done, of: progress.update(task, completed=done, total=of),
        )
    snapshot = SnapshotSource(directory)
    of_teams, of_fleet = len(snapshot.teams), snapshot.fleet_requests
    typer.echo(
        f"{month}: {len(snapshot.parts) + len(snapshot.missing) + of_fleet} requests "
        f"({len(snapshot.parts) + len(snapshot.missing) - of_teams}, one for each of {of_teams} teams and {of_fleet} to "
        f"tell the models of new devices), as of {snapshot.as_of:%Y-%m-%d %H:%M} UTC, in {directory}"
    )
    for _query, reason in snapshot.missing:
        typer.echo(f"missing: {reason}", err=True)


@app.command()
def render(
    month: MonthOption,
    team: Annotated[list[str] | None, typer.Option(help="Only this team; may be given again.")] = None,
    template: Annotated[
        str | None, typer.Option(help="Only this template: a name in notebooks/, or a path.")
    ] = None,
    jobs: JobsOption = None,
    force: Annotated[bool, typer.Option("--force", help="Also make again what has not changed.")] = False,
    only_failed: Annotated[
        bool, typer.Option("--only-failed", help="Only what failed the last time.")
    ] = False,
    cold: Annotated[bool, typer.Option("--cold", help="A kernel from scratch for every report.")] = False,
    executor: Annotated[
        str | None, typer.Option(help="Make them on a cluster: dask://host:port.", show_default=False)
    ] = None,
    log: Annotated[Log, typer.Option(help="Progress for people or, as JSON lines, for programs.")] = Log.auto,
) -> None:
    """Make the reports of a month from its snapshot: the lab's and every team's as HTML and PDF, and the index."""
    from contextlib import nullcontext

    from usagekit.period import parse_month
    from usagekit.report.executors import open_executor
    from usagekit.report.lines import log_as_json
    from usagekit.report.month import Asked, render_reports
    from usagekit.settings import load_settings

    if log is Log.json:
        log_as_json()
    settings = load_settings()
    with open_executor(executor) if executor else nullcontext() as pool:
        summary = render_reports(
            settings.snapshots / str(parse_month(month)),
            settings.reports,
            settings=settings,
            asked=Asked(
                teams=team,
                template=template,
                jobs=jobs,
                force=force,
                only_failed=only_failed,
                cold=cold,
                executor=pool,
                log=log.value,
            ),
        )
    if summary.failed:
        raise typer.Exit(1)


@app.command()
def demo(
    reports: Annotated[Path, typer.Option(help="Folder of the reports.")] = Path("reports"),
    jobs: JobsOption = None,
) -> None:
    """Show everything on the sample lab: events, embedded API, snapshot, every report, and the mails."""
    from usagekit.demo import show_everything

    if show_everything(reports, jobs=jobs).failed:
        raise typer.Exit(1)


@app.command()
def verify(
    report: Annotated[Path | None, typer.Argument(help="Folder of a report.", show_default=False)] = None,
    store: Annotated[Path | None, typer.Option("--store", help="Check this event store instead.")] = None,
) -> None:
    """Check a report, or every byte of an event store, against its checksums; exit code 1 when something is wrong."""
    if (report is None) == (store is None):
        raise SettingsError("verify needs the folder of a report, or --store DIR")
    if store is not None:
        from usagekit.engine.verify import verify_store

        faults, sound = (
            [str(damage) for damage in verify_store(store)],
            f"{store}: every file is as it was written",
        )
    else:
        from usagekit.report.verify import changed_since, verify_report

        for note in changed_since(report):  # type: ignore[arg-type] # one of the two is given
            typer.echo(f"note: {note}", err=True)
        faults = verify_report(report)  # type: ignore[arg-type] # one of the two is given
        sound = f"{report}: files, snapshot and sums are those of the report"
    for fault in faults:
        typer.echo(fault, err=True)
    if faults:
        raise typer.Exit(1)
    typer.echo(sound)


templates = typer.Typer(help="Write a template of one's own.", no_args_is_help=True)
app.add_typer(templates, name="template")


@templates.command()
def new(
    path: Annotated[Path, typer.Argument(help="The notebook to write, such as notebooks/my_month.ipynb.")],
) -> None:
    """Write a small template to start from."""
    from usagekit.report.starter import write_starter

    typer.echo(f"{write_starter(path)}: open it in JupyterLab; then usagekit template check {path}")


@templates.command()
def check(path: Annotated[Path, typer.Argument(help="The notebook to check.")]) -> None:
    """Check a template, by its source and a real run on the sample lab; one that passes may be rendered.

    What is wrong goes to standard error, with exit code 1. A template that is changed must be checked again.
    """
    from usagekit.report.starter import check_template
    from usagekit.report.template import load_template, trust

    complaints = check_template(path)
    for complaint in complaints:
        typer.echo(str(complaint), err=True)
    if complaints:
        raise typer.Exit(1)
    trust(load_template(path))
    typer.echo(f"{path}: ready for usagekit render --template {path}")

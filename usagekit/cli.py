"""The command line: a thin door to the package. Heavy imports wait until a command needs them.

Exit codes: 0 done, 1 some reports failed, 2 wrong usage or settings, 3 the API refused or is down,
4 another run holds the lock.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from usagekit.errors import ApiError, RenderError, SchemaError, StoreLocked, UsageKitError

if TYPE_CHECKING:
    from usagekit.lab import Lab

app = typer.Typer(
    help="Monthly usage reports for a device lab, from its Usage API.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

StoreOption = Annotated[Path, typer.Option("--store", help="Folder of the event store.")]
SourceOption = Annotated[
    Path | None, typer.Option("--store", help="Take the numbers from this event store, not from the API.")
]
MonthOption = Annotated[str, typer.Option(help="The month, as YYYY-MM.", show_default=False)]


def main() -> None:
    """Run the command line and turn errors of usagekit into one line and an exit code."""
    try:
        app()
    except UsageKitError as error:
        print(f"usagekit: {error}", file=sys.stderr)  # noqa: T201
        codes = {ApiError: 3, StoreLocked: 4, RenderError: 1}
        sys.exit(next((code for kind, code in codes.items() if isinstance(error, kind)), 2))
    except BrokenPipeError:
        # The reader (head, less) has gone; Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)


@app.command()
def sample(
    store: StoreOption,
    teams: Annotated[int, typer.Option(min=1, help="Number of teams.")] = 12,
    sessions: Annotated[int | None, typer.Option(min=1, help="Number of sessions, about.")] = None,
    seed: Annotated[int, typer.Option(help="Another seed is another lab.")] = 7,
) -> None:
    """Make a sample lab: 15 months of sessions up to March 2023."""
    from usagekit.engine.sample import build_sample
    from usagekit.engine.store import write_store

    if any(store.glob("events/*")):
        raise SchemaError(f"{store} already holds events: choose another folder, or remove it first")
    tables = build_sample(seed=seed, teams=teams, sessions=sessions)
    write_store(store, tables)
    typer.echo(f"{tables.events.height:,} sessions of {tables.teams.height} teams in {store}")


@app.command("import")
def import_(
    files: Annotated[list[Path], typer.Argument(help="Events as CSV or JSON of the API, or CSV or Parquet.")],
    store: StoreOption,
    strict: Annotated[bool, typer.Option("--strict", help="Import nothing if a single row is bad.")] = False,
) -> None:
    """Import sessions, or tables of devices, hosts, users, memberships or teams."""
    from usagekit.engine.importer import import_files

    result = import_files(
        files, store, strict=strict, on_file=lambda file: typer.echo(f"read {file}", err=True)
    )
    for row in result.bad:
        typer.echo(str(row), err=True)
    if strict and result.bad:
        raise SchemaError(f"{len(result.bad)} bad rows: nothing was imported (--strict)")
    typer.echo(
        f"{result.added:,} new, {result.changed:,} changed, {result.unchanged:,} known before, "
        f"{len(result.bad):,} bad rows left out"
    )


@app.command()
def verify(store: StoreOption) -> None:
    """Check every byte of an event store against its checksums; exit code 1 when a file is damaged."""
    from usagekit.engine.verify import verify_store

    damages = verify_store(store)
    for damage in damages:
        typer.echo(str(damage), err=True)
    if damages:
        raise typer.Exit(1)
    typer.echo(f"{store}: every file is as it was written")


@app.command()
def serve(
    store: StoreOption,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8642,
    token: Annotated[
        str, typer.Option(envvar="USAGEKIT_SERVE_TOKEN", help="Bearer token that clients must send.")
    ] = "",
) -> None:
    """Serve the Usage API over an event store."""
    import secrets

    from usagekit.api.server import serve as run

    if not token:
        token = secrets.token_urlsafe(24)
        typer.echo(f"token for this run: {token}", err=True)
    run(store, host=host, port=port, token=token)


@app.command()
def query(
    route: Annotated[str, typer.Argument(help="A route such as /v1/usage/team.")],
    params: Annotated[list[str] | None, typer.Argument(help="Its parameters, as name=value.")] = None,
    format: Annotated[str, typer.Option(help="table, csv or json.")] = "table",
    curl: Annotated[
        bool, typer.Option("--curl", help="Print the curl command instead, without the token.")
    ] = False,
    store: SourceOption = None,
) -> None:
    """Ask any route of the Usage API and print its rows."""
    from usagekit import ask

    question = ask.parse_question(route, params or [])
    if curl:
        from usagekit.settings import load_settings

        typer.echo(ask.curl_line(question, load_settings().base_url))
    else:
        ask.print_rows(question, ask.ask(question, store), format)


@app.command()
def fetch(month: MonthOption, store: SourceOption = None) -> None:
    """Fetch all that a month's reports need, once for all teams."""
    from rich.progress import Progress

    from usagekit.fetch import fetch_snapshot
    from usagekit.period import parse_month
    from usagekit.settings import load_settings
    from usagekit.snapshot import SnapshotSource

    directory = load_settings().snapshots / str(parse_month(month))
    with Progress(disable=not sys.stderr.isatty(), transient=True) as progress:
        task = progress.add_task(f"Fetching {month}")
        fetch_snapshot(
            _lab(store),
            month,
            directory,
            on_part=lambda done, of: progress.update(task, completed=done, total=of),
        )
    snapshot = SnapshotSource(directory)
    typer.echo(
        f"{month}: {len(snapshot.parts)} requests ({len(snapshot.parts) - len(snapshot.teams)} and one for each "
        f"of {len(snapshot.teams)} teams), as of {snapshot.as_of:%Y-%m-%d %H:%M} UTC, in {directory}"
    )


@app.command()
def render(
    month: MonthOption,
    team: Annotated[list[str] | None, typer.Option(help="Only this team; may be given again.")] = None,
    template: Annotated[str, typer.Option(help="Template: a name in notebooks/, or a path.")] = "team_month",
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Reports at a time; default: the processors.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Also make again what has not changed.")] = False,
) -> None:
    """Make the reports of a month from its snapshot: HTML and PDF for every team, and an index page."""
    from usagekit.period import parse_month
    from usagekit.report.month import render_reports
    from usagekit.settings import load_settings

    settings = load_settings()
    summary = render_reports(
        settings.snapshots / str(parse_month(month)),
        settings.reports,
        teams=team,
        leave_out=settings.exclude_teams,
        template=template,
        jobs=jobs,
        force=force,
    )
    if summary.failed:
        raise typer.Exit(1)


@app.command()
def demo(
    reports: Annotated[Path, typer.Option(help="Folder of the reports.")] = Path("reports"),
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Reports at a time; default: the processors.")
    ] = None,
) -> None:
    """Show everything on the sample lab: events, embedded API, snapshot, every team's report."""
    from usagekit.report.month import render_demo

    if render_demo(reports, jobs=jobs).failed:
        raise typer.Exit(1)


@app.command()
def doctor() -> None:
    """Check the API: token, connection, what the account sees, and how it reads what its document leaves open."""
    from usagekit.doctor import doctor_client, examine
    from usagekit.values import today_in

    faults = 0
    for finding in examine(doctor_client(), today=today_in("UTC")):
        typer.echo(finding)
        faults += finding.level == "fault"
    if faults:
        raise typer.Exit(3)


def _lab(store: Path | None) -> Lab:
    from usagekit.openers import connect, open_store

    return open_store(store) if store else connect()


if __name__ == "__main__":
    main()

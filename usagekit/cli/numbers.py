"""Commands about numbers: stores, the server, questions, and what the API is like."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from usagekit.cli.door import SourceOption, StoreOption, app
from usagekit.errors import SchemaError


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
def doctor() -> None:
    """Check the API and the mail server: what each lets us do, and how the API reads what its document leaves open."""
    from itertools import chain

    from usagekit.delivery.post_check import examine_post
    from usagekit.doctor import doctor_client, examine
    from usagekit.settings import load_settings
    from usagekit.values import today_in

    faults = 0
    post = examine_post(load_settings().mail)
    for finding in chain(examine(doctor_client(), today=today_in("UTC")), post):
        typer.echo(finding)
        faults += finding.level == "fault"
    if faults:
        raise typer.Exit(3)

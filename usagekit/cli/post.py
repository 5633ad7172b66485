"""Commands about what runs unattended: mails, runs, and how they stand."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated, Any

import typer

from usagekit.cli.door import JobsOption, SourceOption, app, open_lab
from usagekit.errors import MailError, SettingsError

OneMonth = Annotated[str | None, typer.Option("--month", help="The month, as YYYY-MM.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]


class Log(StrEnum):
    """How a run tells what it does."""

    auto = "auto"
    text = "text"
    json = "json"


class Decision(StrEnum):
    """What a person says of a mail in doubt."""

    sent = "sent"
    resend = "resend"


@app.command()
def send(
    message_id: Annotated[
        str | None, typer.Argument(help="With --resolve: the mail, by its Message-ID.", show_default=False)
    ] = None,
    month: OneMonth = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write what would be sent, and send nothing.")
    ] = False,
    status: Annotated[bool, typer.Option("--status", help="List the mails of the month, or of all.")] = False,
    resolve: Annotated[
        bool,
        typer.Option("--resolve", help="Look doubtful mails up in the archive, or decide on one with --as."),
    ] = False,
    decision: Annotated[
        Decision | None,
        typer.Option("--as", help="It has arrived, or send it once more.", show_default=False),
    ] = None,
) -> None:
    """Mail a month's reports: each to its team, the lab's to the managers. While mail is off: write a preview."""
    from usagekit.settings import load_settings

    if (message_id or decision) and not resolve:
        raise SettingsError("a Message-ID and --as go with --resolve")
    if month is None and not (status or resolve):
        raise SettingsError("send needs --month YYYY-MM, --status or --resolve")
    settings = load_settings()
    from usagekit import delivery

    if resolve:
        named = f"<{message_id.strip('<>')}>" if message_id else None
        rows = delivery.resolve(settings, named, decision=decision.value if decision else None)
        for row in rows:
            typer.echo(_mail_line(row))
        if not rows:
            typer.echo("nothing is in doubt")
    elif status:
        for row in delivery.status_rows(settings, month=month):
            typer.echo(_mail_line(row))
    elif dry_run or not settings.mail.enabled:
        _preview(settings, month or "")
    else:
        _send(settings, month or "")


@app.command()
def run(
    month: OneMonth = None,
    due: Annotated[
        bool, typer.Option("--due", help="Every month that is due and not done, oldest first.")
    ] = False,
    refresh: Annotated[bool, typer.Option("--refresh", help="With --month: fetch it again.")] = False,
    jobs: JobsOption = None,
    store: SourceOption = None,
    log: Annotated[Log, typer.Option(help="For people or, as JSON lines, for programs.")] = Log.auto,
) -> None:
    """Fetch, render, index and mail: one month, or all that are due. Does only what is left, so run it at any time."""
    if (month is None) != due or (refresh and due):
        raise SettingsError("run needs --month YYYY-MM (and --refresh to fetch it again), or --due")
    from usagekit.delivery.run import Runner, exit_code
    from usagekit.delivery.told import tell_json, tell_text
    from usagekit.report.lines import log_as_json
    from usagekit.report.month import Asked
    from usagekit.settings import load_settings

    tell = tell_json if log is Log.json else tell_text
    if log is Log.json:
        log_as_json()
    runner = Runner(
        load_settings(), lambda: open_lab(store), asked=Asked(jobs=jobs, log=log.value), tell=tell
    )
    results = runner.due() if month is None else runner.month(month, refresh=refresh)
    if not results:
        tell("nothing is due", "")
    if code := exit_code(results):
        raise typer.Exit(code)


@app.command()
def status(month: OneMonth = None, as_json: AsJson = False) -> None:
    """Show what is due, done, failed and in doubt."""
    from datetime import UTC, datetime

    from usagekit.delivery.overview import overview
    from usagekit.settings import load_settings

    seen = overview(load_settings(), now=datetime.now(UTC), month=month)
    if as_json:
        typer.echo(json.dumps(seen.as_json(), indent=1, ensure_ascii=False))
        return
    for view in seen.months:
        for line in view.lines():
            typer.echo(line)
    for line in (*seen.notes, *filter(None, [seen.at_work])):
        typer.echo(line)
    typer.echo(
        f"due now: {', '.join(seen.due) or 'nothing'}; next: {seen.next_due}, {seen.next_due_at:%Y-%m-%d %H:%M} UTC"
    )


def _preview(settings: Any, month: str) -> None:
    from usagekit.delivery import preview
    from usagekit.figures.escape import shown_name

    seen = preview(settings, month)
    for path in seen.paths:
        typer.echo(path)
    for trouble in seen.held:
        typer.echo(f"held: {trouble}", err=True)
    if not (seen.paths or seen.held):
        typer.echo(f"no report of {month} is there: usagekit run --month {month}", err=True)
    if seen.unaddressed:
        typer.echo(f"nobody is listed for {', '.join(map(shown_name, seen.unaddressed))}", err=True)
    if seen.placeholder:
        typer.echo(
            f"nobody is listed at all: these are addressed to {seen.placeholder}; name people below [recipients]",
            err=True,
        )
    if not settings.mail.enabled:
        typer.echo("nothing was sent: mail is off until enabled = true below [mail]", err=True)


def _send(settings: Any, month: str) -> None:
    from usagekit.delivery import send_month

    try:
        summary = send_month(settings, month)
    except MailError as error:  # the server is down or refuses us: what waits goes out the next time
        typer.echo(f"usagekit: {error}", err=True)
        raise typer.Exit(3) from None
    typer.echo(str(summary))
    if not summary.ok:
        raise typer.Exit(1)


def _mail_line(row: Any) -> str:
    from usagekit.figures.escape import shown_name

    about = (
        row.template
        if row.template == "owners"
        else "the whole lab"
        if row.team is None
        else shown_name(row.team)
    )
    reason = f": {row.reason}" if row.reason else ""
    return f"{row.month}  {row.state:9} {about} -> {row.recipient} {row.message_id}{reason}"

"""Commands about the place itself: its first settings, what starts its runs, and what goes when it is old."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from usagekit.cli.door import app
from usagekit.errors import SettingsError


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="The file to write.")] = Path("usagekit.toml"),
    lab_name: Annotated[str | None, typer.Option(help="Name of the lab.", show_default=False)] = None,
    timezone: Annotated[str | None, typer.Option(help="Its IANA time zone.", show_default=False)] = None,
    base_url: Annotated[str | None, typer.Option(help="Address of the API.", show_default=False)] = None,
    mail_host: Annotated[str | None, typer.Option(help="The mail server.", show_default=False)] = None,
    username: Annotated[str | None, typer.Option(help="The login there.", show_default=False)] = None,
    from_address: Annotated[
        str | None, typer.Option("--from", help="Address that mails come from.", show_default=False)
    ] = None,
    owner: Annotated[
        list[str] | None,
        typer.Option(help="Who hears what went wrong; may be given again.", show_default=False),
    ] = None,
) -> None:
    """Write a first usagekit.toml with every setting explained, check it, and say what is missing."""
    from usagekit.delivery.init import Answers, still_missing, write_first_settings

    if path.exists():
        raise SettingsError(f"{path} exists already and stays as it is")
    usual = Answers()
    name = _answer("lab_name", "Name of the lab", lab_name, default=usual.lab_name)
    zone = _answer("timezone", "Time zone (IANA)", timezone, default=usual.timezone)
    url = _answer("base_url", "Address of the API", base_url, default=usual.base_url)
    host = _answer("mail_host", "Mail server (empty: no mails yet)", mail_host)
    mailing = bool(host)  # else the rest of the mail is for later
    user = _answer("username", "Login there (empty: it wants none)", username, ask=mailing)
    sender = _answer("from_address", "Address that mails come from", from_address, ask=mailing)
    given = ",".join(owner) if owner else None
    owners = _answer("owners", "Addresses of who hears what went wrong", given, ask=mailing)
    answers = Answers(name, zone, url, host, user, sender, owners.replace(",", " ").split())
    settings = write_first_settings(path, answers)
    typer.echo(f"wrote {path}; still missing:")
    for line in still_missing(settings):
        typer.echo(f"- {line}")
    typer.echo("then: usagekit doctor; usagekit run --month YYYY-MM; usagekit schedule --systemd")


def _answer(about: str, question: str, given: str | None, *, default: str = "", ask: bool = True) -> str:
    """An option's value, or what a person types, asked again until it is good."""
    from usagekit.delivery.init import problem_of

    def checked(text: str) -> str:
        if problem := problem_of(about, text.strip()):
            raise typer.BadParameter(problem)
        return text.strip()

    if given is not None:
        if problem := problem_of(about, given):
            raise SettingsError(problem)
        return given
    if not (ask and sys.stdin.isatty()):
        return default
    return str(typer.prompt(question, default=default, show_default=bool(default), value_proc=checked))


@app.command()
def schedule(
    cron: Annotated[bool, typer.Option("--cron", help="A line for crontab -e.")] = False,
    systemd: Annotated[bool, typer.Option("--systemd", help="A service and its timer.")] = False,
    github: Annotated[bool, typer.Option("--github", help="A workflow for a runner of your own.")] = False,
    to: Annotated[
        Path | None,
        typer.Option("--to", help="Write the units into this folder instead.", show_default=False),
    ] = None,
) -> None:
    """Print what starts usagekit run --due every hour; without an option, when months are due."""
    if to and not systemd:
        raise SettingsError("--to goes with --systemd")
    from datetime import UTC, datetime
    from zoneinfo import ZoneInfo

    from usagekit.delivery import timers
    from usagekit.delivery.health import schedule_of
    from usagekit.settings import load_settings

    settings = load_settings()
    if cron:
        typer.echo(timers.crontab(settings, timers.this_place()), nl=False)
    if systemd:
        for name, text in timers.systemd(settings, timers.this_place()).items():
            if to:
                (to / name).write_text(text, "utf-8")
                typer.echo(to / name)
            else:
                typer.echo(f"# /etc/systemd/system/{name}\n{text}")
    if github:
        typer.echo(timers.github(settings), nl=False)
    if not (cron or systemd or github):
        plan, now = schedule_of(settings), datetime.now(UTC)
        for month, verb in ((plan.last_due(now), "was due"), (plan.next_due(now), "will be due")):
            at = plan.due_at(month)
            local = at.astimezone(ZoneInfo(settings.timezone))
            typer.echo(f"{month} {verb} {local:%Y-%m-%d %H:%M %Z} ({at:%Y-%m-%d %H:%M} UTC)")


@app.command()
def prune(
    keep_months: Annotated[int, typer.Option(min=1, help="Months whose reports stay whole.")] = 24,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without this, only say what would go.")] = False,
) -> None:
    """Remove the files of old reports; their numbers stay in the index."""
    from usagekit.delivery.overview import unsent_months
    from usagekit.report.prune import prune as remove
    from usagekit.report.site import write_site
    from usagekit.settings import load_settings

    settings = load_settings()
    paths = remove(
        settings.reports, keep_months=keep_months, dry_run=not yes, protected=unsent_months(settings)
    )
    for path in paths:
        typer.echo(path)
    if yes:
        write_site(settings.reports, snapshots=settings.snapshots, renamed=settings.renamed)
    typer.echo(f"{len(paths)} {'removed' if yes else 'would be removed: say --yes'}", err=True)

"""Who should get what of a month: the published reports, each through the gate, to the people of the settings."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from usagekit.delivery.facts import Facts, read_facts
from usagekit.delivery.gate import Verdict, gate
from usagekit.delivery.lab_letter import Trouble, digest_letter, without_figures
from usagekit.delivery.letter import Letter
from usagekit.delivery.team_letter import LAB_TITLE, team_letter
from usagekit.errors import MailError, QueryError, did_you_mean
from usagekit.mail_settings import MailSettings
from usagekit.period import parse_month
from usagekit.report.history import known_months
from usagekit.report.ledger import Entry, read_entries
from usagekit.report.publish import damaged_files, read_manifest
from usagekit.report.unit import report_directory


class PostSettings(Protocol):
    """The settings that mails need."""

    @property
    def mail(self) -> MailSettings:
        """Server, sender, lab managers and owners."""

    @property
    def recipients(self) -> Mapping[str, tuple[str, ...]]:
        """Addresses by the exact name of their team."""

    @property
    def reports(self) -> Path:
        """Directory of all months."""

    @property
    def snapshots(self) -> Path:
        """Directory of the numbers of all months."""

    @property
    def exclude_teams(self) -> tuple[str, ...]:
        """Teams that get no report."""

    @property
    def lab_name(self) -> str:
        """Name of the lab."""


@dataclass(frozen=True, slots=True)
class Mailing:
    """One report that may go out: what it says, and to whom (maybe nobody)."""

    template: str
    facts: Facts
    directory: Path
    manifest: Mapping[str, Any]
    recipients: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """A month's mailings, the reports held back with their reasons, and the teams that nobody is listed for."""

    month: str
    mailings: tuple[Mailing, ...]
    held: tuple[Trouble, ...]
    unaddressed: tuple[str, ...]


def require_month(settings: PostSettings, month: str) -> None:
    """Refuse a month of which there is nothing, before anybody is told that its reports are missing.

    Raises
    ------
    QueryError : ``month`` is not ``YYYY-MM``, or has neither numbers nor reports.
    """
    parse_month(month)
    if (settings.snapshots / month).exists() or month in (known := known_months(settings.reports)):
        return
    if read_entries(settings.reports, month):
        return
    raise QueryError(
        f"{month} has neither numbers nor reports: usagekit run --month {month} makes them{did_you_mean(month, known)}",
        parameter="month",
    )


def plan_mails(settings: PostSettings, month: str, *, entries: Mapping[str, Entry], now: datetime) -> Plan:
    """Judge every report of a month, and every team that somebody is listed for; reads, changes nothing.

    ``entries`` are the month's units in the ledger by the names of their directories.
    """
    parse_month(month)
    max_age = timedelta(days=settings.mail.max_age_days)
    published = _published_teams(settings.reports / month)
    # One that failed has no report to be found by; nobody need be listed for it, the owners must hear of it.
    failed = {e.team for e in entries.values() if e.is_open_failure and e.team is not None}
    wanted = (published | failed) - set(settings.exclude_teams) | settings.recipients.keys()
    mailings, held = [], []
    for team in (None, *sorted(published | wanted)):
        recipients = settings.mail.lab_managers if team is None else settings.recipients.get(team, ())
        directory = report_directory(settings.reports, month, team=team)
        entry = entries.get(directory.name)
        manifest, verdict = _judged(directory, team, entry, now=now, max_age=max_age)
        if manifest is not None and verdict.action != "hold":
            facts = read_facts(manifest)
            template = str(manifest["template"])
            mailings.append(Mailing(template, facts, directory, manifest, recipients))
        elif manifest is None and entry is None:
            if recipients:
                held.append(_absent(team, published, is_made=bool(published or entries)))
        elif recipients or team is None or team in wanted:
            held.append(_held(team, verdict.reason))
    unlisted = [m.facts.team for m in mailings if not m.recipients]
    unaddressed = tuple(team for team in unlisted if team is not None and team not in settings.exclude_teams)
    return Plan(month, tuple(mailings), tuple(held), unaddressed)


def letter_for(mailing: Mailing, plan: Plan, *, revision: int, contact: str) -> Letter:
    """Write the letter of a mailing from its files.

    Raises
    ------
    MailError : a file has changed since the plan was made.
    """
    files = _read_files(mailing)
    if mailing.facts.team is not None:
        return team_letter(mailing.facts, files, revision=revision, contact=contact)
    teams = [m.facts for m in plan.mailings if m.facts.team is not None]
    held = [t.about for t in plan.held if t.about != LAB_TITLE and not t.owners_only]
    return digest_letter(mailing.facts, teams, held=held, files=files, revision=revision, contact=contact)


def _held(team: str | None, reason: str) -> Trouble:
    return Trouble(LAB_TITLE if team is None else team, reason, kind=without_figures(reason))


def _absent(team: str | None, published: Collection[str], *, is_made: bool) -> Trouble:
    """Somebody is listed for a report that there is not: it has not been made, or the name is none."""
    if team is None or not is_made:
        return _held(team, "no report was published: render it")
    return Trouble(
        team,
        f"[recipients] names it, but the month has no report of a team of that name{did_you_mean(team, published)}",
        owners_only=True,
    )


def _judged(
    directory: Path, team: str | None, entry: Entry | None, *, now: datetime, max_age: timedelta
) -> tuple[Mapping[str, Any] | None, Verdict]:
    manifest = read_manifest(directory)
    failure = f"{entry.error_name}: {entry.error}" if entry and entry.is_open_failure else ""
    damaged = damaged_files(directory, manifest) if manifest else ()
    if manifest and (said := manifest.get("parameters", {}).get("team")) != team:
        return manifest, Verdict("hold", f"the report at {directory.name} is about {said!r}: render it again")
    return manifest, gate(manifest, failure, damaged=damaged, now=now, max_age=max_age)


def _published_teams(directory: Path) -> set[str]:
    manifests = (read_manifest(path) for path in directory.glob("[!.]*/"))
    return {
        m["parameters"]["team"] for m in manifests if m and m.get("parameters", {}).get("team") is not None
    }


def _read_files(mailing: Mailing) -> dict[str, bytes]:
    wanted = {n: a for n, a in mailing.manifest["files"].items() if n.lower().endswith((".pdf", ".csv"))}
    files = {name: (mailing.directory / name).read_bytes() for name in wanted}
    for name, content in files.items():
        if hashlib.sha256(content).hexdigest() != wanted[name]["sha256"]:
            raise MailError(f"{name} of {mailing.directory.name} has changed just now: send again")
    return files

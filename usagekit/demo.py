"""The whole way on the sample lab, over real HTTP: events, API, snapshot, reports, mails."""

from __future__ import annotations

import secrets
import tempfile
from pathlib import Path

from rich.console import Console

from usagekit.api.client import Client
from usagekit.api.server import create_app, serving
from usagekit.delivery import preview
from usagekit.fetch import fetch_snapshot
from usagekit.lab import Lab
from usagekit.mail_settings import MailSettings
from usagekit.report.batch import Summary
from usagekit.report.month import Asked, render_reports
from usagekit.report.unit import team_slug
from usagekit.sample_lab import MONTH, write_sample
from usagekit.settings import Settings
from usagekit.snapshot import SnapshotSource
from usagekit.sources import ApiSource

_LAB = "Sample device lab"
_ZONE = "Europe/Berlin"


def show_everything(reports: Path, *, jobs: int | None = None) -> Summary:
    """Make the sample lab, serve it, fetch its last month, render all reports and lay out their mails.

    Nobody's settings, environment or account are read, and nothing is sent.
    """
    console = Console(stderr=True, highlight=False)
    snapshot = reports / MONTH / ".snapshot"
    token = secrets.token_urlsafe(16)
    with tempfile.TemporaryDirectory(prefix="usagekit-") as folder:
        console.print("making the sample lab")
        write_sample(Path(folder))
        with serving(create_app(folder, token=token)) as url, Client(base_url=url, token=token) as client:
            lab = Lab(ApiSource(client), name=_LAB, timezone=_ZONE)
            fetch_snapshot(lab, MONTH, snapshot)
            source = SnapshotSource(snapshot)
            requests = len(source.parts) + source.fleet_requests
            console.print(f"fetched {MONTH} from {url}: {requests} requests")
    settings = _settings(source, reports)
    summary = render_reports(snapshot, reports, settings=settings, asked=Asked(jobs=jobs))
    mails = preview(settings, MONTH)
    console.print(f"{len(mails.paths)} files of mails as they would be sent, in {mails.paths[0].parent}")
    return summary


def _settings(source: SnapshotSource, reports: Path) -> Settings:
    """A lab manager, an owner, and a lead for each team."""
    mail = MailSettings(
        from_address="usage@example.com",
        lab_managers=("lab.manager@example.com",),
        owners=("owner@example.com",),
    )
    return Settings.model_construct(
        lab_name=_LAB,
        timezone=_ZONE,
        price=120_000.0,
        reports=reports,
        snapshots=reports,
        mail=mail,
        recipients={team: (f"lead.{team_slug(team)}@example.com",) for team in source.teams},
    )

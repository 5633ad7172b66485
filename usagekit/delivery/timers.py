"""What starts the runs: a line for cron, units for systemd, a workflow for GitHub. Texts only; a person installs them.

All of them start ``usagekit run --due`` every hour. That costs next to nothing when nothing is due, and makes it
harmless that a timer knows another zone, that the machine was off, that mails were put off, or that it fires twice.
"""

from __future__ import annotations

import getpass
import json
import shlex
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from usagekit.delivery.health import schedule_of
from usagekit.errors import SettingsError
from usagekit.settings import Settings

STATE_FOLDER: Final = "/var/lib/usagekit"
"""Where a workflow keeps reports, snapshots and the ledger: outside of the checkout, which is swept clean."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where usagekit runs: the program, the folder with usagekit.toml, and the user."""

    program: Path
    folder: Path
    user: str

    def __post_init__(self) -> None:
        for path in (self.program, self.folder):
            if not str(path).isprintable() or set(str(path)) & set("\"'\\"):
                raise SettingsError(
                    f"{str(path)!r}: no timer can hold this path: choose one without quotes and line breaks"
                )


def this_place() -> Place:
    """The place of this process."""
    return Place(Path(sys.executable).with_name("usagekit"), Path.cwd(), getpass.getuser())


def crontab(settings: Settings, place: Place) -> str:
    """A line for ``crontab -e``. Cron of Debian knows no zones, so the hour does not matter."""
    command = (
        f"umask 077; cd {shlex.quote(str(place.folder))} && {shlex.quote(str(place.program))} run --due --log json"
        " >>usagekit.log 2>&1"
    )
    mail, missing = settings.mail, []
    if settings.token_file is None:
        missing.append("token_file")
    if mail.username and mail.password_file is None:
        missing.append("password_file below [mail]")
    if mail.archive and mail.archive.password_file is None:
        missing.append("password_file below [mail.archive]")
    hint = f"# Cron passes no secrets on: name {', '.join(missing)} (mode 0600) in usagekit.toml first.\n"
    return (
        "# usagekit, every hour: does nothing unless a month is due or mails wait.\n"
        f"{hint if missing else ''}"
        f"{_minute(settings)} * * * * {command.replace('%', chr(92) + '%')}\n"
    )


def systemd(settings: Settings, place: Place) -> dict[str, str]:
    """A service and its timer, by file name. The secrets are credentials: files that only the service can read."""
    folder = place.folder.absolute()
    outside = [path.absolute() for path in (settings.reports, settings.snapshots)]
    writable = dict.fromkeys([folder, *(path for path in outside if not path.is_relative_to(folder))])
    secrets = {"token": "USAGEKIT_TOKEN_FILE"}
    if settings.mail.username:
        secrets["smtp-password"] = "USAGEKIT_MAIL__PASSWORD_FILE"
    if settings.mail.archive:
        secrets["imap-password"] = "USAGEKIT_MAIL__ARCHIVE__PASSWORD_FILE"
    credentials = "".join(
        f"LoadCredential={name}:/etc/usagekit/{name}\nEnvironment={variable}=%d/{name}\n"
        for name, variable in secrets.items()
    )
    service = _SERVICE.format(
        user=place.user,
        folder=_specifier(folder),
        program=f'"{_specifier(place.program)}"',
        credentials=credentials,
        writable=" ".join(f'"{_specifier(path)}"' for path in writable),
    )
    day, at = settings.schedule.day, settings.schedule.at
    timer = _TIMER.format(calendar=f"*-*-{day:02} {at:%H:%M:%S} {settings.timezone}")
    return {"usagekit.service": service, "usagekit.timer": timer}


def github(settings: Settings) -> str:
    """A workflow for a runner of one's own: a hosted one forgets the ledger, and would mail everything again."""
    secrets = ["HEADSPIN_API_TOKEN"]
    if settings.mail.username:
        secrets.append("USAGEKIT_SMTP_PASSWORD")
    if settings.mail.archive:
        secrets.append("USAGEKIT_IMAP_PASSWORD")
    return _WORKFLOW.format(
        minute=_minute(settings),
        secrets="".join(f"      {name}: ${{{{ secrets.{name} }}}}\n" for name in secrets),
        reports=json.dumps(f"{STATE_FOLDER}/reports"),
        snapshots=json.dumps(f"{STATE_FOLDER}/snapshots"),
    )


def _minute(settings: Settings) -> int:
    """The minute of the hour at which months are due, on a machine whose clock is whole hours from UTC."""
    schedule = schedule_of(settings)
    return schedule.due_at(schedule.last_due(datetime.now(UTC))).minute


def _specifier(path: Path) -> str:
    """A path as units of systemd write it."""
    return str(path).replace("%", "%%")


_SERVICE = """\
[Unit]
Description=Usage reports of the device lab
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
User={user}
WorkingDirectory={folder}
ExecStart={program} run --due --log json
TimeoutStartSec=12h
# The run itself hears SIGTERM, ends its workers and can go on later.
KillMode=mixed
TimeoutStopSec=30
{credentials}Environment=HOME=%C/usagekit
CacheDirectory=usagekit
CacheDirectoryMode=0700
UMask=0077
ReadWritePaths={writable}
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
PrivateDevices=yes
NoNewPrivileges=yes
CapabilityBoundingSet=
ProtectProc=invisible
ProtectClock=yes
ProtectHostname=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
"""

_TIMER = """\
[Unit]
Description=Usage reports: when a month is due, and every hour for what was put off

[Timer]
OnCalendar={calendar}
OnCalendar=hourly
Persistent=true

[Install]
WantedBy=timers.target
"""

_WORKFLOW = """\
# .github/workflows/usage-reports.yml: needs a runner of your own, whose user owns /var/lib/usagekit.
# Hosted runners start empty: without the ledger of the last run they would mail every report again.
name: usage reports
on:
  schedule:
    - cron: "{minute} * * * *"
  workflow_dispatch:
permissions:
  contents: read
concurrency:
  group: usage-reports
  cancel-in-progress: false
jobs:
  run:
    runs-on: [self-hosted, usagekit]
    timeout-minutes: 720
    env:
{secrets}      USAGEKIT_REPORTS: {reports}
      USAGEKIT_SNAPSHOTS: {snapshots}
    steps:
      - uses: actions/checkout@v4  # usagekit.toml, requirements.txt that names usagekit, your own notebooks/
      - uses: actions/setup-python@v5
        with:
          python-version: "3.12"
      - run: python -m pip install --requirement requirements.txt
      - run: usagekit run --due --log json
"""

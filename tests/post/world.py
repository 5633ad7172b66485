"""A whole small lab for the schedule: sessions of many months, its API on real HTTP, templates, mail, and a clock."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import nbformat
from nbformat import v4
from starlette.responses import Response

from tests.oracle import Lab as Sessions
from tests.strategies import tables
from usagekit.api.client import Client
from usagekit.api.retry import Patience
from usagekit.api.server import create_app, serving
from usagekit.delivery.run import Runner
from usagekit.delivery.schedule import Schedule
from usagekit.engine.store import write_store
from usagekit.lab import Lab
from usagekit.report.month import Asked
from usagekit.report.template import load_template, trust
from usagekit.settings import load_settings
from usagekit.sources import ApiSource

TOKEN = "token-of-the-world"
ZONE = "Europe/Berlin"
TEAMS = ("NA", "R&D / Café", "チーム")
RECIPIENTS = {team: (f"lead{n}@example.com",) for n, team in enumerate(TEAMS)}

_NUMBERS = """
import os, signal
from pathlib import Path
import usagekit as uk
trap = Path(snapshot).parent.parent / "kill-a-kernel"
if trap.exists():
    trap.unlink()
    os.kill(os.getpid(), signal.SIGKILL)
lab = uk.open_snapshot(snapshot)
month = str(month)
options = {"by": "team", "team": team} if team else {}
hours = float(lab.usage(month, **options).df["total_time_hours"].sum())
"""
_MARKER = """
from IPython.display import display
shown = f"{hours:.1f} h"
mail = {
    "finding": f"{shown} were used.", "actions": [], "usage": "value" if hours else "zero", "partial": False,
    "kpis": [{"label": "Device hours", "value": shown, "previous": "–", "change": "–", "year": "–"}],
    "trust": {"badge": "green", "text": "All totals agree."}, "history": [],
}
facts = {
    "template": TEMPLATE, "team": team, "month": month, "title": f"{team or 'The lab'} – {month}", "lab": lab.name,
    "timezone": lab.timezone, "as_of": lab.as_of.isoformat(), "total_hours": hours, "mail": mail,
}
print(shown)
display({"application/vnd.usagekit.report+json": facts, "text/plain": "Complete"}, raw=True)
"""


@dataclass
class Mood:
    """How the API feels: it answers (""), answers 503 (``refuses``), 401 (``forbids``) or nothing for a while (``stalls``)."""

    now: str = ""


class _Moody:
    def __init__(self, app: Any, mood: Mood) -> None:
        self._app, self._mood = app, mood

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self._mood.now == "stalls":
            await asyncio.sleep(5)
        refusal = {"refuses": 503, "forbids": 401}.get(self._mood.now)
        answer = Response(status_code=refusal) if refusal else self._app
        await answer(scope, receive, send)


@dataclass(frozen=True)
class World:
    """Where the lab lives: ``usagekit.toml``, ``notebooks/``, ``snapshots/`` and ``reports/`` are in ``folder``."""

    folder: Path
    url: str
    mood: Mood = field(default_factory=Mood)

    def runner(self, clock: Callable[[], datetime]) -> Runner:
        """A runner of the settings in the folder, with the folder's templates, at some time."""
        settings = load_settings(self.folder / "usagekit.toml")
        lab = partial(open_lab, self.url, clock, self.mood)
        return Runner(settings, lab, asked=Asked(jobs=2, log="text"), clock=clock)


class _Then(ApiSource):
    """The API, at another time than now."""

    clock: Callable[[], datetime]

    @property
    def as_of(self) -> datetime:
        return self.clock()


def open_lab(url: str, clock: Callable[[], datetime], mood: Mood) -> Lab:
    # Little patience with what never answers, much with a machine that is busy.
    patience = Patience(request_seconds=2, total_seconds=3) if mood.now else Patience(request_seconds=60)
    source = _Then(Client(base_url=url, token=TOKEN, patience=patience))
    source.clock = clock
    return Lab(source, name="World", timezone=ZONE)


def hourly_sessions(first: date, months: int, dice: random.Random) -> Sessions:
    """A few sessions of each team in every month."""
    sessions = []
    for number in range(months * 12):
        month = (first.replace(day=1) + timedelta(days=31 * (number // 12))).replace(day=1)
        begin = datetime(month.year, month.month, dice.randrange(1, 29), dice.randrange(24), tzinfo=UTC)
        team = TEAMS[number % len(TEAMS)]
        sessions.append(
            {
                "session_id": f"s{number}", "start_time": begin,
                "end_time": begin + timedelta(minutes=dice.randrange(5, 300)),
                "device_id": f"d{number % 4}", "hostname": "lab-1", "user": f"User {number % 5}",
                "email": f"user{number % 5}@example.com", "team": team, "automated": number % 2 == 0,
            }
        )  # fmt: skip
    devices = [
        {
            "device_id": f"d{n}",
            "hostname": "lab-1",
            "model": f"Phone {n % 2}",
            "os": "Android",
            "form_factor": "phone",
        }
        for n in range(4)
    ]
    hosts = [{"hostname": "lab-1", "country": "DE"}]
    return Sessions(sessions=sessions, devices=devices, hosts=hosts, teams=[{"team": team} for team in TEAMS])


def write_templates(folder: Path) -> None:
    """Two notebooks that show one number; a file ``kill-a-kernel`` beside the snapshots kills the next kernel."""
    folder.mkdir(parents=True)
    for name, parameters in (
        ("team_month", 'team = "NA"\nmonth = "2023-03"\nsnapshot = "demo"'),
        ("lab_month", 'month = "2023-03"\nsnapshot = "demo"'),
    ):
        no_team = "" if name == "team_month" else 'team = ""\n'
        marker = _MARKER.replace("TEMPLATE", repr(name))
        cells = [v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})]
        cells += [v4.new_code_cell(source) for source in (no_team + _NUMBERS, marker)]
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(
            v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), folder / f"{name}.ipynb"
        )
        trust(load_template(folder / f"{name}.ipynb"))


def write_settings(folder: Path, smtp_port: int, **more: str) -> None:
    """The settings of the world; mails go to a server on this machine."""
    people = "\n".join(f'"{team}" = ["{to}"]' for team, (to,) in RECIPIENTS.items())
    top = "\n".join(f"{name} = {value}" for name, value in more.items())
    (folder / "usagekit.toml").write_text(
        f'lab_name = "World"\ntimezone = "{ZONE}"\nsnapshots = "{folder}/snapshots"\nreports = "{folder}/reports"\n{top}\n'
        f'[mail]\nenabled = true\nhost = "127.0.0.1"\nport = {smtp_port}\nsecurity = "none"\ntimeout_seconds = 30\n'
        'from_address = "usage@example.com"\nowners = ["owner@example.com"]\nlab_managers = ["boss@example.com"]\n'
        f"[recipients]\n{people}\n",
        "utf-8",
    )


@contextmanager
def world(folder: Path, *, first: date, months: int, smtp_port: int, **more: str) -> Iterator[World]:
    """A lab whose API is served while the context lasts; runs in this process must have ``folder`` as theirs."""
    write_store(folder / "store", tables(hourly_sessions(first, months, random.Random(7))))
    write_templates(folder / "notebooks")
    write_settings(folder, smtp_port, **more)
    mood, app = Mood(), create_app(folder / "store", token=TOKEN)
    app.add_middleware(_Moody, mood=mood)
    with serving(app) as url:
        yield World(folder, url, mood)


def due_at(month: str) -> datetime:
    """When a month is due in the world."""
    return Schedule(ZONE).due_at(month)

"""Small labs at the edges, each with what its reports must survive; and its reports, made and read back."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd
from bs4 import BeautifulSoup
from pypdf import PdfReader

from tests.conftest import session
from tests.oracle import Lab as Rows
from tests.oracle import Row
from tests.strategies import tables
from usagekit.engine.store import open_store, write_store
from usagekit.errors import ApiStatusError
from usagekit.fetch import fetch_snapshot
from usagekit.lab import Lab
from usagekit.query import EventsQuery, UsageQuery
from usagekit.report.batch import Rendered, plan_month, render_month
from usagekit.sources import StoreSource

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
Query = UsageQuery | EventsQuery
Reports = Mapping[str | None, "Report"]


@dataclass(frozen=True)
class World:
    """A lab, the month and zone of its reports, and the teams that get one (None is the lab itself).

    ``refuses`` says which questions its API answers with 403.
    """

    sessions: Sequence[Row]
    month: str
    teams: Sequence[str | None]
    zone: str = "Europe/Berlin"
    as_of: str = ""
    more: dict[str, list[Row]] = field(default_factory=dict)
    refuses: Callable[[Query], bool] = lambda _query: False


class Refusing(StoreSource):
    """A store behind an API that denies some questions."""

    def __init__(self, *store: Any, refuses: Callable[[Query], bool], **options: Any) -> None:
        super().__init__(*store, **options)
        self._refuses = refuses

    def usage(self, query: UsageQuery) -> pd.DataFrame:
        self._judge(query)
        return super().usage(query)

    def events(self, query: EventsQuery) -> pd.DataFrame:
        self._judge(query)
        return super().events(query)

    def _judge(self, query: Query) -> None:
        if self._refuses(query):
            raise ApiStatusError("not for this token", method="GET", path="/v1/usage/x", status=403)


def stay(number: int, start: str, end: str | None, team: str | None, **values: object) -> Row:
    """A session of a team by somebody of its own, on a device of its own, but for ``values``."""
    own: dict[str, object] = {
        "team": team,
        "user": None if team is None else f"{team} user",
        "email": None if team is None else f"{number}@example.com",
        "device_id": f"d{number}",
    }
    return session(number, start, end, **(own | values))


def workers() -> ProcessPoolExecutor:
    """Processes that make the reports of several worlds: kernels stay warm from one to the next."""
    return ProcessPoolExecutor(2, mp_context=get_context("spawn"))


def write_world(world: World, folder: Path) -> Path:
    """The world's snapshot, fetched from its store."""
    # The devices are the fleet, unless the world lists one.
    addresses = sorted({(s["device_id"], s["hostname"]) for s in world.sessions})
    devices = [
        {"device_id": d, "hostname": h, "model": "Pixel 8", "os": "Android", "form_factor": "phone"}
        for d, h in addresses
    ]
    listed = {"devices": devices, "hosts": [{"hostname": "lab-1", "country": "DE"}]} | world.more
    store = folder / f"store-{world.month}"
    write_store(store, tables(Rows(sessions=list(world.sessions), **listed)))
    at = datetime.fromisoformat(world.as_of).replace(tzinfo=UTC) if world.as_of else datetime.now(UTC)
    source = Refusing(open_store(store), as_of=at, refuses=world.refuses)
    lab = Lab(source, name="Edge lab", timezone=world.zone)
    return fetch_snapshot(lab, world.month, folder / world.month).parent


def render_world(world: World, folder: Path, executor: Executor) -> Reports:
    """The world's reports by team."""
    snapshot = write_world(world, folder)
    units = [
        unit
        for team in world.teams
        for unit in plan_month(
            world.month,
            [team],
            snapshot=snapshot,
            reports=folder / "reports",
            template=NOTEBOOKS / f"{'lab' if team is None else 'team'}_month.ipynb",
        )
    ]
    outcomes = list(render_month(units, jobs=2, executor=executor))
    assert [str(o) for o in outcomes if not isinstance(o, Rendered)] == []
    return {o.unit.team: Report(o.unit.directory, o.seconds) for o in outcomes if isinstance(o, Rendered)}


@dataclass(frozen=True)
class Report:
    """A published report, read back."""

    directory: Path
    seconds: float

    @cached_property
    def facts(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.directory / "manifest.json").read_text("utf-8"))["facts"]
        return found

    def path(self, end: str) -> Path:
        return self.directory / f"report.{end}"

    @cached_property
    def html(self) -> BeautifulSoup:
        return BeautifulSoup(self.path("html").read_text("utf-8"), "html.parser")

    @cached_property
    def reader(self) -> PdfReader:
        return PdfReader(self.path("pdf"))

    @cached_property
    def pages(self) -> list[str]:
        return [plain(page.extract_text()) for page in self.reader.pages]

    @cached_property
    def texts(self) -> tuple[str, str]:
        """What page and PDF say, as :func:`plain` text."""
        return plain(self.html.get_text(" ")), " ".join(self.pages)

    @property
    def tiles(self) -> dict[str, dict[str, str]]:
        """The figures by label, as the mail repeats them."""
        return {kpi["label"]: {k: plain(v) for k, v in kpi.items()} for kpi in self.facts["mail"]["kpis"]}

    @cached_property
    def tables(self) -> dict[str, list[dict[str, str]]]:
        """The rows of its CSV files by file name, without ``.csv``."""
        files = sorted(self.directory.glob("*.csv"))
        return {
            path.stem: list(csv.DictReader(io.StringIO(path.read_bytes().decode("utf-8"), newline="")))
            for path in files
        }

    def says(self, *words: str) -> None:
        """Page and PDF say all of these."""
        for kind, text in zip(("HTML", "PDF"), self.texts, strict=True):
            for word in words:
                assert _close(word) in _close(text), f"the {kind} does not say {word[:80]!r}"

    def says_not(self, *words: str) -> None:
        """Neither says any of these."""
        for kind, text in zip(("HTML", "PDF"), self.texts, strict=True):
            for word in words:
                assert _close(word) not in _close(text), f"the {kind} says {word[:80]!r}"


def plain(text: str) -> str:
    """Text with plain single spaces, without soft hyphens and places to break."""
    return " ".join(unicodedata.normalize("NFKC", text).replace("\u200b", "").replace("\u00ad", "").split())


def _close(text: str) -> str:
    """Text without spaces: a PDF breaks lines wherever it must."""
    return "".join(plain(text).split())

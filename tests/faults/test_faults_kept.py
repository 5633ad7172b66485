"""Kept answers: settled months are asked for once, broken fetches go on, restatements are told."""

from __future__ import annotations

import gzip
import json
import multiprocessing
import os
import stat
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.faults.scripted import Asked, Reply, Scripted, rows, scripted
from usagekit.api.client import Client
from usagekit.api.kept import FRESH, SETTLES, Kept
from usagekit.api.retry import Patience
from usagekit.errors import ServerError, SettingsError
from usagekit.query import EventsQuery, UsageQuery
from usagekit.sources import ApiSource

TOKEN = "canary-4e11"
MARCH = UsageQuery(start=date(2023, 3, 1), end=date(2023, 3, 31))
APRIL_2 = datetime(2023, 4, 2, 12, tzinfo=UTC)


@dataclass
class Desk:
    """A server with one changeable number, a clock that can be set, and a source over both."""

    server: Scripted
    directory: Path
    now: datetime = APRIL_2
    hours: float = 1.0
    fails: Callable[[Asked], bool] = field(default=lambda _: False)

    def answer(self, asked: Asked) -> Reply:
        if self.fails(asked):
            return Reply(status=500)
        if asked.body:
            return rows(event(asked.body["start_date"]), event(asked.body["end_date"]))
        day = asked.params["start_date"]
        return rows({"datetime": f"{day[:4]}-{day[4:6]}-01", "total_time": self.hours, "unit": "hour"})

    def source(self, token: str = TOKEN, **options: Any) -> ApiSource:
        client = Client(base_url=self.server.base_url, token=token, patience=Patience(tries=1))
        kept = Kept(self.directory, client.base_url, client.fingerprint, clock=lambda: self.now, **options)
        return ApiSource(client, kept)

    @property
    def asked(self) -> int:
        return len(self.server.asked)


def event(day: str) -> dict[str, Any]:
    time = f"{day[:4]}-{day[4:6]}-{day[6:]} 10:00:00"
    who = {"user": "Ana", "email": "ana@example.com", "device_id": "00123", "hostname": "lab-1"}
    return who | {"start_time": time, "end_time": time, "duration": 0, "date": day}


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(Scripted(), tmp_path / "cache" / "answers")
    with scripted(made.answer) as made.server:
        yield made


def hours(source: ApiSource, query: UsageQuery = MARCH) -> float:
    return float(source.usage(query)["total_time_hours"].sum())


def test_a_closed_month_is_asked_once_and_once_more(desk: Desk) -> None:
    """The answer about a month that is over stands for 35 days, is asked for again once, then stands for good."""
    for now, asked in (
        (APRIL_2, 1),
        (APRIL_2 + timedelta(days=20), 1),
        (datetime(2023, 3, 31, tzinfo=UTC) + SETTLES + timedelta(days=1), 2),
        (APRIL_2 + timedelta(days=500), 2),
    ):
        desk.now = now
        assert hours(desk.source()) == 1.0
        assert desk.asked == asked
    assert desk.source().restatements == []


def test_an_open_month_is_asked_again_after_a_quarter_of_an_hour(desk: Desk) -> None:
    """The answer about a month that goes on is good for 15 minutes, and not when the clock was set back."""
    desk.now = datetime(2023, 3, 20, 12, tzinfo=UTC)
    for later, asked in (
        (timedelta(), 1),
        (FRESH - timedelta(seconds=1), 1),
        (FRESH, 2),
        (timedelta(days=-1), 3),
    ):
        desk.now = datetime(2023, 3, 20, 12, tzinfo=UTC) + later
        hours(desk.source())
        assert desk.asked == asked


def test_a_month_closes_in_its_own_zone(desk: Desk) -> None:
    """At noon (UTC) of 31 March it is April in Kiritimati and still March in UTC."""
    desk.now = datetime(2023, 3, 31, 12, tzinfo=UTC)
    east = UsageQuery(start=MARCH.start, end=MARCH.end, timezone="Pacific/Kiritimati")
    for query in (MARCH, east):
        hours(desk.source(), query)
    desk.now += timedelta(hours=1)
    hours(desk.source(), east)
    assert desk.asked == 2
    hours(desk.source())
    assert desk.asked == 3


def test_one_s_own_server_never_closes(desk: Desk) -> None:
    """Answers of a server on this machine are good for 15 minutes only: its store may be another one."""
    hours(desk.source(closes=False))
    desk.now += FRESH
    hours(desk.source(closes=False))
    assert desk.asked == 2


@pytest.mark.fault(34)
def test_refreshing_tells_what_has_moved(desk: Desk) -> None:
    """A closed month's number that has moved is used, kept and told as a restatement; without asking it stands."""
    source = desk.source()
    assert hours(source) == 1.0
    desk.hours = 2.5
    assert hours(source) == 1.0
    with (
        pytest.warns(
            UserWarning, match=r"restated: total_time of /v1/usage from 2023-03-01 to 2023-03-31 changed in 1"
        ),
        source.refreshing(),
    ):
        assert hours(source) == 2.5
    assert [(r.query, r.changed, r.asked_before) for r in source.restatements] == [(MARCH, 1, APRIL_2)]
    assert hours(source) == 2.5
    with warnings.catch_warnings(), source.refreshing():
        warnings.simplefilter("error")
        assert hours(source) == 2.5  # nothing has moved since
    assert desk.asked == 3


def test_as_of_is_that_of_the_oldest_part(desk: Desk) -> None:
    """A kept answer says when it was asked for; a new one says now."""
    hours(desk.source())
    desk.now += timedelta(days=3)
    source = desk.source()
    hours(source)
    assert source.as_of == APRIL_2
    with source.refreshing():
        hours(source)
    assert abs(source.as_of - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.fault(7)
def test_a_fetch_that_broke_off_goes_on(desk: Desk) -> None:
    """After a failure in the middle of a year of events only the missing months are asked for; all rows are there."""
    desk.now = datetime(2024, 3, 1, tzinfo=UTC)
    year = EventsQuery(start=date(2023, 1, 1), end=date(2023, 12, 31))
    desk.fails = lambda asked: asked.body["start_date"] == "20230731"
    with pytest.raises(ServerError):
        desk.source().events(year)
    assert desk.asked == 8
    desk.fails = lambda _: False
    frame = desk.source().events(year)
    assert desk.asked == 8 + 5
    assert {f"{day:%Y%m}" for day in frame["date"]} <= {f"2023{m:02}" for m in range(1, 13)}
    desk.source().events(year)
    assert desk.asked == 13


def test_accounts_do_not_mix(desk: Desk) -> None:
    """Another token or another origin has answers of its own."""
    hours(desk.source())
    desk.hours = 7
    assert hours(desk.source(token="canary-other")) == 7
    client = Client(base_url=desk.server.base_url.replace("127.0.0.1", "localhost"), token=TOKEN)
    assert hours(ApiSource(client, Kept(desk.directory, client.base_url, client.fingerprint))) == 7
    assert hours(desk.source()) == 1


@pytest.mark.promise(1)
@pytest.mark.promise(13)
def test_files_are_private_and_hold_no_token(desk: Desk) -> None:
    """Under any umask directory and files are the user's own, and no byte of them tells the token."""
    old = os.umask(0)
    try:
        hours(desk.source())
    finally:
        os.umask(old)
    assert stat.S_IMODE(desk.directory.stat().st_mode) == 0o700
    files = list(desk.directory.iterdir())
    assert len(files) == 2
    for file in files:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        raw = file.read_bytes()
        assert TOKEN.encode() not in raw + (gzip.decompress(raw) if file.suffix == ".gz" else b"")


def test_damaged_files_are_asked_for_again(desk: Desk) -> None:
    """A kept file with any one byte changed, or cut anywhere, is never used with other numbers."""
    hours(desk.source())
    (file,) = desk.directory.glob("*.gz")
    good = file.read_bytes()
    damaged = [good[:i] + bytes([good[i] ^ 0x55]) + good[i + 1 :] for i in range(10, len(good))]
    damaged += [good[:i] for i in range(0, len(good), 7)] + [
        gzip.compress(b"[]"),
        gzip.compress(b'{"format": 9}'),
    ]
    kept = desk.source()._kept
    assert kept is not None
    for content in damaged:
        file.write_bytes(content)
        found = kept.find(MARCH)
        assert found is None or found.rows == json.loads(gzip.decompress(good))["rows"]
    assert hours(desk.source()) == 1.0
    assert desk.asked == 2


def _keep_often(directory: Path, number: int) -> None:
    kept = Kept(directory, "https://api.example.com", lambda salt: salt.hex())
    for _ in range(30):
        kept.keep(MARCH, [{"writer": number, "padding": "x" * 5000}] * 20)
        found = kept.find(MARCH)
        assert found is not None
        assert len({row["writer"] for row in found.rows}) == 1


def test_several_processes_share_the_directory(tmp_path: Path) -> None:
    """Four processes that keep and read one answer at once never see half of one, and agree on the salt."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_keep_often, args=(tmp_path / "answers", n)) for n in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=60)
    assert [process.exitcode for process in processes] == [0] * 4
    assert len(list((tmp_path / "answers").iterdir())) == 2


def test_a_file_that_another_process_is_making(tmp_path: Path) -> None:
    """One that is listed and gone a moment later, which a link to nowhere stands for, hinders nobody."""
    (tmp_path / ".making-1").symlink_to("gone")
    assert Kept(tmp_path, "https://api.example.com", lambda _: "x").find(MARCH) is None


def test_a_disk_that_takes_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that cannot be kept is still an answer, with a warning."""
    source = desk.source()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Kept, "_publish", full)
    with pytest.warns(UserWarning, match="cannot be kept .*No space left"):
        assert hours(source) == 1.0


def test_a_place_that_cannot_be_used(tmp_path: Path) -> None:
    """A file where the directory should be is a settings error that names the variable."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="USAGEKIT_CACHE"):
        Kept(tmp_path / "file", "https://api.example.com", lambda _: "x")


def test_old_files_are_forgotten(desk: Desk) -> None:
    """Answers that nobody renewed for 400 days and leftovers of a crash are removed; the salt stays."""
    hours(desk.source())
    (leftover := desk.directory / ".making-1").write_text("half")
    for path in desk.directory.iterdir():
        os.utime(path, (1e9, 1e9))
    desk.source()
    assert not leftover.exists()
    assert [path.name for path in desk.directory.iterdir()] == ["salt"]

"""Unattended runs with a real API, real kernels and a real mail server: each month once, whatever comes between."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.post.smtp import Mailboxes, serving_smtp
from tests.post.world import RECIPIENTS, World, due_at, world, write_settings
from tests.soak.calendar import FAULTS, simulate
from usagekit.delivery.health import read_health
from usagekit.delivery.run import LOCK_FILE, exit_code, months_to_do
from usagekit.delivery.run_table import Ending, begin, end, prepare
from usagekit.delivery.stages import needs_fetch
from usagekit.engine.files import locked
from usagekit.errors import QueryError, StoreLocked
from usagekit.report.ledger import open_ledger
from usagekit.settings import load_settings

MONTH = "2026-03"
DUE = due_at(MONTH)


@contextmanager
def served(folder: Path, **more: str) -> Iterator[tuple[World, Mailboxes]]:
    with (
        serving_smtp() as boxes,
        world(folder, first=date(2025, 12, 1), months=5, smtp_port=boxes.port, **more) as lab,
    ):
        yield lab, boxes


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def due(lab: World, now: datetime) -> list[Any]:
    return lab.runner(lambda: now).due()


def test_a_month_is_sent_once_when_it_is_due(here: Path) -> None:
    """Before its instant nothing happens; at it each recipient gets one mail; later runs do nothing at all."""
    with served(here, first_month='"2026-03"') as (lab, boxes):
        assert due(lab, DUE - timedelta(seconds=1)) == []
        assert boxes.taken == []
        (result,) = due(lab, DUE)
        assert (result.month, result.state, exit_code([result])) == (MONTH, "done", 0)
        everybody = Counter([to for (to,) in RECIPIENTS.values()] + ["boss@example.com"])
        assert Counter(to for to, _ in boxes.taken) == everybody
        health = read_health(here / "reports")
        assert (health["ok"], health["months"][MONTH]["rendered"], health["next_due_month"]) == (
            True,
            4,
            "2026-04",
        )
        for later in (timedelta(0), timedelta(hours=-2), timedelta(days=9)):
            assert due(lab, DUE + later) == []
        again = lab.runner(lambda: DUE + timedelta(days=3)).month(MONTH)
        assert again[0].counts["unchanged"] == 4
        assert Counter(to for to, _ in boxes.taken) == everybody
        assert read_health(here / "reports")["ok"] is True


def test_what_goes_wrong_is_told_and_the_next_run_goes_on(here: Path) -> None:
    """API down, then a dead kernel and a mail put off, then all is well: every mail once, each cause told."""
    with served(here, first_month='"2026-03"') as (lab, boxes):
        down = World(here, "http://127.0.0.1:9")
        (result,) = due(down, DUE)
        assert (result.state, result.refused_by, exit_code([result])) == ("waiting", "API", 3)
        assert "the next run goes on from there" in result.causes[0]
        # The owners hear of a server that is down after a day (test_run_told.py), of one that refuses at once.
        assert (read_health(here / "reports")["ok"], boxes.taken) == (False, [])

        (here / "kill-a-kernel").touch()
        boxes.rcpt = lambda to: "451 try later" if to in ("lead0@example.com", "lead1@example.com") else ""
        (result,) = due(lab, DUE + timedelta(hours=1))
        assert (result.state, exit_code([result]), result.counts["failed"]) == ("failed", 1, 1)
        assert "KernelDied" in " ".join(result.causes)
        assert boxes.to("owner@example.com") == 1
        assert due(lab, DUE + timedelta(hours=1, minutes=30)) == []  # a month that failed rests

        (result,) = due(lab, DUE + timedelta(hours=3))
        assert (result.counts["failed"], result.counts["held"]) == (0, 0)
        assert (result.state, exit_code([result]), result.needs_somebody) == ("waiting", 0, False)
        boxes.rcpt = lambda _: ""
        (result,) = due(lab, DUE + timedelta(hours=5))
        assert result.state == "done"
        sent = Counter(to for to, _ in boxes.taken if to != "owner@example.com")
        assert set(sent.values()) == {1}
        assert len(sent) == 4
        assert due(lab, DUE + timedelta(hours=6)) == []
        _fetched_again_when_it_must_be(here, DUE)


def _fetched_again_when_it_must_be(folder: Path, now: datetime) -> None:
    settings, snapshot = load_settings(folder / "usagekit.toml"), folder / "snapshots" / MONTH
    assert not needs_fetch(snapshot, settings, MONTH, now=now + timedelta(days=1))
    assert needs_fetch(snapshot, settings, MONTH, now=now + timedelta(days=40))  # too old to be mailed
    assert needs_fetch(
        snapshot, settings, MONTH, now=now - timedelta(days=1)
    )  # made by a clock that was wrong
    elsewhere = load_settings(folder / "usagekit.toml", timezone="Asia/Kolkata")
    assert needs_fetch(snapshot, elsewhere, MONTH, now=now)
    part = next(snapshot.glob("*.parquet"))
    part.write_bytes(part.read_bytes()[:-1])
    assert needs_fetch(snapshot, settings, MONTH, now=now)


def test_one_run_at_a_time(here: Path) -> None:
    """While a run is at work another one stops at once and names its process and start; a killed one leaves no lock."""
    write_settings(here, 9)
    lab = World(here, "http://127.0.0.1:9")
    with (
        locked(here / "reports" / LOCK_FILE, what="x"),
        pytest.raises(StoreLocked, match=r"pid \d+ since 20"),
    ):
        due(lab, DUE)
    assert due(lab, DUE)[0].refused_by == "API"


def test_a_month_that_has_not_ended_is_refused(here: Path) -> None:
    """A month is run when it is over in the lab's zone, not before; nothing is asked and nothing written down."""
    write_settings(here, 9)
    lab = World(here, "http://127.0.0.1:9")
    midnight = datetime(2026, 3, 31, 22, tzinfo=UTC)  # of Berlin in summer
    with pytest.raises(QueryError, match="has not ended"):
        lab.runner(lambda: midnight - timedelta(seconds=1)).month(MONTH)
    assert not (here / "reports").exists()
    assert lab.runner(lambda: midnight).month(MONTH)[0].refused_by == "API"


def test_missed_months_are_caught_up_oldest_first(here: Path) -> None:
    """What was missed since the first scheduled month comes first; what a person ran long ago drags in nothing."""
    write_settings(here, 9)
    settings = load_settings(here / "usagekit.toml")
    ran(here, "2024-07", "done", scheduled=False)
    assert months_to_do(settings, now=DUE) == ["2026-03"]
    ran(here, "2025-12", "done")
    assert months_to_do(settings, now=DUE) == ["2026-01", "2026-02", "2026-03"]
    ran(here, "2026-02", "done", scheduled=False)
    ran(here, "2024-06", "running", scheduled=False)  # cut off
    assert months_to_do(settings, now=DUE) == ["2024-06", "2026-01", "2026-03"]
    more = load_settings(here / "usagekit.toml", first_month="2026-02")
    assert months_to_do(more, now=DUE) == ["2024-06", "2026-03"]
    assert months_to_do(more, now=DUE - timedelta(hours=2)) == ["2024-06"]  # the clock was set back


def test_a_failing_month_rests_longer_and_longer(here: Path) -> None:
    """After the first failure an hour, after the second two, at most a day; a clock set back does not stretch that."""
    write_settings(here, 9)
    settings = load_settings(here / "usagekit.toml")
    for tries in range(1, 40):
        ran(here, MONTH, "failed")
        rest = timedelta(hours=min(tries, 24))
        assert months_to_do(settings, now=DUE + rest - timedelta(seconds=1)) == []
        assert months_to_do(settings, now=DUE + rest) == [MONTH]
    assert months_to_do(settings, now=DUE - timedelta(days=300)) == [MONTH]


def ran(folder: Path, month: str, state: str, *, scheduled: bool = True, **ending: Any) -> None:
    """Set a run down in the ledger as a process would."""
    with open_ledger(folder / "reports") as ledger:
        prepare(ledger)
        begin(ledger, month, scheduled=scheduled, now=DUE)
        if state != "running":
            end(ledger, month, Ending(state=state, **ending), now=DUE)


@pytest.mark.fault(44, 47)
def test_months_of_faults_end_with_every_mail_sent_once_or_listed(here: Path) -> None:
    """Two months in which fires are missed, doubled, killed, or meet a broken API, kernel or mail server: each fault once or more."""
    counts = simulate(here, 2, random.Random(168), rate=0.12)
    assert counts["sent"] + counts.get("refused", 0) + counts.get("unknown", 0) == 8
    assert {f"fault: {name}" for name in FAULTS} <= counts.keys()

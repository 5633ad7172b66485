"""An import that is killed at any moment leaves the old store or the new one, and can be repeated."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import session
from tests.engine.plain_store import (
    EVENTS,
    copied,
    public_dimension,
    public_rows,
    put_dimension,
    put_events,
)
from usagekit.engine import local
from usagekit.engine.importer import import_files
from usagekit.engine.store import STAGING, open_store
from usagekit.errors import StoreError
from usagekit.query import EventsQuery

Content = tuple[Any, ...]

_fork = get_context("forkserver")
_fork.set_forkserver_preload([__name__])


@dataclass
class Case:
    """A store (which may not exist yet), files to import, and what a reader may find afterwards."""

    folder: Path
    store: Path
    files: list[Path]
    old: Content
    new: Content


@pytest.fixture(params=["first import", "changes"])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    """Imports that add, change and move sessions over three months and change dimension tables."""
    store = tmp_path / "old"
    month = [session(n, f"2023-03-{n:02} 08:00", f"2023-03-{n:02} 09:00") for n in range(1, 6)]
    if request.param == "changes":
        put_events(store, month[:3])
        put_events(store, month[3:], file="more.parquet")
        put_events(store, [session(6, "2023-02-01 08:00", "2023-02-01 09:00")], month="2023-02")
        put_dimension(store, "teams", [("NA",), ("null",)])
        open_store(store)
    rows = [
        month[0] | {"end_time": None},
        session(6, "2023-04-01 08:00", "2023-04-01 09:00"),  # the only one of February
        session(7, "2023-03-01 08:00:00.5", "2023-03-01 09:00", team="チーム"),
    ]
    files = [
        put_events(tmp_path / "in", rows),
        put_dimension(tmp_path / "in", "teams", [("チーム",)]),
        put_dimension(tmp_path / "in", "users", [("ana@example.com", "Ana", None)]),
    ]
    whole = tmp_path / "new"
    if store.exists():
        copied(store, whole)
    import_files(files, whole)
    case = Case(tmp_path, store, files, content(store), content(whole))
    assert case.old != case.new
    return case


def content(path: Path) -> Content:
    """What a reader finds: the public files after opening, and the sessions and teams that the index has."""
    try:
        opened = open_store(path)
    except StoreError:
        assert not (path / STAGING / "commit.json").exists()
        return ((), (), (), ())
    listed = local.events(opened, EventsQuery(start=date(2023, 1, 1), end=date(2023, 12, 31)))
    teams = public_dimension(path, "teams") if (path / "teams.parquet").exists() else []
    assert opened.dimension("teams")["team"].to_list() == [row["team"] for row in teams]
    assert len(listed) == len(public_rows(path))
    users = opened.dimension("users").rows()
    return tuple(public_rows(path)), tuple(listed.rows()), tuple(row["team"] for row in teams), tuple(users)


def _import_and_die(step: int, files: list[Path], store: Path) -> None:
    """In a child: import, but die by SIGKILL in place of durable step number ``step``."""
    steps = 0

    def deadly(do: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **options: Any) -> Any:
            nonlocal steps
            steps += 1
            if steps == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return do(*args, **options)

        return wrapped

    os.fsync = deadly(os.fsync)
    for name in ("replace", "unlink", "mkdir"):
        setattr(Path, name, deadly(getattr(Path, name)))
    import_files(files, store)


def check(case: Case, store: Path) -> bool:
    """Whether the store is the new one; it must be that or the old one, and become the new one now."""
    found = content(store)
    assert found in (case.old, case.new)
    for file in store.rglob("*.parquet"):  # damaged leftovers are never taken for a part of the store
        if file.parent.name == STAGING:
            file.write_bytes(b"rubbish")
    assert content(store) == found
    result = import_files(case.files, store)
    assert result.written is (found == case.old)
    assert content(store) == case.new
    assert not (store / STAGING).exists()
    return bool(found == case.new)


@pytest.mark.slow
def test_killed_at_every_durable_step(case: Case) -> None:
    """Killed in place of its Nth sync, rename, removal or new folder, for every N, an import is all or nothing."""
    outcomes = []
    for step in range(1, 1000):
        store = case.folder / f"killed-{step}"
        if case.store.exists():
            copied(case.store, store)
        child = _fork.Process(target=_import_and_die, args=(step, case.files, store))
        child.start()
        child.join(60)
        if child.exitcode == 0:
            break
        assert child.exitcode == -signal.SIGKILL
        outcomes.append(check(case, store))
    assert content(store) == case.new
    assert len(outcomes) > 20
    # Nothing of it, until all of it: what is final stays so.
    assert outcomes == sorted(outcomes)
    assert set(outcomes) == {False, True}


@pytest.mark.slow
def test_killed_at_any_time(case: Case) -> None:
    """Killed by somebody else at a random moment, an import is all or nothing as well."""
    dice = random.Random(20230301)
    killed = 0
    for number in range(12):
        store = case.folder / f"random-{number}"
        if case.store.exists():
            copied(case.store, store)
        store.mkdir(exist_ok=True)
        child = _fork.Process(target=_import_and_die, args=(0, case.files, store))
        child.start()
        # The lock file is the first thing that an import makes, so the clock starts with the real work.
        deadline = time.monotonic() + 30
        while not _lock_text(store) and child.is_alive() and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(dice.uniform(0, 0.08))
        assert child.pid is not None
        child.kill()
        child.join(60)
        killed += child.exitcode == -signal.SIGKILL
        check(case, store)
    assert killed > 0


def _lock_text(store: Path) -> str:
    lock = store / ".lock"
    return lock.read_text() if lock.exists() else ""


def test_contents_can_differ(case: Case) -> None:
    """A guard on these tests: what they compare has every column and the new sessions."""
    rows, listed, teams, users = case.new
    assert len(rows[0]) == len(EVENTS.names)
    assert {row[0] for row in rows} >= {"s1", "s6", "s7"}
    assert (len(listed), "チーム" in teams, len(users)) == (len(rows), True, 1)

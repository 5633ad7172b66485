"""Imports to be killed: what they change, how they die, and what a reader may find afterwards."""

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

from tests.conftest import session
from tests.engine.plain_store import copied, public_dimension, public_rows, put_dimension, put_events
from usagekit.engine import local
from usagekit.engine.commit import STAGING, is_pending
from usagekit.engine.importer import import_files
from usagekit.engine.store import open_store
from usagekit.errors import StoreError
from usagekit.query import EventsQuery

fork = get_context("forkserver")
fork.set_forkserver_preload([__name__])

KINDS = ("first import", "changes")

Content = tuple[Any, ...]


@dataclass
class Case:
    """A store (which may not exist yet), files to import, and what a reader may find afterwards."""

    folder: Path
    store: Path
    files: list[Path]
    old: Content
    new: Content


def make_case(kind: str, folder: Path) -> Case:
    """Imports that add, change and move sessions over three months and change dimension tables."""
    store = folder / "old"
    month = [session(n, f"2023-03-{n:02} 08:00", f"2023-03-{n:02} 09:00") for n in range(1, 6)]
    if kind == "changes":
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
        put_events(folder / "in", rows),
        put_dimension(folder / "in", "teams", [("チーム",)]),
        put_dimension(folder / "in", "users", [("ana@example.com", "Ana", None)]),
    ]
    whole = folder / "new"
    if store.exists():
        copied(store, whole)
    import_files(files, whole)
    case = Case(folder, store, files, content(store), content(whole))
    assert case.old != case.new
    return case


def content(path: Path) -> Content:
    """What a reader finds: the public files after opening, and the sessions and teams that the index has."""
    try:
        opened = open_store(path)
    except StoreError as error:
        if "no event store" not in str(error) or is_pending(path):
            raise
        return ((), (), (), ())
    listed = local.events(opened, EventsQuery(start=date(2023, 1, 1), end=date(2023, 12, 31)))
    teams = public_dimension(path, "teams") if (path / "teams.parquet").exists() else []
    assert opened.dimension("teams")["team"].to_list() == [row["team"] for row in teams]
    assert len(listed) == len(public_rows(path))
    users = opened.dimension("users").rows()
    return tuple(public_rows(path)), tuple(listed.rows()), tuple(row["team"] for row in teams), tuple(users)


def import_and_die(step: int, files: list[Path], store: Path) -> None:
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


def kill_at_random(case: Case, store: Path, dice: random.Random) -> tuple[bool, bool]:
    """Kill an import into a copy of the case's store at a random moment; gives whether it was, and what is left."""
    if case.store.exists():
        copied(case.store, store)
    store.mkdir(exist_ok=True)
    child = fork.Process(target=import_and_die, args=(0, case.files, store))
    child.start()
    # The lock file is the first thing that an import makes, so the clock starts with the real work.
    deadline = time.monotonic() + 30
    while not _lock_text(store) and child.is_alive() and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(dice.uniform(0, 0.08))
    child.kill()
    child.join(60)
    return child.exitcode == -signal.SIGKILL, check(case, store)


def _lock_text(store: Path) -> str:
    lock = store / ".lock"
    return lock.read_text() if lock.exists() else ""

"""Many imports that start at the same moment."""

from __future__ import annotations

import time
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path
from typing import Any

from tests.engine.killing import fork
from tests.engine.plain_store import HOURS, put_events
from usagekit.engine import importer
from usagekit.engine.importer import import_files
from usagekit.errors import StoreLocked

Loser = tuple[str, float]


def _writer(start: Barrier, told: Event, results: Any, file: Path, store: Path) -> None:
    """In a child: import when all are ready; whoever gets the lock keeps it until all others have given up."""
    merge = importer._merge_events

    def slow(*args: Any) -> Any:
        told.wait(60)
        return merge(*args)

    importer._merge_events = slow
    start.wait(60)
    begun = time.monotonic()
    try:
        import_files([file], store)
        results.put((None, 0.0))
    except StoreLocked as error:
        results.put((str(error), time.monotonic() - begun))


def race(folder: Path, writers: int = 20) -> tuple[list[Loser], list[int | None]]:
    """Let imports race; gives what the losers were told and after how long (s), and the pids of all.

    Fails unless exactly one wins and every process ends well.
    """
    file = put_events(folder, HOURS)
    start, told, results = fork.Barrier(writers), fork.Event(), fork.SimpleQueue()
    children = [
        fork.Process(target=_writer, args=(start, told, results, file, folder / "store"))
        for _ in range(writers)
    ]
    for child in children:
        child.start()
    losers = [results.get() for _ in range(writers - 1)]
    assert (None, 0.0) not in losers
    told.set()
    assert results.get() == (None, 0.0)
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0] * writers
    return losers, [child.pid for child in children]
